"""Who runs when: by hour, in the worst minute, before and after a plan."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.load import Timed, load_of, runs_after
from reconciler.core.model import ApiVersion, PortfolioId, Status, Verb
from reconciler.core.plan import Plan
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support import NOON_MS

DAYS = 24 * HOUR_MS
FLEETS = st.lists(
    st.builds(
        Timed,
        st.integers(0, 99).map(lambda number: PortfolioId(f"p{number}")),
        st.none() | st.integers(NOON_MS - DAYS, NOON_MS + 2 * DAYS),
        st.none() | st.integers(1, 96).map(lambda quarters: HOUR_MS + quarters * 15 * MINUTE_MS + quarters),
    ),
    max_size=30,
    unique_by=lambda one: one.id,
)


def listed(one: Timed, until_ms: int) -> list[int]:
    """Return every run of a portfolio in the window, one by one."""
    at_ms = one.next_ms
    if at_ms is None:
        return []
    found = []
    while at_ms < until_ms:
        if at_ms >= NOON_MS:
            found.append(at_ms)
        if one.interval_ms is None:
            break
        at_ms += one.interval_ms
    return found


@given(FLEETS, st.integers(1, 48))
def test_it_is_what_counting_one_by_one_finds(fleet: list[Timed], hours: int) -> None:
    """Hours, worst minute and what is not known are those of a list of all runs."""
    load = load_of(fleet, from_ms=NOON_MS, hours=hours)
    runs = {one.id: listed(one, NOON_MS + hours * HOUR_MS) for one in fleet}
    minutes = Counter(at_ms // MINUTE_MS for found in runs.values() for at_ms in found)
    by_hour = Counter(at_ms // HOUR_MS - NOON_MS // HOUR_MS for found in runs.values() for at_ms in found)
    assert load.hours == tuple(by_hour[hour] for hour in range(len(load.hours)))
    unknown = [one for one in fleet if one.next_ms is None or (one.next_ms < NOON_MS and one.interval_ms is None)]
    assert (load.portfolios, load.unknown) == (len(fleet), len(unknown))
    if load.worst is None:
        assert not minutes
        return
    assert load.worst.count == max(minutes.values())
    first = min(minute for minute, count in minutes.items() if count == load.worst.count)
    assert load.worst.at_ms == first * MINUTE_MS
    assert load.worst.ids == tuple(
        sorted(i for i, found in runs.items() for at_ms in found if at_ms // MINUTE_MS == first)
    )


def change(portfolio: str, verb: Verb, **more: object) -> Change:
    """Return a change; ``more`` overrides what an update to every day at 90m says."""
    given: dict[str, object] = {
        "before": Snapshot(state=Status.ACTIVE),
        "after": Snapshot(state=Status.ACTIVE, interval_ms=DAY_MS, offset_ms=90 * MINUTE_MS),
        "fields": (),
        "reason": ChangeReason.SCHEDULE_DIFFERS,
        "writes_schedule": True,
        **more,
    }
    return Change(id=PortfolioId(portfolio), verb=verb, **given)  # type: ignore[arg-type]  # as the fields have it


def test_what_a_plan_leaves_behind() -> None:
    """Paused ones stop, written ones run at their offset, resumed v2 ones at once, and the rest as before."""
    runs = {PortfolioId(i): Timed(PortfolioId(i), NOON_MS + HOUR_MS, DAY_MS) for i in ("kept", "paused", "moved")}
    known = Snapshot(state=Status.PAUSED, interval_ms=HOUR_MS, offset_ms=MINUTE_MS)
    plain = Snapshot(state=Status.ACTIVE)
    plan = Plan(
        base_url="https://glider.example.com",
        created_ms=NOON_MS,
        changes=(
            change("moved", Verb.UPDATE),
            change("new", Verb.START, after=Snapshot(state=Status.ACTIVE, interval_ms=DAY_MS)),
            change("paused", Verb.PAUSE, writes_schedule=False),
            change("resumed", Verb.RESUME, before=known, after=plain, writes_schedule=False),
            change("unknown", Verb.RESUME, after=plain, writes_schedule=False),
            change("v2", Verb.RESUME, after=plain, writes_schedule=False, api=ApiVersion.V2, cadence_ms=HOUR_MS),
        ),
    )
    after = runs_after(plan, runs, {}, now_ms=NOON_MS)
    midnight = NOON_MS - NOON_MS % DAY_MS + DAY_MS
    assert {str(i): (one.next_ms, one.interval_ms) for i, one in after.items()} == {
        "kept": (NOON_MS + HOUR_MS, DAY_MS),
        "moved": (midnight + 90 * MINUTE_MS, DAY_MS),
        "new": (midnight, DAY_MS),
        "resumed": (NOON_MS + MINUTE_MS, HOUR_MS),
        "unknown": (None, None),
        "v2": (NOON_MS, HOUR_MS),
    }
