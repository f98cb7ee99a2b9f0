"""Put the offline pieces together for one command: files, selection, output.

In: options. Out: a loaded configuration. What talks to Glider is put together in :mod:`reconciler.cli.service`.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.config.load import Configuration
    from reconciler.config.revision import Base
    from reconciler.core.fleet import Selection


def make_output(options: Mapping[str, Any]) -> Output:
    """Return the output that the shared options ask for."""
    return Output(
        format=options["output_format"],
        verbose=options["verbose"],
        quiet=options["quiet"],
        color=False if options["no_color"] else None,
    )


def load_files(sources: tuple[str, ...]) -> Configuration:
    """Load and check the configuration. Raises ``ConfigInvalid`` with every problem there is."""
    from reconciler.config.load import load

    return load(sources, stdin=sys.stdin.buffer.read, today=datetime.now(tz=UTC).date(), cwd=Path.cwd())


def load_base(sources: tuple[str, ...], revision: str) -> Base:
    """Load what the same files declared at a Git revision. Raises as :func:`load_revision` does."""
    from reconciler.config.revision import load_revision

    today = datetime.now(tz=UTC).date()
    return load_revision(sources, revision=revision, today=today, cwd=Path.cwd(), environment=os.environ)


def make_selection(options: Mapping[str, Any]) -> Selection:
    """Return what ``--target``, ``--exclude`` and ``--select`` ask for."""
    from reconciler.cli.options import parse_selects
    from reconciler.core.fleet import Selection

    return Selection(targets=options["targets"], excludes=options["excludes"], groups=parse_selects(options["selects"]))


def refuse(summary: str) -> click.UsageError:
    """Return a usage error of the running command."""
    return click.UsageError(summary, ctx=click.get_current_context())
