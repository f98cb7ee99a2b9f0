"""The files and what is told of them offline: loading them for every command, ``validate``, ``explain``, ``schema``.

In: where the files are. Out: a loaded configuration, or an ending. No key, no network.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.options import FileOptions, Options
from reconciler.core.endpoint import NOTHING
from reconciler.core.errors import ExitReason
from reconciler.core.model import Paths
from reconciler.render.ending import Ending, PageView, TextView
from reconciler.render.json import diagnostics_document, document_json
from reconciler.render.page import Column, Heading, Page, Part, Row, Rows, Span, Tone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from reconciler.cli.output import Output
    from reconciler.config.explain import Explained
    from reconciler.config.load import Configuration
    from reconciler.config.revision import Base
    from reconciler.core.endpoint import Expect
    from reconciler.render.ending import Found


def today() -> date:
    """Return the day in UTC."""
    return datetime.now(tz=UTC).date()


def load_files(options: FileOptions) -> Configuration:
    """Load and check the configuration. Raises ``ConfigInvalid`` with every problem there is."""
    from reconciler.config.load import load

    return load(options.sources, stdin=sys.stdin.buffer.read, today=today(), cwd=Path.cwd())


def load_told(options: FileOptions, output: Output, found: Found) -> Configuration:
    """Load the configuration as :func:`load_files` does, and tell its warnings."""
    configuration = load_files(options)
    found.diagnostics, found.portfolios = configuration.warnings, len(configuration.desired)
    output.warn_of(configuration.warnings)
    return configuration


def load_files_if_any(options: FileOptions) -> Configuration | None:
    """Load the files; ``None`` where none was named and there are none where they are looked for.

    Raises ``ConfigInvalid`` for files that are there and can't be used.
    """
    from reconciler.config.files import DEFAULTS

    if not options.sources and not any(Path(name).exists() for name in DEFAULTS):
        return None
    return load_files(options)


def load_base(options: FileOptions, revision: str) -> Base:
    """Load what the same files declared at a Git revision. Raises as :func:`load_revision` does."""
    from reconciler.config.revision import load_revision

    return load_revision(options.sources, revision=revision, today=today(), cwd=Path.cwd(), environment=os.environ)


def paths_of(configuration: Configuration | None) -> Paths:
    """Return the v1 path family that the files ask for."""
    return configuration.paths if configuration is not None else Paths.AUTO


def expect_in(configuration: Configuration | None) -> Expect:
    """Return whom the files expect at the other end; nobody without files."""
    return configuration.expect if configuration is not None else NOTHING


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
    body = {
        "config": {"digest": configuration.digest, "files": list(configuration.files)},
        "portfolios": len(configuration.desired),
        "strategies": len(configuration.strategies),
    }
    view = TextView(shown=f"Valid: {counts}{warned}.\n", body={**diagnostics_document(configuration.warnings), **body})
    return Ending(reason=ExitReason.OK, found=found, view=view)


class ExplainOptions(Options, frozen=True, kw_only=True):
    """The options of ``explain``; ``portfolio`` is an id, or ``strategies/ID``."""

    portfolio: str
    files: FileOptions = FileOptions()


def explain(options: ExplainOptions, found: Found) -> Ending:
    """Say of one portfolio where each of its values comes from."""
    from reconciler.config.explain import explain as trace

    rows = trace(options.portfolio, options.files.sources, stdin=sys.stdin.buffer.read, today=today(), cwd=Path.cwd())
    body = {"id": options.portfolio, "fields": [_explained_document(row) for row in rows]}
    view = PageView(
        page=lambda: _explained_page(options.portfolio, rows), document=lambda reason: document_json(reason, body)
    )
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
    from reconciler.core.fields import published_schema

    return Ending(reason=ExitReason.OK, found=found, view=TextView(shown=json_text(published_schema())))
