"""v1 of the simulated service: its routes in both path families, what bodies mean, and what is answered.

In: a :class:`Request`. Out: the ``data`` of each documented answer (API facts §1.1, §1.2, §2.1, §4.1, §4.2), or
``Refused``. What a call does to a portfolio is for :mod:`reconciler.sandbox.portfolio`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from reconciler.core.codec import iso
from reconciler.core.text import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, plural
from reconciler.sandbox.faults import Operation
from reconciler.sandbox.gateway import Data, Envelope, Handler, Routing
from reconciler.sandbox.model import AutomationState, Code, Phase, Refused, invalid, made_up, owner_address, stage
from reconciler.sandbox.portfolio import DEFAULT_INTERVAL_MS, RUNS_KEPT, Portfolio
from reconciler.sandbox.settings import PathFamilies, UpdateWhilePaused

if TYPE_CHECKING:
    from reconciler.sandbox.model import PastRun
    from reconciler.sandbox.simulator import AutomationView, Simulator
    from reconciler.sandbox.wire import Request

_DEFAULT_LIMIT: Final = 5
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

V1_ENVELOPE: Final = Envelope(
    traced=True, error=lambda refused: {"code": refused.code.value, "message": refused.message, "details": {}}
)


def v1_paths() -> Routing:
    """Return the handlers of every path; the most frequent path comes first."""
    root = "/v1/portfolio/{portfolio}"
    paths = {
        f"{root}/automation/status": {"GET": Handler(Operation.READ, _automation_status)},
        f"{root}/rebalance/status": {"GET": Handler(Operation.READ, _rebalance_status)},
        f"{root}/rebalance/status/{{workflow}}": {"GET": Handler(Operation.READ, _execution)},
        root: {"GET": Handler(Operation.READ, _portfolio)},
        f"{root}/update-schedule-interval": {"POST": Handler(Operation.UPDATE, _update)},
    }
    for family, prefix in ((PathFamilies.REFERENCE, f"{root}/rebalance/schedule"), (PathFamilies.GUIDE, root)):
        paths |= {
            f"{prefix}/start": {"POST": Handler(Operation.START, partial(_start, family), family)},
            f"{prefix}/pause": {"POST": Handler(Operation.PAUSE, _pause, family)},
            f"{prefix}/resume": {"POST": Handler(Operation.RESUME, _resume, family)},
            f"{prefix}/trigger": {"POST": Handler(Operation.TRIGGER, _trigger, family)},
        }
    return paths


def _automation_status(simulator: Simulator, request: Request) -> Data:
    """Answer with ``details`` and the schedule's id; both are null for an inactive portfolio."""
    view = simulator.read(request.portfolio)
    portfolio = view.portfolio
    word = portfolio.word or portfolio.state.value
    details = _details(view)
    if details is not None:
        details["recentActions"] = [
            {
                "workflowId": _workflow_id(view, number),
                "takenAt": iso(_taken_ms(number, run)),
                "scheduledAt": iso(run.at_ms),
            }
            for number, run in portfolio.numbered[:ACTIONS_SHOWN]
        ]
        if view.facts.settings.readable_schedule:
            ended = (n for n, run in portfolio.numbered if _phase(view, n, run) is Phase.COMPLETED)
            details["lastResult"] = next((_result(view, number) for number in ended), None)
    return {
        "portfolioId": portfolio.id,
        "status": word,
        "hasAutomation": portfolio.state is not AutomationState.INACTIVE,
        "message": f"Portfolio automation is {word}",
        "rebalanceScheduleId": _schedule_id(view),
        "details": details,
    }


def _rebalance_status(simulator: Simulator, request: Request) -> Data:
    """Answer with the same words without ``archived`` (API facts §3.1), and the newest workflows."""
    limit = min(request.limit(default=_DEFAULT_LIMIT), RUNS_KEPT)
    view = simulator.read(request.portfolio)
    portfolio = view.portfolio
    archived = portfolio.state is AutomationState.ARCHIVED
    return {
        "portfolioId": portfolio.id,
        "status": portfolio.word or (AutomationState.PAUSED if archived else portfolio.state).value,
        "message": "Rebalance status retrieved",
        "rebalanceScheduleId": _schedule_id(view),
        "details": _details(view),
        "recentWorkflows": [
            {
                "workflowId": _workflow_id(view, number),
                "runId": _run_id(view, number),
                "status": _WORKFLOW_WORDS[_phase(view, number, run)],
                "scheduledAt": iso(run.at_ms),
                "startedAt": iso(_taken_ms(number, run)),
            }
            for number, run in portfolio.numbered[:limit]
        ],
    }


def _execution(simulator: Simulator, request: Request) -> Data:
    """Answer about one run, which goes on with the clock; one that failed or was cancelled has no result."""
    view, workflow = simulator.read(request.portfolio), request.parameters["workflow"]
    found = next((one for one in view.portfolio.numbered if _workflow_id(view, one[0]) == workflow), None)
    if found is None:
        raise Refused(404, Code.NOT_FOUND, "Workflow not found")
    number, run = found
    phase, begun_ms = _phase(view, number, run), _taken_ms(number, run)
    failed = {"code": Code.UNKNOWN_ERROR.value, "message": "The rebalance failed: a swap was reverted"}
    return {
        "portfolioId": view.portfolio.id,
        "workflowId": workflow,
        "runId": _run_id(view, number),
        # Only the list calls a queued run triggered; this call, which asks for one run, says that it is running.
        "status": "running" if phase is Phase.ACCEPTED else _WORKFLOW_WORDS[phase],
        "startTime": iso(begun_ms),
        "closeTime": iso(begun_ms + view.facts.settings.pace.takes_ms) if phase.over else None,
        "executionTime": iso(begun_ms),
        "taskQueue": "rebalance-queue",
        "result": _result(view, number) if phase is Phase.COMPLETED else None,
        "error": failed if phase is Phase.FAILED else None,
        "historyLength": 32 if phase.over else 11,
    }


def _result(view: AutomationView, number: int) -> Data:
    return {
        "transactionHash": f"0x{made_up(32, 'transaction', view.facts.instance, view.portfolio.id, number)}",
        "blockNumber": 12_345_680 + number,
        "gasUsed": str(view.portfolio.gas_used),
        "effectiveGasPrice": "1000000000",
        "status": "success",
    }


def _portfolio(simulator: Simulator, request: Request) -> Data:
    """Answer with name, archived or not, and times; like the real service, it shows no schedule."""
    view = simulator.read(request.portfolio)
    portfolio, template = view.portfolio, _template(view)
    return {
        "id": portfolio.id,
        "name": portfolio.name or portfolio.id,
        "description": None,
        "ownerAddress": owner_address(view.facts.instance, portfolio.id),
        "isPublic": False,
        "isArchived": portfolio.state is AutomationState.ARCHIVED,
        "createdAt": iso(portfolio.created_ms),
        "updatedAt": iso(portfolio.updated_ms),
        "tags": [],
        "templateId": template and template["id"],
        "valueUsd": portfolio.value_usd,
        "template": template,
    }


def _start(family: PathFamilies, simulator: Simulator, request: Request) -> Data:
    """Start; without a schedule (manual-only) the id and the interval of the answer are null."""
    body = _body(request)
    immediately = _flag(body, "runRebalanceImmediately", default=False)
    # Only the reference has this field (API facts §4.4); in the guide's body it is ignored like any unknown one.
    named = family is PathFamilies.REFERENCE
    automatic = _flag(body, "initializeScheduleAutomatically", default=True) if named else True
    interval, offset = _start_schedule(family, body)
    start = partial(
        Portfolio.start,
        interval_ms=interval,
        offset_ms=offset,
        automatic=automatic,
        immediately=immediately,
        course=request.course,
    )
    _, after = simulator.change(request.portfolio, start)
    grid = after.portfolio.grid
    return {
        "portfolioId": after.portfolio.id,
        "rebalanceScheduleId": _schedule_id(after),
        "status": "started",
        "message": "Portfolio automation started" if grid else "Portfolio is ready for manual rebalancing",
        "runRebalanceImmediately": immediately,
        "isAutomated": grid is not None,
        "intervalMs": grid.interval_ms if grid else None,
    }


def _pause(simulator: Simulator, request: Request) -> Data:
    """Pause; a repeated pause answers with the time and reason of the first."""
    reason = _text(_body(request), "reason")
    _, after = simulator.change(request.portfolio, partial(Portfolio.pause, reason=reason))
    portfolio = after.portfolio
    return {
        "portfolioId": portfolio.id,
        "scheduleId": _schedule_id(after),
        "status": "paused",
        "message": "Portfolio automation paused",
        "paused": True,
        "pausedAt": iso(portfolio.updated_ms if portfolio.paused_ms is None else portfolio.paused_ms),
        "reason": portfolio.pause_reason,
    }


def _resume(simulator: Simulator, request: Request) -> Data:
    """Resume. The shape of the real answer is not documented; this one mirrors the answer to a pause."""
    reason = _text(_body(request), "reason")
    _, after = simulator.change(request.portfolio, Portfolio.resume)
    return {
        "portfolioId": after.portfolio.id,
        "scheduleId": _schedule_id(after),
        "status": "resumed",
        "message": "Portfolio automation resumed",
        "paused": False,
        "resumedAt": iso(after.now_ms),
        "reason": f"Resumed via API: {reason}" if reason else "Resumed via API",
    }


def _trigger(simulator: Simulator, request: Request) -> Data:
    """Trigger a run; ``triggerTime`` is in unix seconds."""
    skip = _flag(_body(request), "skipScheduleValidation", default=False)
    trigger = partial(Portfolio.trigger, skip_validation=skip, course=request.course)
    _, after = simulator.change(request.portfolio, trigger)
    return {
        "portfolioId": after.portfolio.id,
        "scheduleId": _schedule_id(after),
        "rebalanceId": _workflow_id(after, after.portfolio.runs),
        "status": "triggered",
        "message": "Rebalance triggered",
        "triggerTime": after.now_ms // SECOND_MS,
    }


def _update(simulator: Simulator, request: Request) -> Data:
    """Set the schedule; the only answer that shows the stored interval and offset."""
    schedule = _schedule_of(_body(request))
    if schedule is None:
        raise invalid("interval must be an object with the numbers every and offset")
    interval, offset = schedule
    accept = simulator.store.facts().settings.update_while_paused is UpdateWhilePaused.ACCEPT
    update = partial(Portfolio.update, interval_ms=interval, offset_ms=offset, accept_while_paused=accept)
    before, after = simulator.change(request.portfolio, update)
    old, new = before.portfolio.schedule, after.portfolio.schedule
    run = after.portfolio.next_run(after.now_ms)
    human = _human_readable(new.interval_ms)
    return {
        "portfolioId": after.portfolio.id,
        "scheduleId": _schedule_id(after),
        "previousInterval": {"every": old.interval_ms, "offset": old.offset_ms},
        "newInterval": {"every": new.interval_ms, "offset": new.offset_ms, "humanReadable": human},
        "message": f"Schedule interval updated to {human}",
        "nextScheduledRun": None if run is None else iso(run),
    }


def _template(view: AutomationView) -> Data | None:
    """Return the template with its trading settings (API facts §7a); nothing else of it is documented."""
    portfolio = view.portfolio
    if portfolio.threshold is not None:
        percent = portfolio.threshold
        settings: Data = {"type": "threshold", "triggerPercentage": int(percent) if percent.is_integer() else percent}
    elif portfolio.calendar is not None:
        settings = {"type": "calendar", "frequency": portfolio.calendar.value}
    else:
        return None
    name = f"tmpl_{made_up(8, 'template', view.facts.instance, portfolio.id)}"
    return {"id": name, "tradingSettings": settings}


def _details(view: AutomationView) -> Data | None:
    portfolio = view.portfolio
    if portfolio.grid is None:
        return None
    run = portfolio.next_run(view.now_ms)
    details: Data = {
        "totalExecutions": portfolio.runs,
        "paused": portfolio.state in (AutomationState.PAUSED, AutomationState.ARCHIVED),
        "pauseReason": portfolio.pause_reason,
        "nextScheduledExecution": None if run is None else iso(run),
    }
    if view.facts.settings.readable_schedule:
        details["interval"] = {"every": portfolio.grid.interval_ms, "offset": portfolio.grid.offset_ms}
        details["intervalMs"] = portfolio.grid.interval_ms
    return details


def _schedule_id(view: AutomationView) -> str | None:
    portfolio = view.portfolio
    if portfolio.grid is None:
        return None
    return f"sched_{made_up(8, 'schedule', view.facts.instance, portfolio.id, portfolio.schedules)}"


def _workflow_id(view: AutomationView, number: int) -> str:
    return f"rebal_{made_up(8, 'workflow', view.facts.instance, view.portfolio.id, number)}"


def _run_id(view: AutomationView, number: int) -> str:
    """Return the id of the one attempt that a run takes."""
    return f"run_{made_up(8, 'run', view.facts.instance, view.portfolio.id, number)}"


def _taken_ms(number: int, run: PastRun) -> int:
    """Return when a run really began: a few milliseconds late, as with any scheduler."""
    return run.at_ms + 3 + number % 7


def _phase(view: AutomationView, number: int, run: PastRun) -> Phase:
    return stage(run.course, view.facts.settings.pace, view.now_ms - _taken_ms(number, run)).phase


def _human_readable(ms: int) -> str:
    """Return an interval in words: ``12 hours``, ``1 day 6 hours``."""
    words, rest = [], ms
    for name, unit in _UNITS:
        count, rest = divmod(rest, unit)
        if count:
            words.append(plural(count, name))
    return " ".join(words)


def _body(request: Request) -> Data:
    """Return the body's object, ``{}`` for an empty body; raises ``Refused`` 400 for anything else."""
    body = request.document() if request.body else {}
    if not isinstance(body, dict):
        raise invalid("Request body must be an object")
    return body


def _schedule_of(body: Data) -> tuple[int, int] | None:
    """Return interval and offset in milliseconds of an object ``interval``; ``None`` for anything else."""
    value = body.get("interval")
    if not isinstance(value, dict):
        return None
    every, offset = _whole(value.get("every")), _whole(value.get("offset", 0))
    return None if every is None or offset is None else (every, offset)


def _start_schedule(family: PathFamilies, body: Data) -> tuple[int, int]:
    """Return interval and offset of a start. A value in the other family's shape is ignored (API facts §4.2)."""
    if family is PathFamilies.GUIDE:
        return _schedule_of(body) or (DEFAULT_INTERVAL_MS, 0)
    every = _whole(body.get("interval"))
    return DEFAULT_INTERVAL_MS if every is None else every, 0


def _flag(body: Data, name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise invalid(f"{name} must be a boolean")
    return value


def _text(body: Data, name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} must be a string")
    return value


def _whole(value: object) -> int | None:
    """Return a JSON number without a fraction; ``None`` for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
