"""Freezes: which windows concern a change, when it waits, and what a gate lets through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.change import Change, ChangeReason, Frozen, Snapshot, Window
from reconciler.core.diff import compare_plans, difference_text, require_approved
from reconciler.core.errors import ExitReason, PlanInvalid
from reconciler.core.fleet import selection_of
from reconciler.core.forms import read_time
from reconciler.core.freeze import (
    Freezable,
    Freeze,
    WriteGate,
    frozen_at,
    let_through,
    with_freezes,
)
from reconciler.core.intent import Before, Call, GateClosed, Intent
from reconciler.core.model import ApiVersion, Cadence, Desired, PortfolioId, RunState, Status, Verb
from reconciler.core.plan import Plan, write_waves
from reconciler.core.planfile import fingerprint, format_plan, parse_plan
from tests.support import BASE_URL, HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.model import Address

A, B, OF_V2 = PortfolioId("aaa"), PortfolioId("bbb"), PortfolioId("ccc")
DESIRED = {
    A: Desired(id=A, state=RunState.ACTIVE, labels={"team": "fx"}, group="core"),
    B: Desired(id=B, state=RunState.ACTIVE, labels={"team": "ops"}),
    OF_V2: Desired(id=OF_V2, state=RunState.ACTIVE, api=ApiVersion.V2, labels={"team": "fx"}),
}
STRATEGY = "strategies/S1"


def window(name: str, begins: int, ends: int) -> Window:
    """Return a window of so many hours from noon."""
    return Window(name=name, from_ms=NOON_MS + begins * HOUR_MS, to_ms=NOON_MS + ends * HOUR_MS)


def freeze(
    begins: int = -1, ends: int = 1, *select: str, name: str = "f", forbid: Sequence[Freezable] = tuple(Freezable)
) -> Freeze:
    """Return a freeze that holds at noon, unless other hours are given."""
    return Freeze(window=window(name, begins, ends), forbid=tuple(forbid), selection=selection_of(select))


def change(address: str = A, verb: Verb = Verb.RESUME, **more: object) -> Change:
    """Return a change; only its id and verb matter here."""
    if address.startswith("strategies/"):
        ends = {"before": Snapshot(cadence=Cadence.DAILY), "after": Snapshot(cadence=Cadence.HOURLY)}
    else:
        ends = {"before": Snapshot(state=Status.PAUSED), "after": Snapshot(state=Status.ACTIVE)}
    made = Change(id=PortfolioId(address), verb=verb, fields=(), reason=ChangeReason.PAUSED_BY_US, **ends)
    return replace(made, **more)


def plan_of(*changes: Change) -> Plan:
    """Return a plan of these changes."""
    return Plan(base_url=BASE_URL, created_ms=NOON_MS, changes=changes)


def windows_in(plan: Plan) -> dict[Address, tuple[Window, ...]]:
    return {one.id: one.freezes for one in plan.changes}


def planned(one: Change, *freezes: Freeze, follows: dict[PortfolioId, str | None] | None = None) -> Change:
    """Return a change as it stands in a plan that was made at noon with these freezes."""
    return with_freezes(plan_of(one), freezes, DESIRED, follows or {}, now_ms=NOON_MS).changes[0]


@pytest.mark.parametrize(
    ("verb", "more", "needs"),
    [
        (Verb.PAUSE, {}, set()),
        (Verb.UPDATE, {"writes_schedule": True}, {Freezable.UPDATE}),
        (Verb.RESUME, {}, {Freezable.RESUME}),
        (Verb.RESUME, {"writes_schedule": True}, {Freezable.RESUME, Freezable.UPDATE}),
        (Verb.START, {"writes_schedule": True}, {Freezable.START}),
        (Verb.START, {"writes_schedule": True, "run_on_start": True}, {Freezable.START, Freezable.REBALANCE}),
    ],
)
@pytest.mark.parametrize("forbidden", list(Freezable))
@pytest.mark.parametrize(("begins", "ends"), [(-2, -1), (-1, 0), (-1, 1), (0, 1), (1, 2)])
@pytest.mark.parametrize(("select", "selects"), [((), True), (("team=fx",), True), (("team=ops", "group=x"), False)])
def test_what_waits_and_when(
    verb: Verb,
    more: dict[str, object],
    needs: set[Freezable],
    forbidden: Freezable,
    begins: int,
    ends: int,
    select: tuple[str, ...],
    selects: bool,
) -> None:
    """A change waits in a freeze that selects it, forbids any part of it and holds; a pause never does."""
    found = planned(change(verb=verb, **more), freeze(begins, ends, *select, forbid=[forbidden]))
    concerns = selects and forbidden in needs
    assert bool(found.freezes) is (concerns and ends > 0)
    assert (found.frozen is not None) is (concerns and begins <= 0 < ends)


@pytest.mark.parametrize(
    ("follows", "waits"),
    [
        ({OF_V2: "S1"}, True),
        ({OF_V2: "S2"}, False),
        ({OF_V2: None}, True),
        ({}, False),
    ],
)
def test_a_cadence_waits_with_its_portfolios(follows: dict[PortfolioId, str | None], waits: bool) -> None:
    """The cadence of a strategy waits if the freeze selects any portfolio that follows it, or may follow it."""
    one = change(STRATEGY, Verb.UPDATE)
    assert (planned(one, freeze(-1, 1, "team=fx"), follows=follows).frozen is not None) is waits
    assert planned(one, freeze(), follows=follows).frozen is not None
    assert planned(one, freeze(-1, 1, "team=ops"), follows=follows).frozen is (None)


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([], None),
        ([("a", -2, -1)], None),
        ([("a", 1, 2)], None),
        ([("a", -1, 0)], None),
        ([("a", 0, 1)], (("a",), (), 1)),
        ([("a", -2, 2), ("b", -1, 5)], (("a", "b"), (), 5)),
        ([("b", -1, 5), ("a", -2, 2)], (("a", "b"), (), 5)),
        ([("a", -1, 2), ("b", 2, 5)], (("a",), ("b",), 5)),
        ([("a", -1, 2), ("b", 1, 3), ("c", 3, 4), ("d", 5, 6)], (("a",), ("b", "c"), 4)),
        ([("a", -1, 2), ("b", 3, 5)], (("a",), (), 2)),
        ([("a", -1, 9), ("b", 1, 3)], (("a",), ("b",), 9)),
    ],
)
def test_until_when(
    windows: list[tuple[str, int, int]], expected: tuple[tuple[str, ...], tuple[str, ...], int] | None
) -> None:
    """The end that is told is the one after which nothing holds it, over freezes that overlap or follow at once."""
    wanted = None
    if expected is not None:
        by, then, hours = expected
        wanted = Frozen(by=by, then=then, until_ms=NOON_MS + hours * HOUR_MS)
    assert frozen_at([window(*one) for one in windows], NOON_MS) == wanted


WINDOWS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(-5, 5), st.integers(1, 6)), max_size=5, unique_by=lambda one: one[0]
)


@given(WINDOWS, st.sets(st.sampled_from("abcde")))
def test_it_waits_until_then_and_not_longer(drawn: list[tuple[str, int, int]], allowed: set[str]) -> None:
    """At every moment until the end that is told something holds it, and at the end nothing does."""
    windows = [window(name, begins, begins + hours) for name, begins, hours in drawn]
    let = frozenset(allowed)
    found = frozen_at(windows, NOON_MS, let)
    holding = {one.name for one in windows if one.from_ms <= NOON_MS < one.to_ms} - let
    assert set(found.by if found else ()) == holding
    if found is not None:
        assert all(frozen_at(windows, ms, let) for ms in range(NOON_MS, found.until_ms, HOUR_MS // 2))
        assert frozen_at(windows, found.until_ms, let) is None
        assert frozen_at(windows, NOON_MS, let | set(found.by)) is None


def test_its_words() -> None:
    """What holds it, what follows at once, until when, and what lets it through."""
    found = frozen_at([window("year-end", -1, 12), window("audit", -2, 1), window("move", 12, 13)], NOON_MS)
    assert found is not None
    assert str(found) == "frozen by audit and year-end, then by move, until 2026-11-23 01:00 UTC"
    assert found.flags == "--allow freeze=audit --allow freeze=year-end"
    assert str(window("audit", 0, 1)) == "2026-11-22 12:00 UTC to 2026-11-22 13:00 UTC"


def intent(call: Call, **more: object) -> Intent:
    """Return a write to a portfolio."""
    return replace(Intent(address=A, call=call, token="00000a"), **more)


ACTIVE, PAUSED = Before(status=Status.ACTIVE), Before(status=Status.PAUSED)


@pytest.mark.parametrize(
    ("write", "goes"),
    [
        (intent(Call.PAUSE, before=ACTIVE), True),
        (intent(Call.START), False),
        (intent(Call.RESUME, before=PAUSED), False),
        (intent(Call.UPDATE_SCHEDULE, before=ACTIVE), False),
        (intent(Call.UPDATE_SCHEDULE, is_step=True, before=PAUSED), False),
        (intent(Call.UPDATE_SCHEDULE, is_step=True, before=ACTIVE), True),
        (intent(Call.REBALANCE, before=ACTIVE), False),
        (intent(Call.SET_CADENCE), False),
        (intent(Call.START, address=B), True),
    ],
)
def test_the_gate(write: Intent, goes: bool) -> None:
    """In a freeze only a pause goes, and the schedule that ends a start or a resume; outside, everything does."""
    now = [NOON_MS]
    made = plan_of(change(freezes=(window("f", 0, 1),)), change(B))
    gate = WriteGate(windows=windows_in(made), now_ms=lambda: now[0])
    if goes:
        gate.require_open(write, ())
    else:
        with pytest.raises(GateClosed, match="frozen by f until 2026-11-22 13:00 UTC") as closed:
            gate.require_open(write, ())
        assert closed.value.frozen == frozen_at([window("f", 0, 1)], NOON_MS)
    for ms in (NOON_MS - 1, NOON_MS + HOUR_MS):
        now[0] = ms
        gate.require_open(write, ())
    now[0] = NOON_MS
    replace(gate, allowed=frozenset({"f"})).require_open(write, ())


def test_a_saved_plan_keeps_its_freezes() -> None:
    """They survive the file, and a file without them is not the plan that was made."""
    made = with_freezes(plan_of(change()), [freeze(), freeze(2, 3, name="later")], DESIRED, {}, now_ms=NOON_MS)
    text = format_plan(made, ExitReason.OK)
    assert parse_plan(text) == made
    assert '"frozen": {' in text
    with pytest.raises(PlanInvalid, match="does not match its fingerprint"):
        parse_plan(text.replace('"name": "later"', '"name": "other"'))
    bare = replace(made, changes=tuple(replace(one, freezes=(), frozen=None) for one in made.changes))
    assert fingerprint(bare) != fingerprint(made)
    assert fingerprint(bare) == fingerprint(plan_of(change()))


@pytest.mark.parametrize("name", ["", "a b", "a;b", "--allow", "\x1b[31m", "a\n", "x" * 65, "a=b", "ä"])
def test_a_name_in_a_file_is_one(name: str) -> None:
    """What people copy from a page into a shell is a name as the files have it, and nothing else."""
    made = with_freezes(plan_of(change()), [freeze()], DESIRED, {}, now_ms=NOON_MS)
    for text in ('"name": "f"', '"by": [\n          "f"'):
        forged = format_plan(made, ExitReason.OK).replace(text, text.replace('"f"', json.dumps(name)))
        assert forged != format_plan(made, ExitReason.OK)
        with pytest.raises(PlanInvalid, match="not a saved plan"):
            parse_plan(forged)


def test_what_waits_is_no_canary_while_there_is_another() -> None:
    """The canary of a stage is something that can be carried out, where there is such a change."""
    waits = planned(change(A), freeze())
    first, second = write_waves((waits, change(B)), canary=1)
    assert ([one.id for one in first.changes], [one.id for one in second.changes]) == ([B], [A])
    (alone,) = write_waves((waits,), canary=1)
    assert (alone.is_canary, alone.changes) == (True, (waits,))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-22T12:00:00Z", 0),
        ("2026-11-22T13:00:00+01:00", 0),
        ("2026-11-22T07:00:00.500-05:00", 500),
        ("2026-11-22T17:45:00+05:45", 0),
        ("2026-10-25T02:30:00+02:00", -28 * 24 * HOUR_MS - 11 * HOUR_MS - HOUR_MS // 2),
        ("2026-10-25T02:30:00+01:00", -28 * 24 * HOUR_MS - 10 * HOUR_MS - HOUR_MS // 2),
        ("2026-02-30T00:00:00Z", None),
    ],
)
def test_times_with_zones(text: str, utc: int | None) -> None:
    """The offset says which moment is meant, also in the hour that a change of the clocks repeats."""
    assert read_time(text) == (None if utc is None else NOON_MS + utc)


def test_what_a_fresh_plan_leaves() -> None:
    """What it shows as waiting waits in the whole apply, though its freeze ends meanwhile, unless it is let through."""
    first, second = freeze(name="a", forbid=[Freezable.RESUME]), freeze(-1, 3, name="b")
    made = with_freezes(plan_of(change(A), change(B, Verb.PAUSE)), [first, second], DESIRED, {}, now_ms=NOON_MS)
    left = {one.id: one.frozen for one in let_through(made, frozenset({"a"})).changes if one.frozen is not None}
    assert [(one, frozen.by) for one, frozen in left.items()] == [(A, ("b",))]
    assert [one.frozen for one in let_through(made, frozenset({"a", "b"})).changes] == [None, None]
    assert let_through(made, frozenset()) == made
    later = WriteGate(windows=windows_in(made), now_ms=lambda: NOON_MS + 9 * HOUR_MS)
    over = replace(later, allowed=frozenset({"a"}), left=left)
    assert over.waits(A) == left[A]
    with pytest.raises(GateClosed):
        over.require_open(intent(Call.RESUME, before=PAUSED), ())
    assert later.waits(A) is None


def test_another_freeze_is_another_plan_and_no_other_change() -> None:
    """Two plans that differ in a freeze are told apart; what was approved stays approved."""
    plain = plan_of(change())
    frozen = with_freezes(plain, [freeze(-1, 1, name="audit")], DESIRED, {}, now_ms=NOON_MS)
    (row,) = compare_plans(earlier=plain, later=frozen).rows
    window = "2026-11-22 11:00 UTC to 2026-11-22 13:00 UTC"
    assert [*map(difference_text, row.differences)] == [f"freezes none → audit ({window})"]
    assert require_approved(frozen, plain) is require_approved(plain, frozen) is None
