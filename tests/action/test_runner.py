"""The runner itself, by small actions: what GitHub documents of steps, files, environment and cancellation."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.action import events
from tests.action.manifest import ActionError, load
from tests.action.process import Grace
from tests.action.record import Job, Stubbed, setup_python
from tests.action.runner import run
from tests.action.values import ExpressionError, Status

HEAD = "name: t\ndescription: t\n"
SHA = "5fda3b95a4ea91299a34e894583c3862153e4b97"


class Bench:
    """Writes an action and runs it on a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.action = folder / "action"
        self.action.mkdir()

    def write(self, body: str) -> Path:
        (self.action / "action.yml").write_text(HEAD + textwrap.dedent(body), encoding="utf-8")
        return self.action

    def __call__(self, body: str, **more: Any) -> Job:
        return run(self.write(body), **{"event": events.push(), "folder": self.folder / "disk", **more})

    def script(self, text: str, **more: Any) -> Job:
        """Run an action of one step."""
        step = textwrap.indent(textwrap.dedent(text), " " * 10)
        return self(
            f"runs:\n  using: composite\n  steps:\n    - id: one\n      shell: bash\n      run: |\n{step}", **more
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


INPUTS = """
    inputs:
      command: {description: c, required: true}
      where: {description: w, default: here}
      ref: {description: r, default: "${{ github.ref_name }}"}
      Old: {description: o, deprecationMessage: use where}
    outputs:
      all: {description: a, value: "${{ steps.one.outputs.all }}"}
    runs:
      using: composite
      steps:
        - id: one
          shell: bash
          env: {ALL: "${{ inputs.command }}/${{ inputs.where }}/${{ inputs.ref }}"}
          run: echo "all=$ALL${INPUT_COMMAND-}" >> "$GITHUB_OUTPUT"
"""


def test_inputs_have_defaults(bench: Bench) -> None:
    """Defaults may look at the event; a required input that is missing is empty, and no INPUT_ variable is made."""
    assert bench(INPUTS).outputs == {"all": "/here/main"}


def test_inputs_are_taken_whatever_their_case(bench: Bench) -> None:
    """A given input wins over its default; one that is empty counts as given."""
    assert bench(INPUTS, inputs={"COMMAND": "plan", "where": ""}).outputs == {"all": "plan//main"}


def test_unknown_and_deprecated_inputs_warn(bench: Bench) -> None:
    """An input that is not declared and one that is deprecated each leave a warning; neither fails the job."""
    job = bench(INPUTS, inputs={"comand": "plan", "old": "x"})
    assert [note.message for note in job.annotations] == [
        "Unexpected input(s) comand",
        "Input 'Old' has been deprecated with message: use where",
    ]
    assert job.status is Status.SUCCESS


STEPS = """
    runs:
      using: composite
      steps:
        - {id: first, shell: bash, run: "exit 3"}
        - {id: second, shell: bash, run: "true"}
        - {id: third, shell: bash, if: "failure() && steps.first.outcome == 'failure'", run: "true"}
        - {id: fourth, shell: bash, if: always(), run: "exit 0"}
"""


def test_a_failed_step_fails_the_job(bench: Bench) -> None:
    """Later steps are skipped but for those that ask; the job is failed, whatever they do."""
    job = bench(STEPS)
    assert [step.outcome for step in job.steps] == [Status.FAILURE, Status.SKIPPED, Status.SUCCESS, Status.SUCCESS]
    assert job.status is Status.FAILURE
    assert job.step("first").exit == 3
    assert job.annotations[0].message == "Process completed with exit code 3."


def test_continue_on_error(bench: Bench) -> None:
    """A step that may fail has failed in its outcome only; the job goes on."""
    job = bench(STEPS.replace('run: "exit 3"', 'run: "exit 3", continue-on-error: "true"'))
    assert (job.step("first").outcome, job.step("first").conclusion) == (Status.FAILURE, Status.SUCCESS)
    assert job.step("second").outcome is Status.SUCCESS
    assert job.step("third").outcome is Status.SKIPPED
    assert job.status is Status.SUCCESS


@pytest.mark.parametrize("script", ["false\ntrue", "false | true\ntrue", "exit 1"])
def test_bash_stops_at_the_first_failure(bench: Bench, script: str) -> None:
    """bash runs with -e and pipefail."""
    assert bench.script(script).status is Status.FAILURE


def test_files_carry_on_to_the_next_step(bench: Bench) -> None:
    """Outputs, environment and path of a step are there for the next; state and summary are kept."""
    job = bench(
        """
        runs:
          using: composite
          steps:
            - id: one
              shell: bash
              run: |
                mkdir "$RUNNER_TEMP/bin"
                printf '#!/bin/sh\\necho found\\n' > "$RUNNER_TEMP/bin/tool"
                chmod +x "$RUNNER_TEMP/bin/tool"
                echo "$RUNNER_TEMP/bin" >> "$GITHUB_PATH"
                printf 'A=1\\nB<<E\\nx\\ny\\nE\\nGITHUB_SHA=no\\nC=exported\\n' >> "$GITHUB_ENV"
                printf 'out<<E\\n1\\n2\\nE\\n' >> "$GITHUB_OUTPUT"
                echo s=1 >> "$GITHUB_STATE"
                echo '# One' >> "$GITHUB_STEP_SUMMARY"
            - id: two
              shell: bash
              env: {OUT: "${{ steps.one.outputs.out }}", FROM: "${{ env.A }}", A: own}
              run: |
                tool
                echo "$A $FROM $B $C $GITHUB_SHA $OUT"
                test ! -s "$GITHUB_OUTPUT"
                echo '# Two' >> "$GITHUB_STEP_SUMMARY"
        """,
        env={"C": "callers"},
    )
    assert job.status is Status.SUCCESS
    assert job.step("two").raw == ("found", "own 1 x", f"y callers {events.HEAD_SHA} 1", "2")
    assert job.step("one").state == {"s": "1"}
    assert job.summary == "# One\n\n# Two\n"


def test_a_broken_file_fails_the_step(bench: Bench) -> None:
    """A pair without a name for its value fails a step whose script went well."""
    job = bench.script('echo broken >> "$GITHUB_OUTPUT"')
    assert (job.exit, job.status) == (0, Status.FAILURE)
    assert "Unable to process file command 'output'" in job.violations[0]


def test_node_options_can_not_be_set(bench: Bench) -> None:
    """The runner keeps NODE_OPTIONS to itself."""
    assert bench.script('echo NODE_OPTIONS=x >> "$GITHUB_ENV"').violations


def test_a_summary_over_the_limit_is_not_shown(bench: Bench) -> None:
    """A mebibyte of summary is shown, one byte more is an error and nothing is."""
    fits = bench.script('head -c 1048576 /dev/zero | tr "\\0" x >> "$GITHUB_STEP_SUMMARY"')
    assert (len(fits.summary), fits.violations) == (1048576, ())
    over = bench.script('head -c 1048577 /dev/zero | tr "\\0" x >> "$GITHUB_STEP_SUMMARY"', folder=bench.folder / "b")
    assert (over.summary, len(over.violations)) == ("", 1)


def test_the_environment_is_the_runners(bench: Bench) -> None:
    """A script sees the runner's variables and nothing of this machine's but PATH; no token is among them."""
    job = bench.script("env | sort", env={"CALLER": "x"})
    seen = dict(line.partition("=")[::2] for line in job.raw_of("one"))
    own = {name for name in seen if not name.startswith(("GITHUB_", "RUNNER_"))}
    assert own - {"_", "SHLVL", "PWD", "OLDPWD"} == {"CALLER", "CI", "HOME", "LANG", "PATH"}
    assert {"GITHUB_TOKEN", "GITHUB_EVENT", "GITHUB_ACTION_STATUS"}.isdisjoint(seen)
    assert seen["GITHUB_ACTIONS"] == "true"
    assert seen["GITHUB_ACTION_PATH"] == str(bench.action)
    assert seen["GITHUB_WORKSPACE"] == seen["PWD"] == str(bench.folder / "disk/workspace")
    assert json.loads(Path(seen["GITHUB_EVENT_PATH"]).read_text())["after"] == events.HEAD_SHA
    assert seen["RUNNER_OS"] in ("Linux", "macOS")


@pytest.mark.parametrize(
    ("event", "ref", "extra"),
    [
        (events.push(), "refs/heads/main", {"HEAD_REF": "", "REF_TYPE": "branch"}),
        (events.push(ref="refs/tags/v1"), "refs/tags/v1", {"REF_TYPE": "tag", "REF_NAME": "v1"}),
        (events.pull_request(), "refs/pull/7/merge", {"HEAD_REF": "topic", "BASE_REF": "main", "REF_NAME": "7/merge"}),
        (events.pull_request(fork=True), "refs/pull/7/merge", {"SHA": events.MERGE_SHA}),
        (events.schedule(), "refs/heads/main", {"EVENT_NAME": "schedule"}),
        (events.workflow_dispatch(a="b"), "refs/heads/main", {"EVENT_NAME": "workflow_dispatch"}),
    ],
)
def test_events(bench: Bench, event: events.Event, ref: str, extra: dict[str, str]) -> None:
    """Each event has its own variables and payload."""
    job = bench.script("env", event=event)
    seen = dict(line.partition("=")[::2] for line in job.raw_of("one"))
    assert {"REF": ref, **extra}.items() <= {
        name.removeprefix("GITHUB_"): value for name, value in seen.items()
    }.items()


def test_both_outputs_are_listened_to(bench: Bench) -> None:
    """A command counts on stdout and on stderr; a lone carriage return starts a line, too."""
    job = bench.script(r"printf 'x\r::warning::one\n'; echo '::warning::two' >&2; printf 'no end ##[notice]three'")
    assert sorted(note.message for note in job.annotations) == ["one", "three", "two"]


def test_secrets_and_token_are_masked(bench: Bench) -> None:
    """What GitHub knows for a secret never shows in log, annotations and summary; the raw lines keep it for tests."""
    job = bench.script(
        f'echo "s3cret {events.TOKEN}"; echo "::error::s3cret"; echo s3cret >> "$GITHUB_STEP_SUMMARY"',
        secrets=("s3cret",),
    )
    assert job.log[-2:] == ("*** ***", "##[error]***")
    assert job.annotations[0].message == "***"
    assert job.summary == "***\n"
    assert job.raw_of("one")[0] == f"s3cret {events.TOKEN}"


def test_working_directory(bench: Bench) -> None:
    """A step's directory is taken from the workspace."""
    body = """
        runs:
          using: composite
          steps:
            - {id: one, shell: bash, run: "mkdir sub"}
            - {id: two, shell: bash, working-directory: "${{ format('{0}', 'sub') }}", run: pwd}
    """
    job = bench(body)
    assert job.raw_of("two") == (str(bench.folder / "disk/workspace/sub"),)


USES = f"""
    runs:
      using: composite
      steps:
        - id: python
          uses: actions/setup-python@{SHA} # v7.0.0
          with: {{python-version: "3.13", update-environment: "false"}}
        - id: two
          shell: bash
          env: {{PYTHON: "${{{{ steps.python.outputs.python-path }}}}"}}
          run: |
            echo "$PYTHON"
            command -v python || echo none
"""


def test_setup_python(bench: Bench) -> None:
    """The stub gives the interpreter of the caller, and puts it on PATH unless told not to."""
    python = Path(sys.executable)
    stubs = {"actions/setup-python": setup_python(python)}
    assert bench(USES, stubs=stubs).raw_of("two")[0] == str(python)
    found = bench(USES.replace(', update-environment: "false"', ""), stubs=stubs, folder=bench.folder / "b")
    assert found.raw_of("two") == (str(python), str(python.parent / "python"))


def test_used_actions_need_a_stub_and_their_inputs(bench: Bench) -> None:
    """An action that nobody stands in for, or an input that it does not have, is an error."""
    with pytest.raises(ActionError, match="no stub"):
        bench(USES)
    with pytest.raises(ActionError, match="no input 'python-versoin'"):
        bench(
            USES.replace("python-version:", "python-versoin:"), stubs={"actions/setup-python": setup_python(Path("p"))}
        )


def test_a_stub_leaves_what_it_says(bench: Bench) -> None:
    """A stub's outputs, environment and path reach the next step."""
    body = USES.replace("$PYTHON", "$LEFT")
    job = bench(
        body, stubs={"actions/setup-python": lambda settings: Stubbed(env={"LEFT": settings["python-version"]})}
    )
    assert job.raw_of("two")[0] == "3.13"


class When:
    """True once a file is there; the script makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> bool:
        return self.path.exists()


CANCELLED = """
    runs:
      using: composite
      steps:
        - {{id: one, shell: bash, if: "{condition}", run: "{script}"}}
        - {{id: two, shell: bash, run: "true"}}
        - {{id: three, shell: bash, if: cancelled(), run: "true"}}
        - {{id: four, shell: bash, if: always(), run: "true"}}
"""


def cancelled(bench: Bench, script: str, condition: str = "success()", **grace: float) -> Job:
    """Run a script that is cancelled once it has made the file ``ready``."""
    ready = bench.folder / "disk/workspace/ready"
    body = CANCELLED.format(condition=condition, script=script)
    return bench(body, cancel=When(ready), grace=Grace(**grace) if grace else None)


def test_cancellation_interrupts(bench: Bench) -> None:
    """A cancelled script gets SIGINT; afterwards only steps run that ask for it, and the job is cancelled."""
    job = cancelled(bench, "trap 'echo interrupted; exit 42' INT; touch ready; while :; do sleep 0.02; done")
    assert job.raw_of("one") == ("interrupted",)
    assert job.step("one").exit == 42
    assert [step.outcome for step in job.steps] == [
        Status.CANCELLED,
        Status.SKIPPED,
        Status.SUCCESS,
        Status.SUCCESS,
    ]
    assert job.status is Status.CANCELLED


def test_cancellation_reaches_what_bash_became(bench: Bench) -> None:
    """A program that bash became by exec gets the signal."""
    program = "import signal, time, pathlib; pathlib.Path('ready').touch(); time.sleep(20)"
    python = sys.executable
    job = cancelled(bench, f'exec {python} -c \\"{program}\\"')
    assert "KeyboardInterrupt" in "\n".join(job.raw_of("one"))
    assert job.step("one").exit == -2


def test_cancellation_does_not_reach_a_child_of_bash(bench: Bench) -> None:
    """A program below bash gets nothing; bash waits for it and is asked, told and killed."""
    # The child itself says that it is there: bash alone, not waiting yet, would obey the signal.
    job = cancelled(bench, "(touch ready; exec sleep 20); true", interrupt=0.2, terminate=0.2, output=0.1)
    assert job.step("one").exit == -15


def test_a_deaf_script_is_killed(bench: Bench) -> None:
    """After SIGINT and SIGTERM in vain comes the end."""
    job = cancelled(bench, "trap '' INT TERM; touch ready; while :; do sleep 0.02; done", interrupt=0.1, terminate=0.1)
    assert (job.step("one").exit, job.status) == (-9, Status.CANCELLED)


def test_a_step_that_always_runs_is_not_interrupted(bench: Bench) -> None:
    """A step whose condition holds in a cancelled job goes on to its end."""
    job = cancelled(bench, "touch ready; sleep 0.2; echo end", condition="always()")
    assert job.raw_of("one") == ("end",)
    assert (job.step("one").outcome, job.status) == (Status.SUCCESS, Status.CANCELLED)
    assert job.step("two").outcome is Status.SKIPPED


def test_a_process_that_outlives_its_step(bench: Bench) -> None:
    """The runner waits some seconds for a process that holds the output; our action must leave none."""
    job = bench.script("sleep 20 &", grace=Grace(output=0.1))
    assert job.violations == ("a process outlived its step and held its output",)


def test_a_script_past_the_deadline_is_an_error_of_the_test(bench: Bench) -> None:
    """A script that hangs ends the test, not the day."""
    with pytest.raises(TimeoutError):
        bench.script("sleep 20", deadline_seconds=0.2)


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        ("{using: node20, steps: []}", "composite"),
        ("{using: composite, steps: []}", "composite"),
        ("{using: composite, steps: [{run: x}]}", "'shell' is missing"),
        ("{using: composite, steps: [{run: x, shell: pwsh}]}", "not bash"),
        ("{using: composite, steps: [{run: x, shell: bash, timeout-minutes: 1}]}", "'timeout-minutes' is not known"),
        ("{using: composite, steps: [{run: 'echo ${{ inputs.x }}', shell: bash}]}", "become code"),
        ("{using: composite, steps: [{uses: actions/cache@v4}]}", "full SHA"),
        ("{using: composite, steps: [{uses: ./local}]}", "full SHA"),
        ("{using: composite, steps: [{run: x, shell: bash, id: __a}]}", "is none"),
        ("{using: composite, steps: [{run: x, shell: bash, id: a}, {run: x, shell: bash, id: a}]}", "twice"),
        ("{using: composite, using: composite, steps: []}", "twice"),
        ("{using: composite, steps: [{run: x, shell: bash, env: [a]}]}", "mapping of texts"),
    ],
)
def test_actions_that_are_refused(bench: Bench, runs: str, why: str) -> None:
    """What GitHub or our house rules refuse is refused before anything runs."""
    with pytest.raises(ActionError, match=why):
        load(bench.write(f"runs: {runs}"))


@pytest.mark.parametrize(
    "body",
    [
        "inputs: {a: {description: a, requird: true}}\nruns: {using: composite, steps: [{run: x, shell: bash}]}",
        "inputs: {a: {default: a}}\nruns: {using: composite, steps: [{run: x, shell: bash}]}",
        "outputs: {a: {description: a}}\nruns: {using: composite, steps: [{run: x, shell: bash}]}",
        "inputs: {a: {description: a}, A: {description: a}}\nruns: {using: composite, steps: [{run: x, shell: bash}]}",
        "on: push\nruns: {using: composite, steps: [{run: x, shell: bash}]}",
    ],
)
def test_declarations_that_are_refused(bench: Bench, body: str) -> None:
    """An input or output that is not whole, or that GitHub would not tell from another, is refused."""
    with pytest.raises(ActionError):
        load(bench.write(body))


def test_expressions_that_fail_are_the_actions_fault(bench: Bench) -> None:
    """An expression that GitHub would quietly make empty ends the run."""
    body = 'runs: {using: composite, steps: [{run: x, shell: bash, env: {A: "${{ inputs.nothing }}"}}]}'
    with pytest.raises(ExpressionError, match="nothing"):
        bench(body)
