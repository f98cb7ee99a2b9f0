"""The rules of advice over values: what each warns of, what silences it, and what a plan costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.advice import MANY_RESUMES, SAME_MINUTE, TRIGGERS_A_DAY, Rule, advise, advise_live, advise_plan
from reconciler.core.cost import plan_cost, usd, usd_a_month
from reconciler.core.diagnostics import SourceSpan
from reconciler.core.model import (
    ApiVersion,
    Cadence,
    Desired,
    Live,
    PortfolioId,
    RunState,
    Signs,
    Silence,
    Status,
    StrategyId,
)
from reconciler.core.plan import Plan, PlanCost
from reconciler.core.planfile import format_plan, parse_plan
from reconciler.core.planner import build_plan
from reconciler.core.ports import Memory
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from reconciler.render.effects import cost_effect
from tests.support import cadence_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/rules.md").read_text("utf-8")


def wanted(name: str, every: int | None = DAY_MS, **fields: object) -> Desired:
    return replace(Desired(id=PortfolioId(name), state=RunState.ACTIVE, interval_ms=every), **fields)  # type: ignore[arg-type]  # the fields of a test are its own


def many(count: int, first: int = 0, **fields: object) -> list[Desired]:
    return [wanted(f"p{number:04}", **fields) for number in range(first, first + count)]  # type: ignore[arg-type]  # as above


def fleet(portfolios: Iterable[Desired]) -> dict[PortfolioId, Desired]:
    return {one.id: one for one in portfolios}


def silence(rule: Rule, line: int = 1) -> Silence:
    return Silence(rule, "meant so", f"groups.g.silence.{rule}", SourceSpan("a.yaml", line))


def told(portfolios: Iterable[Desired]) -> list[str]:
    """Return the rules that are told, ``useless`` for a silence of nothing."""
    return [found.rule or "useless" for found in advise(fleet(portfolios))]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (wanted("a", HOUR_MS, per_rebalance_usd=0.35), ["short-interval"]),
        (wanted("a", HOUR_MS, per_rebalance_usd=0.04), []),
        (wanted("a", HOUR_MS, per_rebalance_usd=0.35, warn_above_usd_month=252.0), []),
        (wanted("a", HOUR_MS, per_rebalance_usd=0.35, warn_above_usd_month=251.99), ["short-interval"]),
        (wanted("a", DAY_MS, per_rebalance_usd=1.0), []),
        (wanted("a", DAY_MS, per_rebalance_usd=1.01), ["short-interval"]),
        (wanted("a", DAY_MS, per_rebalance_usd=0.01, warn_above_usd_month=0.0), ["short-interval"]),
        (wanted("a", HOUR_MS), []),
        (wanted("a", None, per_rebalance_usd=9.0), []),
        (wanted("a", HOUR_MS, per_rebalance_usd=9.0, state=RunState.PAUSED), []),
        (wanted("a", HOUR_MS, per_rebalance_usd=9.0, silences=(silence(Rule.SHORT_INTERVAL),)), []),
        (wanted("a", HOUR_MS, per_rebalance_usd=9.0, silences=(silence(Rule.MANY_RESUMES),)), ["short-interval"]),
        (wanted("a", DAY_MS, per_rebalance_usd=0.1, silences=(silence(Rule.SHORT_INTERVAL),)), ["useless"]),
        (wanted("a", silences=(silence(Rule.SAME_MINUTE),)), ["useless"]),
        (wanted("a", silences=(silence(Rule.MANY_RESUMES), silence(Rule.FREQUENT_TRIGGERS))), []),
    ],
)
def test_an_interval_is_judged_by_its_cost(one: Desired, expected: list[str]) -> None:
    """Only an active portfolio with a declared cost is judged, by its own limit, and a needless silence is told."""
    assert told([one]) == expected


def test_a_paused_portfolio_keeps_its_silence_useful() -> None:
    """A silence is not called useless for as long as its portfolio is paused."""
    paused = wanted("a", HOUR_MS, per_rebalance_usd=9.0, state=RunState.PAUSED)
    assert told([replace(paused, silences=(silence(Rule.SHORT_INTERVAL),))]) == []


def test_v2_has_no_interval_to_judge() -> None:
    """A v2 portfolio's cadence belongs to its strategy."""
    assert told([wanted("a", None, per_rebalance_usd=9.0, api=ApiVersion.V2)]) == []


def test_portfolios_that_are_alike_are_one_warning() -> None:
    """A group with a thousand mistakes is one mistake, told at the first portfolio with the number of the others."""
    found = advise(fleet(many(1000, every=HOUR_MS, per_rebalance_usd=0.35, group="g")))
    assert "\n".join(map(str, found)) == (
        "portfolios: 1000 portfolios (p0000, p0001, p0002 and 997 more) run every 1h at 0.35 USD, which is 252 USD "
        "in 30 days each, more than 30; lengthen the interval, or raise `costs.warn_above_usd_month`, or silence "
        "`short-interval` with a reason [short-interval]"
    )


@pytest.mark.parametrize(
    ("portfolios", "expected"),
    [
        (many(SAME_MINUTE, offset_ms=0), []),
        (many(SAME_MINUTE + 1, offset_ms=0), ["same-minute"]),
        (many(SAME_MINUTE + 1), []),
        (many(SAME_MINUTE + 1, offset_ms=0, state=RunState.PAUSED), []),
        (many(SAME_MINUTE, offset_ms=0) + many(1, 100, offset_ms=59_999), ["same-minute"]),
        (many(SAME_MINUTE, offset_ms=0) + many(1, 100, offset_ms=MINUTE_MS), []),
        # Every hour at :30, and every day at 6:30, meet once a day.
        (
            many(15, every=HOUR_MS, offset_ms=HOUR_MS // 2) + many(6, 100, offset_ms=6 * HOUR_MS + HOUR_MS // 2),
            ["same-minute"],
        ),
        # Every two days and every three meet at the start, and on each sixth day.
        (many(15, every=2 * DAY_MS, offset_ms=0) + many(6, 100, every=3 * DAY_MS, offset_ms=0), ["same-minute"]),
        (many(15, every=2 * DAY_MS, offset_ms=0) + many(6, 100, every=2 * DAY_MS, offset_ms=DAY_MS), []),
        # A first run after the week that is looked at.
        (many(SAME_MINUTE + 1, every=4 * WEEK_MS, offset_ms=3 * WEEK_MS), ["same-minute"]),
        # An interval that is no whole number of minutes wanders.
        (many(SAME_MINUTE + 1, every=HOUR_MS + 1, offset_ms=5), ["same-minute"]),
        (many(SAME_MINUTE + 1, offset_ms=0, silences=(silence(Rule.SAME_MINUTE),)), []),
        (many(SAME_MINUTE, offset_ms=0, silences=(silence(Rule.SAME_MINUTE),)), ["useless"]),
        # One that is silenced leaves the others below the limit.
        (many(SAME_MINUTE, offset_ms=0) + many(1, 100, offset_ms=0, silences=(silence(Rule.SAME_MINUTE),)), []),
    ],
)
def test_who_runs_in_one_minute(portfolios: list[Desired], expected: list[str]) -> None:
    """Active portfolios with a declared offset are counted to the minute, whatever their intervals."""
    assert told(portfolios) == expected


def test_the_worst_minute_is_told_by_its_schedules() -> None:
    """The warning names how many run at which schedule."""
    (found,) = advise(fleet(many(30, offset_ms=0) + many(5, 100, every=HOUR_MS, offset_ms=0)))
    assert "35 portfolios (p0000, p0001, p0002 and 32 more)" in found.problem
    assert found.problem.endswith("more than 20: 30 at 24h +0s, 5 at 1h +0s")


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, 6, 8]), st.integers(0, 59)), min_size=21, max_size=80))
def test_the_worst_minute_is_what_counting_finds(schedules: list[tuple[int, int]]) -> None:
    """A minute over the limit is found if, and only if, a day's minutes counted one by one have one."""
    portfolios = [
        wanted(f"p{number}", hours * HOUR_MS, offset_ms=minute * MINUTE_MS)
        for number, (hours, minute) in enumerate(schedules)
    ]
    worst = max(
        sum(at >= minute and (at - minute) % (hours * 60) == 0 for hours, minute in schedules) for at in range(24 * 60)
    )
    assert bool(told(portfolios)) is (worst > SAME_MINUTE)


def plan_of(desired: Iterable[Desired], status: Status, live_ms: int | None = None) -> Plan:
    wishes = fleet(desired)
    live = lives(wishes, status, live_ms)
    plan = build_plan(Plan(base_url="sandbox://t", created_ms=0), wishes, live, Memory())
    return replace(plan, cost=plan_cost(plan, wishes, live, {}))


def lives(wishes: Mapping[PortfolioId, Desired], status: Status, live_ms: int | None) -> dict[PortfolioId, Live]:
    reason = "Paused via API: x [glider-reconciler]" if status is Status.PAUSED else None
    return {i: Live(id=i, status=status, interval_ms=live_ms, offset_ms=0, pause_reason=reason) for i in wishes}


def test_many_resumes_at_once() -> None:
    """One resume more than the number is told, unless portfolios that don't count make the difference."""
    few, over = many(MANY_RESUMES), many(MANY_RESUMES + 1)
    quiet = [*few, replace(over[-1], silences=(silence(Rule.MANY_RESUMES),))]
    rules = [
        [found.rule for found in advise_plan(plan_of(wishes, Status.PAUSED, DAY_MS), fleet(wishes), {})]
        for wishes in (few, over, quiet)
    ]
    assert rules == [[], ["many-resumes"], []]


def test_frequent_triggers() -> None:
    """More triggers than the number are told of each portfolio that is selected and not silenced."""
    wishes = fleet([wanted("a"), wanted("b"), wanted("c", silences=(silence(Rule.FREQUENT_TRIGGERS),))])
    counted = {PortfolioId(name): TRIGGERS_A_DAY + 1 for name in ("a", "c", "gone")} | {
        PortfolioId("b"): TRIGGERS_A_DAY
    }
    found = advise_plan(plan_of(wishes.values(), Status.ACTIVE, DAY_MS), wishes, counted)
    assert "\n".join(map(str, found)) == (
        "portfolios.a: 5 rebalances were asked for in 24h, more than 4; shorten the interval instead, or silence "
        "`frequent-triggers` with a reason [frequent-triggers]"
    )


@pytest.mark.parametrize(
    ("status", "live_ms", "state", "expected"),
    [
        (Status.ACTIVE, DAY_MS, RunState.ACTIVE, (30.0, 60.0, 1)),
        (Status.ACTIVE, DAY_MS // 2, RunState.ACTIVE, (60.0, 60.0, 1)),
        (Status.ACTIVE, DAY_MS, RunState.PAUSED, (30.0, 0.0, 1)),
        (Status.ACTIVE, None, RunState.ACTIVE, (0.0, 0.0, 0)),
        (Status.PAUSED, DAY_MS // 2, RunState.ACTIVE, (0.0, 60.0, 1)),
        (Status.PAUSED, None, RunState.PAUSED, (0.0, 0.0, 1)),
        (Status.INACTIVE, None, RunState.ACTIVE, (0.0, 60.0, 1)),
        (Status.ERROR, None, RunState.ACTIVE, (0.0, 0.0, 0)),
        (Status.ARCHIVED, None, RunState.ACTIVE, (0.0, 0.0, 1)),
    ],
)
def test_what_a_plan_costs(
    status: Status, live_ms: int | None, state: RunState, expected: tuple[float, float, int]
) -> None:
    """A portfolio that stands still costs nothing, and one counts only where both sides are known."""
    plan = plan_of([wanted("a", DAY_MS // 2, state=state, per_rebalance_usd=1.0), wanted("b")], status, live_ms)
    assert plan.cost is not None
    assert (plan.cost.before_usd_month, plan.cost.after_usd_month, plan.cost.portfolios_known) == expected
    assert plan.cost.portfolios == 1


@pytest.mark.parametrize(
    ("cadence", "expected"),
    [(Cadence.WEEKLY, (30.0, 4.29, 1)), (Cadence.HOURLY, (30.0, 720.0, 1)), (Cadence.MONTHLY, (0.0, 0.0, 0))],
)
def test_a_new_cadence_changes_the_cost_of_the_enrolled(cadence: Cadence, expected: tuple[float, float, int]) -> None:
    """A strategy's change counts for its portfolios; what a month is in milliseconds is not known."""
    wishes = fleet([wanted("a", None, api=ApiVersion.V2, per_rebalance_usd=1.0)])
    strategy = StrategyId("s")
    live = {i: Live(id=i, status=Status.ACTIVE, interval_ms=DAY_MS, strategy=strategy) for i in wishes}
    plan = build_plan(Plan(base_url="sandbox://t", created_ms=0), wishes, live, Memory())
    change = cadence_change(strategy, Cadence.DAILY, cadence)
    cost = plan_cost(replace(plan, changes=(*plan.changes, change)), wishes, live, {})
    assert cost is not None
    assert (cost.before_usd_month, cost.after_usd_month, cost.portfolios_known) == expected


def test_a_plan_without_declared_costs_has_none() -> None:
    """Nothing is assumed of a price that nobody declared."""
    plan = plan_of([wanted("a")], Status.ACTIVE, HOUR_MS)
    assert plan.cost is None
    assert cost_effect(plan) == ""


def test_costs_and_rules_survive_the_plan_file() -> None:
    """A saved plan has the cost and the rule of every warning, and its fingerprint does not depend on them."""
    wishes = many(MANY_RESUMES + 1, per_rebalance_usd=0.1)
    plan = plan_of(wishes, Status.PAUSED, DAY_MS)
    plan = replace(plan, warnings=advise_plan(plan, fleet(wishes), {}))
    assert parse_plan(format_plan(plan)) == plan


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (
            (10.5, 21.0, 1.0, 2.0, 2, 2),
            "Cost: 10.50 → 21 USD in 30 days, 1 → 2 runs a day, of 2 portfolios with a declared cost.",
        ),
        (
            (0.0, 1234.5, 0.0, 1.5, 1, 3),
            "Cost: 0 → 1,234.50 USD in 30 days, 0 → 1.5 runs a day, of 1 portfolio with a declared cost{}.".format(
                ", not counting 2 whose live interval is unknown"
            ),
        ),
        (
            (0.0, 0.0, 0.0, 0.0, 0, 3),
            "Cost: not known; the live interval of 3 portfolios with a declared cost is unknown.",
        ),
    ],
)
def test_the_line_of_the_cost(cost: tuple[float, float, float, float, int, int], expected: str) -> None:
    """The footer says how many portfolios it knows."""
    names = (
        "before_usd_month",
        "after_usd_month",
        "before_runs_day",
        "after_runs_day",
        "portfolios_known",
        "portfolios",
    )
    found = PlanCost(**dict(zip(names, cost, strict=True)))  # type: ignore[arg-type]  # the last two are whole numbers
    assert cost_effect(replace(plan_of([], Status.ACTIVE), cost=found)) == expected


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (0.5, "0.50"), (30, "30"), (1234.5, "1,234.50"), (0.0004, "0.0004")]
)
def test_amounts(amount: float, text: str) -> None:
    """Cents are shown where there are any."""
    assert usd(amount) == text


def test_a_month_is_thirty_days() -> None:
    """The cost of a month does not depend on which month it is."""
    assert usd_a_month(1.0, DAY_MS) == 30


PRICED = {"per_rebalance_usd": 1.0}


@pytest.mark.parametrize(
    ("one", "signs", "said"),
    [
        (wanted("a"), Signs(), None),
        (wanted("a"), Signs(value_usd=10), None),
        (wanted("a"), Signs(value_usd=9.99), "it holds 9.99 USD, less than 10 USD; add funds, or pause it"),
        (wanted("a"), Signs(value_usd=0), "it holds 0 USD, less than 10 USD"),
        (wanted("a", **PRICED), Signs(value_usd=30), None),
        (wanted("a", **PRICED), Signs(value_usd=29), "it holds 29 USD, less than the 30 USD that its runs cost in 30"),
        (wanted("a", WEEK_MS, **PRICED), Signs(value_usd=9), "it holds 9 USD, less than 10 USD"),
        (wanted("a", None, **PRICED), Signs(value_usd=11), None),
        (wanted("a"), Signs(gas_used=1_000_000), None),
        (wanted("a"), Signs(gas_used=1_000_001), "its last run used 1,000,001 units of gas, more than 1,000,000"),
        (wanted("a"), Signs(trigger_percent=1.01), None),
        (
            wanted("a"),
            Signs(trigger_percent=0.5),
            "its template trades at a drift of 0.5 %, so nearly every run trades",
        ),
        (wanted("a", state=RunState.PAUSED), Signs(value_usd=0, gas_used=10**9, trigger_percent=0), None),
    ],
)
def test_what_was_read_of_a_portfolio(one: Desired, signs: Signs, said: str | None) -> None:
    """Each limit from both sides; what is declared paused, and what nobody knows, brings no warning."""
    found = advise_live([(one, signs)])
    assert [(said or "?") in str(warning) for warning in found] == ([True] if said else [])


def test_portfolios_that_are_alike_bring_one_warning() -> None:
    """A thousand empty ones are one row, which names the worst; a silence takes out its own portfolio alone."""
    poor = [(one, Signs(value_usd=float(n), gas_used=10**7 + n)) for n, one in enumerate(many(5))]
    funds, gas = advise_live(poor)
    assert "5 portfolios (p0000, p0001, p0002 and 2 more) each hold less than 10 USD, the least 0 USD" in str(funds)
    assert (
        "the last runs of 5 portfolios (p0000, p0001, p0002 and 2 more) used more than 1,000,000 units of gas"
        in str(gas)
    )
    assert gas.problem.endswith("the most 10,000,004")
    quiet = replace(poor[0][0], silences=(silence(Rule.LOW_FUNDS),))
    funds, gas = advise_live([(quiet, poor[0][1]), *poor[1:]])
    assert ("4 portfolios" in funds.problem, "5 portfolios" in gas.problem) == (True, True)
    assert (funds.rule, gas.rule) == ("low-funds", "gas-heavy")
    assert advise({quiet.id: quiet}) == ()  # whether such a silence has an effect depends on the day


def test_the_page_lists_every_rule() -> None:
    """The table of the rules is the program's own, and each rule says what it knows."""
    table = PAGE.partition("<!-- rules: begin -->\n")[2].partition("\n<!-- rules: end -->")[0].strip().split("\n")[2:]
    assert table == [f"| `{rule}` | {rule.told_by} | {rule.sentence} | {rule.repair} |" for rule in Rule]
    assert all(f"- **{rule}** " in PAGE for rule in Rule)
