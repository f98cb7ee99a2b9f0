"""Posts on GitHub, and nothing else of its API: no Glider key and no plan comes in here, only text."""
