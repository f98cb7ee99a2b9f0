"""A report of rebalances: how its results are counted, and what one without a known failure exits with."""

from __future__ import annotations

from reconciler.core.errors import ExitReason
from reconciler.core.rebalance import RebalanceOutcome, RebalanceReport, RebalanceResult
from tests.support import portfolio

O = RebalanceOutcome  # noqa: E741 - short for the tables below


def report(*outcomes: RebalanceOutcome) -> RebalanceReport:
    results = (RebalanceResult(portfolio=portfolio(f"p{n}"), outcome=outcome) for n, outcome in enumerate(outcomes))
    return RebalanceReport(results=tuple(results), started_ms=0, finished_ms=1)


def test_results_are_counted_by_outcome() -> None:
    """Every result counts once."""
    made = report(O.FAILED, O.COMPLETED, O.FAILED)
    assert {outcome: made.count(outcome) for outcome in O if made.count(outcome)} == {O.COMPLETED: 1, O.FAILED: 2}


def test_a_refusal_without_a_failure_is_an_error() -> None:
    """Nothing says why it was refused, so nothing more can be told by the exit code."""
    assert report(O.REFUSED).exit_reason is ExitReason.ERROR
    assert report(O.REFUSED, O.COOLING_DOWN).exit_reason is ExitReason.ERROR


def test_nothing_asked_for_is_all_well() -> None:
    """No result is no failure."""
    assert report().exit_reason is ExitReason.OK
