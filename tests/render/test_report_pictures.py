"""The pictures of `load`, `report` and `status` show what these make: it is made anew here, and compared by its digest.

`make pictures` draws one that has changed, where there is a Chromium.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.load import by_word, live_runs, load_of
from reconciler.core.model import Desired, Live, PortfolioId, RunState, Status
from reconciler.core.needs import needs_of, overdue_among
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.rebalance import KeptRebalance, Knowledge, LastRebalance
from reconciler.core.text import DAY_MS, MINUTE_MS
from reconciler.render.load import load_page
from reconciler.render.report import report_html
from reconciler.render.status import StatusRow, status_page
from reconciler.render.terminal import Style, terminal
from tests.action import pictures
from tests.render.test_render_report import fleet, rebalance
from tests.support import NOON_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.render.page import Page

IMAGES = Path(__file__).parents[2] / "docs/images"
AGAIN = "where a Chromium is: make pictures"


def on_call() -> Page:
    """Return what `status --results` shows of sixty portfolios: one failed, two are held, one is late."""
    desired: dict[PortfolioId, Desired] = {}
    live: dict[PortfolioId, Live] = {}
    results: dict[PortfolioId, tuple[KeptRebalance, ...]] = {}
    for number in range(60):
        one = PortfolioId(f"pf{number:02}")
        group = ("mainnet", "base", "treasury")[number % 3]
        owner = ("portfolio-desk", "fx-desk", "treasury")[number % 3]
        desired[one] = Desired(
            id=one, state=RunState.ACTIVE, interval_ms=DAY_MS, name=f"Fund {number}", group=group, owner=owner
        )
        held, late = number in (5, 41), number == 33
        due_ms = NOON_MS - 9 * DAY_MS if late else NOON_MS + (number * 23 + 7) * MINUTE_MS
        live[one] = Live(
            id=one,
            status=Status.PAUSED if held else Status.ACTIVE,
            word="paused" if held else "active",
            interval_ms=DAY_MS,
            offset_ms=0,
            pause_reason="Paused from the app by the night desk" if held else None,
            next_run_ms=None if held else due_ms,
            scheduled_ms=(due_ms - DAY_MS,),
        )
        ends = ("failed" if number == 17 else "completed", "completed", "completed")
        results[one] = tuple(
            replace(kept, rebalance=replace(kept.rebalance, started_ms=due_ms - (place + 1) * DAY_MS))
            for place, kept in enumerate(map(rebalance, range(3), ends))
        )
    plan = build_plan(Plan(base_url="https://api.glider.fi", created_ms=NOON_MS), desired, live, Memory())
    plan = replace(plan, overdue=overdue_among(desired, live, {}, now_ms=NOON_MS))
    needs = needs_of(plan, desired, live, results, now_ms=NOON_MS)
    rows = [
        StatusRow(
            desired=desired[i],
            live=live[i],
            record=None,
            now_ms=NOON_MS,
            last=LastRebalance(knowledge=Knowledge.READ, rebalance=results[i][0].rebalance),
            results=results[i],
            needs=needs.get(i, ()),
        )
        for i in desired
    ]
    return status_page(rows)


def test_the_picture_of_the_on_call_page(kept: Callable[[str, str, Callable[[Path], None]], None]) -> None:
    """What needs a person, and the fifty-six others in one row."""
    text = f"```text\n{terminal(on_call(), Style(columns=112), verbose=False)}```\n"
    kept("status", text, lambda picture: pictures.draw(text, picture, by="<b>$ reconciler status --results</b>"))


def test_the_picture_of_what_it_was_before(kept: Callable[[str, str, Callable[[Path], None]], None]) -> None:
    """The same sixty as they were shown before what needs a person came first: by id, each in its row."""
    text = (IMAGES / "status-before.md").read_text(encoding="utf-8")
    kept("status-before", text, lambda picture: pictures.draw(text, picture, by="<b>$ reconciler status</b>"))


@pytest.fixture
def kept(pytestconfig: pytest.Config) -> Callable[[str, str, Callable[[Path], None]], None]:
    """Return what compares a text with the one that a picture shows, or has it drawn anew."""

    def keep(name: str, text: str, draw: Callable[[Path], None]) -> None:
        picture = IMAGES / f"{name}.png"
        stale = not picture.exists() or pictures.digest_in(picture) != pictures.digest(text)
        if stale and pytestconfig.getoption("renew") and pictures.browser():
            draw(picture)
        assert picture.exists(), AGAIN
        assert pictures.digest_in(picture) == pictures.digest(text), AGAIN

    return keep


def test_the_picture_of_the_report(kept: Callable[[str, str, Callable[[Path], None]], None]) -> None:
    """The top of a page of 250 portfolios."""
    page = report_html(fleet(250))
    text = re.sub(r"glider-reconciler \d[\w.]*", "glider-reconciler", page)
    kept("report", text, lambda picture: pictures.shoot(page, picture, text, size=(1180, 1500)))


def test_the_picture_of_the_load(kept: Callable[[str, str, Callable[[Path], None]], None]) -> None:
    """The same fleet by hour and by group, as a terminal shows it."""
    whole = fleet(250)
    runs = live_runs(whole.live, whole.records)
    parts = by_word(runs, whole.desired, "group", from_ms=NOON_MS)
    page = load_page(load_of(runs.values(), from_ms=NOON_MS), parts, by="group", unread=0)
    text = f"```text\n{terminal(page, Style(columns=96), verbose=False)}```\n"
    kept("load", text, lambda picture: pictures.draw(text, picture, by="<b>$ reconciler load --by group</b>"))
