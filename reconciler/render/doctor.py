"""The checks of ``doctor``: one screen for people, or JSON values.

In: :class:`~reconciler.core.doctor.Check` values in the order of display. Out: text that ends in a line break, or data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from reconciler.core.doctor import Check, CheckStatus, counts
from reconciler.core.text import plural
from reconciler.render.style import Ink, Style, columns, safe

if TYPE_CHECKING:
    from collections.abc import Sequence


def doctor_text(checks: Sequence[Check], style: Style) -> str:
    """Return a line a check, a second one with the repair where there is one, and a line of counts."""
    rows: list[tuple[str, str, str]] = []
    for check in checks:
        rows.append((_status(check, style), check.id.label, safe(check.finding, longest=400)))
        if check.repair:
            rows.append(("", "", style.paint(f"→ {safe(check.repair, longest=400)}", Ink.DIM)))
    within = style.columns - 2 if style.columns is not None else None
    return (
        "\n".join([*(f"  {line}" for line in columns(rows, within=within)), "", style.paint(_line(checks), Ink.BOLD)])
        + "\n"
    )


def doctor_document(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the checks as JSON values."""
    return [
        {
            "id": check.id.value,
            "title": check.id.label,
            "status": check.status.value,
            "finding": check.finding,
            "repair": check.repair,
        }
        for check in checks
    ]


def _line(checks: Sequence[Check]) -> str:
    found = counts(checks)
    warned = plural(found[CheckStatus.WARN], "warning")
    failed, skipped = found[CheckStatus.FAIL], found[CheckStatus.SKIPPED]
    return f"Doctor: {found[CheckStatus.OK]} ok, {warned}, {failed} failed, {skipped} skipped."


def _status(check: Check, style: Style) -> str:
    match check.status:
        case CheckStatus.OK:
            return style.paint("ok", Ink.GREEN)
        case CheckStatus.WARN:
            return style.paint("! warn", Ink.YELLOW)
        case CheckStatus.FAIL:
            return style.paint("x fail", Ink.RED)
        case CheckStatus.SKIPPED:
            return style.paint("- skipped", Ink.DIM)
        case _:
            assert_never(check.status)
