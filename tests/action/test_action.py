"""The action that ships, ``action.yml`` and all: every command, every kind of event, every way to end."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.core.errors import ExitReason
from tests.action import events
from tests.action.commands import Level
from tests.action.conftest import ROOT, closed_port
from tests.action.manifest import load
from tests.action.values import Status
from tests.process.conftest import OURS
from tests.process.support import NEVER_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout
    from tests.action.record import Job
    from tests.postgres import Server

ACTIVE = {"status": "active", "interval": "24h"}
SAME = {"aaa": ACTIVE, "bbb": {"status": "paused", "interval": "24h", "pause_reason": OURS}}
CHANGED = {
    "aaa": ACTIVE,
    "bbb": ACTIVE,
    "ccc": {"status": "paused", "interval": "24h", "pause_reason": OURS},
    "ddd": {"status": "inactive"},
}
HELD = {"aaa": ACTIVE, "eee": {"status": "paused", "interval": "24h", "pause_reason": "by hand"}}
BLOCKED = {"aaa": ACTIVE, "zzz": {"status": "archived"}}

SAME_FILES = "version: 1\nportfolios:\n  aaa: {state: active, interval: 24h}\n  bbb: {state: paused}\n"
CHANGED_FILES = """version: 1
portfolios:
  aaa: {state: paused, reason: Liquidity event}
  bbb: {state: active, interval: 12h}
  ccc: {state: active, interval: 24h}
  ddd: {state: active, interval: 24h}
"""
HELD_FILES = "version: 1\nportfolios:\n  aaa: {state: active, interval: 24h}\n  eee: {state: active}\n"
BLOCKED_FILES = "version: 1\nportfolios:\n  aaa: {state: active, interval: 24h}\n  zzz: {state: active}\n"
INVALID_FILES = "version: 1\nportfolios:\n  aaa: {state: actve, interval: 24h}\n  bbb: {interval: 1s, state: paused}\n"
GUARD_FILES = CHANGED_FILES + "guards: {max_pause: 0}\n"

EVENTS = {
    "pull_request": events.pull_request(),
    "push": events.push(),
    "schedule": events.schedule(),
    "workflow_dispatch": events.workflow_dispatch(),
}
FORK = events.pull_request(fork=True)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to end: what there is, and what each command makes of it (a command that is not named is not run)."""

    live: dict[str, Any]
    files: str
    reasons: dict[str, ExitReason]
    counts: dict[str, int]
    events: int = 2
    """How many kinds of event each command of it runs under."""


OK, ERROR, CHANGES, INVALID = ExitReason.OK, ExitReason.ERROR, ExitReason.CHANGES, ExitReason.INVALID
READING = ("plan", "apply", "drift", "status")
FOUR = {"start": 1, "resume": 1, "pause": 1, "update": 1, "held": 0, "blocked": 0}
NONE = dict.fromkeys(FOUR, 0)


def _all(reason: ExitReason) -> dict[str, ExitReason]:
    return dict.fromkeys(READING, reason)


WAYS = {
    "no changes": Way(live=SAME, files=SAME_FILES, reasons={"validate": OK, **_all(OK)}, counts=NONE),
    "changes": Way(live=CHANGED, files=CHANGED_FILES, reasons={**_all(OK), "drift": CHANGES}, counts=FOUR),
    "held": Way(
        live=HELD, files=HELD_FILES, reasons={"plan": OK, "apply": OK, "drift": CHANGES}, counts={**NONE, "held": 1}
    ),
    "blocked": Way(
        live=BLOCKED,
        files=BLOCKED_FILES,
        reasons={"plan": ERROR, "apply": ERROR, "drift": ERROR},
        counts={**NONE, "blocked": 1},
    ),
    "guard": Way(live=CHANGED, files=GUARD_FILES, reasons={"plan": OK, "apply": ExitReason.GUARD}, counts=FOUR),
    "stale approval": Way(live=CHANGED, files=CHANGED_FILES, reasons={"apply": ExitReason.STALE}, counts=FOUR),
    "invalid files": Way(
        live=SAME, files=INVALID_FILES, reasons={"validate": INVALID, **_all(INVALID)}, counts={}, events=1
    ),
    "bad key": Way(live=SAME, files=SAME_FILES, reasons=_all(ExitReason.PERMISSION), counts={}, events=1),
    "unreachable": Way(live=SAME, files=SAME_FILES, reasons=_all(ExitReason.UNREACHABLE), counts={}, events=1),
    "cancelled": Way(live=CHANGED, files=CHANGED_FILES, reasons=_all(ExitReason.INTERRUPTED), counts={}, events=1),
}


def _cases() -> list[Any]:
    """Deal the kinds of event out in turn, so that each command meets each of them; `make test` has one of a case."""
    turns = {command: cycle(EVENTS) for command in ("validate", *READING)}
    return [
        pytest.param(
            command,
            name,
            next(turns[command]),
            id=f"{command}-{name}-{number}",
            marks=() if number == row % way.events else pytest.mark.thorough,
        )
        for row, (name, way) in enumerate(WAYS.items())
        for command in way.reasons
        for number in range(way.events)
    ]


def _run(checkout: Checkout, command: str, name: str, event: events.Event) -> Job:
    """Run a command so that it ends in the way of that name."""
    inputs: dict[str, Any] = {"auto_approve": "true"} if command == "apply" else {}
    match name:
        case "stale approval":
            planned = checkout("plan", event=event, plan_file="approved.json")
            assert planned.status is Status.SUCCESS
            checkout.write("automation.yaml", CHANGED_FILES.replace("12h", "6h"))
            inputs = {"approved_plan": "approved.json"}
        case "bad key":
            inputs["key"] = "forbidden"
        case "unreachable":
            with closed_port() as url:
                return checkout(command, event=event, **inputs, base_url=url)
        case "cancelled":
            operation, method = ("pause", "POST") if command == "apply" else ("read", "GET")
            checkout.glider.misbehave({"kind": "latency", "operation": operation, "ms": NEVER_MS})
            inputs["cancel"] = lambda: checkout.glider.calls(method=method) != []
            inputs["bash"] = True  # a signal has to pass through it
        case "no changes":
            inputs["bash"] = True  # each command is run once as the runner does it
        case _:
            pass
    return checkout(command, event=event, **inputs)


@pytest.mark.parametrize(("command", "name", "event"), _cases())
def test_every_way_to_end(checkout: Callable[..., Checkout], command: str, name: str, event: str) -> None:
    """The step's end, its outputs, its summary and the writes are what the command's end says."""
    way = WAYS[name]
    made = checkout(way.live, way.files)
    job = _run(made, command, name, EVENTS[event])
    reason = way.reasons[command]
    assert job.outputs["exit-code"] == str(reason.code), job.log
    assert job.outputs["exit-reason"] == reason.word
    # Changes that are pending, and what is blocked in a plan, fail a step only where `fail-on` says so.
    fine = reason in (OK, CHANGES) or (command, name) == ("plan", "blocked")
    assert job.exit == (0 if fine else reason.code)
    ended = Status.CANCELLED if name == "cancelled" else Status.SUCCESS if fine else Status.FAILURE
    assert job.status is ended
    assert job.summary.startswith("### ")
    assert command.capitalize() in job.summary.splitlines()[0]
    if command in ("plan", "drift") and way.counts:
        assert {key: job.outputs[key] for key in way.counts} == {key: str(n) for key, n in way.counts.items()}
        changes = any(way.counts[key] for key in ("start", "resume", "pause", "update"))
        known = "" if way.counts["blocked"] else "false"
        assert job.outputs["has-changes"] == ("true" if changes or (command == "drift" and name == "held") else known)
        assert len(job.outputs["fingerprint"]) == 64
    errors = [note for note in job.annotations if note.level is Level.ERROR and not note.by_runner]
    # A table of states says itself which could not be read, and whoever cancels knows.
    assert bool(errors) is not fine or command == "status" or name == "cancelled", job.annotations
    if command != "apply" or name not in ("changes", "cancelled"):
        assert made.glider.calls() == []


@pytest.mark.parametrize("command", READING)
def test_a_fork_has_no_key(checkout: Callable[..., Checkout], command: str) -> None:
    """A fork's pull request gets no secret: the step says that the key is missing, and nothing is read or written."""
    made = checkout(CHANGED, CHANGED_FILES)
    inputs = {"auto_approve": "true"} if command == "apply" else {}
    job = made(command, event=FORK, key="", **inputs)
    assert job.outputs["exit-code"] == str(ExitReason.PERMISSION.code)
    assert "GLIDER_API_KEY" in "\n".join(job.log)
    assert made.glider.calls() == []
    assert made.glider.calls(method="GET") == []


@pytest.mark.parametrize(("files", "reason"), [(CHANGED_FILES, OK), (INVALID_FILES, INVALID)])
def test_a_fork_can_validate(checkout: Callable[..., Checkout], files: str, reason: ExitReason) -> None:
    """Files are checked without a key."""
    made = checkout(CHANGED, files)
    job = made("validate", event=FORK, key="")
    assert job.outputs["exit-code"] == str(reason.code)
    assert job.outputs["plan-path"] == ""


def test_a_fork_can_plan_from_a_live_file(checkout: Callable[..., Checkout]) -> None:
    """A plan from what another job read needs no key; it says the same as one that reads."""
    made = checkout(CHANGED, CHANGED_FILES)
    live = made.workspace / "live.json"
    made.glider.run("status", "--out", str(live))
    read = made.glider.calls(method="GET")
    job = made("plan", event=FORK, key="", live="live.json")
    assert job.status is Status.SUCCESS, job.log
    assert {key: job.outputs[key] for key in FOUR} == {key: str(n) for key, n in FOUR.items()}
    assert made.glider.calls(method="GET") == read


def test_problems_of_the_files_are_annotated_in_place(checkout: Callable[..., Checkout]) -> None:
    """Each problem is beside the line it is about, from the root of the repository, also of another directory."""
    made = checkout(SAME, SAME_FILES)
    made.write("team/automation.yaml", INVALID_FILES)
    job = made("validate", working_directory="team")
    places = [
        (note.properties.get("file"), note.properties.get("line"))
        for note in job.annotations
        if note.level is Level.ERROR and not note.by_runner
    ]
    assert ("team/automation.yaml", "3") in places
    assert ("team/automation.yaml", "4") in places


def test_an_apply_of_what_was_approved(checkout: Callable[..., Checkout]) -> None:
    """Plan in one job, apply with its fingerprint in the next, and a third plan is empty."""
    made = checkout(CHANGED, CHANGED_FILES)
    planned = made("plan", plan_file="plan.json")
    assert Path(planned.outputs["plan-path"]) == made.workspace / "plan.json"
    print_of_plan = planned.outputs["fingerprint"]
    wrong = made("apply", approved_plan="plan.json", fingerprint="0" * 64)
    assert (wrong.outputs["exit-reason"], made.glider.calls()) == ("stale", [])
    applied = made("apply", approved_plan="plan.json", fingerprint=print_of_plan)
    assert applied.status is Status.SUCCESS, applied.log
    assert len(made.glider.calls()) == 4
    again = made("plan")
    assert again.outputs["has-changes"] == "false"
    # The note in the log names the output, and not the temporary file of the step.
    log = "\n".join(again.log)
    assert "Saved as the output `plan-path`; run it with the command `apply`" in log
    assert again.outputs["plan-path"] not in log


def test_a_saved_plan_is_applied_as_it_is(checkout: Callable[..., Checkout]) -> None:
    """What was planned for one portfolio is carried out for that one; a choice beside the plan writes nothing."""
    made = checkout(CHANGED, CHANGED_FILES)
    made("plan", plan_file="plan.json", target="aaa")
    wrong = made("apply", plan_file="plan.json", target="bbb")
    assert (wrong.exit, made.glider.calls()) == (64, [])
    applied = made("apply", plan_file="plan.json")
    assert (applied.exit, made.glider.calls()) == (0, ["aaa pause"])


def test_jobs_carry_out_a_plan_together(checkout: Callable[..., Checkout], server: Server) -> None:
    """With `join`, a job that comes when the plan has been carried out tells what became of it, and writes nothing."""
    made = checkout(CHANGED, CHANGED_FILES)
    journal = str(server.database())
    planned = made("plan", plan_file="plan.json", journal=journal)
    together = {"plan_file": "plan.json", "journal": journal, "join": "true"}
    first, second = (made("apply", **together, fingerprint=planned.outputs["fingerprint"]) for _ in range(2))
    assert (first.exit, second.exit, len(made.glider.calls())) == (0, 0, 4)
    for job in (first, second):
        assert "4 done" in job.summary


def test_a_plan_that_failed_hands_over_no_file(checkout: Callable[..., Checkout]) -> None:
    """A file that lay there before, from a cache or the checkout, is not the plan of this job."""
    made = checkout(SAME, "version: 2\n")
    made.write("plan.json", '{"format_version": "3.0", "tool": "x", "created_at": ""}')
    job = made("plan", plan_file="plan.json")
    assert (job.outputs["exit-reason"], job.outputs["plan-path"], job.outputs["fingerprint"]) == ("invalid", "", "")


@pytest.mark.parametrize(
    ("command", "inputs", "said"),
    [
        ("destroy", {}, "`command`"),
        ("", {}, "`command`"),
        ("apply", {}, "reviewed"),
        ("apply", {"auto_approve": "yes"}, "`auto-approve`"),
        ("apply", {"approved_plan": "plan.json", "fingerprint": ""}, "`fingerprint`"),
        ("apply", {"plan_file": "plan.json", "fingerprint": " "}, "`fingerprint`"),
        ("apply", {"plan_file": "plan.json", "target": "aaa"}, "`target` would not be used"),
        ("apply", {"plan_file": "plan.json", "select": "group=x"}, "`select` would not be used"),
        ("apply", {"plan_file": "plan.json", "config": "automation.yaml"}, "`config` would not be used"),
        ("apply", {"plan_file": "plan.json", "unverified": "skip", "target": "a"}, "`target` and `unverified` would"),
        ("plan", {"approved_plan": "x"}, "`approved-plan`"),
        ("plan", {"fail_on": "drfit"}, "`fail-on`"),
        ("status", {"issue": "true"}, "`issue`"),
    ],
)
def test_inputs_that_make_no_sense(
    checkout: Callable[..., Checkout], command: str, inputs: dict[str, str], said: str
) -> None:
    """An input that is wrong ends the step with 64, an annotation that names it, and no call."""
    made = checkout(SAME, SAME_FILES)
    job = made(command, **inputs)
    assert (job.exit, job.outputs["exit-reason"]) == (64, "usage")
    assert any(said in note.message for note in job.annotations if note.level is Level.ERROR)
    assert made.glider.calls(method="GET") == []


@pytest.mark.parametrize(
    ("command", "name", "fail_on", "code"),
    [
        ("plan", "changes", "changes", 2),
        ("plan", "no changes", "changes, drift held", None),
        ("plan", "held", "held", 2),
        ("plan", "changes", "held", 0),
        ("drift", "changes", "drift", 2),
        ("drift", "no changes", "drift", 0),
    ],
)
def test_fail_on(checkout: Callable[..., Checkout], command: str, name: str, fail_on: str, code: int | None) -> None:
    """A step fails on what the team asked for; `drift` of a plan needs a base to tell it by."""
    made = checkout(WAYS[name].live, WAYS[name].files)
    job = made(command, fail_on=fail_on)
    assert job.exit == (64 if code is None else code), job.log


def test_hostile_text_can_not_command_the_runner(checkout: Callable[..., Checkout]) -> None:
    """What Glider and the files say is text: no annotation, mask or group comes of it."""
    hostile = "::error::pwned ##[error]pwned %0A::add-mask::a"
    live = {"aaa": {"status": "paused", "interval": "24h", "pause_reason": hostile}}
    made = checkout(live, f"version: 1\nportfolios:\n  aaa: {{state: active, name: {json.dumps(hostile)}}}\n")
    for command in ("plan", "drift", "status"):
        job = made(command)
        assert not [note for note in job.annotations if note.message.startswith("pwned")]
        assert "a" not in job.masks


def test_every_input_reaches_the_program() -> None:
    """Each declared input is used in action.yml, and each INPUT_ variable is one of an input."""
    manifest = load(ROOT)
    used = " ".join(
        value
        for step in manifest.steps
        for value in (*step.env.values(), *step.settings.values(), step.condition, step.folder)
    )
    assert [name for name in manifest.inputs if f"inputs.{name} " not in used] == []
    variables = {name for step in manifest.steps for name in step.env if name.startswith("INPUT_")}
    assert {name.removeprefix("INPUT_").replace("_", "-").lower() for name in variables} <= manifest.inputs.keys()


def test_the_examples_use_inputs_and_outputs_that_there_are() -> None:
    """Each workflow of the examples hands over declared inputs and looks at declared outputs only."""
    manifest = load(ROOT)
    used = 0
    for path in sorted((ROOT / "examples/workflows").glob("*.yml")):
        jobs = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["jobs"]
        for job in jobs.values():
            for step in job.get("steps", ()):
                if step.get("uses", "").startswith("glider-reconciler/"):
                    used += 1
                    assert step["with"].keys() <= manifest.inputs.keys(), path
                    assert "command" in step["with"], path
            ours = [
                step.get("id") for step in job.get("steps", ()) if step.get("uses", "").startswith("glider-reconciler/")
            ]
            looked_at = re.findall(r"steps\.(\w+)\.outputs\.([\w-]+)", json.dumps(job))
            assert {name for step, name in looked_at if step in ours} <= manifest.outputs.keys(), path
    assert used


def test_each_account_of_the_example_keeps_to_itself() -> None:
    """Environment, folder, cache, artifact and concurrency of one account are never those of another one."""
    called, calling = (
        yaml.load((ROOT / f"examples/workflows/{name}.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        for name in ("account", "accounts")
    )
    job = calling["jobs"]["account"]
    assert job["uses"] == "./.github/workflows/account.yml"
    assert job["with"].keys() == called["on"]["workflow_call"]["inputs"].keys()
    mine = "${{ inputs.account }}"
    assert mine in called["jobs"]["apply"]["concurrency"]["group"]
    for job in called["jobs"].values():
        assert mine in str(job["environment"])
        for step in job["steps"]:
            settings = step.get("with", {})
            named = ("path", "key", "restore-keys", "name", "working-directory", "environment")
            assert all(mine in settings[name] for name in named if name in settings), step
            # Without an end, the key of `acme` would be the beginning of the key of `acme-eu`.
            assert settings.get("restore-keys", "/").endswith("/")


def test_a_job_of_the_examples_that_waits_for_a_person_holds_nothing() -> None:
    """No environment with reviewers stands in a job with a concurrency group, and each job that writes has one."""
    for path in sorted((ROOT / "examples/workflows").glob("*.yml")):
        workflow = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        for name, job in workflow["jobs"].items():
            if name in ("approve", "halt"):  # a halt waits for nobody
                assert "concurrency" not in job, path
                continue
            if "WRITE_KEY" in json.dumps(job):
                assert "-write" in job["environment"], path
                # Those that apply together must be let in together, and wait in the journal for any other plan.
                waits = [step["with"].get("lock-timeout") for step in job["steps"] if step.get("with", {}).get("join")]
                assert waits == ["30m"] if "matrix" in str(job) else job["concurrency"]["queue"] == "max", path
                assert "github.run_id" in workflow["concurrency"]["group"], path
