"""The live table: whole where there is room, and readable where there is not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.model import Desired, Live, PortfolioId, RunState, Status
from reconciler.render.portfolio import PortfolioView, portfolio_document, portfolio_page
from reconciler.render.status import StatusRow, status_document, status_page
from reconciler.render.terminal import PLAIN, Style, terminal, width

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
b7k2m9q1   Treasury      paused  24h       -             11-21 12:00   paused by somebody else:
                                                                       Paused via API: Liquidity
                                                                       event until the audit is over

2 portfolios: 1 active, 1 paused.
"""

AT_80 = """\
PORTFOLIO  NAME          STATE   SCHEDULE  NEXT RUN UTC  LAST RUN UTC
ao04x0r6   Growth index  active  24h       11-22 12:00   11-21 12:00
b7k2m9q1   Treasury      paused  24h       -             11-21 12:00
    paused by somebody else: Paused via API: Liquidity event until the audit is
    over

2 portfolios: 1 active, 1 paused.
"""


@pytest.mark.parametrize(("columns", "shown"), [(100, AT_100), (80, AT_80)])
def test_a_narrow_terminal_gets_what_matters_most(columns: int, shown: str) -> None:
    """Times get shorter first, then columns go; a note that stands below its row needs no title."""
    assert terminal(status_page(ROWS, results=False), Style(color=False, columns=columns)) == shown


@pytest.mark.parametrize("columns", [None, 200])
def test_with_room_nothing_is_left_out(columns: int | None) -> None:
    """Without a terminal, or on a wide one, every row is one whole line."""
    text = terminal(status_page(ROWS, results=False), Style(color=False, columns=columns))
    assert text == terminal(status_page(ROWS, results=False), PLAIN)
    assert len(text.splitlines()) == 5
    assert "2026-11-21 12:00 UTC" in text


@pytest.mark.parametrize("columns", range(68, 130))
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    """Whatever the width, the terminal itself breaks no line."""
    assert max(map(width, terminal(status_page(ROWS), Style(color=False, columns=columns)).splitlines())) <= columns


@pytest.mark.parametrize("columns", [80, 90, 100, 140])
def test_whom_to_ask_is_told_in_full(columns: int) -> None:
    """Where room is short, times are left out before an owner is cut."""
    owner = "maria.of.treasury@ex.com"
    rows = [replace(one, desired=replace(one.desired, owner=owner)) for one in ROWS]
    assert owner in terminal(status_page(rows), Style(color=False, columns=columns))


def test_a_moment_that_has_passed_is_no_next_run() -> None:
    """The table says since when it was due, and JSON keeps the moment apart from the next run."""
    early, late = (replace(ROWS[0], now_ms=NOON_MS + ms) for ms in (0, 1))
    assert " 2026-11-22 12:00 UTC " in terminal(status_page([early]), PLAIN, verbose=True)
    assert " now " in terminal(status_page([early]), PLAIN)
    assert "was due" not in terminal(status_page([early]), PLAIN)
    assert terminal(status_page([late], results=False), PLAIN).splitlines()[1].split()[-9:] == (
        ["24h", "-", "1d", "ago", "was", "due", "2026-11-22", "12:00", "UTC"]
    )
    (first, second) = map(status_document, [early, late])
    assert (first["next_run_at"], first["due_at"]) == ("2026-11-22T12:00:00.000Z", "2026-11-22T12:00:00.000Z")
    assert (second["next_run_at"], second["due_at"]) == (None, "2026-11-22T12:00:00.000Z")


@pytest.mark.parametrize(("ms", "shown"), [(0, "2026-11-22 12:00 UTC"), (1, "was due 2026-11-22 12:00 UTC")])
def test_in_detail_neither(ms: int, shown: str) -> None:
    """One portfolio by itself tells the same."""
    view = PortfolioView(desired=ROWS[0].desired, live=ROWS[0].live, record=None, now_ms=NOON_MS + ms)
    assert f"  next run  {shown}\n" in terminal(portfolio_page(view), PLAIN)
    assert (portfolio_document(view)["next_run_at"] is None) is bool(ms)
    assert portfolio_document(view)["due_at"] == "2026-11-22T12:00:00.000Z"
