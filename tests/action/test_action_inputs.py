"""The inputs of the action: which command each is for, what goes together, and what a step fails of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cli.action import given_by
from reconciler.cli.action_inputs import FAILS_ON, INPUTS, Command, Inputs, read_inputs
from reconciler.core.errors import UsageError
from reconciler.core.report import FailOn
from tests.action import events
from tests.action.commands import Level
from tests.action.conftest import ROOT, closed_port
from tests.action.manifest import load
from tests.action.test_action import (
    BLOCKED,
    BLOCKED_FILES,
    CHANGED,
    CHANGED_FILES,
    GUARD_FILES,
    HELD,
    HELD_FILES,
    SAME,
    SAME_FILES,
)
from tests.action.test_action_words import OPTION
from tests.action.values import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout
    from tests.action.record import Job

MANIFEST = load(ROOT)
VARIABLES = {
    name: re.sub(r"\W+inputs\.([\w-]+)\W+", r"\1", value)
    for step in MANIFEST.steps
    for name, value in step.env.items()
    if name.startswith("INPUT_")
}
"""The input behind each variable, as action.yml passes them on."""
GIVEN = {
    "config": "automation.yaml",
    "plan-file": "plan.json",
    "approved-plan": "plan.json",
    "fingerprint": "0" * 64,
    "auto-approve": "true",
    "allow": "resume=12",
    "reason": "Oracle is off",
    "all": "true",
    "known": "true",
    "halt": "20261122-7f3a9c",
    "resume-held": "aaa",
    "again": "aaa",
    "base": "main",
    "live": "live.json",
    "join": "true",
    "shard": "3/8",
    "max-age": "8h",
    "lock-timeout": "30m",
    "target": "aaa",
    "select": "group=x",
    "unverified": "skip",
    "parallelism": "10",
    "max-rate": "25/s",
    "journal": "journal.db",
    "comment": "changes-only",
    "pull-request": "7",
    "issue": "true",
    "ignore-held": "true",
    "environment": "production",
    "fail-on": "error",
}
"""A value of each input that is not its default; those that no step hands to the program as such are not among them."""
LEAVE = {
    Command.APPLY: {"auto-approve": "true"},
    Command.LIFT: {"auto-approve": "true", "halt": GIVEN["halt"]},
}
"""What a command that may trade is never without."""
BESIDE = {
    ("apply", "plan-file"): {},
    ("apply", "approved-plan"): {},
    ("apply", "auto-approve"): {},
    ("apply", "join"): {"plan-file": "plan.json"},
    ("lift", "auto-approve"): {"halt": GIVEN["halt"]},
    ("apply", "fingerprint"): {"approved-plan": "plan.json"},
    ("apply", "max-age"): {"approved-plan": "plan.json"},
    ("status", "shard"): {"live": "live.json"},
}
"""What else is given so that the pair makes sense; an apply needs a leave."""


def _read(command: str, **inputs: str) -> Inputs:
    """Read inputs with the defaults of action.yml for all that are not given."""
    given = {"command": command} | {name.replace("_", "-"): value for name, value in inputs.items()}
    return read_inputs(
        {variable: given.get(name, MANIFEST.inputs[name].default) for variable, name in VARIABLES.items()}
    )


def test_every_input_is_decided() -> None:
    """Each input of action.yml has its row, and its value here, so that a new one can't be forgotten."""
    assert INPUTS.keys() == MANIFEST.inputs.keys()
    assert {"command", *GIVEN} == set(VARIABLES.values())
    assert list(FAILS_ON) == list(FailOn)


def _documented(heading: str) -> dict[str, list[str]]:
    """Return by its first cell for which commands the docs say that a thing is."""
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for line in text.partition(heading)[2].partition("\n\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and cells[1] != "for":
            words = cells[1]
            every = [command.value for command in Command]
            named = [one for one in every if one not in words] if "all" in words else words.split(", ")
            found |= dict.fromkeys(re.findall(r"`([\w-]+)`", cells[0]), named)
    return found


def test_the_docs_say_which_command_an_input_is_for() -> None:
    """Both tables of the docs are those of the program."""
    assert _documented("## Inputs") == {name: [str(one) for one in row.commands] for name, row in INPUTS.items()}
    told = {str(name): [str(one) for one in commands] for name, commands in FAILS_ON.items()}
    assert _documented("## When a step fails") == told


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("name", GIVEN)
def test_every_command_with_every_input(command: Command, name: str) -> None:
    """What is for a command is taken, and what is not is refused in one sentence that names both."""
    leave = LEAVE.get(command, {})
    given = {**BESIDE.get((command, name), leave), name: GIVEN[name]}
    if command in INPUTS[name].commands:
        _read(command, **given)
        return
    with pytest.raises(UsageError, match=f"the input `{name}` is for .*, not for `{command}`"):
        _read(command, **given)


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("condition", FailOn)
def test_every_command_with_every_condition(command: Command, condition: FailOn) -> None:
    """A condition that can't hold after a command is refused."""
    leave = LEAVE.get(command, {})
    given = {"fail-on": f"error, {condition}", "base": "main" if command is Command.PLAN else "", **leave}
    if command in FAILS_ON[condition]:
        _read(command, **given)
        return
    with pytest.raises(UsageError, match=f"the input `fail-on: {condition}` is for .*, not for `{command}`"):
        _read(command, **given)


@pytest.mark.parametrize("command", Command)
def test_defaults_are_for_every_command(command: Command) -> None:
    """What action.yml fills in by itself is never refused, nor what asks for nothing in so many words."""
    unset = {"auto-approve": "False", "fingerprint": ""}
    leave = LEAVE.get(command, unset)
    _read(command, comment="false", issue="False", ignore_held="false", fail_on="", **leave)


@pytest.mark.parametrize(
    ("command", "inputs", "said"),
    [
        (
            "apply",
            {"plan_file": "p", "resume_held": "aaa"},
            "`plan-file` is applied as a whole, and `resume-held` would",
        ),
        (
            "apply",
            {"plan_file": "p", "config": "c", "target": "a", "select": "group=x"},
            "`config`, `target` and `select` would not",
        ),
        ("apply", {"plan_file": "p", "approved_plan": "p"}, "`plan-file` already says what to apply"),
        ("apply", {"plan_file": "p", "auto_approve": "true"}, "`plan-file` already says what to apply"),
        ("apply", {"approved_plan": "p", "join": "true"}, "`join` lets several runners carry out one saved plan"),
        ("apply", {"approved_plan": "p", "auto_approve": "true"}, "`approved-plan` already says what may be applied"),
        ("apply", {"fingerprint": "ab", "auto_approve": "true"}, "`fingerprint` is that of a saved plan"),
        ("status", {"shard": "1/2"}, "`shard` reads a part of the fleet, and no file is named for it"),
        ("status", {"live": "a\nb"}, "`status` saves one file, and `live` names several"),
        ("apply", {"max_age": "8h", "auto_approve": "true"}, "plans anew, and `max-age` would not be used"),
        ("plan", {"live": "l", "parallelism": "10"}, "asks no service, and `parallelism` would not be used"),
        ("drift", {"live": "l", "max_rate": "25/s"}, "asks no service, and `max-rate` would not be used"),
        ("plan", {"live": "l", "max_rate": "25/s"}, "asks no service, and `max-rate` would not be used"),
        ("lift", {"halt": "20261122-7f3a9c"}, "`lift` resumes trading, and nothing says that somebody wants that"),
        ("lift", {"auto_approve": "true"}, "the input `halt` is empty, and `lift` needs the id of a halt"),
        ("plan", {"fail_on": "drift"}, "needs the input `base`"),
        ("drift", {"ignore_held": "yes"}, "`ignore-held` is 'yes', neither"),
        ("plan", {"fail_on": "blocked gaurd"}, "`fail-on` is 'gaurd'"),
    ],
)
def test_inputs_that_do_not_go_together(command: str, inputs: dict[str, str], said: str) -> None:
    """Where one input leaves no use for another, that is said, and both are named."""
    with pytest.raises(UsageError) as caught:
        _read(command, **inputs)
    assert said in caught.value.summary
    assert caught.value.detail


def test_a_saved_plan_goes_with_what_chooses_nothing() -> None:
    """Speed, journal, a number over a guard and a second try are not part of a plan."""
    _read("apply", plan_file="p", fingerprint="ab", allow="start=1", again="aaa", journal="j", parallelism="2")


@pytest.mark.parametrize("command", ["plan", "halt"])
def test_a_given_number_of_portfolios_at_a_time_counts(command: str) -> None:
    """Also where it is the usual one of most commands: a halt works on more at a time unless it is told not to."""
    given = given_by(_read(command, parallelism="10"), Path("plan.json"))
    assert given["parallelism"] == 10
    assert "parallelism" not in given_by(_read(command), Path("plan.json"))


@pytest.mark.parametrize(
    ("command", "inputs", "said"),
    [
        (
            "validate",
            {"target": "aaa"},
            "`target` is for `plan`, `apply`, `drift`, `status`, `halt` and `lift`, not for `validate`",
        ),
        ("validate", {"unverified": "skip"}, "not for `validate`"),
        ("validate", {"fail_on": "changes"}, "`fail-on: changes`"),
        ("status", {"unverified": "fail"}, "not for `status`"),
        ("status", {"comment": "changes-only"}, "`comment` is for `plan` and `apply`"),
        ("drift", {"plan_file": "plan.json"}, "not for `drift`"),
        ("drift", {"allow": "pause=9"}, "`allow` is for `apply` and `lift`, not for `drift`"),
        ("plan", {"allow": "pause=9"}, "`allow` is for `apply` and `lift`, not for `plan`"),
        ("plan", {"ignore_held": "true"}, "`ignore-held` is for `drift`"),
        ("apply", {"auto_approve": "true", "fail_on": "guard"}, "`fail-on: guard` is for `plan`, not for `apply`"),
        ("apply", {"plan_file": "plan.json", "resume_held": "eee"}, "`resume-held` would not be used"),
    ],
)
def test_a_step_refuses_it(checkout: Callable[..., Checkout], command: str, inputs: dict[str, str], said: str) -> None:
    """The step ends with 64, an annotation and a page that say why, and no call."""
    made = checkout(SAME, SAME_FILES)
    job = made(command, **inputs)
    assert (job.exit, job.outputs["exit-reason"], job.outputs["exit-code"]) == (64, "usage", "64")
    assert any(said in note.message for note in job.annotations if note.level is Level.ERROR)
    assert "wrong usage" in job.summary
    assert made.glider.calls(method="GET") == []


def test_a_blocked_portfolio_does_not_stop_the_fleet(checkout: Callable[..., Checkout]) -> None:
    """The plan passes, red in its page, and what was approved is applied but for the blocked one, which ends with 6."""
    made = checkout({**CHANGED, **BLOCKED}, CHANGED_FILES + "  zzz: {state: active}\n")
    planned = made("plan", plan_file="plan.json")
    assert (planned.exit, planned.status) == (0, Status.SUCCESS)
    assert [planned.outputs[name] for name in ("exit-code", "exit-reason", "blocked", "has-changes")] == [
        *("1", "error", "1", "true")
    ]
    assert planned.summary.startswith("### ❌ Plan")
    assert planned.outputs["plan-path"]
    applied = made("apply", approved_plan="plan.json", fingerprint=planned.outputs["fingerprint"])
    assert (applied.exit, applied.outputs["exit-reason"]) == (6, "partial")
    assert len(made.glider.calls()) == 4


@pytest.mark.parametrize(
    ("live", "files", "command", "inputs", "code", "exit_code"),
    [
        (BLOCKED, BLOCKED_FILES, "plan", {}, 0, "1"),
        (BLOCKED, BLOCKED_FILES, "plan", {"fail_on": "blocked"}, 1, "1"),
        (BLOCKED, BLOCKED_FILES, "plan", {"target": "zzz"}, 0, "1"),
        (BLOCKED, BLOCKED_FILES, "plan", {"fail_on": "changes held guard"}, 0, "1"),
        (BLOCKED, BLOCKED_FILES, "drift", {}, 1, "1"),
        (CHANGED, GUARD_FILES, "plan", {}, 0, "0"),
        (CHANGED, GUARD_FILES, "plan", {"fail_on": "guard"}, 2, "0"),
        (CHANGED, CHANGED_FILES, "plan", {"fail_on": "guard blocked"}, 0, "0"),
        (CHANGED, CHANGED_FILES, "apply", {"fail_on": "changes, drift"}, 0, "0"),
        ({**CHANGED, **HELD}, CHANGED_FILES + "  eee: {state: active}\n", "apply", {"fail_on": "changes"}, 0, "0"),
        ({**CHANGED, **HELD}, CHANGED_FILES + "  eee: {state: active}\n", "apply", {"fail_on": "held"}, 2, "0"),
        ({**CHANGED, **HELD}, CHANGED_FILES + "  eee: {state: active}\n", "apply", {"fail_on": "drift"}, 2, "0"),
        (HELD, HELD_FILES, "drift", {"fail_on": "drift"}, 2, "2"),
        (HELD, HELD_FILES, "drift", {"fail_on": "drift", "ignore_held": "true"}, 0, "2"),
        ({**CHANGED, **HELD}, CHANGED_FILES, "drift", {"fail_on": "drift", "ignore_held": "true"}, 2, "2"),
    ],
)
def test_what_a_step_fails_of(
    checkout: Callable[..., Checkout],
    live: dict[str, Any],
    files: str,
    command: str,
    inputs: dict[str, str],
    code: int,
    exit_code: str,
) -> None:
    """The step ends as `fail-on` says; the outputs say how the command ended, whatever becomes of the step."""
    made = checkout(live, files)
    leave = {"auto_approve": "true"} if command == "apply" else {}
    job = made(command, **leave, **inputs)
    assert (job.exit, job.outputs["exit-code"]) == (code, exit_code), job.log
    if inputs.get("ignore_held"):
        assert job.outputs["has-changes"] == ("true" if code else "false")
        assert job.outputs["held"] == ("0" if code else "1")


@pytest.mark.parametrize("fail_on", ["error", "changes"])
def test_a_plan_that_could_read_nothing_is_none(checkout: Callable[..., Checkout], fail_on: str) -> None:
    """Where nothing at all is known the step fails, as the command does."""
    with closed_port() as url:
        job = checkout(SAME, SAME_FILES)("plan", base_url=url, fail_on=fail_on)
    assert (job.exit, job.outputs["exit-code"]) == (8, "8")


def test_a_schedule_that_must_be_known_fails_the_plan(checkout: Callable[..., Checkout]) -> None:
    """Who asks for an error where a schedule can't be known gets one, whatever else is blocked."""
    made = checkout(BLOCKED, BLOCKED_FILES.replace("24h}", "24h, offset: 1h}"), readable_schedule=False)
    assert made("plan").exit == 0
    assert made("plan", unverified="fail").exit == 1


def _said(job: Job) -> str:
    """Return all that a step shows to people."""
    return "\n".join(
        [*job.log, job.summary, *(f"{note.properties.get('title')} {note.message}" for note in job.annotations)]
    )


@pytest.mark.parametrize(
    ("live", "files", "command", "inputs", "said"),
    [
        (CHANGED, GUARD_FILES, "plan", {}, "`allow: pause=1`"),
        (CHANGED, GUARD_FILES, "apply", {"auto_approve": "true"}, "`allow: pause=1`"),
        (HELD, HELD_FILES, "plan", {}, "Release one with `resume-held: ID`"),
        (HELD, HELD_FILES, "plan", {"resume_held": "aab"}, "`resume-held` 'aab' is not among the selected portfolios"),
        (HELD, HELD_FILES, "plan", {"resume_held": "group=x"}, "`resume-held: group=x`: no selected portfolio"),
        (SAME, SAME_FILES, "plan", {"target": "aab"}, "`target` 'aab' is not declared"),
        (SAME, SAME_FILES, "status", {"select": "x"}, "Invalid value for `select`"),
        (SAME, SAME_FILES, "drift", {"select": "group=x"}, "`select: group=x`: no portfolio is in that group"),
        (SAME, SAME_FILES, "apply", {"auto_approve": "true", "allow": "x=1"}, "Invalid value for `allow`"),
        (SAME, SAME_FILES, "validate", {"config": "nowhere.yaml"}, "check the path given with `config`"),
        (SAME, SAME_FILES, "apply", {"plan_file": "nowhere.json"}, "nowhere.json"),
        (
            SAME,
            SAME_FILES,
            "apply",
            {"plan_file": "plan.json", "again": "aab"},
            "`again` 'aab' is not among the changes",
        ),
        (SAME, SAME_FILES, "apply", {"approved_plan": "plan.json"}, "(`plan-file: FILE`)"),
        (SAME, SAME_FILES, "plan", {"key": ""}, "`api-key` is empty"),
    ],
)
def test_a_step_names_inputs(
    checkout: Callable[..., Checkout], live: dict[str, Any], files: str, command: str, inputs: dict[str, str], said: str
) -> None:
    """Log, page and annotations say what to write into a step, and nothing of a command line."""
    made = checkout(live, files)
    if inputs.get("plan_file") == "plan.json" or "approved_plan" in inputs:
        made("plan", plan_file="plan.json")
    if "approved_plan" in inputs:
        made.write("automation.yaml", CHANGED_FILES.partition("  ccc")[0])
    job = made(command, **inputs)
    told = _said(job).replace("\\`", "`")
    assert said in told, told
    assert not OPTION.search(told), told
    assert "Export the key" not in told


def test_a_held_portfolio_is_released_by_input(checkout: Callable[..., Checkout]) -> None:
    """By id, by group and by file, in plan and apply alike; the plan that was approved needs it in both."""
    made = checkout(HELD, HELD_FILES.replace("eee: {", "eee: {group: g, ") + "groups: {g: {}}\n")
    made.write("ids.txt", "eee # Ticket 12\n")
    for names in ("eee", "group=g", "@ids.txt", "aaa, eee"):
        job = made("plan", resume_held=names, plan_file="plan.json")
        assert (job.outputs["resume"], job.outputs["held"]) == ("1", "0"), names
    refused = made("apply", approved_plan="plan.json")
    assert (refused.exit, made.glider.calls()) == (0, [])  # without it nothing is left to do: it stays held
    applied = made("apply", approved_plan="plan.json", resume_held="eee")
    assert (applied.exit, made.glider.calls()) == (0, ["eee resume"])


@pytest.mark.parametrize(("command", "event"), [("plan", events.pull_request(fork=True)), ("apply", events.push())])
def test_an_empty_key_names_where_keys_come_from(
    checkout: Callable[..., Checkout], command: str, event: events.Event
) -> None:
    """Secret, environment, fork and Dependabot: one of them is why it is empty."""
    made = checkout(SAME, SAME_FILES)
    job = made(command, event=event, key="", **({"auto_approve": "true"} if command == "apply" else {}))
    assert (job.exit, job.outputs["exit-reason"]) == (7, "permission")
    told = _said(job)
    assert all(word in told for word in ("GLIDER_API_KEY", "`api-key` is empty", "secret", "environment"))
    assert all(word in told for word in ("fork", "Dependabot"))


@pytest.mark.parametrize("key", ["Q", "plan", "abcdefg", "long-enough-line\nshort", " seven77 "])
def test_a_key_that_can_not_be_hidden_is_refused(checkout: Callable[..., Checkout], key: str) -> None:
    """A short one would blot out half the log, so it is refused before it is masked, and nothing is asked."""
    made = checkout(SAME, SAME_FILES)
    job = made("plan", key=key)
    assert (job.exit, job.outputs["exit-reason"]) == (7, "permission")
    assert [line for line in job.step("run").raw if line.startswith("::add-mask::") and "ghs_" not in line] == []
    assert "fewer than 8 characters" in job.summary
    assert made.glider.calls(method="GET") == []


def test_a_wrong_input_can_not_command_the_runner(checkout: Callable[..., Checkout]) -> None:
    """What an input holds is shown as text."""
    job = checkout(SAME, SAME_FILES)("##[error]pwned\n::error::pwned")
    assert job.exit == 64
    assert not [note for note in job.annotations if note.message.startswith("pwned")]
