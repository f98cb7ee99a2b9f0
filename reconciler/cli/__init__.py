"""The command line: the only place that reads the environment, talks to a terminal, and exits."""
