"""The report: what stands on the page, that nothing hostile does, and how large it gets."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from msgspec.structs import replace

from reconciler.core.change import Frozen, Halted
from reconciler.core.cost import plan_cost
from reconciler.core.load import plan_load
from reconciler.core.model import Desired, Live, PortfolioId, RunState, Status
from reconciler.core.needs import overdue_among
from reconciler.core.plan import Plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.rebalance import KeptRebalance, Rebalance, RebalanceStatus
from reconciler.render.page import moment
from reconciler.render.report import REPORT_BEGINS, FleetReport, report_html
from tests.support import HOUR_MS, NOON_MS

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"


def rebalance(number: int, status: str) -> KeptRebalance:
    """Return one as the journal remembers it."""
    one = Rebalance(
        id=f"rebal_{number}",
        status=RebalanceStatus(status),
        word=status,
        started_ms=NOON_MS - number * HOUR_MS,
        error="Slippage too high" if status == "failed" else None,
    )
    return KeptRebalance(rebalance=one, read_ms=NOON_MS)


def fleet(count: int, *, name: str = "Fund", failed_every: int = 50) -> FleetReport:
    """Return the report of a fleet: some are paused by hand, some overdue, some failed, a tenth is to be paused."""
    ids = [PortfolioId(f"pf{number:06}") for number in range(count)]
    desired: dict[PortfolioId, Desired] = {}
    live: dict[PortfolioId, Live] = {}
    results: dict[PortfolioId, list[KeptRebalance]] = {}
    for number, one in enumerate(ids):
        hours = (24, 12, 48)[number % 3]
        paused = number % 97 == 5
        late = number % 61 == 7
        desired[one] = Desired(
            id=one,
            state=RunState.PAUSED if number % 10 == 3 else RunState.ACTIVE,
            interval_ms=hours * HOUR_MS,
            name=f"{name} {number}",
            owner=f"desk-{number % 4}",
            group=("mainnet", "base", "treasury")[number % 3],
            labels={"team": ("fx", "ops")[number % 2], "tier": str(number % 3 + 1)},
            per_rebalance_usd=0.4,
        )
        live[one] = Live(
            id=one,
            status=Status.PAUSED if paused else Status.ACTIVE,
            word="paused" if paused else "active",
            interval_ms=hours * HOUR_MS,
            offset_ms=0,
            pause_reason="Paused from the app by maria" if paused else None,
            next_run_ms=None if paused else NOON_MS + (-80 * HOUR_MS if late else number * 7 % 1440 * 60_000),
        )
        ends = ["failed" if number % failed_every == 9 else "completed", *["completed"] * 8, "cancelled", "failed"]
        results[one] = [rebalance(place, end) for place, end in enumerate(ends)]
    frame = Plan(base_url="https://api.glider.fi", created_ms=NOON_MS, account="Acme EU")
    plan = build_plan(frame, desired, live, Memory())
    plan = replace(plan, cost=plan_cost(plan, desired, live, {}), load=plan_load(plan, live, {}, now_ms=NOON_MS))
    plan = replace(plan, overdue=overdue_among(desired, live, {}, now_ms=NOON_MS))
    return FleetReport(plan=plan, desired=desired, live=live, records={}, results=results, now_ms=NOON_MS)


class Parsed(HTMLParser):
    """Every element, and the text of those that hold code or data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag in ("style", "script")
        if self._open:
            self.inside.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[-1] += data


def data_of(text: str) -> Any:
    """Return what the script of a page reads."""
    return json.loads(Parsed(text).inside[1])


def test_problems_first_in_the_order_of_need() -> None:
    """Failed, overdue, held; each portfolio once, with every reason."""
    page = report_html(fleet(200))
    assert re.match(REPORT_BEGINS, page.encode())
    words = re.findall(r'<td class="need n\d">([a-z ]+)</td>', page)
    assert words == sorted(words, key=["failed", "overdue", "held"].index)
    assert set(words) == {"failed", "overdue", "held"}
    assert "Slippage too high" in page
    assert page.index("What needs a person</h2>") < page.index("Load of the next 24 hours")
    rows = data_of(page)["rows"]
    assert len(rows) == 200
    assert [row[7] for row in rows] == sorted((row[7] for row in rows), key=lambda rank: (rank < 0, rank))
    assert rows[0][6] == "fx" + "c" * 8 + "f"


def test_what_is_alike_is_one_row() -> None:
    """In a long table, and with so many names; few stand for themselves."""
    page = report_html(fleet(1_000))
    assert len(re.findall(r"<tr data-ids=", page)) < 10
    assert "<b>20</b>, such as <code>pf000009</code>, <code>pf000059</code>" in page
    few = report_html(fleet(300))
    assert len(re.findall(r"<tr data-ids=", few)) == len(fleet(300).needs)


def test_load_and_cost_before_and_after() -> None:
    """The plan pauses a tenth, so both sides are there, in all and by group."""
    page = report_html(fleet(60))
    assert "Now: " in page
    assert "After the plan: " in page
    assert 'class="now"' in page
    assert 'class="then"' in page
    assert re.search(r'<tr data-value="mainnet"><th scope="row">mainnet</th>.* → .*</tr>', page)
    assert "USD in 30 days" in page


def test_what_waits_says_so() -> None:
    """A change in a freeze names it, and what is halted or frozen is counted beside the plan."""
    report = fleet(60)
    frozen = replace(report.plan.changes[0], frozen=Frozen(by=("audit",), then=(), until_ms=NOON_MS + HOUR_MS))
    halted = Halted(id=PortfolioId("pf000001"), halt="20261122-7f3a9c", reason="oracle")
    plan = replace(report.plan, changes=(frozen, *report.plan.changes[1:]), halted=(halted,))
    page = report_html(replace(report, plan=plan))
    until = moment(NOON_MS + HOUR_MS)
    assert f'<td class="why">frozen by audit until {until}: ' in page
    assert f"Halted: 1 portfolio. Frozen: 1 change waits, until {until} at most. Plan: " in page
    assert "paused by halt 20261122-7f3a9c (oracle)" in page


def test_a_fleet_without_changes_or_problems() -> None:
    """It says so; there is one side of the load, and no costs where none are declared."""
    whole = fleet(1)
    one = next(iter(whole.desired.values()))
    desired = {one.id: replace(one, per_rebalance_usd=None)}
    plan = build_plan(replace(whole.plan, cost=None, load=None, changes=()), desired, whole.live, Memory())
    page = report_html(replace(whole, plan=plan, desired=desired))
    assert "<p>Nothing does.</p>" in page
    assert "After the plan" not in page
    assert "No file declares what a run costs." in page


def test_nothing_hostile_runs_and_nothing_is_loaded() -> None:
    """Whatever a name holds is text; the policy names exactly the style and the script that are there."""
    whole = fleet(120, name=HOSTILE)
    desired = {
        i: replace(one, group=HOSTILE, owner=HOSTILE, labels={"team": HOSTILE}) for i, one in whole.desired.items()
    }
    plan = replace(whole.plan, account=HOSTILE)
    page = report_html(replace(whole, desired=desired, plan=plan))
    usual = Parsed(report_html(whole))
    found = Parsed(page)
    assert {tag for tag, _ in found.elements} == {tag for tag, _ in usual.elements}
    assert len(found.inside) == 3
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    loading = {"src", "href", "action", "srcset", "style"}
    assert not [name for _, attributes in found.elements for name in attributes if name in loading]
    policy = next(str(attributes["content"]) for _, attributes in found.elements if "http-equiv" in attributes)
    style, _, script = found.inside
    hashes = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src {hashes[0]}; script-src {hashes[1]}; base-uri 'none'; form-action 'none'"
    )
    assert data_of(page)["rows"][0][1].startswith(HOSTILE)
    assert "{{7*7}}" in page


def test_ten_thousand_are_small() -> None:
    """Under 5 MB, also with a group and a label value for each."""
    page = report_html(fleet(10_000))
    assert len(page.encode()) < 5_000_000
    whole = fleet(2_000)
    desired = {i: replace(one, group=f"g{i}", labels={"desk": i}) for i, one in whole.desired.items()}
    page = report_html(replace(whole, desired=desired))
    assert "1960 others" in page
    assert len(page.encode()) < 1_000_000
