"""The client of Glider's REST API: the only way from here to the service."""
