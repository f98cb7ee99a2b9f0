"""The checks of ``doctor``: one screen for people, or JSON values.

In: :class:`~reconciler.core.doctor.Check` values in the order of display. Out: a
:class:`~reconciler.render.page.Page`, or JSON values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.doctor import CheckStatus, counts
from reconciler.core.text import plural
from reconciler.render.json import picked
from reconciler.render.page import Column, Page, Part, Row, Rows, Span, Tone, toned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.doctor import Check

_WORDS: Final = {
    CheckStatus.OK: "ok",
    CheckStatus.WARN: "! warn",
    CheckStatus.FAIL: "x fail",
    CheckStatus.SKIPPED: "- skipped",
}
_COLUMNS: Final = (Column("Status", signs=True), Column("Check"), Column("Finding"))


def doctor_page(checks: Sequence[Check]) -> Page:
    """Return a line for each check, a second line with its repair if it has one, and a line of counts."""
    rows = []
    for check in checks:
        rows.append(Row((toned(check.status.value, _WORDS[check.status]), check.id.label, check.finding)))
        if check.repair:
            rows.append(Row(("", "", Span(f"→ {check.repair}", Tone.QUIET))))
    found = counts(checks)
    warned = plural(found[CheckStatus.WARN], "warning")
    failed, skipped = found[CheckStatus.FAIL], found[CheckStatus.SKIPPED]
    told = f"{found[CheckStatus.OK]} ok, {warned}, {failed} failed, {skipped} skipped"
    tone = Tone.BAD if failed else Tone.NOTICE if found[CheckStatus.WARN] else Tone.GOOD
    table = Rows(columns=_COLUMNS, rows=tuple(rows), parts=(Part("Checks", opened=None),))
    return Page(title="Doctor", tone=tone, verdict=told, blocks=(table,), last=(f"Doctor: {told}.",))


def doctor_document(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return the checks as JSON values."""
    return [
        {**picked(check, "id"), "title": check.id.label, **picked(check, "status", "finding", "repair")}
        for check in checks
    ]
