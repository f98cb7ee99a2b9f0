"""Desired against live, field by field, with a verdict and its provenance. The only module that knows deepdiff.

In: one portfolio's two sides, and our record of it. Out: a :class:`FieldChange` for every managed field, sorted as
in :class:`Field`. What to do about them is decided in :mod:`reconciler.core.decide`. Also tells which facts differ
between what two plans say of a portfolio; that is used by :mod:`reconciler.core.comparison`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from reconciler.core.desired import Desired, RunState
from reconciler.core.live import Live, Provenance, Record, Status, Verdict
from reconciler.core.schedule import known_interval, known_offset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.schedule import Known


class Field(StrEnum):
    """What can be managed of a portfolio; the order is the order of display."""

    STATE = "state"
    INTERVAL = "interval_ms"
    OFFSET = "offset_ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One managed field: both sides (a state word, or milliseconds), the verdict, and how live is known.

    ``live`` is ``None`` where it is not known. ``overruled`` is a recorded value that newer evidence contradicts.
    """

    field: Field
    live: str | int | None
    desired: str | int
    verdict: Verdict
    provenance: Provenance
    overruled: int | None = None


Fact = str | int | bool | None
"""One value of what a plan says of a portfolio."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that two plans tell differently; ``None`` where a plan says nothing of it."""

    fact: str
    earlier: Fact
    later: Fact


def describe(*, earlier: Mapping[str, Fact], later: Mapping[str, Fact]) -> tuple[Difference, ...]:
    """Return the facts that differ, in the order of ``later``; what only one side has is ``None`` on the other."""
    if earlier == later:
        return ()
    from deepdiff import DeepDiff

    names = [*later, *(name for name in earlier if name not in later)]
    before, after = ({name: side.get(name) for name in names} for side in (earlier, later))
    tree = DeepDiff(before, after, view="tree")
    differing = {level.path(output_format="list")[0] for levels in tree.values() for level in levels}
    return tuple(Difference(name, before[name], after[name]) for name in names if name in differing)


def proven_same(*, desired: Desired, live: Live, record: Record | None) -> bool:
    """Whether every managed field is known and as desired: what nearly all of a fleet is, so it is asked first."""
    runs = live.status is Status.ACTIVE
    if runs is not (desired.state is RunState.ACTIVE) or not (runs or live.status is Status.PAUSED):
        return False
    return (desired.interval_ms is None or known_interval(live, record).value == desired.interval_ms) and (
        desired.offset_ms is None or known_offset(live, record).value == desired.offset_ms
    )


def compare(*, desired: Desired, live: Live, record: Record | None) -> tuple[FieldChange, ...]:
    """Return every managed field of one portfolio with its verdict; a field that is not declared is left out."""
    sides: list[tuple[Field, Known | None, str | int | None, str | int]] = [
        (Field.STATE, None, _live_state(desired, live), desired.state.value)
    ]
    if desired.interval_ms is not None:
        known = known_interval(live, record)
        sides.append((Field.INTERVAL, known, known.value, desired.interval_ms))
    if desired.offset_ms is not None:
        known = known_offset(live, record)
        sides.append((Field.OFFSET, known, known.value, desired.offset_ms))
    differing = _differing(
        live=tuple((name, value) for name, _, value, _ in sides if value is not None),
        desired=tuple((name, wanted) for name, _, value, wanted in sides if value is not None),
    )
    return tuple(
        FieldChange(
            field=name,
            live=value,
            desired=wanted,
            verdict=Verdict.UNVERIFIED if value is None else Verdict.DIFFERENT if name in differing else Verdict.SAME,
            provenance=known.provenance if known else Provenance.READ,
            overruled=known.overruled if known else None,
        )
        for name, known, value, wanted in sides
    )


def schedule_of(fields: tuple[FieldChange, ...]) -> tuple[FieldChange, ...]:
    """Return the interval and offset among the fields."""
    return tuple(change for change in fields if change.field is not Field.STATE)


def _live_state(desired: Desired, live: Live) -> str:
    """Return the live state in the words of the files: nothing runs in an inactive portfolio, as if it were paused."""
    if live.status is Status.INACTIVE and desired.state is RunState.PAUSED:
        return RunState.PAUSED.value
    return live.status.value


@lru_cache(maxsize=8192)
def _differing(
    *, live: tuple[tuple[Field, str | int], ...], desired: tuple[tuple[Field, str | int], ...]
) -> frozenset[Field]:
    """Return the fields that differ between two normalised sides, each a tuple of (field, value).

    Equality is 800 times cheaper than a DeepDiff, and a fleet repeats few distinct pairs, so it describes each
    distinct pair once, and only pairs that do differ.
    """
    if live == desired:
        return frozenset()
    from deepdiff import DeepDiff

    tree = DeepDiff(dict(live), dict(desired), view="tree")
    return frozenset(Field(level.path(output_format="list")[0]) for levels in tree.values() for level in levels)
