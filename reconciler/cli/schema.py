"""``reconciler schema``: the JSON Schema of the configuration files."""

from __future__ import annotations

import click

HELP = """Print the JSON Schema of the files (draft 2020-12).

Editors use it by this first line of a file:

\b
  # yaml-language-server: $schema=automation.schema.json

\b
  reconciler schema > automation.schema.json
"""


@click.command(help=HELP)
def schema() -> None:
    """Print the schema."""
    import sys

    from reconciler.cli.output import write
    from reconciler.core.codec import json_text
    from reconciler.core.fields import published_schema

    write(sys.stdout, json_text(published_schema()))
