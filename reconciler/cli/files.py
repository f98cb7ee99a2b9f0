"""The files, offline: loading them for every command, ``init``, ``validate``, ``explain``, ``schema``.

In: where the files are. Out: a loaded configuration, or an ending. No key, no network.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.options import FileOptions, Options
from reconciler.core.errors import ExitReason
from reconciler.render.ending import Ending, View
from reconciler.render.page import Column, Heading, Page, Part, Row, Rows, Span, Tone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from reconciler.cli.output import Output
    from reconciler.config.explain import Explained
    from reconciler.config.load import Configuration
    from reconciler.config.revision import Base
    from reconciler.render.ending import Found


def today() -> date:
    """Return the day in UTC."""
    return datetime.now(tz=UTC).date()


def standard_input() -> bytes:
    """Return standard input, at most one byte more than a file may have: a device may never end."""
    from reconciler.config.files import MAX_FILE_BYTES

    return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)


def load_files(options: FileOptions) -> Configuration:
    """Load and check the configuration. Raises ``ConfigInvalid`` with every problem there is."""
    from reconciler.config.load import load_configuration

    return load_configuration(options.sources, stdin=standard_input, today=today(), cwd=Path.cwd())


def load_told(options: FileOptions, output: Output, found: Found) -> Configuration:
    """Load the configuration as :func:`load_files` does, and print its warnings."""
    configuration = load_files(options)
    found.diagnostics, found.portfolios = configuration.warnings, len(configuration.desired)
    output.warn_of(configuration.warnings)
    return configuration


def load_files_if_any(options: FileOptions) -> Configuration:
    """Load the files; return an empty configuration if none was named and there are none in the usual places.

    Raises ``ConfigInvalid`` for files that are there but can't be used.
    """
    from reconciler.config.files import DEFAULTS
    from reconciler.config.load import Configuration

    if not options.sources and not any(Path(name).exists() for name in DEFAULTS):
        return Configuration()
    return load_files(options)


def load_base(options: FileOptions, revision: str) -> Base:
    """Load what the same files declared at a Git revision. Raises as :func:`load_revision` does."""
    from reconciler.config.revision import load_revision

    return load_revision(options.sources, revision=revision, today=today(), cwd=Path.cwd(), environment=os.environ)


FIRST_FILE: Final = """\
# This file says which portfolios trade by themselves, and how often. A portfolio
# that no file names is never touched. Of one that is named, only the fields that
# are written here are managed.
version: 1

# defaults:              # for every portfolio that does not say otherwise
#   chain: base

# groups:                # a layer above the defaults, for several portfolios
#   daily:
#     interval: 24h

# guards:                # limits on one apply; if one is exceeded, nothing is written
#   max_start: 2

portfolios:
  my-portfolio:          # put the id of one of your portfolios in its place
    name: My portfolio   # a label for people, never sent
    state: paused        # or active
    # group: daily       # takes what the group says, unless a line here says otherwise
    # interval: 12h      # how often it runs; if no line says it, it is not managed
"""
"""What ``init`` writes."""


class InitOptions(Options, frozen=True, kw_only=True):
    """The options of ``init``; without ``file``, it writes the file that every command looks for."""

    file: str | None = None


def init(options: InitOptions, found: Found) -> Ending:
    """Write a first file, never over another one, and say what to do next."""
    from reconciler.cli.savefile import require_place, save_new
    from reconciler.config.files import DEFAULTS

    # A file under one of the other usual names would be read together with the new one, or instead of it.
    for name in () if options.file is not None else DEFAULTS:
        require_place(name, what="first file", new=True)
    file = options.file or DEFAULTS[0]
    save_new(file, FIRST_FILE, what="first file")
    given = f" -f {file}" if options.file else ""
    options.output.note(
        f"Put the id of one of your portfolios into {file}, then: reconciler plan{given}\n"
        "To try it without a key, on an embedded Glider that knows the example:\n"
        "  echo '{version: 1, portfolios: {my-portfolio: {status: active}}}' > sandbox.yaml\n"
        "  reconciler sandbox load sandbox.yaml\n"
        f"  reconciler plan{given} --sandbox"
    )
    return Ending(reason=ExitReason.OK, found=found, view=View(shown=f"Wrote {file}.\n", body={"file": file}))


class ValidateOptions(Options, frozen=True, kw_only=True):
    """The options of ``validate``."""

    files: FileOptions = FileOptions()


def validate(options: ValidateOptions, found: Found) -> Ending:
    """Load the files and say whether they are good."""
    from reconciler.core.text import plural

    configuration = load_told(options.files, options.output, found)
    strategies = f" and {plural(count, 'strategy')}" if (count := len(configuration.strategies)) else ""
    portfolios = plural(len(configuration.desired), "portfolio")
    counts = f"{portfolios}{strategies} in {plural(len(configuration.files), 'file')}"
    warned = f", {plural(len(configuration.warnings), 'warning')}" if configuration.warnings else ""

    def body() -> Mapping[str, object]:
        from reconciler.render.json import diagnostics_document

        return {
            **diagnostics_document(configuration.warnings),
            "config": {"digest": configuration.digest, "files": list(configuration.files)},
            "portfolios": len(configuration.desired),
            "strategies": len(configuration.strategies),
        }

    view = View(shown=f"Valid: {counts}{warned}.\n", body=body)
    return Ending(reason=ExitReason.OK, found=found, view=view)


class ExplainOptions(Options, frozen=True, kw_only=True):
    """The options of ``explain``; ``portfolio`` is an id, or ``strategies/ID``."""

    portfolio: str
    files: FileOptions = FileOptions()


def explain(options: ExplainOptions, found: Found) -> Ending:
    """Show where each value of one portfolio comes from."""
    from reconciler.config.explain import trace

    rows = trace(options.portfolio, options.files.sources, stdin=standard_input, today=today(), cwd=Path.cwd())
    body = {"id": options.portfolio, "fields": [_explained_document(row) for row in rows]}
    view = View(page=lambda: _explained_page(options.portfolio, rows), body=body)
    return Ending(reason=ExitReason.OK, found=found, view=view)


def _explained_page(portfolio: str, explained: Sequence[Explained]) -> Page:
    rows = tuple(
        Row(
            (
                field.field,
                field.value or Span("-", Tone.QUIET),
                Span(field.layer, Tone.QUIET),
                Span(str(field.span), Tone.QUIET, code=True) if field.span else "",
            )
        )
        for field in explained
    )
    columns = (Column("Field"), Column("Value"), Column("Layer"), Column("Place"))
    table = Rows(columns=columns, rows=rows, parts=(Part("Fields", opened=None),))
    return Page(title="Explain", verdict=portfolio, blocks=(Heading(portfolio), table))


def _explained_document(field: Explained) -> dict[str, Any]:
    span = field.span
    return {
        "field": field.field,
        "value": field.value or None,
        "layer": field.layer,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
    }


def print_schema(options: Options, found: Found) -> Ending:  # noqa: ARG001 - what every command takes
    """Print the JSON Schema of the files."""
    from reconciler.core.codec import json_text
    from reconciler.core.sections import published_schema

    return Ending(reason=ExitReason.OK, found=found, view=View(shown=json_text(published_schema())))
