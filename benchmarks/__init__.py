"""Measures of speed and memory, each beside a baseline of the same run. ``make bench`` runs them; no test does."""
