"""Best practices as advice: rules that a valid configuration and a plan may go against, told as warnings.

In: desired portfolios, a plan, counts of triggers. Out: diagnostics that carry the id of their rule; none of them stops
anything. A rule is silenced for a portfolio by a declared reason. Knows no file, no clock and no exit code.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from functools import reduce
from math import lcm
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.model import PortfolioId, RunState, Verb
from reconciler.core.text import MINUTE_MS, WEEK_MS, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reconciler.core.model import Desired, Signs, Silence
    from reconciler.core.plan import Plan

WARN_ABOVE_USD_MONTH: Final = 30.0
"""What the runs of one portfolio may cost in 30 days without a warning, where the files say no other number: a dollar a
day. Only portfolios with a declared cost are looked at."""
MANY_RESUMES: Final = 10
"""A plan may resume this many portfolios without a warning; each may trade shortly afterwards (API facts §1.3)."""
SAME_MINUTE: Final = 20
"""This many portfolios may run in one minute without a warning: twice the requests in flight by default."""
TRIGGERS_A_DAY: Final = 4
"""Up to this many rebalances of one portfolio in 24 hours bring no warning; more call for a shorter interval."""
LOW_FUNDS_USD: Final = 10.0
"""A portfolio that holds less hardly pays for its own runs (best practices of Glider's guide)."""
GAS_HEAVY: Final = 1_000_000
"""Units of gas in one run without a warning: a swap takes some 150,000, so this is a run of many swaps."""
SMALL_THRESHOLD_PERCENT: Final = 1.0
"""At so small a drift nearly every run trades; the guide's own example has 5."""

_WHERE_TOLD: Final = "`status`, `plan`"
_NAMED: Final = 3
"""Portfolios and schedules that a warning names; of the others it tells the number."""


class Rule(StrEnum):
    """The rules, by the ids under which they are reported and silenced.

    ``told_by`` names the commands that look at it, ``sentence`` says what it warns of, ``repair`` what to do about it.
    """

    told_by: str
    sentence: str
    repair: str

    def __new__(cls, word: str, told_by: str = "", sentence: str = "", repair: str = "") -> Rule:
        """Make a member; the defaults are for type checkers alone, which read ``Rule("…")`` as a call of this."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.told_by, member.sentence, member.repair = told_by, sentence, repair
        return member

    SHORT_INTERVAL = (
        "short-interval",
        "`validate`, `plan`",
        f"the runs of one portfolio cost more than {WARN_ABOVE_USD_MONTH:g} USD in 30 days",
        "lengthen the interval, or raise `costs.warn_above_usd_month`",
    )
    SAME_MINUTE = (
        "same-minute",
        "`validate`, `plan`",
        f"more than {SAME_MINUTE} portfolios are scheduled for the same minute",
        "give them different offsets",
    )
    MANY_RESUMES = (
        "many-resumes",
        "`plan`",
        f"one plan resumes more than {MANY_RESUMES} portfolios",
        "resume them in parts, with --target or --select",
    )
    FREQUENT_TRIGGERS = (
        "frequent-triggers",
        "`plan`",
        f"more than {TRIGGERS_A_DAY} rebalances of one portfolio were asked for in 24h",
        "shorten the interval instead",
    )

    LOW_FUNDS = (
        "low-funds",
        _WHERE_TOLD,
        f"a portfolio holds less than {LOW_FUNDS_USD:g} USD, or than its runs cost in 30 days",
        "add funds, or pause it",
    )
    GAS_HEAVY = (
        "gas-heavy",
        _WHERE_TOLD,
        f"the last run of a portfolio used more than {GAS_HEAVY:,} units of gas",
        "lengthen the interval, or let its template trade at a larger drift",
    )
    SMALL_THRESHOLD = (
        "small-threshold",
        _WHERE_TOLD,
        f"the template of a portfolio trades at a drift of {SMALL_THRESHOLD_PERCENT:g} % or less",
        "raise the threshold of its template",
    )


OF_PLANS: Final = frozenset(rule for rule in Rule if "`validate`" not in rule.told_by)
"""The rules that need more than the files. Whether a silence of one of them has an effect depends on the day, so none
is reported as useless."""


def advise(desired: Mapping[PortfolioId, Desired]) -> tuple[Diagnostic, ...]:
    """Return the advice that needs nothing but the files, then the silences that have no effect."""
    fleet = desired.values()
    used: set[Silence] = set()
    found = [*_short_intervals(fleet, used), *_same_minute(fleet, used)]
    return (*found, *_useless(fleet, used))


def advise_plan(
    plan: Plan, desired: Mapping[PortfolioId, Desired], triggers: Mapping[PortfolioId, int]
) -> tuple[Diagnostic, ...]:
    """Return the advice about a plan. ``triggers`` counts the rebalances asked for in the last 24 hours."""
    found: list[Diagnostic] = []
    resumed = [
        change
        for change in plan.changes
        if change.verb is Verb.RESUME and _silence_of(desired.get(PortfolioId(change.id)), Rule.MANY_RESUMES) is None
    ]
    if len(resumed) > MANY_RESUMES:
        at_once = sum(not change.api.can.owns_schedule for change in resumed)
        how = f"; {at_once} of them on v2, where that makes a rebalance due at once" if at_once else ""
        problem = f"{len(resumed)} portfolios would be resumed at once, more than {MANY_RESUMES}, and may all trade"
        found.append(_warning(Rule.MANY_RESUMES, problem + how))
    for portfolio, count in sorted(triggers.items()):
        one = desired.get(portfolio)
        if one is not None and count > TRIGGERS_A_DAY and _silence_of(one, Rule.FREQUENT_TRIGGERS) is None:
            problem = f"{count} rebalances were asked for in 24h, more than {TRIGGERS_A_DAY}"
            found.append(_warning(Rule.FREQUENT_TRIGGERS, problem, [one]))
    return (*found, *_same_written_minute(plan, desired))


def _same_written_minute(plan: Plan, desired: Mapping[PortfolioId, Desired]) -> Iterable[Diagnostic]:
    """Return the warning for the worst minute where the plan writes offsets that no file declares.

    It then takes the place of the one that the files alone gave reason for: a start or an update without an offset
    sets it to 0 (API facts §1.1), so all such portfolios would run in one minute.
    """
    written = {
        PortfolioId(change.id): change.after
        for change in plan.portfolios
        if change.after.interval_ms is not None and (change.writes_schedule or change.verb is Verb.START)
    }
    fleet = [
        replace(one, interval_ms=written[i].interval_ms, offset_ms=written[i].offset_ms or 0) if i in written else one
        for i, one in desired.items()
    ]
    return _same_minute(fleet, set()) if fleet != [*desired.values()] else ()


def advise_live(seen: Iterable[tuple[Desired, Signs]]) -> tuple[Diagnostic, ...]:
    """Return the advice about what was read of portfolios, one warning for all that are alike."""
    active = [(one, signs) for one, signs in seen if one.state is RunState.ACTIVE]
    return tuple(found for judge in _JUDGES for found in _judged(judge, active))


class _Finding(Struct, frozen=True):
    """What is beyond a limit, both as people read it; the lower ``rank``, the worse."""

    found: str
    limit: str
    rank: float


class _Judge(Struct, frozen=True):
    """How a rule is judged, and its sentences about one portfolio and about several that are alike."""

    rule: Rule
    finding: Callable[[Desired, Signs], _Finding | None]
    single: str
    several: str


def _judged(judge: _Judge, seen: Iterable[tuple[Desired, Signs]]) -> Iterable[Diagnostic]:
    alike: dict[str, list[tuple[_Finding, Desired]]] = {}
    for one, signs in seen:
        if (finding := judge.finding(one, signs)) is not None and _silence_of(one, judge.rule) is None:
            alike.setdefault(finding.limit, []).append((finding, one))
    for limit, members in alike.items():
        about = [one for _, one in members]
        worst = min((finding for finding, _ in members), key=lambda finding: finding.rank)
        sentence = judge.several if len(about) > 1 else judge.single
        yield _warning(judge.rule, sentence.format(limit=limit, found=worst.found, whose=_names(about)), about)


def _funds(one: Desired, signs: Signs) -> _Finding | None:
    from reconciler.core.cost import usd, usd_a_month

    held, limit, told = signs.value_usd, LOW_FUNDS_USD, f"{LOW_FUNDS_USD:g} USD"
    if one.per_rebalance_usd is not None and one.interval_ms is not None:
        costs = usd_a_month(one.per_rebalance_usd, one.interval_ms)
        limit, told = max((limit, told), (costs, f"the {usd(costs)} USD that its runs cost in 30 days"))
    return _Finding(f"{usd(held)} USD", told, held) if held is not None and held < limit else None


def _gas(_: Desired, signs: Signs) -> _Finding | None:
    used = signs.gas_used or 0
    return _Finding(f"{used:,}", f"{GAS_HEAVY:,}", -used) if used > GAS_HEAVY else None


def _threshold(_: Desired, signs: Signs) -> _Finding | None:
    percent, limit = signs.trigger_percent, SMALL_THRESHOLD_PERCENT
    return _Finding(f"{percent:g} %", f"{limit:g} %", percent) if percent is not None and percent <= limit else None


_JUDGES: Final = (
    _Judge(
        Rule.LOW_FUNDS,
        _funds,
        "it holds {found}, less than {limit}",
        "{whose} each hold less than {limit}, the least {found}",
    ),
    _Judge(
        Rule.GAS_HEAVY,
        _gas,
        "its last run used {found} units of gas, more than {limit}",
        "the last runs of {whose} used more than {limit} units of gas, the most {found}",
    ),
    _Judge(
        Rule.SMALL_THRESHOLD,
        _threshold,
        "its template trades at a drift of {found}, so nearly every run trades",
        "the templates of {whose} trade at a drift of {limit} or less, the least {found}, so nearly every run trades",
    ),
)


def _short_intervals(fleet: Iterable[Desired], used: set[Silence]) -> Iterable[Diagnostic]:
    """Yield one warning for all portfolios that are alike: a group with a thousand of them is one mistake."""
    priced = [
        (one, one.interval_ms, one.per_rebalance_usd)
        for one in fleet  # up to ten thousand, and nearly always none has a short interval
        if one.per_rebalance_usd is not None and one.interval_ms is not None and one.api.can.owns_schedule
    ]
    if not priced:
        return
    from reconciler.core.cost import usd, usd_a_month

    alike: dict[tuple[str | None, int, float, float], list[Desired]] = {}
    for one, interval_ms, cost in priced:
        limit = WARN_ABOVE_USD_MONTH if one.warn_above_usd_month is None else one.warn_above_usd_month
        if usd_a_month(cost, interval_ms) <= limit:
            continue
        if silence := _silence_of(one, Rule.SHORT_INTERVAL):
            used.add(silence)
        elif one.state is RunState.ACTIVE:
            alike.setdefault((one.group, interval_ms, cost, limit), []).append(one)
    for (_, interval_ms, cost, limit), members in alike.items():
        each, runs = (" each", f"{_names(members)} run") if len(members) > 1 else ("", "it runs")
        problem = (
            f"{runs} every {format_duration(interval_ms)} at {usd(cost)} USD, which is "
            f"{usd(usd_a_month(cost, interval_ms))} USD in 30 days{each}, more than {usd(limit)}"
        )
        yield _warning(Rule.SHORT_INTERVAL, problem, members)


def _same_minute(fleet: Iterable[Desired], used: set[Silence]) -> Iterable[Diagnostic]:
    """Yield a warning for the worst minute.

    The times are relative to whatever Glider counts offsets from, which is not documented (API facts §4.5), and the
    same for all. An offset that is not declared is not known and not counted.
    """
    timed = [one for one in fleet if one.offset_ms is not None and one.interval_ms is not None]
    if len(timed) <= SAME_MINUTE:
        return
    fires = _Fires(timed)
    heard: list[Desired] = []
    for one in timed:
        silence = _silence_of(one, Rule.SAME_MINUTE)
        if silence is None and one.state is RunState.ACTIVE:
            heard.append(one)
        elif silence is not None and fires.most(one) > SAME_MINUTE:
            used.add(silence)
    together = _Fires(heard).worst() if len(heard) > SAME_MINUTE else []
    if len(together) > SAME_MINUTE:
        schedules = Counter(
            f"{format_duration(one.interval_ms or 0)} +{format_duration(one.offset_ms or 0)}" for one in together
        )
        most = sorted(schedules, key=lambda text: (-schedules[text], text))
        told = ", ".join(f"{schedules[text]} at {text}" for text in most[:_NAMED])
        more = f" and {len(most) - _NAMED} other schedules" if len(most) > _NAMED else ""
        problem = f"{_names(together)} run in the same minute, more than {SAME_MINUTE}: {told}{more}"
        yield _warning(Rule.SAME_MINUTE, problem, together)


class _Fires:
    """How many portfolios run in each minute from Glider's anchor on, until all repeats or a week has passed."""

    def __init__(self, timed: Sequence[Desired]) -> None:
        self._groups: dict[tuple[int, int], list[Desired]] = {}
        for one in timed:
            self._groups.setdefault(_schedule(one), []).append(one)
        intervals = (interval_ms for interval_ms, _ in self._groups)
        # Cut off at every step: the common multiple of many intervals may be too large to count through.
        self._until_ms = reduce(lambda until_ms, interval_ms: min(lcm(until_ms, interval_ms), WEEK_MS), intervals, 1)
        self._minutes: Counter[int] = Counter()
        for schedule, members in self._groups.items():
            for minute in self._of(schedule):
                self._minutes[minute] += len(members)

    def most(self, one: Desired) -> int:
        """Return how many run in the worst of the minutes in which ``one`` does."""
        schedule = _schedule(one)
        alone = len(self._groups[schedule])
        return max((self._minutes[minute] for minute in self._of(schedule)), default=alone)

    def worst(self) -> list[Desired]:
        """Return who runs in the worst minute, the first of them where there are several."""
        largest = max(self._groups.values(), key=len)  # a schedule whose first run is later than a week has no minute
        worst = max(self._minutes, key=lambda minute: (self._minutes[minute], -minute), default=0)
        if len(largest) >= self._minutes[worst]:
            return largest
        return [one for schedule, members in self._groups.items() if worst in self._of(schedule) for one in members]

    def _of(self, schedule: tuple[int, int]) -> frozenset[int] | range:
        interval_ms, offset_ms = schedule
        if interval_ms % MINUTE_MS == 0:
            return range(offset_ms // MINUTE_MS, -(-self._until_ms // MINUTE_MS), interval_ms // MINUTE_MS)
        return frozenset(at // MINUTE_MS for at in range(offset_ms, self._until_ms, interval_ms))


def _schedule(one: Desired) -> tuple[int, int]:
    """Return interval and offset, the offset to the minute: that is all that is compared."""
    interval_ms, offset_ms = one.interval_ms or 0, one.offset_ms or 0
    return interval_ms, offset_ms - offset_ms % MINUTE_MS if interval_ms % MINUTE_MS == 0 else offset_ms


def _useless(fleet: Iterable[Desired], used: set[Silence]) -> Iterable[Diagnostic]:
    problem, repair = "the silence of `{}` silences nothing", "remove it, so that it does not hide what comes later"
    # Dictionary keys drop repeats and keep the order: a silence in a layer appears in every portfolio below it.
    for silence in dict.fromkeys(silence for one in fleet if one.silences for silence in one.silences):
        if silence not in used and silence.rule not in OF_PLANS:
            yield Diagnostic(Severity.WARNING, problem.format(silence.rule), repair, silence.address, silence.span)


def _silence_of(one: Desired | None, rule: Rule) -> Silence | None:
    silences = one.silences if one is not None else ()
    return next((silence for silence in silences if silence.rule is rule), None) if silences else None


def _warning(rule: Rule, problem: str, about: Sequence[Desired] = ()) -> Diagnostic:
    """Return a warning, at the first of the portfolios that it is about."""
    origin = about[0].origin if about else None
    address = f"portfolios.{about[0].id}" if len(about) == 1 else "portfolios"
    span = SourceSpan(origin.file, origin.line) if origin is not None else None
    repair = f"{rule.repair}, or silence `{rule}` with a reason"
    return Diagnostic(Severity.WARNING, problem, repair, address, span, rule=rule.value)


def _names(members: Sequence[Desired]) -> str:
    named = ", ".join(one.id for one in members[:_NAMED])
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    return f"{len(members)} portfolios ({named}{more})"
