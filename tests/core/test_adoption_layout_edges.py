"""Where layers begin and end: the smallest group, the share that makes a default, what a ground already says."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.core.adoption import Ground, inherits_schedule, lay_out
from reconciler.core.model import ApiVersion
from reconciler.core.text import DAY_MS, HOUR_MS
from tests.core.test_adoption_layout import fleet

V1, V2 = ApiVersion.V1, ApiVersion.V2


@pytest.mark.parametrize(
    ("settings", "defaults"),
    [
        ([24, 24], {}),
        ([24, 24, 24], {"interval_ms": DAY_MS}),
        ([24, 24, V2], {}),
        ([24, 24, 24, V2], {"interval_ms": DAY_MS}),
        ([24, 24, 24, 24, 12], {"interval_ms": DAY_MS}),
        ([24, 24, 24, 12], {}),
        ([V2, V2, V2, V2, 24], {"api": V2}),
        ([V2, V2, V2, 24], {}),
        ([(24, 0), (24, 0), (24, 0), (None, 0)], {"offset_ms": 0}),
        ([(24, 60), (24, 60), (24, 60), (24, None)], {"interval_ms": DAY_MS}),
    ],
)
def test_what_makes_a_default(settings: list[Any], defaults: dict[str, Any]) -> None:
    """Three of a kind and four fifths of all; interval and offset each for themselves."""
    assert lay_out(fleet(*settings)).defaults == defaults


def test_who_is_in_a_group_says_nothing_itself() -> None:
    """An entry holds what neither its group nor the defaults say."""
    made = lay_out(fleet(24, 24, 24, 12, 6))
    assert made.own == {
        "p000": {},
        "p001": {},
        "p002": {},
        "p003": {"interval_ms": 12 * HOUR_MS},
        "p004": {"interval_ms": 6 * HOUR_MS},
    }


def test_an_entry_on_a_ground_says_its_version_where_the_ground_has_one() -> None:
    """Beside defaults that name a version every entry names its own; beside others only v2 is named."""
    named = lay_out(fleet(24, V2), ground=Ground(defaults={"api": V2}))
    assert named.own == {"p000": {"api": V1, "interval_ms": DAY_MS}, "p001": {"api": V2}}
    plain = lay_out(fleet(24, V2), ground=Ground(defaults={"interval_ms": DAY_MS}))
    assert plain.own == {"p000": {"interval_ms": DAY_MS}, "p001": {"api": V2}}


def test_no_word_for_a_cadence_is_the_empty_one() -> None:
    """Portfolios without a word and those with an empty one are one group."""
    portfolios = fleet(V2, V2, V2, *[None] * 3)
    made = lay_out(portfolios, kinds={portfolios[0].id: "", portfolios[1].id: ""})
    assert made.groups == {"v2": {"api": V2}}
    assert [one.group for one in made.desired.values()] == ["v2"] * 3 + [None] * 3


REUSED: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "the one of that name": ({"v2": {"api": V2}}, "v2"),
    "no other": ({"calm": {"api": V2}}, "v2"),
    "none that says more": ({"v2": {"api": V2, "owner": "me"}}, "v2-2"),
    "none of another version": ({"v2": {"api": V1}}, "v2-2"),
    "the second name that is free": ({"v2": {}, "v2-2": {}}, "v2-3"),
    "the third name that is free": ({"v2": {}, "v2-2": {}, "v2-3": {}}, "v2-4"),
}


@pytest.mark.parametrize(("groups", "name"), REUSED.values(), ids=REUSED)
def test_a_group_of_v2_is_named_again_by_its_name_alone(groups: dict[str, dict[str, Any]], name: str) -> None:
    """On v2 the name tells cadences apart, so no group of another name stands for it."""
    made = lay_out(fleet(V2, V2, V2), ground=Ground(groups=groups), reuse=True)
    assert {one.group for one in made.desired.values()} == {name}
    assert made.groups == ({} if groups.get(name) else {name: {"api": V2}})


def test_a_group_that_says_everything_is_named_again() -> None:
    """Version, interval and offset may all stand in it."""
    full = {"api": V1, "interval_ms": DAY_MS, "offset_ms": HOUR_MS}
    ground = Ground(groups={"calm": full})
    portfolios = fleet(*[(24, HOUR_MS)] * 3)
    assert {one.group for one in lay_out(portfolios, ground=ground, reuse=True).desired.values()} == {"calm"}
    assert lay_out(portfolios, ground=ground) == lay_out(portfolios, ground=ground, reuse=False)
    assert {one.group for one in lay_out(portfolios, ground=ground).desired.values()} == {"every-24h-offset-1h"}


def test_what_is_taken_over_from_a_ground() -> None:
    """What a portfolio does not say itself; on v2 nothing that only v1 has, and never what layers are made of."""
    ground = Ground(defaults={"owner": "treasury", "run_on_start": True, "interval_ms": DAY_MS, "api": V1})
    one, of_v2 = fleet(12, V2)
    made = list(lay_out([replace(one, owner="maria"), of_v2], ground=ground).desired.values())
    assert [(d.owner, d.run_on_start, d.interval_ms, d.api) for d in made] == [
        ("maria", True, 12 * HOUR_MS, V1),
        ("treasury", False, None, V2),
    ]


def test_only_what_is_not_said_is_inherited() -> None:
    """An interval of its own leaves the offset of the defaults, which is then the one that stands in the way."""
    unknown, known = fleet(None, 24)
    assert inherits_schedule(unknown, Ground(defaults={"offset_ms": 0})) == "offset"
    assert inherits_schedule(known, Ground(defaults={"interval_ms": HOUR_MS})) is None
    assert inherits_schedule(unknown, Ground()) is None
