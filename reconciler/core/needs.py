"""What needs a person: a portfolio that should have run and did not, a run that failed, and what else waits.

In: desired and live portfolios, our records, a plan, rebalances, and the service's time. Out: numbers and
:class:`Needed`, for ``status``, ``report`` and the metrics alike. Times are UTC epoch milliseconds.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.core.change import Blocked, Halted, Held, Moved, Overdue
from reconciler.core.codec import iso
from reconciler.core.evidence import NOW, known_interval
from reconciler.core.model import Desired, RunState, Status
from reconciler.core.rebalance import Rebalance, RebalanceStatus, ran_since
from reconciler.core.text import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.model import Address, Live, PortfolioId, Record
    from reconciler.core.plan import Plan
    from reconciler.core.rebalance import KeptRebalance

LATE_MS: Final = 15 * MINUTE_MS
"""A run may be this late without being overdue, ..."""
LATE_SHARE: Final = 10
"""... or by this part of its interval (a tenth), if that is more."""
LATE_UNKNOWN_MS: Final = DAY_MS
"""How late a run may be where the interval is not known."""


def overdue_ms(live: Live, record: Record | None, *, now_ms: int) -> int | None:
    """Return for how long a portfolio should have run and did not; ``None`` if it is not overdue.

    ``now_ms`` is the service's time. What was due before our last confirmed write counts from that write: a resume may
    make a run due at once, or leave an old time standing for a moment.
    """
    if live.status is not Status.ACTIVE or live.next_run_ms is None:
        return None
    due_ms = live.next_run_ms
    if record is not None and record.state is RunState.ACTIVE:
        due_ms = max(due_ms, record.confirmed_ms)
    interval_ms = known_interval(live, record).value
    allowed_ms = LATE_UNKNOWN_MS if interval_ms is None else max(LATE_MS, interval_ms // LATE_SHARE)
    return now_ms - due_ms if now_ms - due_ms > allowed_ms else None


def overdue_among(
    desired: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    records: Mapping[PortfolioId, Record],
    *,
    now_ms: int,
    read_ms: Mapping[Address, int] = NOW,
) -> tuple[Overdue, ...]:
    """Return the portfolios that are overdue, sorted by id; ``live`` must hold each of ``desired``.

    ``read_ms`` says when each was read, where that was not at ``now_ms``.
    """
    found = (
        (one, overdue_ms(live[i], records.get(i), now_ms=read_ms.get(i, now_ms))) for i, one in sorted(desired.items())
    )
    return tuple(
        Overdue(
            id=one.id,
            overdue_ms=late_ms,
            due_ms=live[one.id].next_run_ms or 0,
            name=one.name,
            owner=one.owner,
            source=one.origin,
        )
        for one, late_ms in found
        if late_ms is not None
    )


LeftAlone = Overdue | Held | Halted | Blocked | Moved


class Need(StrEnum):
    """Why a person has to look at a portfolio or strategy, the most urgent first."""

    FAILED = "failed"
    """A run failed, and none that came later is known to have ended well."""
    OVERDUE = "overdue"
    HELD = "held"
    HALTED = "halted"
    BLOCKED = "blocked"
    MOVED = "moved"
    UNTIL_PASSED = "until_passed"
    """The files say until when it should stay paused or be looked at again, and that day has passed."""

    @property
    def text(self) -> str:
        """Return it in words for people."""
        return self.value.replace("_", " ")


class Needed(Struct, frozen=True, kw_only=True):
    """One reason to look at a portfolio or strategy, and what tells of it."""

    need: Need
    id: Address
    about: Rebalance | LeftAlone | Desired


def needs_of(
    plan: Plan,
    desired: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    results: Mapping[PortfolioId, Sequence[KeptRebalance]],
    *,
    now_ms: int,
) -> dict[Address, tuple[Needed, ...]]:
    """Return what needs a person, by portfolio or ``strategies/ID``: the most urgent first, then by id.

    ``plan`` is one of ``desired``, and ``results`` are what is known of their runs, newest first. ``now_ms`` is the
    service's time.
    """
    order = list(Need)
    found: dict[Address, list[Needed]] = {}
    for one in _needed(plan, desired, live, results, iso(now_ms)[:10]):
        found.setdefault(one.id, []).append(one)
    told = {address: tuple(sorted(some, key=lambda one: order.index(one.need))) for address, some in found.items()}
    return dict(sorted(told.items(), key=lambda one: (order.index(one[1][0].need), one[0])))


def counts_of(needs: Iterable[Sequence[Needed]]) -> dict[Need, int]:
    """Return how many have each need, without needs that nobody has, the most urgent first. What has several needs is
    counted under each."""
    found = Counter(one.need for some in needs for one in some)
    return {need: found[need] for need in Need if found[need]}


def _needed(
    plan: Plan,
    desired: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    results: Mapping[PortfolioId, Sequence[KeptRebalance]],
    today: str,
) -> Iterator[Needed]:
    for portfolio, declared in desired.items():
        failure = standing_failure(results.get(portfolio, ()), live[portfolio], listed=declared.api.can.lists_runs)
        if failure is not None:
            yield Needed(need=Need.FAILED, id=portfolio, about=failure)
        if declared.until is not None and declared.until < today:
            yield Needed(need=Need.UNTIL_PASSED, id=portfolio, about=declared)
    yield from (Needed(need=need, id=one.id, about=one) for need, one in left_alone(plan))


def left_alone(plan: Plan) -> Iterator[tuple[Need, LeftAlone]]:
    """Yield what a plan does not change although it needs a person, in the order of need and then by id."""
    lists = (
        (Need.OVERDUE, plan.overdue),
        (Need.HELD, plan.held),
        (Need.HALTED, plan.halted),
        (Need.BLOCKED, plan.blocked),
        (Need.MOVED, plan.moved),
    )
    yield from ((need, one) for need, some in lists for one in some)


def standing_failure(known: Sequence[KeptRebalance], live: Live, *, listed: bool) -> Rebalance | None:
    """Return the newest run that failed, unless a later one is known to have ended well; ``None`` if there is none.

    One that was asked for again and has not ended, or was cancelled, puts nothing right. Where runs are not ``listed``
    (v2), a later last run is one that was completed (API facts §5.1).
    """
    for one in (kept.rebalance for kept in known):
        if one.status is RebalanceStatus.COMPLETED:
            return None
        if one.went_wrong:
            return None if not listed and ran_since(one, live) else one
    return None
