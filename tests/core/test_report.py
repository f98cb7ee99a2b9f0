"""What a run exits with: the gravest thing that is true of a plan or of an apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.change import Blocked, BlockReason, Held
from reconciler.core.errors import ApiError, ExitReason, FailureKind
from reconciler.core.intent import Call
from reconciler.core.model import PortfolioId
from reconciler.core.report import ACHIEVED, ApplyReport, Outcome, Result, drift_exit_reason, plan_exit_reason
from tests.core.plans import BARE, RICH

if TYPE_CHECKING:
    from reconciler.core.plan import Plan

CLEAN = replace(RICH, changes=(), held=(), blocked=(), over=(), warnings=())
CHANGES = replace(CLEAN, changes=(BARE,))
HELD = replace(CLEAN, held=(Held(id=PortfolioId("h"), pause_reason=None),))


def blocked(*failures: FailureKind | None) -> tuple[Blocked, ...]:
    return tuple(
        Blocked(
            id=PortfolioId(f"b{number}"),
            reason=BlockReason.READ_FAILED if failure else BlockReason.ARCHIVED,
            detail="x",
            status="x",
            failure=failure,
        )
        for number, failure in enumerate(failures)
    )


def result(outcome: Outcome, kind: FailureKind | None = None, *, changed: bool = False) -> Result:
    error = ApiError(kind, "x") if kind else None
    return Result(change=BARE, outcome=outcome, calls=(Call.PAUSE,), error=error, changed=changed)


def report(*results: Result, plan: Plan = CHANGES) -> ApplyReport:
    return ApplyReport(plan=plan, results=results, started_ms=1, finished_ms=2)


DONE, ALREADY = result(Outcome.DONE, changed=True), result(Outcome.ALREADY_DONE)
STALE, SKIPPED = result(Outcome.STALE), result(Outcome.NOT_ATTEMPTED)
UNKNOWN = result(Outcome.UNKNOWN)
REFUSED = result(Outcome.FAILED, FailureKind.REFUSED)
NO_KEY = result(Outcome.FAILED, FailureKind.UNAUTHENTICATED)
FORBIDDEN = result(Outcome.FAILED, FailureKind.FORBIDDEN)
AWAY = result(Outcome.FAILED, FailureKind.UNREACHABLE)
HALFWAY = result(Outcome.FAILED, FailureKind.UNREACHABLE, changed=True)
STUCK = replace(CHANGES, blocked=blocked(None))

ENDINGS = {
    "nothing to do": (report(), ExitReason.OK),
    "done": (report(DONE, ALREADY), ExitReason.OK),
    "done, but some are blocked": (report(DONE, plan=STUCK), ExitReason.PARTIAL),
    "nothing done, some are blocked": (report(ALREADY, plan=STUCK), ExitReason.ERROR),
    "held ones do not count": (report(DONE, plan=replace(CHANGES, held=HELD.held)), ExitReason.OK),
    "stale": (report(STALE), ExitReason.STALE),
    "only stale left over": (report(DONE, STALE), ExitReason.STALE),
    "stale and blocked": (report(STALE, plan=STUCK), ExitReason.ERROR),
    "stale, done and blocked": (report(STALE, DONE, plan=STUCK), ExitReason.PARTIAL),
    "some done, some not": (report(DONE, REFUSED), ExitReason.PARTIAL),
    "some done, some not attempted": (report(DONE, SKIPPED), ExitReason.PARTIAL),
    "unknown": (report(UNKNOWN), ExitReason.PARTIAL),
    "unknown among failures": (report(UNKNOWN, REFUSED), ExitReason.PARTIAL),
    "one change halfway": (report(HALFWAY), ExitReason.PARTIAL),
    "stale halfway": (report(result(Outcome.STALE, changed=True)), ExitReason.PARTIAL),
    "stopped halfway": (report(result(Outcome.NOT_ATTEMPTED, changed=True), ALREADY), ExitReason.PARTIAL),
    "already done on the way": (report(result(Outcome.ALREADY_DONE, changed=True)), ExitReason.OK),
    "unreachable": (report(AWAY, SKIPPED), ExitReason.UNREACHABLE),
    "no permission": (report(NO_KEY, FORBIDDEN, SKIPPED), ExitReason.PERMISSION),
    "no permission, and blocked": (report(NO_KEY, plan=STUCK), ExitReason.ERROR),
    "refused": (report(REFUSED), ExitReason.ERROR),
    "failed for two reasons": (report(AWAY, NO_KEY), ExitReason.ERROR),
    "not attempted": (report(SKIPPED), ExitReason.ERROR),
    "failed, already done": (report(AWAY, ALREADY), ExitReason.UNREACHABLE),
}


@pytest.mark.parametrize(("ended", "reason"), ENDINGS.values(), ids=ENDINGS)
def test_apply(ended: ApplyReport, reason: ExitReason) -> None:
    """The exit reason of an apply is the gravest thing that is true of it."""
    assert ended.exit_reason is reason


def test_counts() -> None:
    """Each outcome is counted for itself, and has its words; done and already done are achieved."""
    ended = report(DONE, DONE, ALREADY, STALE)
    assert {outcome: ended.count(outcome) for outcome in Outcome} == {
        Outcome.DONE: 2,
        Outcome.ALREADY_DONE: 1,
        Outcome.STALE: 1,
        Outcome.FAILED: 0,
        Outcome.UNKNOWN: 0,
        Outcome.NOT_ATTEMPTED: 0,
    }
    assert [outcome.text for outcome in Outcome] == [
        "done",
        "already done",
        "stale",
        "failed",
        "unknown",
        "not attempted",
    ]
    assert {Outcome.DONE, Outcome.ALREADY_DONE} == ACHIEVED


PLANS = {
    "nothing": (CLEAN, ExitReason.OK, ExitReason.OK, ExitReason.OK),
    "changes": (CHANGES, ExitReason.OK, ExitReason.CHANGES, ExitReason.CHANGES),
    "held": (HELD, ExitReason.OK, ExitReason.OK, ExitReason.CHANGES),
    "blocked": (STUCK, *[ExitReason.ERROR] * 3),
    "blocked and held": (replace(STUCK, held=HELD.held), *[ExitReason.ERROR] * 3),
    "no answer": (
        replace(CHANGES, blocked=blocked(FailureKind.UNREACHABLE, FailureKind.SERVER)),
        *[ExitReason.UNREACHABLE] * 3,
    ),
    "no permission": (replace(CLEAN, blocked=blocked(FailureKind.FORBIDDEN)), *[ExitReason.PERMISSION] * 3),
    "no answer, and one blocked": (
        replace(CLEAN, blocked=blocked(FailureKind.UNREACHABLE, None)),
        *[ExitReason.ERROR] * 3,
    ),
    "two reasons": (
        replace(CLEAN, blocked=blocked(FailureKind.UNREACHABLE, FailureKind.FORBIDDEN)),
        *[ExitReason.ERROR] * 3,
    ),
}


@pytest.mark.parametrize(("plan", "plain", "detailed", "drift"), PLANS.values(), ids=PLANS)
def test_plan(plan: Plan, plain: ExitReason, detailed: ExitReason, drift: ExitReason) -> None:
    """Blocked wins over changes, which count only where asked for; a look for drift counts holds too."""
    assert plan_exit_reason(plan, detailed=False) is plain
    assert plan_exit_reason(plan, detailed=True) is detailed
    assert drift_exit_reason(plan) is drift
