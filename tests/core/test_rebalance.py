"""What a rebalance and a report of rebalances say of themselves."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.errors import ApiError, ExitReason, FailureKind
from reconciler.core.rebalance import (
    Rebalance,
    RebalanceOutcome,
    RebalanceReport,
    RebalanceResult,
    RebalanceStatus,
    is_cooldown,
)
from tests.support import portfolio

O = RebalanceOutcome  # noqa: E741 - short for the table below


def report(*results: tuple[RebalanceOutcome, FailureKind | None]) -> RebalanceReport:
    made = [
        RebalanceResult(portfolio=portfolio(f"p{n}"), outcome=outcome, error=ApiError(kind, "no") if kind else None)
        for n, (outcome, kind) in enumerate(results)
    ]
    return RebalanceReport(results=tuple(made), started_ms=0, finished_ms=1)


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([(O.COMPLETED, None)], ExitReason.OK),
        ([(O.ACCEPTED, None), (O.COMPLETED, None)], ExitReason.OK),
        ([(O.FAILED, None)], ExitReason.ERROR),
        ([(O.CANCELLED, None), (O.FAILED, None)], ExitReason.ERROR),
        ([(O.COMPLETED, None), (O.FAILED, None)], ExitReason.PARTIAL),
        ([(O.TIMED_OUT, None)], ExitReason.PARTIAL),
        ([(O.UNKNOWN, FailureKind.INTERRUPTED)], ExitReason.PARTIAL),
        ([(O.UNKNOWN, None), (O.FAILED, None)], ExitReason.PARTIAL),
        ([(O.COOLING_DOWN, FailureKind.RATE_LIMITED)], ExitReason.UNREACHABLE),
        ([(O.COOLING_DOWN, FailureKind.RATE_LIMITED), (O.ACCEPTED, None)], ExitReason.PARTIAL),
        ([(O.COOLING_DOWN, FailureKind.RATE_LIMITED), (O.FAILED, None)], ExitReason.ERROR),
        ([(O.REFUSED, FailureKind.FORBIDDEN)], ExitReason.PERMISSION),
        ([(O.REFUSED, FailureKind.UNAUTHENTICATED), (O.REFUSED, FailureKind.FORBIDDEN)], ExitReason.PERMISSION),
        ([(O.REFUSED, FailureKind.UNREACHABLE)], ExitReason.UNREACHABLE),
        ([(O.REFUSED, FailureKind.NOT_FOUND)], ExitReason.ERROR),
        ([(O.NOT_ATTEMPTED, None)], ExitReason.ERROR),
        ([(O.REFUSED, FailureKind.UNAUTHENTICATED), (O.NOT_ATTEMPTED, None)], ExitReason.PERMISSION),
    ],
)
def test_exit_reasons(results: list[tuple[RebalanceOutcome, FailureKind | None]], reason: ExitReason) -> None:
    """A report exits with the gravest thing that is true of it."""
    assert report(*results).exit_reason is reason


def test_what_a_halt_or_a_freeze_refuses_is_refused_by_a_guard() -> None:
    """Also where the halt came in the middle, so that the rest was not attempted."""
    refused, rest = report((O.REFUSED, None), (O.NOT_ATTEMPTED, None)).results
    both = RebalanceReport(results=(replace(refused, guarded=True), rest), started_ms=0, finished_ms=1)
    assert both.exit_reason is ExitReason.GUARD


@pytest.mark.parametrize(
    ("status", "ended_ms", "over", "wrong"),
    [
        (RebalanceStatus.RUNNING, None, False, False),
        (RebalanceStatus.COMPLETED, None, True, False),
        (RebalanceStatus.FAILED, None, True, True),
        (RebalanceStatus.CANCELLED, 5, True, False),
        (RebalanceStatus.UNKNOWN, None, False, False),
        (RebalanceStatus.UNKNOWN, 5, True, True),
    ],
)
def test_an_unknown_word_is_never_a_success(
    status: RebalanceStatus, ended_ms: int | None, over: bool, wrong: bool
) -> None:
    """It is over when it has an end, and then nothing says that it went well."""
    rebalance = Rebalance(id="r", status=status, word="w", started_ms=1, ended_ms=ended_ms)
    assert (rebalance.over, rebalance.went_wrong) == (over, wrong)


@pytest.mark.parametrize(
    ("word", "error", "why"),
    [
        ("failed", None, "failed, no reason given"),
        ("failed", "a swap was reverted", "a swap was reverted"),
        ("timed_out", None, "ended as 'timed_out'"),
    ],
)
def test_why_it_did_not_end_well(word: str, error: str | None, why: str) -> None:
    """The service's own reason, or else its word."""
    assert Rebalance(id="r", status=RebalanceStatus.FAILED, word=word, error=error).why == why


def test_durations_that_make_no_sense() -> None:
    """An end before the beginning is no duration."""
    made = Rebalance(id="r", status=RebalanceStatus.FAILED, word="failed", started_ms=9, ended_ms=5)
    assert made.duration_ms is None


@pytest.mark.parametrize(
    ("kind", "code", "cools"),
    [
        (FailureKind.RATE_LIMITED, "API_004", True),
        (FailureKind.RATE_LIMITED, None, False),
        (FailureKind.REFUSED, "API_004", False),
    ],
)
def test_a_cooldown_is_told_from_a_rate_limit(kind: FailureKind, code: str | None, cools: bool) -> None:
    """A rate limit has no code; a cooldown has one, and is a 429."""
    assert is_cooldown(ApiError(kind, "no", code=code)) is cools
