"""What advice says to the letter, where it points, and the edges of the minutes that it counts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.advice import MANY_RESUMES, SAME_MINUTE, Rule, advise, advise_plan
from reconciler.core.change import Change
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.model import ApiVersion, Desired, Origin, Status
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from tests.core.test_advice import fleet, many, plan_of, silence, told, wanted

OVER = SAME_MINUTE + 1


def said(*portfolios: object) -> list[str]:
    """Return the problems that the files alone let one say."""
    return [found.problem for found in advise(fleet(portfolios))]  # type: ignore[arg-type]  # all are portfolios


def test_one_portfolio_is_told_at_its_place() -> None:
    """The warning stands at the portfolio and speaks of it alone."""
    dear = wanted("a", HOUR_MS, per_rebalance_usd=0.35, origin=Origin("a.yaml", 7))
    cheap = wanted("0", DAY_MS, per_rebalance_usd=0.35, origin=Origin("a.yaml", 2))
    assert advise(fleet([cheap, dear])) == (
        Diagnostic(
            Severity.WARNING,
            "it runs every 1h at 0.35 USD, which is 252 USD in 30 days, more than 30",
            "lengthen the interval, or raise `costs.warn_above_usd_month`, or silence `short-interval` with a reason",
            "portfolios.a",
            SourceSpan("a.yaml", 7),
            rule="short-interval",
        ),
    )


@pytest.mark.parametrize(
    ("count", "who"),
    [
        (2, "2 portfolios (p0000, p0001)"),
        (3, "3 portfolios (p0000, p0001, p0002)"),
        (4, "4 portfolios (p0000, p0001, p0002 and 1 more)"),
    ],
)
def test_portfolios_that_are_alike_are_named(count: int, who: str) -> None:
    """Three names at most, then how many more there are; the place is that of the first."""
    (found,) = advise(fleet(many(count, every=HOUR_MS, per_rebalance_usd=0.35, origin=Origin("a.yaml", 7))))
    problem = f"{who} run every 1h at 0.35 USD, which is 252 USD in 30 days each, more than 30"
    assert (found.problem, found.address, found.span) == (problem, "portfolios", SourceSpan("a.yaml", 7))


def test_only_who_is_alike_is_told_together() -> None:
    """A group, an interval, a cost or a limit of its own makes a warning of its own; v2 and cheap ones stop nothing."""
    one = wanted("m", HOUR_MS, per_rebalance_usd=0.35)
    found = said(
        wanted("a", DAY_MS, per_rebalance_usd=0.1),
        wanted("b", HOUR_MS, per_rebalance_usd=0.35, api=ApiVersion.V2),
        one,
        replace(one, id="n", group="g"),
        replace(one, id="o", interval_ms=2 * HOUR_MS),
        replace(one, id="p", per_rebalance_usd=0.7),
        replace(one, id="q", warn_above_usd_month=31.0),
        replace(one, id="r"),
    )
    assert [problem.partition(" run")[0] for problem in found] == ["2 portfolios (m, r)", "it", "it", "it", "it"]


def test_a_needless_silence_is_told_at_its_place() -> None:
    """It may go: what comes later would not be told."""
    assert advise(fleet([wanted("a", silences=(silence(Rule.SAME_MINUTE, 9), silence(Rule.MANY_RESUMES)))])) == (
        Diagnostic(
            Severity.WARNING,
            "the silence of `same-minute` silences nothing",
            "remove it, so that it does not hide what comes later",
            "groups.g.silence.same-minute",
            SourceSpan("a.yaml", 9),
        ),
    )


def test_a_shared_silence_is_useful_where_one_needs_it() -> None:
    """One that stands in a group is told as needless only where it silences nobody, and then once."""
    shared = (silence(Rule.SHORT_INTERVAL),)
    dear, cheap = wanted("a", HOUR_MS, per_rebalance_usd=1.0), wanted("b", HOUR_MS, per_rebalance_usd=0.01)
    assert said(replace(dear, silences=shared), replace(cheap, silences=shared)) == []
    assert len(said(replace(cheap, silences=shared), replace(cheap, id="c", silences=shared))) == 1


QUIET = silence(Rule.SAME_MINUTE)


@pytest.mark.parametrize(
    ("loud", "quiet", "expected"),
    [
        (OVER, 0, ["same-minute"]),
        (SAME_MINUTE, 1, []),
        (SAME_MINUTE - 1, 1, ["useless"]),
        (OVER, 1, ["same-minute"]),
    ],
)
def test_a_silence_of_the_minute_counts_with_all_the_others(loud: int, quiet: int, expected: list[str]) -> None:
    """It is of use where its portfolio makes a minute too full, together with those that are not silenced."""
    silent = many(quiet, 500, offset_ms=0, silences=(QUIET,))
    elsewhere = many(OVER, 600, offset_ms=HOUR_MS, every=WEEK_MS * 2)[:SAME_MINUTE]
    assert told([*many(loud, offset_ms=0), *silent, *elsewhere]) == expected


def test_a_silence_of_a_first_run_after_the_week() -> None:
    """Portfolios of one schedule run together, whatever is looked at."""
    late = many(OVER, every=4 * WEEK_MS, offset_ms=3 * WEEK_MS, silences=(QUIET,))
    assert told(late) == []
    assert told(late[:-1] + many(1, 900, offset_ms=0)) == ["useless"]


FULLEST = [
    (many(OVER, offset_ms=5 * MINUTE_MS), "21 at 24h +5m"),
    (
        many(20, offset_ms=0) + many(3, 100, every=HOUR_MS, offset_ms=0) + many(2, 200, every=2 * HOUR_MS, offset_ms=0),
        "20 at 24h +0s, 3 at 1h +0s, 2 at 2h +0s",
    ),
    (
        many(20, offset_ms=0)
        + many(3, 100, every=HOUR_MS, offset_ms=0)
        + many(2, 200, every=2 * HOUR_MS, offset_ms=0)
        + many(1, 300, every=3 * HOUR_MS, offset_ms=0)
        + many(1, 400, every=4 * HOUR_MS, offset_ms=0),
        "20 at 24h +0s, 3 at 1h +0s, 2 at 2h +0s and 2 other schedules",
    ),
    # Seconds of one minute are one minute, and told as declared.
    (many(11, offset_ms=0) + many(10, 100, offset_ms=59_999), "11 at 24h +0s, 10 at 24h +59999ms"),
    # The first of two minutes that are alike.
    (
        many(11, every=WEEK_MS, offset_ms=0)
        + many(10, 100, every=2 * WEEK_MS, offset_ms=0)
        + many(11, 200, every=WEEK_MS, offset_ms=HOUR_MS)
        + many(10, 300, every=2 * WEEK_MS, offset_ms=HOUR_MS),
        "11 at 1w +0s, 10 at 2w +0s",
    ),
    # An interval that is no whole number of minutes is counted by its own runs.
    (
        many(11, every=90_500, offset_ms=0) + many(10, 100, every=DAY_MS, offset_ms=90_500),
        "11 at 90500ms +0s, 10 at 24h +90500ms",
    ),
]


@pytest.mark.parametrize(("portfolios", "schedules"), FULLEST, ids=[str(n) for n in range(len(FULLEST))])
def test_the_fullest_minute_in_words(portfolios: list[object], schedules: str) -> None:
    """Three schedules are told by how many they are, and the others counted."""
    (found,) = advise(fleet(portfolios))  # type: ignore[arg-type]  # all are portfolios
    assert found.problem.endswith(f" run in the same minute, more than 20: {schedules}")


LATE = 3 * WEEK_MS


@pytest.mark.parametrize(
    ("portfolios", "expected"),
    [
        # 90.5 s run in the minutes 0, 1, 3, 4, 6, ...
        (many(11, every=90_500, offset_ms=0) + many(10, 100, every=WEEK_MS, offset_ms=2 * MINUTE_MS), []),
        (many(11, every=90_500, offset_ms=0) + many(10, 100, every=WEEK_MS, offset_ms=3 * MINUTE_MS), ["same-minute"]),
        # ... and half a minute later in 0, 2, 3, 5, ...
        (many(11, every=90_500, offset_ms=30_000) + many(10, 100, every=WEEK_MS, offset_ms=MINUTE_MS), []),
        # Days 1, 3 and 5, and days 0 and 3.
        (
            many(11, every=2 * DAY_MS, offset_ms=DAY_MS) + many(10, 100, every=3 * DAY_MS, offset_ms=0),
            ["same-minute"],
        ),
        # Both after the week that is looked at, a second apart.
        (
            many(11, every=4 * WEEK_MS, offset_ms=LATE) + many(10, 100, every=4 * WEEK_MS, offset_ms=LATE + 1_000),
            ["same-minute"],
        ),
    ],
)
def test_who_meets_in_a_minute(portfolios: list[Desired], expected: list[str]) -> None:
    """Runs are counted where they fall, however odd their interval."""
    assert told(portfolios) == expected


def test_the_largest_schedule_goes_before_a_minute_of_several() -> None:
    """Where both hold as many, one schedule is the simpler thing to say."""
    mixed = many(11, offset_ms=0) + many(10, 100, every=HOUR_MS, offset_ms=0)
    (found,) = advise(fleet(mixed + many(OVER, 500, every=4 * WEEK_MS, offset_ms=LATE)))
    assert found.problem.endswith("more than 20: 21 at 4w +3w")


def test_the_fullest_minute_is_told_at_its_first_portfolio() -> None:
    """The place is in the files."""
    (found,) = advise(fleet(many(OVER, offset_ms=0, origin=Origin("b.yaml", 4))))
    assert (found.span, found.address, found.rule) == (SourceSpan("b.yaml", 4), "portfolios", "same-minute")


def test_resumes_in_words() -> None:
    """How many, and how many of them on v2, where each makes a rebalance due."""
    wishes = many(MANY_RESUMES + 1)
    plan = plan_of(wishes, Status.PAUSED, DAY_MS)
    (found,) = advise_plan(plan, fleet(wishes), {})
    assert found == Diagnostic(
        Severity.WARNING,
        "11 portfolios would be resumed at once, more than 10, and may all trade",
        "resume them in parts, with --target or --select, or silence `many-resumes` with a reason",
        "portfolios",
        None,
        rule="many-resumes",
    )
    assert all(isinstance(change, Change) for change in plan.changes)
    changes = tuple(replace(c, api=ApiVersion.V2) if n < 4 else c for n, c in enumerate(plan.changes))
    (found,) = advise_plan(replace(plan, changes=changes), fleet(wishes), {})
    assert found.problem == (
        "11 portfolios would be resumed at once, more than 10, and may all trade; "
        "4 of them on v2, where that makes a rebalance due at once"
    )
