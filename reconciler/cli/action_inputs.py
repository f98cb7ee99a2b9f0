"""The inputs of the GitHub Action: from environment variables to values.

In: the ``INPUT_*`` variables that ``action.yml`` sets. Out: :class:`Inputs`, checked. What no command understands is
refused here, with the name of the input; everything else the commands check themselves.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from msgspec import Struct

from reconciler.cli.flags import MOST_PARALLELISM
from reconciler.core.errors import ApiError, FailureKind, UsageError
from reconciler.core.model import Unverified
from reconciler.core.report import FailOn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class Command(StrEnum):
    """What a step may run: nothing that trades by itself, but what resumes trading when a person starts it."""

    VALIDATE = "validate"
    PLAN = "plan"
    APPLY = "apply"
    DRIFT = "drift"
    STATUS = "status"
    HALT = "halt"
    LIFT = "lift"


class Comment(StrEnum):
    """When to comment on the pull request."""

    TRUE = "true"
    CHANGES_ONLY = "changes-only"
    FALSE = "false"


Word = TypeVar("Word", bound=StrEnum)

ANY_FINGERPRINT: Final = "any"
"""Stands in for a fingerprint that a step does not name. An empty one is a job's output that was never set, and a plan
file that nothing binds to what was reviewed."""
SPLIT_BY: Final = str.maketrans(",\n\r\t", "    ")
SHORTEST_KEY: Final = 8
"""Characters. The runner hides a key wherever it stands in the log, and a shorter one would be in many a word."""

_EVERY: Final = tuple(Command)
_READING: Final = (Command.PLAN, Command.APPLY, Command.DRIFT, Command.STATUS, Command.HALT, Command.LIFT)
_PLANNING: Final = (Command.PLAN, Command.APPLY, Command.DRIFT)
_PLAN_OR_APPLY: Final = (Command.PLAN, Command.APPLY)


class _Input(NamedTuple):
    """One input: the ``commands`` that it is for, how its text is ``read`` (its name comes along, for messages), and
    which attribute of :class:`Inputs` it ``sets``, if not that of its own name.

    Without ``read`` it is not kept in :class:`Inputs`, because it comes by the environment or is for other steps of the
    action. Values in ``idle`` ask for nothing, so commands that the input is not for take them as well.
    """

    commands: tuple[Command, ...]
    read: Callable[[str, str], Any] | None = None
    sets: str = ""
    idle: tuple[str, ...] = ("",)


def _flag(*commands: Command, sets: str = "") -> _Input:
    return _Input(commands, _yes, sets, idle=("", "false"))


def _text(text: str, _name: str) -> str:
    return text


def _lines(text: str, _name: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _words(text: str, _name: str) -> tuple[str, ...]:
    return tuple(text.translate(SPLIT_BY).split())


def _yes(text: str, name: str) -> bool:
    if text.lower() not in ("", "true", "false"):
        raise UsageError(f"the input `{name}` is {text!r}, neither `true` nor `false`", "Write one of the two.")
    return text.lower() == "true"


def _number_of_portfolios(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST_PARALLELISM):
        raise UsageError(
            f"the input `{name}` is {text!r}, no number of portfolios at a time",
            f"Write a number from 1 to {MOST_PARALLELISM}.",
        )
    return int(text)


def _pull_request(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text)):
        raise UsageError(
            f"the input `{name}` is {text!r}, no number of a pull request", "Write its number alone, such as 7."
        )
    return int(text)


def _word(kind: type[Word], text: str, name: str) -> Word:
    try:
        return kind(text)
    except ValueError:
        words = ", ".join(f"`{word}`" for word in kind)
        raise UsageError(f"the input `{name}` is {text!r}", f"It may be one of {words}.") from None


def _conditions(text: str, name: str) -> frozenset[FailOn]:
    return frozenset(_word(FailOn, word, name) for word in _words(text, name))


INPUTS: Final[Mapping[str, _Input]] = {
    "command": _Input(_EVERY, partial(_word, Command)),
    "config": _Input(_EVERY, _lines),
    "api-key": _Input(_EVERY),
    "base-url": _Input(_EVERY),
    "plan-file": _Input(_PLAN_OR_APPLY, _text),
    "approved-plan": _Input((Command.APPLY,), _text),
    "fingerprint": _Input((Command.APPLY,), _text, idle=("", ANY_FINGERPRINT)),
    "join": _flag(Command.APPLY),
    "auto-approve": _flag(Command.APPLY, Command.LIFT),
    "allow": _Input((Command.APPLY, Command.LIFT), _words),
    "reason": _Input((Command.HALT,), _text),
    "all": _flag(Command.HALT, sets="everything"),
    "known": _flag(Command.HALT, Command.LIFT),
    "halt": _Input((Command.LIFT,), _text),
    "resume-held": _Input(_PLAN_OR_APPLY, _words),
    "again": _Input(_PLAN_OR_APPLY, _words),
    "base": _Input((Command.PLAN,), _text),
    "live": _Input((Command.PLAN, Command.DRIFT, Command.STATUS), _lines),
    "shard": _Input((Command.STATUS,), _text),
    "max-age": _Input((Command.APPLY,), _text),
    "lock-timeout": _Input((Command.APPLY, Command.LIFT), _text),
    "target": _Input(_READING, _words, "targets"),
    "select": _Input(_READING, _words, "selects"),
    "unverified": _Input(_PLANNING, lambda text, name: _word(Unverified, text, name) if text else None),
    "parallelism": _Input(_READING, _number_of_portfolios),
    "max-rate": _Input(_READING, _text),
    "journal": _Input(_READING, _text),
    "comment": _Input(
        _PLAN_OR_APPLY, lambda text, name: _word(Comment, text or "true", name), idle=("", "true", "false")
    ),
    "pull-request": _Input(_PLAN_OR_APPLY, _pull_request),
    "issue": _flag(Command.DRIFT),
    "ignore-held": _flag(Command.DRIFT),
    "environment": _Input(_EVERY, _text),
    "fail-on": _Input(_EVERY, _conditions),
    "python-version": _Input(_EVERY),
    "working-directory": _Input(_EVERY),
    "github-token": _Input(_EVERY),
}
"""All inputs. A command refuses an input that is not for it. Every command takes key and service, so that the steps of
a job can be written alike: these two choose nothing."""
FAILS_ON: Final[Mapping[FailOn, tuple[Command, ...]]] = {
    FailOn.ERROR: _EVERY,
    FailOn.CHANGES: _PLANNING,
    FailOn.DRIFT: _PLANNING,
    FailOn.HELD: _PLANNING,
    FailOn.UNMANAGED: _PLANNING,
    FailOn.BLOCKED: _PLANNING,
    FailOn.GUARD: (Command.PLAN,),
    FailOn.OVERDUE: _PLANNING,
}
"""After which commands each condition can hold. An apply over a guard is an error, or was allowed."""


class Inputs(Struct, frozen=True, kw_only=True):
    """The inputs as given; texts are ``""`` and tuples empty where one was not.

    ``live`` are the files to plan from, or the one that ``status`` saves. ``environment`` is a name that tells apart
    several uses in one workflow.
    ``resume_held`` is as given: ``ID``, ``group=NAME`` or ``@FILE``. ``reason`` and ``everything`` are those of a
    halt, ``known`` also that of a lift, and ``halt`` is the id of the one to be lifted.
    """

    command: Command
    config: tuple[str, ...] = ()
    plan_file: str = ""
    approved_plan: str = ""
    fingerprint: str = ""
    base: str = ""
    live: tuple[str, ...] = ()
    shard: str = ""
    max_age: str = ""
    lock_timeout: str = ""
    targets: tuple[str, ...] = ()
    selects: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    resume_held: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    parallelism: int | None = None
    max_rate: str = ""
    unverified: Unverified | None = None
    journal: str = ""
    join: bool = False
    auto_approve: bool = False
    comment: Comment = Comment.TRUE
    pull_request: int | None = None
    fail_on: frozenset[FailOn] = frozenset()
    issue: bool = False
    ignore_held: bool = False
    reason: str = ""
    everything: bool = False
    known: bool = False
    halt: str = ""
    environment: str = ""


def read_inputs(environ: Mapping[str, str]) -> Inputs:
    """Return the inputs. Raises :class:`UsageError` that names the first one that is wrong or not for the command."""
    texts = {name: environ.get(_variable(name), "").strip() for name in INPUTS}
    command = _word(Command, texts["command"], "command")
    _require_used(command, texts, _conditions(texts["fail-on"], "fail-on"))
    values = {
        one.sets or name.replace("-", "_"): one.read(texts[name], name)
        for name, one in INPUTS.items()
        if one.read is not None
    }
    if _variable("fingerprint") in environ:
        values["fingerprint"] = _fingerprint(texts["fingerprint"], command)
    inputs = Inputs(**values)
    if command is Command.PLAN:
        _check_plan(inputs)
    if command in (Command.PLAN, Command.DRIFT):
        _check_live(inputs)
    if command is Command.APPLY:
        _check_apply(inputs)
    if command is Command.LIFT:
        _check_lift(inputs)
    if command is Command.STATUS:
        _check_status(inputs)
    return inputs


def require_maskable(key: str) -> None:
    """Refuse a key that is too short to be hidden. Raises :class:`ApiError` that holds no part of it."""
    if any(0 < len(line.strip()) < SHORTEST_KEY for line in key.splitlines()):
        error = ApiError(
            FailureKind.UNAUTHENTICATED, f"the input `api-key` has fewer than {SHORTEST_KEY} characters in a line"
        )
        error.detail = "No key of Glider is so short, and hiding it would blot out the log. See that it is the secret."
        raise error


def _variable(name: str) -> str:
    return "INPUT_" + name.upper().replace("-", "_")


def _fingerprint(text: str, command: Command) -> str:
    """Return the fingerprint to insist on, ``""`` for none."""
    if not text and command is Command.APPLY:
        raise UsageError(
            "the input `fingerprint` is empty, so nothing says which plan was reviewed",
            f"It is an output of the job that planned: see that it is passed on. `{ANY_FINGERPRINT}` asks for none.",
        )
    return "" if text == ANY_FINGERPRINT else text


def _require_used(command: Command, texts: Mapping[str, str], fail_on: Iterable[FailOn]) -> None:
    """Refuse what is given and is not for the command; ``texts`` are the inputs by name."""
    wrong: list[tuple[str, tuple[Command, ...]]] = [
        (f"`{name}`", INPUTS[name].commands)
        for name, text in texts.items()
        if command not in INPUTS[name].commands and text.lower() not in INPUTS[name].idle
    ]
    wrong += [(f"`fail-on: {one}`", FAILS_ON[one]) for one in sorted(fail_on) if command not in FAILS_ON[one]]
    for named, commands in wrong:
        raise UsageError(f"the input {named} is for {_listed(commands)}, not for `{command}`", "Drop it from the step.")


def _check_plan(inputs: Inputs) -> None:
    """Refuse inputs of ``plan`` that need, or leave no use for, one another."""
    if FailOn.DRIFT in inputs.fail_on and not inputs.base:
        raise UsageError(
            "`fail-on: drift` needs the input `base`, or the command `drift`",
            "Without a base to compare with, a plan can't tell drift from changes of the branch.",
        )


def _check_live(inputs: Inputs) -> None:
    """Refuse inputs that are about a service, where none is asked."""
    reads = (("parallelism", inputs.parallelism), ("max-rate", inputs.max_rate))
    _refuse_beside("`live` plans from files and asks no service", bool(inputs.live), reads, "Drop {them}, or `live`.")


def _check_lift(inputs: Inputs) -> None:
    """Refuse a lift that nobody asked for, or of nothing."""
    if not inputs.halt:
        raise UsageError(
            "the input `halt` is empty, and `lift` needs the id of a halt",
            "It is in the name of the file of the halt, and in the page of the step that made it.",
        )
    if not inputs.auto_approve:
        raise UsageError(
            "`lift` resumes trading, and nothing says that somebody wants that",
            "Set `auto-approve: true` in a job that a person starts, or that an environment protects.",
        )


def _check_status(inputs: Inputs) -> None:
    """Refuse a share that is saved nowhere, and one look in several files."""
    if inputs.shard and not inputs.live:
        raise UsageError("`shard` reads a part of the fleet, and no file is named for it", "Name one with `live`.")
    if len(inputs.live) > 1:
        raise UsageError("`status` saves one file, and `live` names several", "Name one.")


def _check_apply(inputs: Inputs) -> None:
    """Refuse an apply that nobody reviewed, and inputs that would be lost beside a reviewed plan."""
    if not (inputs.plan_file or inputs.approved_plan or inputs.auto_approve):
        raise UsageError(
            "`apply` needs a plan that was reviewed, and none is given",
            "Set `approved-plan` (plans anew, goes on only with approved changes) or `plan-file` (runs exactly that), "
            "or `auto-approve: true` to apply whatever the files say, within the guards.",
        )
    if inputs.plan_file and (inputs.approved_plan or inputs.auto_approve):
        raise UsageError(
            "`plan-file` already says what to apply", "Drop `approved-plan` and `auto-approve`, or the plan file."
        )
    if inputs.approved_plan and inputs.auto_approve:
        raise UsageError(
            "`approved-plan` already says what may be applied", "Drop `auto-approve`, or the approved plan."
        )
    if inputs.join and not inputs.plan_file:
        raise UsageError(
            "`join` lets several runners carry out one saved plan, and none is given",
            "Set `plan-file`, or drop `join`.",
        )
    if inputs.fingerprint and inputs.auto_approve:
        raise UsageError(
            "`fingerprint` is that of a saved plan, and none is given",
            "Set `approved-plan` or `plan-file`, or drop it.",
        )
    _refuse_beside(
        "`auto-approve` plans anew",
        inputs.auto_approve,
        (("max-age", inputs.max_age),),
        "Drop {them}, or name a saved plan.",
    )
    # A saved plan is carried out as a whole, so whatever chooses something beside it would be lost.
    _refuse_beside(
        "`plan-file` is applied as a whole",
        inputs.plan_file,
        (
            ("config", inputs.config),
            ("target", inputs.targets),
            ("select", inputs.selects),
            ("unverified", inputs.unverified),
            ("resume-held", inputs.resume_held),
        ),
        "Drop {them}, and set {it} where the plan is made.",
    )


def _refuse_beside(why: str, applies: str | bool, others: Iterable[tuple[str, object]], repair: str) -> None:
    """Refuse every one of ``others`` that is given, because it would not be used where ``applies`` is given, too."""
    given = [name for name, value in others if value]
    if applies and given:
        them = _listed(given)
        raise UsageError(
            f"{why}, and {them} would not be used",
            repair.format(them=them, it="it" if len(given) == 1 else "them"),
        )


def _listed(names: Sequence[str]) -> str:
    """Return names as ```a`, `b` and `c```."""
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}" if most else last
