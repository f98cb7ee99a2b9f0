"""The inputs of the GitHub Action: from environment variables to values.

In: the ``INPUT_*`` variables that ``action.yml`` sets. Out: :class:`Inputs`, checked. What no command understands is
refused here, with the name of the input; everything else the commands check themselves.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from reconciler.cli.flags import MOST_PARALLELISM
from reconciler.core.errors import ApiError, FailureKind, UsageError
from reconciler.core.model import Unverified
from reconciler.core.report import FailOn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


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
USED_BY: Final[Mapping[str, tuple[Command, ...]]] = {
    "command": _EVERY,
    "config": _EVERY,
    "api-key": _EVERY,
    "base-url": _EVERY,
    "plan-file": _PLAN_OR_APPLY,
    "approved-plan": (Command.APPLY,),
    "fingerprint": (Command.APPLY,),
    "join": (Command.APPLY,),
    "auto-approve": (Command.APPLY, Command.LIFT),
    "allow": (Command.APPLY, Command.LIFT),
    "reason": (Command.HALT,),
    "all": (Command.HALT,),
    "known": (Command.HALT, Command.LIFT),
    "halt": (Command.LIFT,),
    "resume-held": _PLAN_OR_APPLY,
    "again": _PLAN_OR_APPLY,
    "base": (Command.PLAN,),
    "live": (Command.PLAN, Command.DRIFT, Command.STATUS),
    "shard": (Command.STATUS,),
    "max-age": (Command.APPLY,),
    "lock-timeout": (Command.APPLY, Command.LIFT),
    "target": _READING,
    "select": _READING,
    "unverified": _PLANNING,
    "parallelism": _READING,
    "max-rate": _READING,
    "journal": _READING,
    "comment": _PLAN_OR_APPLY,
    "pull-request": _PLAN_OR_APPLY,
    "issue": (Command.DRIFT,),
    "ignore-held": (Command.DRIFT,),
    "environment": _EVERY,
    "fail-on": _EVERY,
    "python-version": _EVERY,
    "working-directory": _EVERY,
    "github-token": _EVERY,
}
"""Which commands each input is for; given to another one it is refused. Every command takes key and service, so that
the steps of a job can be written alike: they choose nothing."""
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
_ASKS_NOTHING: Final[Mapping[str, tuple[str, ...]]] = {
    "auto-approve": ("", "false"),
    "join": ("", "false"),
    "issue": ("", "false"),
    "ignore-held": ("", "false"),
    "all": ("", "false"),
    "known": ("", "false"),
    "comment": ("", "true", "false"),
    "fingerprint": ("", ANY_FINGERPRINT),
}
"""What these inputs may be for every command; all others may be empty. ``fail-on`` is looked at word by word."""


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
    max_rate: str | None = None
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

    def text(name: str) -> str:
        return environ.get(_variable(name), "").strip()

    command = _word(Command, text("command"), "command")
    fail_on = frozenset(_word(FailOn, word, "fail-on") for word in _words(text("fail-on")))
    _require_used(command, {name: text(name) for name in USED_BY if _variable(name) in environ}, fail_on)
    inputs = Inputs(
        command=command,
        config=_lines(text("config")),
        plan_file=text("plan-file"),
        approved_plan=text("approved-plan"),
        fingerprint=_fingerprint(text("fingerprint") if "INPUT_FINGERPRINT" in environ else ANY_FINGERPRINT, command),
        base=text("base"),
        live=_lines(text("live")),
        shard=text("shard"),
        max_age=text("max-age"),
        lock_timeout=text("lock-timeout"),
        targets=_words(text("target")),
        selects=_words(text("select")),
        allow=_words(text("allow")),
        resume_held=_words(text("resume-held")),
        again=_words(text("again")),
        parallelism=_parallelism(text("parallelism")),
        max_rate=text("max-rate") or None,
        unverified=_word(Unverified, text("unverified"), "unverified") if text("unverified") else None,
        journal=text("journal"),
        join=_yes(text("join"), "join"),
        auto_approve=_yes(text("auto-approve"), "auto-approve"),
        comment=_word(Comment, text("comment") or "true", "comment"),
        pull_request=_pull_request(text("pull-request")),
        fail_on=fail_on,
        issue=_yes(text("issue"), "issue"),
        ignore_held=_yes(text("ignore-held"), "ignore-held"),
        reason=text("reason"),
        everything=_yes(text("all"), "all"),
        known=_yes(text("known"), "known"),
        halt=text("halt"),
        environment=text("environment"),
    )
    if command is Command.PLAN:
        _check_plan(inputs)
    if command in (Command.PLAN, Command.DRIFT):
        _check_live(inputs)
    if command is Command.APPLY:
        _check_apply(inputs)
    if command is Command.LIFT and not inputs.auto_approve:
        raise UsageError(
            "`lift` resumes trading, and nothing says that somebody wants that",
            "Set `auto-approve: true` in a job that a person starts, or that an environment protects.",
        )
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
        (f"`{name}`", USED_BY[name])
        for name, text in texts.items()
        if command not in USED_BY[name] and text.lower() not in _ASKS_NOTHING.get(name, ("",))
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


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.translate(SPLIT_BY).split())


def _yes(text: str, name: str) -> bool:
    if text.lower() not in ("", "true", "false"):
        raise UsageError(f"the input `{name}` is {text!r}, neither `true` nor `false`", "Write one of the two.")
    return text.lower() == "true"


def _parallelism(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST_PARALLELISM):
        raise UsageError(
            f"the input `parallelism` is {text!r}, no number of portfolios at a time",
            f"Write a number from 1 to {MOST_PARALLELISM}.",
        )
    return int(text)


def _pull_request(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text)):
        raise UsageError(
            f"the input `pull-request` is {text!r}, no number of a pull request", "Write its number alone, such as 7."
        )
    return int(text)


def _word(kind: type[Word], text: str, name: str) -> Word:
    try:
        return kind(text)
    except ValueError:
        words = ", ".join(f"`{word}`" for word in kind)
        raise UsageError(f"the input `{name}` is {text!r}", f"It may be one of {words}.") from None
