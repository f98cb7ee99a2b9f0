"""How a fleet is written down: what is shared becomes defaults and groups, and says the same."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.adoption import Ground, cadence_word, inherits_schedule, lay_out
from reconciler.core.model import ApiVersion, Desired, PortfolioId, RunState
from reconciler.core.text import DAY_MS, HOUR_MS

V2 = ApiVersion.V2


def fleet(*settings: Any) -> list[Desired]:
    """Return a portfolio for each interval (hours), (interval, offset), ``None`` for an unknown one, or ``V2``."""
    made = []
    for number, one in enumerate(settings):
        api = V2 if one is V2 else ApiVersion.V1
        hours, offset = one if isinstance(one, tuple) else (None if one is V2 else one, None)
        interval_ms = hours * HOUR_MS if hours is not None else None
        portfolio = PortfolioId(f"p{number:03}")
        made.append(Desired(id=portfolio, state=RunState.ACTIVE, api=api, interval_ms=interval_ms, offset_ms=offset))
    return made


EVERY_DAY = {"every-24h": {"interval_ms": DAY_MS}}
LAYOUTS: dict[str, tuple[list[Desired], dict[str, Any], dict[str, Any]]] = {
    "two equal ones are no group": (fleet(24, 24, 12), {}, {}),
    "three equal ones are": (fleet(24, 24, 24, 12, 6), {}, EVERY_DAY),
    "nearly all are the defaults": (fleet(*[24] * 4, 12), {"interval_ms": DAY_MS}, {}),
    "not where one has none": (fleet(*[24] * 8, None), {}, EVERY_DAY),
    "an offset is part of a group": (
        fleet((24, 0), (24, 0), (24, 0), (12, 60_000), (6, None)),
        {},
        {"every-24h-offset-0s": {"interval_ms": DAY_MS, "offset_ms": 0}},
    ),
    "an offset that nearly all share": (fleet(*[(24, 0)] * 4), {"interval_ms": DAY_MS, "offset_ms": 0}, {}),
    "v2 in the minority": (fleet(*[24] * 4, V2, V2, V2), {"interval_ms": DAY_MS}, {"v2": {"api": V2}}),
    "v2 as nearly all": (
        fleet(*[V2] * 16, 24, 24, 24),
        {"api": V2},
        {"every-24h": {"api": ApiVersion.V1, "interval_ms": DAY_MS}},
    ),
    "unknown schedules beside v2": (fleet(*[V2] * 16, None, None, None), {"api": V2}, {"v1": {"api": ApiVersion.V1}}),
    "nothing to share": (fleet(None, None, None), {}, {}),
    "nobody": ([], {}, {}),
}


@pytest.mark.parametrize(("portfolios", "defaults", "groups"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_what_is_shared_goes_into_layers(
    portfolios: list[Desired], defaults: dict[str, Any], groups: dict[str, Any]
) -> None:
    """Equal settings of three make a group, what nearly all share is in the defaults, in any order of the fleet."""
    made = lay_out(portfolios)
    assert (made.defaults, made.groups) == (defaults, groups)
    assert made == lay_out(reversed(portfolios))
    assert list(made.desired) == sorted(made.desired)


def test_v2_groups_are_named_by_cadence() -> None:
    """v2 portfolios of one cadence are one group, although the cadence itself is their strategy's."""
    portfolios = fleet(*[V2] * 6)
    kinds = {one.id: "daily" if number < 3 else "hourly" for number, one in enumerate(portfolios)}
    made = lay_out([*portfolios, *fleet(*[None] * 9)[6:]], kinds=kinds)
    assert made.groups == {"v2-daily": {"api": V2}, "v2-hourly": {"api": V2}}
    assert (cadence_word(DAY_MS), cadence_word(36 * HOUR_MS), cadence_word(None)) == ("daily", "every-36h", "")


def test_on_a_ground_every_entry_says_all_it_needs() -> None:
    """Beside defaults of others nothing is added to them, versions are always said, and names of groups are fresh."""
    ground = Ground(
        defaults={"api": V2, "owner": "treasury", "hold_override": True},
        groups={"every-24h": {"chain": "base", "interval_ms": DAY_MS}},
    )
    made = lay_out(fleet(24, 24, 24, V2), ground=ground, reuse=True)
    assert made.defaults == {}
    assert made.groups == {"every-24h-2": {"api": ApiVersion.V1, "interval_ms": DAY_MS}}
    assert made.own[PortfolioId("p003")] == {"api": V2}
    assert {one.owner for one in made.desired.values()} == {"treasury"}
    assert all(one.hold_override for one in made.desired.values())


@pytest.mark.parametrize(
    ("ground", "reuse", "expected"),
    [
        (Ground(groups={"calm": {"interval_ms": DAY_MS}}), True, "calm"),
        (Ground(groups={"calm": {"interval_ms": DAY_MS}}), False, "every-24h"),
        (Ground(groups={"calm": {}}, defaults={"interval_ms": DAY_MS}), True, "calm"),
        (Ground(groups={"calm": {"interval_ms": DAY_MS, "owner": "me"}}), True, "every-24h"),
        (Ground(groups={"calm": {"interval_ms": HOUR_MS}}), True, "every-24h"),
        (Ground(groups={"a": {"interval_ms": DAY_MS}, "every-24h": {"interval_ms": DAY_MS}}), True, "every-24h"),
    ],
)
def test_a_group_that_means_the_same_is_named_again(ground: Ground, reuse: bool, expected: str) -> None:
    """Only where groups may be reused, and only one that comes to exactly the same and says nothing else."""
    made = lay_out(fleet(24, 24, 24), ground=ground, reuse=reuse)
    assert {one.group for one in made.desired.values()} == {expected}


def test_an_inherited_schedule_is_found() -> None:
    """Defaults of others that give an unknown schedule a value stand in the way; on v2 they mean nothing."""
    ground = Ground(defaults={"interval_ms": DAY_MS, "offset_ms": 0})
    unknown, known, both, of_v2 = fleet(None, 24, (24, 0), V2)
    found = [inherits_schedule(one, ground) for one in (unknown, known, both, of_v2)]
    assert found == ["interval", "offset", None, None]
