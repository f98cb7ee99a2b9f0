"""Two plans side by side: every kind of entry, every fact of it, and the words for what differs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.change import ChangeReason
from reconciler.core.diff import (
    Compared,
    Comparison,
    Difference,
    Fact,
    PlanEntry,
    Step,
    compare_plans,
    difference_text,
    facts,
)
from reconciler.core.model import PortfolioId
from tests.core.plans import BARE, FULL, RICH, as_told
from tests.support import HOUR_MS

HELD, BLOCKED = RICH.held[0], RICH.blocked[0]

FACTS: dict[str, tuple[PlanEntry, dict[str, Fact]]] = {
    "full": (
        FULL,
        {
            "action": "resume",
            "before.state": "paused",
            "before.interval_ms": 24 * HOUR_MS,
            "before.offset_ms": HOUR_MS,
            "after.state": "active",
            "after.interval_ms": 12 * HOUR_MS,
            "after.offset_ms": 2 * HOUR_MS,
            "writes_schedule": True,
            "run_on_start": True,
            "overrides_hold": True,
            "note": "Back to work",
            "pause_reason": "Paused from the app",
        },
    ),
    "bare": (
        BARE,
        {
            "action": "pause",
            "before.state": "active",
            "before.interval_ms": None,
            "before.offset_ms": None,
            "after.state": "paused",
            "after.interval_ms": None,
            "after.offset_ms": None,
            "writes_schedule": False,
            "run_on_start": False,
            "overrides_hold": False,
            "note": None,
            "pause_reason": None,
        },
    ),
    "held": (HELD, {"action": "held", "pause_reason": "Audit"}),
    "blocked": (BLOCKED, {"action": "blocked", "reason": "read_failed", "status": "unreadable"}),
}


@pytest.mark.parametrize(("entry", "meaning"), FACTS.values(), ids=FACTS)
def test_facts(entry: PlanEntry, meaning: dict[str, Fact]) -> None:
    """What an entry means, by name; what it is called and where it stands in the files is no part of it."""
    assert as_told(dict(facts(entry)), meaning) == meaning


def told(found: Comparison) -> Comparison:
    """Return a comparison without the facts that only later versions tell."""
    return replace(
        found,
        rows=tuple(
            replace(row, differences=tuple(one for one in row.differences if one.fact in FACTS["full"][1]))
            for row in found.rows
        ),
    )


def test_side_by_side() -> None:
    """What appeared, vanished and changed is told in this order, by id; the rest is counted."""
    new, newer = replace(BARE, id=PortfolioId("n1")), replace(BARE, id=PortfolioId("n2"))
    moved = replace(FULL, reason=ChangeReason.PAUSED_BY_US)
    later = replace(
        RICH, changes=(newer, new, moved), held=(replace(HELD, id=BARE.id, pause_reason="Audit"), RICH.held[1])
    )
    found = compare_plans(earlier=RICH, later=later)
    assert told(found) == Comparison(
        rows=(
            Compared(step=Step.APPEARED, entry=new),
            Compared(step=Step.APPEARED, entry=newer),
            Compared(step=Step.VANISHED, entry=HELD),
            Compared(step=Step.CHANGED, entry=moved, differences=(Difference("overrides_hold", True, False),)),
            Compared(
                step=Step.CHANGED,
                entry=replace(HELD, id=BARE.id),
                differences=(
                    Difference("action", "pause", "held"),
                    Difference("pause_reason", None, "Audit"),
                    Difference("before.state", "active", None),
                    Difference("after.state", "paused", None),
                    Difference("writes_schedule", False, None),
                    Difference("run_on_start", False, None),
                    Difference("overrides_hold", False, None),
                ),
            ),
        ),
        same=3,
    )
    assert [found.count(step) for step in Step] == [2, 1, 2]


def test_the_same_plan() -> None:
    """A plan differs in nothing from itself, and every entry of it is counted."""
    assert compare_plans(earlier=RICH, later=RICH) == Comparison(rows=(), same=6)


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference("after.interval_ms", 12 * HOUR_MS, 6 * HOUR_MS), "after interval 12h → 6h"),
        (Difference("before.offset_ms", None, 0), "before offset none → 0s"),
        (Difference("run_on_start", True, False), "run on start yes → no"),
        (Difference("count", 1, 1000), "count 1 → 1000"),
        (Difference("note", "a\u202eb", None), "note a\\u{202e}b → none"),
        (Difference("note", "x" * 80, "y" * 81), f"note {'x' * 80} → {'y' * 79}…"),
    ],
)
def test_words(difference: Difference, text: str) -> None:
    """A difference is told in the words of the files, and text from outside is made harmless."""
    assert difference_text(difference) == text
