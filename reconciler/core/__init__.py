"""The pure core: values and decisions. No file, socket, clock, environment or log is touched in here."""
