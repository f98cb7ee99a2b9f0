"""What a list of portfolios tells, which of them are unmanaged, and when it is read at all."""

from __future__ import annotations

import pytest

from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.fleet import (
    SINGLY,
    Coverage,
    Fleet,
    Listing,
    PortfolioList,
    StrategyCoverage,
    Unmanaged,
    asks_for_list,
)
from reconciler.core.model import ApiVersion, Desired, Live, PortfolioId, RunState, Status, StrategyId

BROKE = ApiError(FailureKind.SERVER, "it broke")
V1, V2 = ApiVersion.V1, ApiVersion.V2


def row(name: str, strategy: str | None = "s", status: Status = Status.ACTIVE, title: str | None = None) -> Live:
    return Live(id=PortfolioId(name), status=status, strategy=strategy, name=title)


def listed(*rows: Live, failure: ApiError | None = None, unreadable: int = 0) -> PortfolioList:
    return PortfolioList(rows={one.id: one for one in rows}, failure=failure, unreadable=unreadable)


@pytest.mark.parametrize(
    ("of_v1", "of_v2", "whole", "asks"),
    [
        (9, 0, True, False),
        (9, 1, True, True),
        (0, SINGLY, False, False),
        (9, SINGLY, False, False),
        (0, SINGLY + 1, False, True),
    ],
)
def test_when_the_list_is_read(of_v1: int, of_v2: int, whole: bool, asks: bool) -> None:
    """For the whole fleet always, as soon as one is on v2; for a part only where there are many."""
    assert asks_for_list([V1] * of_v1 + [V2] * of_v2, whole=whole) is asks


def test_what_a_list_tells() -> None:
    """How many mirror a strategy, where the list is complete; a row that can't be told leaves it open."""
    rows = (row("a"), row("b", "t"), row("c"))
    assert [listed(*rows).enrolled(strategy) for strategy in ("s", "t", "u")] == [2, 1, 0]
    for part in (listed(*rows, failure=BROKE), listed(*rows, unreadable=1)):
        assert (part.complete, part.enrolled("s")) == (False, None)
    assert listed(*rows).complete
    assert listed(*rows, row("d", None)).enrolled("s") is None


def test_the_unmanaged_are_told_with_what_was_read() -> None:
    """Sorted by id, with name, status and strategy; none where the list is not whole, or nobody asked for it."""
    rows = (row("z", None, Status.PAUSED, "Zed"), row("b", "t"), row("a"))
    found = Fleet(live={}, listed=listed(*rows))
    assert found.listing is Listing.COMPLETE
    assert found.unmanaged([PortfolioId("a")]) == (
        Unmanaged(id=PortfolioId("b"), name=None, status=Status.ACTIVE, strategy="t"),
        Unmanaged(id=PortfolioId("z"), name="Zed", status=Status.PAUSED, strategy=None),
    )
    part = Fleet(live={}, listed=listed(*rows, failure=BROKE))
    assert (part.listing, part.unmanaged([])) == (Listing.INCOMPLETE, ())
    assert (Fleet(live={}).listing, Fleet(live={}).unmanaged([])) == (Listing.NONE, ())


def test_strategies_are_told_by_what_is_missing() -> None:
    """Most unmanaged first, then by id, portfolios without a strategy last among equals."""
    found = Coverage(
        declared={PortfolioId("a"): Desired(id=PortfolioId("a"), state=RunState.ACTIVE, api=V2)},
        strategies=[StrategyId("t")],
        listed=listed(
            row("a", "z"),
            row("b", None),
            row("c", "y"),
            row("d", "t"),
            row("e", "most"),
            row("f", "most"),
        ),
    )
    assert found.by_strategy() == (
        StrategyCoverage("most", 2, 2, False),
        StrategyCoverage("t", 1, 1, True),
        StrategyCoverage("y", 1, 1, False),
        StrategyCoverage(None, 1, 1, False),
        StrategyCoverage("z", 1, 0, False),
    )
