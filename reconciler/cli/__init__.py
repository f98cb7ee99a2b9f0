"""The command line: the only place that reads the environment, talks to a terminal, and exits."""

import gc

COLLECTOR = (100_000, 50, 100)
"""Thresholds of Python's cyclic garbage collector. What a command makes is needed to its end, and hardly any of it is
in cycles. With the usual thresholds, searching a large fleet for cycles takes longer than planning it."""

# Here, because the first thing that a command does is to import: that, too, would begin twenty searches.
gc.set_threshold(*COLLECTOR)
