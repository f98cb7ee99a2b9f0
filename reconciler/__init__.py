"""Infrastructure-as-code for portfolio automation on Glider.

The version stands here as plain text: reading it from package metadata costs more start-up time than the whole
of ``--version`` may take.
"""

__version__ = "0.1.0"

TOOL = f"glider-reconciler {__version__}"
"""The program and its version, as every document names it."""
