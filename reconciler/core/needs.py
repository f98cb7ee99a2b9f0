"""What needs a person: a portfolio that should have run and did not, a run that failed, and what else waits.

In: desired and live portfolios, our records, rebalances, and the service's time. Out: numbers and :class:`Need`. Times
are UTC epoch milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.evidence import NOW, known_interval
from reconciler.core.model import RunState, Status
from reconciler.core.plan import Overdue
from reconciler.core.text import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import Address, Desired, Live, PortfolioId, Record

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
