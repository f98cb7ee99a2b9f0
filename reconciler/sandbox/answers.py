"""What v1 answers: a portfolio as the ``data`` of each documented response (API facts §1.2).

In: a :class:`~reconciler.sandbox.glider.View`. Out: plain data for JSON. Pure; knows neither HTTP nor the envelope.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from reconciler.sandbox import ids
from reconciler.sandbox.actions import grid_of
from reconciler.sandbox.model import AutomationState, Code, Portfolio, Run, next_run, recent_runs
from reconciler.sandbox.runs import Phase, stage

if TYPE_CHECKING:
    from reconciler.sandbox.glider import View

Data = dict[str, Any]

ACTIONS_SHOWN: Final = 5
"""How many runs the status answer shows."""

_WORKFLOW_WORDS: Final = {
    Phase.ACCEPTED: "triggered",
    Phase.RUNNING: "running",
    Phase.RETRYING: "running",
    Phase.AWAITING_USER: "running",
    Phase.COMPLETED: "completed",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "canceled",
}
"""What v1 calls each phase (API facts §3.1); it has no words for the detours."""

_UNITS: Final = (("day", DAY_MS), ("hour", HOUR_MS), ("minute", MINUTE_MS), ("second", SECOND_MS), ("millisecond", 1))


def automation_status(view: View) -> Data:
    """The answer of ``automation/status``; ``details`` and the schedule's id are null for an inactive portfolio."""
    portfolio = view.portfolio
    word = portfolio.word or portfolio.state.value
    details = _details(view)
    if details is not None:
        details["recentActions"] = [
            {
                "workflowId": ids.workflow_id(view.facts.instance, portfolio.id, run.number),
                "takenAt": iso(run.taken_ms),
                "scheduledAt": iso(run.scheduled_ms),
            }
            for run in recent_runs(portfolio, ACTIONS_SHOWN)
        ]
    return {
        "portfolioId": portfolio.id,
        "status": word,
        "hasAutomation": portfolio.state is not AutomationState.INACTIVE,
        "message": f"Portfolio automation is {word}",
        "rebalanceScheduleId": _schedule_id(view),
        "details": details,
    }


def rebalance_status(view: View, *, limit: int) -> Data:
    """The answer of ``rebalance/status``: the same words without ``archived`` (API facts §3.1), and workflows."""
    portfolio, instance = view.portfolio, view.facts.instance
    archived = portfolio.state is AutomationState.ARCHIVED
    return {
        "portfolioId": portfolio.id,
        "status": portfolio.word or (AutomationState.PAUSED if archived else portfolio.state).value,
        "message": "Rebalance status retrieved",
        "rebalanceScheduleId": _schedule_id(view),
        "details": _details(view),
        "recentWorkflows": [
            {
                "workflowId": ids.workflow_id(instance, portfolio.id, run.number),
                "runId": ids.run_id(instance, portfolio.id, run.number),
                "status": _workflow_word(view, run),
                "scheduledAt": iso(run.scheduled_ms),
                "startedAt": iso(run.taken_ms),
            }
            for run in recent_runs(portfolio, limit)
        ],
    }


def execution(view: View, run: Run) -> Data:
    """The answer about one run, which goes on with the clock; one that fails or is cancelled has no result."""
    portfolio, instance, pace = view.portfolio, view.facts.instance, view.facts.settings.pace
    phase = stage(run.course, pace, view.now_ms - run.taken_ms).phase
    result = {
        "transactionHash": ids.transaction_hash(instance, portfolio.id, run.number),
        "blockNumber": 12_345_680 + run.number,
        "gasUsed": "125000",
        "effectiveGasPrice": "1000000000",
        "status": "success",
    }
    failed = {"code": Code.UNKNOWN_ERROR.value, "message": "The rebalance failed: a swap was reverted"}
    return {
        "portfolioId": portfolio.id,
        "workflowId": ids.workflow_id(instance, portfolio.id, run.number),
        "runId": ids.run_id(instance, portfolio.id, run.number),
        # One that is queued has begun for those who ask for it by name; only the list calls it triggered.
        "status": "running" if phase is Phase.ACCEPTED else _WORKFLOW_WORDS[phase],
        "startTime": iso(run.taken_ms),
        "closeTime": iso(run.taken_ms + pace.takes_ms) if phase.over else None,
        "executionTime": iso(run.taken_ms),
        "taskQueue": "rebalance-queue",
        "result": result if phase is Phase.COMPLETED else None,
        "error": failed if phase is Phase.FAILED else None,
        "historyLength": 32 if phase.over else 11,
    }


def find_run(view: View, workflow: str) -> Run | None:
    """Return the remembered run with this workflow id."""
    portfolio = view.portfolio
    runs = recent_runs(portfolio, len(portfolio.recent))
    return next(
        (run for run in runs if ids.workflow_id(view.facts.instance, portfolio.id, run.number) == workflow), None
    )


def portfolio(view: View) -> Data:
    """The answer of ``GET /v1/portfolio/{id}``; it shows no schedule, as in life."""
    one = view.portfolio
    return {
        "id": one.id,
        "name": one.name or one.id,
        "description": None,
        "ownerAddress": ids.owner_address(view.facts.instance, one.id),
        "isPublic": False,
        "isArchived": one.state is AutomationState.ARCHIVED,
        "createdAt": iso(one.created_ms),
        "updatedAt": iso(one.updated_ms),
        "tags": [],
        "templateId": None,
        "valueUsd": 0,
        "template": None,
    }


def started(view: View, *, immediately: bool) -> Data:
    """The answer of a start; without a schedule (manual-only) its id and interval are null."""
    grid = view.portfolio.grid
    return {
        "portfolioId": view.portfolio.id,
        "rebalanceScheduleId": _schedule_id(view),
        "status": "started",
        "message": "Portfolio automation started" if grid else "Portfolio is ready for manual rebalancing",
        "runRebalanceImmediately": immediately,
        "isAutomated": grid is not None,
        "intervalMs": grid.interval_ms if grid else None,
    }


def paused(view: View) -> Data:
    """The answer of a pause; a repeated one shows when and why the first happened."""
    one = view.portfolio
    return {
        "portfolioId": one.id,
        "scheduleId": _schedule_id(view),
        "status": "paused",
        "message": "Portfolio automation paused",
        "paused": True,
        "pausedAt": iso(one.updated_ms if one.paused_ms is None else one.paused_ms),
        "reason": one.pause_reason,
    }


def resumed(view: View, *, reason: str | None) -> Data:
    """The answer of a resume: its real shape is not documented, this is the mirror image of a pause."""
    return {
        "portfolioId": view.portfolio.id,
        "scheduleId": _schedule_id(view),
        "status": "resumed",
        "message": "Portfolio automation resumed",
        "paused": False,
        "resumedAt": iso(view.now_ms),
        "reason": f"Resumed via API: {reason}" if reason else "Resumed via API",
    }


def updated(before: View, after: View) -> Data:
    """The answer of an update: the only one that shows the stored interval and offset."""
    old, new = grid_of(before.portfolio), grid_of(after.portfolio)
    run = next_run(after.portfolio, after.now_ms)
    human = human_readable(new.interval_ms)
    return {
        "portfolioId": after.portfolio.id,
        "scheduleId": _schedule_id(after),
        "previousInterval": {"every": old.interval_ms, "offset": old.offset_ms},
        "newInterval": {"every": new.interval_ms, "offset": new.offset_ms, "humanReadable": human},
        "message": f"Schedule interval updated to {human}",
        "nextScheduledRun": None if run is None else iso(run),
    }


def triggered(view: View) -> Data:
    """The answer of a trigger; ``triggerTime`` is in unix seconds."""
    one = view.portfolio
    return {
        "portfolioId": one.id,
        "scheduleId": _schedule_id(view),
        "rebalanceId": ids.workflow_id(view.facts.instance, one.id, one.runs),
        "status": "triggered",
        "message": "Rebalance triggered",
        "triggerTime": view.now_ms // SECOND_MS,
    }


def iso(ms: int) -> str:
    """Return epoch milliseconds as the service writes times: ``2023-05-21T13:45:12.345Z``."""
    seconds, rest = divmod(ms, SECOND_MS)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:03d}Z"


def human_readable(ms: int) -> str:
    """Return an interval in words: ``12 hours``, ``1 day 6 hours``."""
    words, rest = [], ms
    for name, unit in _UNITS:
        count, rest = divmod(rest, unit)
        if count:
            words.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " ".join(words)


def _workflow_word(view: View, run: Run) -> str:
    return _WORKFLOW_WORDS[stage(run.course, view.facts.settings.pace, view.now_ms - run.taken_ms).phase]


def _schedule_id(view: View) -> str | None:
    one = view.portfolio
    return ids.schedule_id(view.facts.instance, one.id, one.schedules) if one.grid else None


def _details(view: View) -> Data | None:
    one: Portfolio = view.portfolio
    if one.grid is None:
        return None
    run = next_run(one, view.now_ms)
    details: Data = {
        "totalExecutions": one.runs,
        "paused": one.state in (AutomationState.PAUSED, AutomationState.ARCHIVED),
        "pauseReason": one.pause_reason,
        "nextScheduledExecution": None if run is None else iso(run),
    }
    if view.facts.settings.readable_schedule:
        details["interval"] = {"every": one.grid.interval_ms, "offset": one.grid.offset_ms}
        details["intervalMs"] = one.grid.interval_ms
    return details
