"""The live table: whole where there is room, and readable where there is not."""

from __future__ import annotations

import pytest

from reconciler.core.desired import Desired, PortfolioId, RunState
from reconciler.core.live import Live, Status
from reconciler.render.status import StatusRow, status_text
from reconciler.render.style import PLAIN, Style, width

NOON_MS = 1_795_348_800_000
DAY_MS = 86_400_000


def row(portfolio: str, name: str, status: Status, note: str | None = None) -> StatusRow:
    identity = PortfolioId(portfolio)
    live = Live(
        id=identity,
        status=status,
        word=status.value,
        interval_ms=DAY_MS,
        pause_reason=note,
        next_run_ms=NOON_MS,
        scheduled_ms=(NOON_MS - DAY_MS,),
    )
    return StatusRow(desired=Desired(id=identity, state=RunState.ACTIVE, name=name), live=live, record=None)


ROWS = [
    row("ao04x0r6", "Growth index", Status.ACTIVE),
    row("b7k2m9q1", "Treasury", Status.PAUSED, "Paused via API: Liquidity event until the audit is over"),
]

AT_100 = """\
PORTFOLIO  NAME          STATE   SCHEDULE  NEXT RUN UTC  LAST RUN UTC  NOTE
ao04x0r6   Growth index  active  24h       11-22 12:00   11-21 12:00
b7k2m9q1   Treasury      paused  24h       -             11-21 12:00   Paused via API: Liquidity
                                                                       event until the audit is over

2 portfolios: 1 active, 1 paused.
"""

AT_80 = """\
PORTFOLIO  STATE   SCHEDULE  NEXT RUN UTC  NOTE
ao04x0r6   active  24h       11-22 12:00
b7k2m9q1   paused  24h       -             Paused via API: Liquidity event until
                                           the audit is over

2 portfolios: 1 active, 1 paused.
"""


@pytest.mark.parametrize(("columns", "shown"), [(100, AT_100), (80, AT_80)])
def test_a_narrow_terminal_gets_what_matters_most(columns: int, shown: str) -> None:
    """Times get shorter first, then columns go; the note is folded under its own head."""
    assert status_text(ROWS, Style(color=False, columns=columns)) == shown


@pytest.mark.parametrize("columns", [None, 200])
def test_with_room_nothing_is_left_out(columns: int | None) -> None:
    """Without a terminal, or on a wide one, every row is one whole line."""
    text = status_text(ROWS, Style(color=False, columns=columns))
    assert text == status_text(ROWS, PLAIN)
    assert len(text.splitlines()) == 5
    assert "2026-11-21 12:00 UTC" in text


@pytest.mark.parametrize("columns", range(68, 130))
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    """Whatever the width, the terminal itself breaks no line."""
    assert max(map(width, status_text(ROWS, Style(color=False, columns=columns)).splitlines())) <= columns
