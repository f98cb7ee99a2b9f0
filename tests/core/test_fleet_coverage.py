"""Coverage compares what is listed and named with what is declared, and never takes a part of a list for the whole."""

from __future__ import annotations

import pytest

from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.fleet import Coverage, Listing, PortfolioList, StrategyCoverage
from reconciler.core.model import ApiVersion, Desired, Live, PortfolioId, RunState, Status, StrategyId


def row(name: str, strategy: str | None = "s1", status: Status = Status.ACTIVE) -> Live:
    return Live(id=PortfolioId(name), status=status, strategy=strategy)


def listed(*rows: Live, failure: ApiError | None = None, unreadable: int = 0) -> PortfolioList:
    return PortfolioList(rows={one.id: one for one in rows}, failure=failure, unreadable=unreadable)


def declared(**versions: str) -> dict[PortfolioId, Desired]:
    return {
        PortfolioId(name): Desired(id=PortfolioId(name), state=RunState.ACTIVE, api=ApiVersion(version))
        for name, version in versions.items()
    }


def test_both_versions_are_compared() -> None:
    """Unmanaged are those of the list and of the named ones that no file declares, sorted by id."""
    found = Coverage(
        declared=declared(a="v2", b="v1", gone="v2"),
        strategies=[StrategyId("s1")],
        listed=listed(row("a"), row("c"), row("d", None)),
        named={PortfolioId("bb"): row("bb", None), PortfolioId("zz"): row("zz", None, Status.NOT_FOUND)},
        named_declared=1,
    )
    assert [(api, one.id) for api, one in found.unmanaged] == [("v1", "bb"), ("v2", "c"), ("v2", "d")]
    assert [live.id for live in found.unread] == ["zz"]
    assert found.unlisted == ("gone",)
    assert found.by_strategy() == (StrategyCoverage("s1", 2, 1, True), StrategyCoverage(None, 1, 1, False))
    assert (found.count_declared(ApiVersion.V1), found.count_declared(ApiVersion.V2)) == (1, 2)
    assert found.leaves_unmanaged


@pytest.mark.parametrize(
    ("listing", "named", "expected"),
    [
        (listed(row("a")), {}, False),
        (listed(), {}, False),
        (listed(row("a"), row("c")), {}, True),
        (listed(row("a"), failure=ApiError(FailureKind.SERVER, "broke")), {}, True),
        (listed(row("a"), unreadable=1), {}, True),
        (listed(row("a")), {"b": Status.ACTIVE}, True),
        (listed(row("a")), {"b": Status.UNREADABLE}, True),
    ],
)
def test_only_a_whole_comparison_is_full_coverage(
    listing: PortfolioList, named: dict[str, Status], expected: bool
) -> None:
    """Nothing unmanaged is only said where everything was read; a declared one is not missed in half a list."""
    found = Coverage(
        declared=declared(a="v2", x="v2"),
        strategies=(),
        listed=listing,
        named={PortfolioId(name): row(name, None, status) for name, status in named.items()},
    )
    assert found.leaves_unmanaged is expected
    assert (found.listed.listing is Listing.COMPLETE) is listing.complete
    assert found.unlisted == (tuple(i for i in ("a", "x") if i not in listing.rows) if listing.complete else ())
