"""Who runs when: the runs of a fleet hour by hour, and the minute in which most of them run.

In: what is live, our records of it, and a plan. Out: :class:`~reconciler.core.plan.Load`, as it is and as a plan would
leave it. Times are UTC epoch milliseconds.

Glider tells the next run of a portfolio; the runs after it follow from the interval, and one whose interval is not
known counts once. Where a plan writes a schedule, the next run is not known before Glider tells it: it is taken to be
at the offset from the beginning of 1970, which is not documented (API facts §4.5).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.core.evidence import known_interval
from reconciler.core.model import PortfolioId, Status, StrategyId, Verb
from reconciler.core.plan import Load, LoadChange, Worst
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.change import Change
    from reconciler.core.model import Desired, Live, Record
    from reconciler.core.plan import Plan

NAMED_IN_PLAN: Final = 20
"""A saved plan names this many of those that run in the worst minute."""


class Timed(Struct, frozen=True):
    """One portfolio that runs. ``next_ms`` or ``interval_ms`` is ``None`` where it is not known."""

    id: PortfolioId
    next_ms: int | None
    interval_ms: int | None


def runs_day_of(runs: Iterable[Timed]) -> float:
    """Return the runs a day of those whose interval is known."""
    return sum(DAY_MS / one.interval_ms for one in runs if one.interval_ms)


def load_of(fleet: Iterable[Timed], *, from_ms: int, hours: int = 24, named: int | None = None) -> Load:
    """Return the runs of these portfolios in so many hours; the worst minute names ``named`` of them, else all."""
    to_ms = from_ms + hours * HOUR_MS
    schedules: dict[tuple[int, int | None], list[PortfolioId]] = {}
    runs_day, portfolios, unknown, once = 0.0, 0, 0, 0
    for one in fleet:
        portfolios += 1
        runs_day += DAY_MS / one.interval_ms if one.interval_ms else 0.0
        first_ms = _first(one, from_ms)
        if first_ms is None:
            unknown += 1
            continue
        once += one.interval_ms is None
        schedules.setdefault((first_ms, one.interval_ms), []).append(one.id)
    counts: list[int] = [0] * (-(-to_ms // HOUR_MS) - from_ms // HOUR_MS)
    minutes: Counter[int] = Counter()
    for schedule, members in schedules.items():  # far fewer than portfolios, in most fleets
        for at_ms in _runs(schedule, to_ms):
            counts[at_ms // HOUR_MS - from_ms // HOUR_MS] += len(members)
            minutes[at_ms // MINUTE_MS] += len(members)
    worst = max(minutes, key=lambda minute: (minutes[minute], -minute), default=None)
    return Load(
        from_ms=from_ms,
        to_ms=to_ms,
        hours=tuple(counts),
        runs_day=round(runs_day, 4),
        worst=_worst(worst, schedules, to_ms, named) if worst is not None else None,
        portfolios=portfolios,
        unknown=unknown,
        once=once,
    )


def _first(one: Timed, from_ms: int) -> int | None:
    """Return the first run that is not before a moment; Glider may go on naming one that has passed."""
    if one.next_ms is None or one.next_ms >= from_ms:
        return one.next_ms
    if one.interval_ms is None:
        return None
    return from_ms + (one.next_ms - from_ms) % one.interval_ms


def _runs(schedule: tuple[int, int | None], until_ms: int) -> range:
    first_ms, interval_ms = schedule
    return range(first_ms, until_ms, interval_ms if interval_ms is not None else max(until_ms, 1))


def _worst(
    minute: int, schedules: Mapping[tuple[int, int | None], list[PortfolioId]], until_ms: int, named: int | None
) -> Worst:
    found = sorted(
        one
        for schedule, members in schedules.items()
        for at_ms in _runs(schedule, until_ms)
        if at_ms // MINUTE_MS == minute
        for one in members
    )
    return Worst(at_ms=minute * MINUTE_MS, count=len(found), ids=tuple(found[:named]))


def live_runs(live: Mapping[PortfolioId, Live], records: Mapping[PortfolioId, Record]) -> dict[PortfolioId, Timed]:
    """Return the portfolios that run, by id."""
    return {
        i: Timed(i, one.next_run_ms, known_interval(one, records.get(i)).value)
        for i, one in live.items()
        if one.status is Status.ACTIVE
    }


def plan_load(
    plan: Plan, live: Mapping[PortfolioId, Live], records: Mapping[PortfolioId, Record], *, now_ms: int
) -> LoadChange:
    """Return the load of these portfolios in 24 hours, before and after a plan."""
    before = live_runs(live, records)
    after = runs_after(plan, before, live, now_ms=now_ms)
    one, other = (load_of(runs.values(), from_ms=now_ms, named=NAMED_IN_PLAN) for runs in (before, after))
    return LoadChange(before=one, after=other)


def runs_after(
    plan: Plan, runs: Mapping[PortfolioId, Timed], live: Mapping[PortfolioId, Live], *, now_ms: int
) -> dict[PortfolioId, Timed]:
    """Return the portfolios that run once the plan is carried out, by id. ``runs`` are those that do now."""
    after = dict(runs)
    for change in plan.portfolios:
        portfolio = PortfolioId(change.id)
        if change.verb is Verb.PAUSE:
            after.pop(portfolio, None)
        else:
            after[portfolio] = _after(change, runs.get(portfolio), now_ms)
    # What a month is in milliseconds is documented nowhere (API facts §6), so that cadence is not among the words.
    cadences = {change.of_strategy: WORDS.get(change.after.cadence or "") for change in plan.cadences}
    for portfolio, one in after.items() if cadences else ():
        strategy = live[portfolio].strategy
        if strategy is not None and StrategyId(strategy) in cadences:
            after[portfolio] = Timed(portfolio, one.next_ms, cadences[StrategyId(strategy)])
    return after


def _after(change: Change, now: Timed | None, now_ms: int) -> Timed:
    """Return when a portfolio runs after its change."""
    interval_ms, portfolio = change.after.interval_ms, PortfolioId(change.id)
    if not change.api.can.owns_schedule:  # a resume on v2: due at once, then by its strategy (API facts §1.3)
        return Timed(portfolio, now_ms, change.cadence_ms)
    if change.verb is Verb.RESUME and not change.writes_schedule:
        interval_ms = change.before.interval_ms if interval_ms is None else interval_ms
        offset_ms = change.before.offset_ms if change.after.offset_ms is None else change.after.offset_ms
    else:  # what is written without an offset has none (API facts §1.1)
        offset_ms = change.after.offset_ms or 0
    if interval_ms is None or offset_ms is None:
        return Timed(portfolio, now.next_ms if now is not None else None, interval_ms)
    return Timed(portfolio, now_ms + (offset_ms - now_ms) % interval_ms, interval_ms)


def by_word(
    runs: Mapping[PortfolioId, Timed],
    desired: Mapping[PortfolioId, Desired],
    key: str,
    *,
    from_ms: int,
    hours: int = 24,
) -> dict[str, Load]:
    """Return the load of each group (``key`` is ``group``) or value of a label, sorted; ``""`` is for those without."""
    parts: dict[str, list[Timed]] = {}
    for portfolio, one in runs.items():
        found = desired.get(portfolio)
        word = found and (found.group if key == "group" else found.labels.get(key))
        parts.setdefault(word or "", []).append(one)
    return {word: load_of(parts[word], from_ms=from_ms, hours=hours) for word in sorted(parts)}
