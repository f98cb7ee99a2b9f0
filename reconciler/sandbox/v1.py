"""The routes of v1: both path families, request bodies, and the envelope (API facts §1.1, §2.1, §4.1, §4.2).

In: a :class:`Request`. Out: the ``data`` of the answer, or ``Refused``. Decides what a body means; what is then done
is for :mod:`reconciler.sandbox.actions`, how it is shown for :mod:`reconciler.sandbox.answers`.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from reconciler.sandbox import actions, answers
from reconciler.sandbox.faults import Operation
from reconciler.sandbox.gateway import Call
from reconciler.sandbox.model import RUNS_KEPT, Code, Refused
from reconciler.sandbox.settings import PathFamilies, UpdateWhilePaused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.sandbox.answers import Data
    from reconciler.sandbox.glider import Glider
    from reconciler.sandbox.requests import Request, Trace

DEFAULT_LIMIT: Final = 5


class V1Envelope:
    """The wrapping of v1, with the tracing ids in the body (API facts §2.1)."""

    def success(self, data: dict[str, Any] | None, trace: Trace) -> dict[str, Any]:
        """Wrap an answer."""
        return {"success": True, "data": data, **_tracing(trace)}

    def failure(self, refused: Refused, trace: Trace) -> dict[str, Any]:
        """Wrap a refusal."""
        error: dict[str, Any] = {"code": refused.code.value, "message": refused.message, "details": {}}
        return {"success": False, "error": error, **_tracing(trace)}


def v1_paths() -> dict[str, Mapping[str, Call]]:
    """Return the calls of every path, keyed by path and method; the most frequent path stands first."""
    root = "/v1/portfolio/{portfolio}"
    paths: dict[str, Mapping[str, Call]] = {
        f"{root}/automation/status": {"GET": Call(Operation.READ, _automation_status)},
        f"{root}/rebalance/status": {"GET": Call(Operation.READ, _rebalance_status)},
        f"{root}/rebalance/status/{{workflow}}": {"GET": Call(Operation.READ, _execution)},
        root: {"GET": Call(Operation.READ, _portfolio)},
        f"{root}/update-schedule-interval": {"POST": Call(Operation.UPDATE, _update)},
    }
    families = ((PathFamilies.REFERENCE, f"{root}/rebalance/schedule"), (PathFamilies.GUIDE, root))
    for family, prefix in families:
        paths |= {
            f"{prefix}/start": {"POST": Call(Operation.START, partial(_start, family), family)},
            f"{prefix}/pause": {"POST": Call(Operation.PAUSE, _pause, family)},
            f"{prefix}/resume": {"POST": Call(Operation.RESUME, _resume, family)},
            f"{prefix}/trigger": {"POST": Call(Operation.TRIGGER, _trigger, family)},
        }
    return paths


def _automation_status(glider: Glider, request: Request) -> Data:
    return answers.automation_status(glider.read(request.portfolio))


def _rebalance_status(glider: Glider, request: Request) -> Data:
    text = parse_qs(request.query).get("limit", [str(DEFAULT_LIMIT)])[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise Refused(400, Code.INVALID_REQUEST, "limit must be a positive number")
    return answers.rebalance_status(glider.read(request.portfolio), limit=min(int(text), RUNS_KEPT))


def _execution(glider: Glider, request: Request) -> Data:
    view = glider.read(request.portfolio)
    run = answers.find_run(view, request.parameters["workflow"])
    if run is None:
        raise Refused(404, Code.NOT_FOUND, "Workflow not found")
    return answers.execution(view, run)


def _portfolio(glider: Glider, request: Request) -> Data:
    return answers.portfolio(glider.read(request.portfolio))


def _start(family: PathFamilies, glider: Glider, request: Request) -> Data:
    body = _body(request)
    immediately = _flag(body, "runRebalanceImmediately", default=False)
    # Known to the reference alone (API facts §4.4); in the guide's body it is a field like any unknown one.
    automatic = (
        _flag(body, "initializeScheduleAutomatically", default=True) if family is not PathFamilies.GUIDE else True
    )
    interval, offset = _start_schedule(family, body.get("interval"))
    action = partial(
        actions.start,
        interval_ms=interval,
        offset_ms=offset,
        automatic=automatic,
        immediately=immediately,
        course=request.course,
    )
    _before, after = glider.change(request.portfolio, action)
    return answers.started(after, immediately=immediately)


def _start_schedule(family: PathFamilies, value: object) -> tuple[int, int]:
    """Return interval and offset of a start. A value in the other family's shape is ignored (API facts §4.2)."""
    if family is PathFamilies.GUIDE:
        every = _whole(value.get("every")) if isinstance(value, dict) else None
        offset = _whole(value.get("offset", 0)) if isinstance(value, dict) else None
        return (actions.DEFAULT_INTERVAL_MS, 0) if every is None or offset is None else (every, offset)
    number = _whole(value)
    return actions.DEFAULT_INTERVAL_MS if number is None else number, 0


def _pause(glider: Glider, request: Request) -> Data:
    reason = _text(_body(request), "reason")
    _before, after = glider.change(request.portfolio, partial(actions.pause, reason=reason))
    return answers.paused(after)


def _resume(glider: Glider, request: Request) -> Data:
    reason = _text(_body(request), "reason")
    _before, after = glider.change(request.portfolio, actions.resume)
    return answers.resumed(after, reason=reason)


def _trigger(glider: Glider, request: Request) -> Data:
    skip = _flag(_body(request), "skipScheduleValidation", default=False)
    _before, after = glider.change(
        request.portfolio, partial(actions.trigger, skip_validation=skip, course=request.course)
    )
    return answers.triggered(after)


def _update(glider: Glider, request: Request) -> Data:
    value = _body(request).get("interval")
    every = _whole(value.get("every")) if isinstance(value, dict) else None
    offset = _whole(value.get("offset", 0)) if isinstance(value, dict) else None
    if every is None or offset is None:
        raise Refused(400, Code.INVALID_REQUEST, "interval must be an object with the numbers every and offset")
    accept = glider.store.facts().settings.update_while_paused is UpdateWhilePaused.ACCEPT
    action = partial(actions.update, interval_ms=every, offset_ms=offset, accept_while_paused=accept)
    return answers.updated(*glider.change(request.portfolio, action))


def _body(request: Request) -> dict[str, Any]:
    """Return the body's object, ``{}`` for an empty body; raises ``Refused`` 400 for anything else."""
    if not request.body:
        return {}
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refused(400, Code.INVALID_REQUEST, "Request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, Code.INVALID_REQUEST, "Request body must be an object")
    return body


def _flag(body: dict[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise Refused(400, Code.INVALID_REQUEST, f"{name} must be a boolean")
    return value


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(400, Code.INVALID_REQUEST, f"{name} must be a string")
    return value


def _whole(value: object) -> int | None:
    """Return a JSON number without a fraction; ``None`` for whatever else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _tracing(trace: Trace) -> dict[str, str]:
    return {"correlationId": trace.correlation_id, "requestId": trace.request_id, "timestamp": trace.timestamp}
