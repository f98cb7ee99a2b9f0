"""The page of a load: bars in proportion, aligned, and what is not known said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.load import Timed, load_of
from reconciler.core.model import PortfolioId
from reconciler.core.plan import LoadChange
from reconciler.core.text import DAY_MS, HOUR_MS
from reconciler.render.load import load_page, plan_load_page
from reconciler.render.terminal import PLAIN, terminal
from tests.support import NOON_MS

if TYPE_CHECKING:
    from tests.golden import Golden

DAILY = [Timed(PortfolioId(f"d{number:02}"), NOON_MS + 90 * 60_000, DAY_MS) for number in range(12)]
OFTEN = [Timed(PortfolioId("often"), NOON_MS + HOUR_MS, 6 * HOUR_MS)]
ODD = [Timed(PortfolioId("once"), NOON_MS + 5 * HOUR_MS, None), Timed(PortfolioId("nobody"), None, DAY_MS)]


def test_by_hour_and_by_group(golden: Golden) -> None:
    """Every hour has its row; groups have a character an hour."""
    start = NOON_MS + 60_000
    whole = load_of([*DAILY, *OFTEN, *ODD], from_ms=start)
    parts = {"": load_of(ODD, from_ms=start), "daily": load_of(DAILY, from_ms=start)}
    golden("load", "by group", terminal(load_page(whole, parts, by="group", unread=2), PLAIN, verbose=False))


def test_before_and_after(golden: Golden) -> None:
    """Both sides have the same scale."""
    change = LoadChange(before=load_of([*DAILY, *OFTEN], from_ms=NOON_MS), after=load_of(OFTEN, from_ms=NOON_MS))
    golden("load", "before and after", terminal(plan_load_page(change), PLAIN, verbose=False))


def test_nothing_runs(golden: Golden) -> None:
    """An empty fleet has no bar and no worst minute."""
    golden(
        "load",
        "nothing runs",
        terminal(load_page(load_of([], from_ms=NOON_MS, hours=2), {}, by=None, unread=0), PLAIN, verbose=False),
    )
