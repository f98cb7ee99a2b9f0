"""The inputs of the GitHub Action: from environment variables to values.

In: the ``INPUT_*`` variables that ``action.yml`` sets. Out: :class:`Inputs`, checked. What no command understands is
refused here, with the name of the input; everything else the commands check themselves.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from reconciler.cli.flags import DEFAULT_PARALLELISM, MOST_PARALLELISM
from reconciler.core.decide import Unverified
from reconciler.core.errors import UsageError
from reconciler.core.report import FailOn

if TYPE_CHECKING:
    from collections.abc import Mapping


class Command(StrEnum):
    """What a step may run; nothing that trades by itself."""

    VALIDATE = "validate"
    PLAN = "plan"
    APPLY = "apply"
    DRIFT = "drift"
    STATUS = "status"


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


class Inputs(Struct, frozen=True, kw_only=True):
    """The inputs as given; texts are ``""`` and tuples empty where one was not.

    ``live`` is a file of ``status --out``, ``environment`` a name that tells apart several uses in one workflow.
    """

    command: Command
    config: tuple[str, ...] = ()
    plan_file: str = ""
    approved_plan: str = ""
    fingerprint: str = ""
    base: str = ""
    live: str = ""
    targets: tuple[str, ...] = ()
    selects: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    parallelism: int = DEFAULT_PARALLELISM
    unverified: Unverified | None = None
    journal: str = ""
    auto_approve: bool = False
    comment: Comment = Comment.TRUE
    pull_request: int | None = None
    fail_on: frozenset[FailOn] = frozenset()
    issue: bool = False
    environment: str = ""


def read_inputs(environ: Mapping[str, str]) -> Inputs:
    """Return the inputs. Raises :class:`UsageError` that names the first one that is wrong."""

    def text(name: str) -> str:
        return environ.get("INPUT_" + name.upper().replace("-", "_"), "").strip()

    command = _word(Command, text("command"), "command")
    inputs = Inputs(
        command=command,
        config=tuple(line.strip() for line in text("config").splitlines() if line.strip()),
        plan_file=text("plan-file"),
        approved_plan=text("approved-plan"),
        fingerprint=_fingerprint(text("fingerprint") if "INPUT_FINGERPRINT" in environ else ANY_FINGERPRINT, command),
        base=text("base"),
        live=text("live"),
        targets=_words(text("target")),
        selects=_words(text("select")),
        allow=_words(text("allow")),
        parallelism=_parallelism(text("parallelism")),
        unverified=_word(Unverified, text("unverified"), "unverified") if text("unverified") else None,
        journal=text("journal"),
        auto_approve=_yes(text("auto-approve"), "auto-approve"),
        comment=_word(Comment, text("comment") or "true", "comment"),
        fail_on=frozenset(_word(FailOn, word, "fail-on") for word in _words(text("fail-on"))),
        pull_request=_pull_request(text("pull-request")),
        issue=_yes(text("issue"), "issue"),
        environment=text("environment"),
    )
    _check(inputs)
    return inputs


def _fingerprint(text: str, command: Command) -> str:
    """Return the fingerprint to insist on, ``""`` for none."""
    if not text and command is Command.APPLY:
        raise UsageError(
            "the input `fingerprint` is empty, so nothing says which plan was reviewed",
            f"It is an output of the job that planned: see that it is passed on. `{ANY_FINGERPRINT}` asks for none.",
        )
    return "" if text == ANY_FINGERPRINT else text


def _check(inputs: Inputs) -> None:
    """Refuse inputs that would do nothing, or leave out what has to be said."""
    command = inputs.command
    for given, name, commands in (
        (inputs.plan_file, "plan-file", (Command.PLAN, Command.APPLY)),
        (inputs.approved_plan, "approved-plan", (Command.APPLY,)),
        (inputs.fingerprint, "fingerprint", (Command.APPLY,)),
        (inputs.auto_approve, "auto-approve", (Command.APPLY,)),
        (inputs.allow, "allow", (Command.APPLY,)),
        (inputs.base, "base", (Command.PLAN,)),
        (inputs.live, "live", (Command.PLAN,)),
        (inputs.issue, "issue", (Command.DRIFT,)),
        (inputs.pull_request, "pull-request", (Command.PLAN, Command.APPLY)),
    ):
        if given and command not in commands:
            allowed = " and ".join(f"`{other}`" for other in commands)
            raise UsageError(f"the input `{name}` is for {allowed}, not for `{command}`", "Drop it from the step.")
    if FailOn.DRIFT in inputs.fail_on and command is Command.PLAN and not inputs.base:
        raise UsageError(
            "`fail-on: drift` needs the input `base`, or the command `drift`",
            "Without a base to compare with, a plan can't tell drift from changes of the branch.",
        )
    if command is not Command.APPLY:
        return
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
    if inputs.plan_file:
        _check_saved(inputs)


def _check_saved(inputs: Inputs) -> None:
    """Refuse inputs that choose something beside a saved plan: it is carried out as a whole, so they would be lost."""
    given = [
        f"`{name}`"
        for name, value in (
            ("config", inputs.config),
            ("target", inputs.targets),
            ("select", inputs.selects),
            ("unverified", inputs.unverified),
        )
        if value
    ]
    if given:
        raise UsageError(
            f"`plan-file` is applied as a whole, and {' and '.join(given)} would not be used",
            f"Drop {' and '.join(given)}, and set {'it' if len(given) == 1 else 'them'} where the plan is made.",
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.translate(SPLIT_BY).split())


def _yes(text: str, name: str) -> bool:
    if text.lower() not in ("", "true", "false"):
        raise UsageError(f"the input `{name}` is {text!r}, neither `true` nor `false`", "Write one of the two.")
    return text.lower() == "true"


def _parallelism(text: str) -> int:
    if not text:
        return DEFAULT_PARALLELISM
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
