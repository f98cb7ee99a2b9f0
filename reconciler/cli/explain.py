"""``reconciler explain``: where each effective value of a portfolio comes from. Offline."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli import options as shared
from reconciler.cli.wiring import make_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.config.explain import Explained
    from reconciler.core.errors import ExitReason
    from reconciler.render.style import Style

HELP = """Show each value of portfolio ID as it takes effect, and the layer and line it comes from.

A portfolio's own value wins over its group's, and that over the defaults. Behind the strategy of a v2 portfolio stands
the cadence that is declared of it. A strategy is named strategies/ID. Offline: no key, no network.

\b
  reconciler explain ao04x0r6
  reconciler explain ao04x0r6 -f fleet/ -o json
"""


@click.command(help=HELP)
@click.argument("portfolio", metavar="ID")
@shared.files
@shared.output("text", "json")
def explain(**options: Any) -> ExitReason:
    """Load and trace one portfolio."""
    from reconciler.config.explain import explain as trace
    from reconciler.core.errors import ExitReason

    output = make_output(options)
    fields = trace(
        options["portfolio"],
        options["sources"],
        stdin=sys.stdin.buffer.read,
        today=datetime.now(tz=UTC).date(),
        cwd=Path.cwd(),
    )
    if output.is_json:
        from reconciler.render.json import document_json

        output.data(
            document_json(ExitReason.OK, {"id": options["portfolio"], "fields": [_document(f) for f in fields]})
        )
    else:
        output.data(_text(options["portfolio"], fields, output.style))
    return ExitReason.OK


def _text(portfolio: str, fields: Sequence[Explained], style: Style) -> str:
    from reconciler.render.style import Ink, columns, safe

    rows = [
        (
            f"  {field.field}",
            safe(field.value) or style.paint("-", Ink.DIM),
            style.paint(safe(field.layer), Ink.DIM),
            style.paint(safe(str(field.span)), Ink.DIM) if field.span else "",
        )
        for field in fields
    ]
    return "\n".join([style.paint(portfolio, Ink.BOLD), *columns(rows)]) + "\n"


def _document(field: Explained) -> dict[str, Any]:
    span = field.span
    return {
        "field": field.field,
        "value": field.value or None,
        "layer": field.layer,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
    }
