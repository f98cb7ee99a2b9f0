"""Laws of an import over random fleets: it loads to what it is, and a plan right after finds nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.api.fleet import read_all, read_cadences
from reconciler.apply.journalreads import read_memory
from reconciler.config.emit import Comments, emit
from reconciler.core.adoption import Adoptable, Adoption, OmitReason, make_adoption
from reconciler.core.endpoint import Expect
from reconciler.core.model import ApiVersion, Cadence, Desired, Live, PortfolioId, Status, StrategyId
from reconciler.core.text import harmless
from reconciler.render.coverage import head_lines, list_problem_of, tail_lines
from tests.config.support import load_text
from tests.config.test_import_emit import ODD
from tests.fleets import STRATEGIES, fleets
from tests.hostile import HOSTILE
from tests.support import BASE_URL, World, examples, folder, run

if TYPE_CHECKING:
    from reconciler.api.client import Glider

pytestmark = pytest.mark.slow

FOREIGN = {"their-index": {"frequency": "weekly", "owner": "foreign"}}
NAMES = st.sampled_from([*(text for text in ODD if text != "..."), "\u202eevil", "x" * 300, "\u00a0"]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12
)


async def look(world: World, of_v1: list[PortfolioId]) -> Adoptable:
    """Read as the command does: v1 by ids, v2 by its list, then the strategies."""
    async with world.api() as api:
        return await _look(api, world, of_v1)


async def _look(api: Glider, world: World, of_v1: list[PortfolioId]) -> Adoptable:
    listed = await api.list_portfolios()
    assert listed.complete
    live = {**listed.rows, **await read_all(api, of_v1, parallelism=4)}
    named = {StrategyId(one.strategy) for one in listed.rows.values() if one.strategy}
    return Adoptable(
        live=live,
        versions={i: ApiVersion.V1 if i in of_v1 else ApiVersion.V2 for i in live},
        records=read_memory(world.journal, base_url=BASE_URL, now_ms=world.here.now_ms()).records,
        strategies=await read_cadences(api, named, parallelism=4),
    )


def declared(adoption: Adoption) -> list[Desired]:
    """Return what the emitted text declares, having checked that it is what was adopted."""
    if adoption.empty:
        return []
    expect = Expect(url="https://api.glider.fi", account="Acme EU")
    loaded = load_text(emit(adoption.layout, adoption.strategies, expect=expect))
    assert loaded.expect == expect
    assert {i: replace(one, origin=None) for i, one in loaded.desired.items()} == dict(adoption.layout.desired)
    assert {i: replace(one, origin=None) for i, one in loaded.strategies.items()} == dict(adoption.strategies)
    return list(loaded.desired.values())


@settings(max_examples=examples(80), deadline=None)
@given(fleets(most=12), st.data(), st.booleans(), st.booleans())
def test_a_plan_right_after_an_import_is_empty(
    fleet: tuple[dict[str, dict[str, Any]], list[Desired]], data: st.DataObject, readable: bool, applied: bool
) -> None:
    """Nothing to change, hold or block; everything is declared or left out with a reason, and nothing was written.

    Whatever the service shows of a schedule, and whatever an earlier apply left in the journal.
    """
    live, before = fleet
    live = {
        i: seed
        | ({"name": data.draw(NAMES)} if data.draw(st.booleans()) else {})
        | ({"strategy": "their-index"} if seed.get("api") == "v2" and data.draw(st.booleans()) else {})
        for i, seed in live.items()
    }
    with folder() as place:
        world = World(
            journal=place / "journal.db",
            portfolios=live,
            settings={"readable_schedule": readable},
            strategies={**STRATEGIES, **FOREIGN},
        )
        if applied:
            world.converge(before)
        of_v1 = [one.id for one in before if one.api is ApiVersion.V1]
        writes = world.writes()
        found = run(look(world, of_v1))
        adoption = make_adoption(found)
        desired = declared(adoption)
        plan = world.plan(desired)
        assert (plan.changes, plan.held, plan.blocked) == ((), (), ())
        assert plan.no_op == len(desired)
        assert world.writes() == writes
    left = {one.id: one.reason for one in adoption.omitted}
    assert {one.id for one in desired} | left.keys() == found.live.keys()
    assert OmitReason.INHERITS not in left.values()
    assert all(adoption.strategies[s].schedule is Cadence(STRATEGIES[s]["frequency"]) for s in adoption.strategies)
    assert all(adoption.strategies[s].name == STRATEGIES[s].get("name") for s in adoption.strategies)
    assert set(adoption.left) <= set(FOREIGN)
    assert all(one.strategy == live[one.id]["strategy"] for one in desired if one.api is ApiVersion.V2)
    assert all(found.live[i].status is not Status.ACTIVE for i in left)


def test_hostile_text_stays_text() -> None:
    """Names, reasons and errors that try to be more than text load as text, and nothing in the file steers a screen."""
    live = {
        PortfolioId(f"h{n}"): Live(id=PortfolioId(f"h{n}"), status=Status.PAUSED, pause_reason=text, name=text)
        for n, text in enumerate(HOSTILE)
    }
    odd = {
        PortfolioId(f"u{n}"): Live(id=PortfolioId(f"u{n}"), status=Status.UNKNOWN, word=t)
        for n, t in enumerate(HOSTILE)
    }
    found = Adoptable(live={**live, **odd}, versions=dict.fromkeys({**live, **odd}, ApiVersion.V1))
    adoption = make_adoption(found)
    comments = Comments(
        head=head_lines("https://evil\n.example"),
        tail=tail_lines(adoption, list_problem_of("\n".join(HOSTILE), 0)),
        portfolios=dict.fromkeys(live, "\n".join(HOSTILE)),
    )
    text = emit(adoption.layout, {}, comments)
    assert all(harmless(line, longest=10**6) == line for line in text.split("\n"))
    loaded = load_text(text)
    assert {i: replace(one, origin=None) for i, one in loaded.desired.items()} == dict(adoption.layout.desired)
    assert loaded.desired.keys() == live.keys()
