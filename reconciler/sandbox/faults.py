"""Misbehaviour on request: rules that say which calls go wrong, how, and how often.

In: rules as values or as plain data (from ``POST /_sandbox/faults``). Out: for each call, the rule that matches it, and
functions that put one mistake into a right answer. The gateway decides when a rule does what to a call.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.sandbox.checks import FieldProblems, FieldReader, quoted
from reconciler.sandbox.model import Course
from reconciler.sandbox.wire import json_reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.sandbox.wire import Reply

ANY: Final = "*"
"""Matches every portfolio."""
OTHER_ID: Final = "zz0zz0zz"
"""The id in an answer that names another portfolio or strategy."""
LONGEST_DELAY_MS: Final = 600_000
MOST_TIMES: Final = 1_000_000


class Operation(StrEnum):
    """What a call does. Read and start exist in both versions, the rest of the first group only in v1."""

    READ = "read"
    """Every read of one v1 portfolio, and the detail of a v2 one."""
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    UPDATE = "update"
    TRIGGER = "trigger"

    LIST = "list"
    """A page of v2 portfolios."""
    STOP = "stop"
    REBALANCE = "rebalance"
    OPERATION = "operation"
    """How far a v2 rebalance has come."""
    STRATEGY = "strategy"
    """Every read of v2 strategies, their cadence included."""
    CADENCE = "cadence"
    """Setting the cadence of a strategy."""
    ACCOUNT = "account"
    """``whoami`` and ``scopes``."""


class FaultKind(StrEnum):
    """What goes wrong. The first group happens instead of the work, the second after it was done."""

    LATENCY = "latency"
    """Waits ``ms``, then works as usual."""
    RATE_LIMITED = "rate_limited"
    """429 as documented, with ``Retry-After`` of ``retry_after`` seconds, written as ``form``."""
    SERVER_ERROR = "server_error"
    """``status`` in the usual envelope; nothing was done."""
    HTML = "html"
    """``status`` with a page of HTML, as from a gateway; nothing was done."""
    LOST_BEFORE = "lost_before"
    """The connection dies; nothing was done."""

    LOST_AFTER = "lost_after"
    """The connection dies after the work."""
    SLOW_ANSWER = "slow_answer"
    """Works at once, answers after ``ms``."""
    ERROR_AFTER = "error_after"
    """``status`` in the usual envelope, although the work was done."""
    NOT_JSON = "not_json"
    """The right status with text that is not JSON."""
    EMPTY = "empty"
    """The right status with no body."""
    TRUNCATED = "truncated"
    """The right status with the first half of the body."""
    WRONG_PORTFOLIO = "wrong_portfolio"
    """An answer that names another portfolio."""
    UNKNOWN_WORD = "unknown_word"
    """The status word is ``word``."""
    REBALANCE_ENDS = "rebalance_ends"
    """Works as usual, but the rebalance that it begins goes as ``course`` says."""


class RetryAfterForm(StrEnum):
    """How ``Retry-After`` is written; both forms are legal HTTP (API facts §2.3)."""

    SECONDS = "seconds"
    DATE = "date"


class Fault(Struct, frozen=True, kw_only=True):
    """One rule: the next ``times`` calls of this operation (``None``: any) on this portfolio go wrong.

    ``portfolio`` is a portfolio's id, or a strategy's for the calls on strategies.
    The parameters below ``times`` belong to the kinds that name them.
    """

    kind: FaultKind
    operation: Operation | None = None
    portfolio: str = ANY
    times: int = 1
    ms: int = 1_000
    status: int = 500
    retry_after: int = 1
    form: RetryAfterForm = RetryAfterForm.SECONDS
    word: str = "degraded"
    course: Course = Course.FAILED

    def meets(self, operation: Operation, portfolio: str) -> bool:
        """Whether this rule matches such a call."""
        return self.operation in (None, operation) and self.portfolio in (ANY, portfolio)


_PARAMETERS: Final[dict[FaultKind, tuple[str, ...]]] = {
    FaultKind.LATENCY: ("ms",),
    FaultKind.SLOW_ANSWER: ("ms",),
    FaultKind.RATE_LIMITED: ("retry_after", "form"),
    FaultKind.SERVER_ERROR: ("status",),
    FaultKind.ERROR_AFTER: ("status",),
    FaultKind.HTML: ("status",),
    FaultKind.UNKNOWN_WORD: ("word",),
    FaultKind.REBALANCE_ENDS: ("course",),
}
_EVERY_PARAMETER: Final = tuple(dict.fromkeys(name for names in _PARAMETERS.values() for name in names))


class Faults:
    """The rules in force, in the order in which they were given. The first that matches a call applies to it."""

    def __init__(self, rules: Iterable[Fault] = ()) -> None:
        self._rules = list(rules)

    def add(self, *rules: Fault) -> None:
        """Add rules after those in force."""
        self._rules.extend(rules)

    def clear(self) -> None:
        """Remove every rule."""
        self._rules.clear()

    def left(self) -> tuple[Fault, ...]:
        """Return the rules that are still in force, with the number of times that each still applies."""
        return tuple(self._rules)

    def take(self, operation: Operation, portfolio: str) -> Fault | None:
        """Return the rule that matches this call, and count it as used once."""
        for index, rule in enumerate(self._rules):
            if rule.meets(operation, portfolio):
                if rule.times > 1:
                    self._rules[index] = replace(rule, times=rule.times - 1)
                else:
                    del self._rules[index]
                return rule
        return None


def parse_faults(data: object) -> tuple[Fault, ...]:
    """Return the rules that a list of plain data describes; raises ``SandboxError`` that lists every problem."""
    problems = FieldProblems()
    if not isinstance(data, list):
        problems.add("", f"must be a list of rules, not {quoted(data)}")
        problems.stop("the list of faults")
        return ()
    rules = [_fault(entry, f"faults[{index}]", problems) for index, entry in enumerate(data)]
    problems.stop("the list of faults")
    return tuple(rule for rule in rules if rule is not None)


def fault_data(fault: Fault) -> dict[str, object]:
    """Return the plain data of a rule, with the parameters that belong to its kind."""
    data: dict[str, object] = {
        "kind": fault.kind.value,
        "operation": fault.operation.value if fault.operation else "any",
        "portfolio": fault.portfolio,
        "times": fault.times,
    }
    return data | {name: getattr(fault, name) for name in _PARAMETERS.get(fault.kind, ())}


def _fault(entry: object, address: str, problems: FieldProblems) -> Fault | None:
    kind = FieldReader(entry, address, FieldProblems(), known=("kind",)).choice("kind", FaultKind, default=None)
    parameters = _PARAMETERS.get(kind, ()) if kind else _EVERY_PARAMETER
    fields = FieldReader(entry, address, problems, known=("kind", "operation", "portfolio", "times", *parameters))
    if "kind" not in fields:
        fields.problem("kind", "is missing", f"write one of {', '.join(FaultKind)}")
        return None
    if kind is None:
        fields.choice("kind", FaultKind, default=None)
        return None
    any_operation = fields.raw("operation") in (None, "any")
    return Fault(
        kind=kind,
        operation=None if any_operation else fields.choice("operation", Operation, default=None),
        portfolio=fields.text("portfolio") or ANY,
        times=fields.whole("times", default=1, least=1, most=MOST_TIMES),
        ms=fields.whole("ms", default=1_000, least=0, most=LONGEST_DELAY_MS),
        status=fields.whole("status", default=502 if kind is FaultKind.HTML else 500, least=400, most=599),
        retry_after=fields.whole("retry_after", default=1, least=0, most=86_400),
        form=fields.choice("form", RetryAfterForm, default=None) or RetryAfterForm.SECONDS,
        word=fields.text("word") or "degraded",
        course=fields.choice("course", Course, default=None) or Course.FAILED,
    )


def naming_another(reply: Reply) -> Reply:
    """Return an answer that names another portfolio or strategy; on a page, only its first row does."""
    payload, data = _read(reply)
    if data is None:
        return reply
    rows = data.get("portfolios", data.get("strategies"))
    named = rows[0] if rows else data
    named["strategyId" if "strategyId" in named and "portfolioId" not in named else "portfolioId"] = OTHER_ID
    return replace(reply, body=json_reply(reply.status, payload).body)


def saying(reply: Reply, word: str) -> Reply:
    """Return an answer with this status word: of the portfolio, of every row of a page, of an operation, a cadence."""
    payload, data = _read(reply)
    for row in () if data is None else data.get("portfolios", (data,)):
        schedule = row.get("schedule")
        if isinstance(schedule, dict):
            schedule["status" if "status" in schedule else "frequency"] = word
        else:
            row[next((key for key in ("state", "frequency") if key in row), "status")] = word
    return replace(reply, body=json_reply(reply.status, payload).body)


def _read(reply: Reply) -> tuple[Any, dict[str, Any] | None]:
    """Return the body of an answer, and its ``data``: a refusal has none, and for a missing schedule it is null."""
    payload = json.loads(reply.body)
    data = payload.get("data")
    return payload, data if isinstance(data, dict) else None
