"""Names of v1 portfolios: one call each, and a failure stays with its portfolio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.api.names import read_names
from reconciler.api.rebalance import RebalancesV1
from reconciler.core.adoption import Found, make_adoption
from reconciler.core.desired import ApiVersion, PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Live, Status
from reconciler.sandbox.faults import Fault, FaultKind, Operation
from tests.support import World, run

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = {"aaa": {"name": "Growth"}, "bbb": {"name": "Calm"}, "ccc": {"name": "a\u202eb"}}
IDS = [PortfolioId(name) for name in ("ccc", "bbb", "aaa", "zzz", "aaa")]


async def names(world: World) -> dict[PortfolioId, str | ApiError | None]:
    async with world.api() as api:
        return await read_names(RebalancesV1(api.transport, api.v1), IDS, parallelism=2)


def test_a_name_each_and_a_failure_each(tmp_path: Path) -> None:
    """Every id has its place, once and sorted: a harmless name, or why it could not be read."""
    world = World(journal=tmp_path / "journal.db", portfolios=SEEDS)
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.READ, portfolio="bbb", times=1000))
    found = run(names(world))
    assert list(found) == ["aaa", "bbb", "ccc", "zzz"]
    assert (found[PortfolioId("aaa")], found[PortfolioId("ccc")]) == ("Growth", "a\\u{202e}b")
    kinds = [getattr(found[PortfolioId(name)], "kind", None) for name in ("bbb", "zzz")]
    assert kinds == [FailureKind.SERVER, FailureKind.NOT_FOUND]
    assert len([r for r in world.app.requests.kept() if r.portfolio in ("aaa", "ccc")]) == 2


def test_a_refused_key_ends_it(tmp_path: Path) -> None:
    """A bad key is raised at once: every other name would fail alike."""
    world = World(journal=tmp_path / "journal.db", portfolios=SEEDS)
    world.faults.add(Fault(kind=FaultKind.SERVER_ERROR, operation=Operation.READ, status=401, times=1000))
    with pytest.raises(ApiError) as caught:
        run(names(world))
    assert caught.value.kind is FailureKind.UNAUTHENTICATED


def test_a_name_that_could_not_be_read_is_noted() -> None:
    """The portfolio is declared without it, and a comment says so."""
    portfolio = PortfolioId("aaa")
    adoption = make_adoption(
        Found(
            live={portfolio: Live(id=portfolio, status=Status.ACTIVE)},
            versions={portfolio: ApiVersion.V1},
            names={portfolio: ApiError(FailureKind.SERVER, "broke")},
        )
    )
    assert adoption.layout.desired[portfolio].name is None
    assert adoption.notes[portfolio][-1] == "its name could not be read"
