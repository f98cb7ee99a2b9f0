"""The refusal of what was not approved, sentence for sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.diff import require_approved
from reconciler.core.errors import StalePlan
from reconciler.core.model import PortfolioId, Verb
from tests.core.plans import BARE, FULL, RICH

if TYPE_CHECKING:
    from reconciler.core.change import Change, Snapshot
    from reconciler.core.plan import Plan

REPAIR = (
    "Save a new plan with `reconciler plan --out FILE`, see the difference with "
    "`reconciler show FILE --against APPROVED`, and have it approved."
)


def plan(*changes: Change) -> Plan:
    return replace(RICH, changes=changes)


def pauses(count: int) -> tuple[Change, ...]:
    return tuple(replace(BARE, id=PortfolioId(f"p{number}")) for number in range(count))


def refusal(made: Plan, approved: Plan) -> tuple[str, str]:
    with pytest.raises(StalePlan) as caught:
        require_approved(made, approved)
    return caught.value.summary, caught.value.detail


def test_another_service() -> None:
    """An approval is of one service, which the refusal names with the one that was planned for."""
    assert refusal(replace(RICH, base_url="https://here"), replace(RICH, base_url="https://there")) == (
        "the approved plan was made for https://there, not for https://here",
        (
            "Nothing was written. Point GLIDER_BASE_URL or --base-url at the service it was made for, or plan and "
            "approve again."
        ),
    )


def test_one_change_that_was_not_approved() -> None:
    """A change that the approval does not name is refused by its id and verb."""
    assert refusal(plan(FULL, BARE), plan(FULL)) == (
        "1 planned change not among the approved ones",
        f"Nothing was written. b-bare: pause was not approved. {REPAIR}",
    )


def test_a_change_that_was_approved_otherwise() -> None:
    """Every fact that differs is told, and so is every other change that is not covered."""
    moved = replace(FULL, note=None, run_on_start=False)
    assert refusal(plan(moved, replace(BARE, verb=Verb.START)), plan(FULL, BARE)) == (
        "2 planned changes not among the approved ones",
        "Nothing was written. a-full_1: resume was approved otherwise: run on start yes → no, "
        "note Back to work → none; b-bare: start was approved otherwise: action pause → start. " + REPAIR,
    )


def test_a_long_difference_is_cut() -> None:
    """One change's differences take 280 characters, no more."""
    moved = replace(
        FULL, note="n" * 100, pause_reason="p" * 100, after=replace(FULL.after, interval_ms=None, offset_ms=None)
    )
    whole = replace(FULL, note="m" * 100, pause_reason="q" * 100)
    _, detail = refusal(plan(moved), plan(whole))
    told = detail.removeprefix("Nothing was written. ").removesuffix(f". {REPAIR}")
    assert len(told) == 280
    assert told.startswith("a-full_1: resume was approved otherwise: after interval 12h → none, after offset 2h → none")
    assert told.endswith("…")


@pytest.mark.parametrize(
    ("count", "more"),
    [(5, ""), (6, "; and 1 more"), (7, "; and 2 more")],
)
def test_five_are_named(count: int, more: str) -> None:
    """Five changes are named, the rest is counted."""
    told = "; ".join(f"p{number}: pause was not approved" for number in range(5)) + more
    assert refusal(plan(*pauses(count)), plan()) == (
        f"{count} planned changes not among the approved ones",
        f"Nothing was written. {told}. {REPAIR}",
    )


@pytest.mark.parametrize(
    ("left", "approved", "told"),
    [
        (2, 2, None),
        (0, 1, "0 of 1 approved change left to do; not planned any more: p0"),
        (0, 5, "0 of 5 approved changes left to do; not planned any more: p0, p1, p2, p3, p4"),
        (0, 6, "0 of 6 approved changes left to do; not planned any more: p0, p1, p2, p3, p4 and 1 more"),
        (0, 8, "0 of 8 approved changes left to do; not planned any more: p0, p1, p2, p3, p4 and 3 more"),
        (1, 3, "1 of 3 approved changes left to do; not planned any more: p1, p2"),
    ],
)
def test_fewer(left: int, approved: int, told: str | None) -> None:
    """What is not planned any more is told, five by their ids."""
    assert require_approved(plan(*pauses(left)), plan(*reversed(pauses(approved)))) == told


@pytest.mark.parametrize(
    "before", [replace(FULL.before, interval_ms=None), replace(FULL.before, offset_ms=None)], ids=["interval", "offset"]
)
def test_knowing_more_is_no_other_change(before: Snapshot) -> None:
    """A live interval or offset pins only where both plans know it."""
    less = replace(FULL, before=before)
    assert require_approved(plan(FULL), plan(less)) is None
    assert require_approved(plan(less), plan(FULL)) is None
