"""What commands say of one small fleet, whole: kept in `tests/golden`, one file a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import FILES

if TYPE_CHECKING:
    from tests.cli.conftest import Shell
    from tests.golden import Golden


def test_from_the_first_look_to_the_last(shell: Shell, golden: Golden) -> None:
    """Each command's whole output and errors, in the order of a day's work."""
    for line, name in (
        ("validate", "valid files"),
        ("explain aaa", "one portfolio"),
        ("status --sandbox", "before the first apply"),
        ("drift --sandbox", "before the first apply"),
        ("plan --sandbox", "one change of each kind but an update"),
        ("plan --sandbox --no-color -v", "verbose"),
        ("plan --sandbox -o markdown", "Markdown"),
        ("apply --sandbox --auto-approve", "three changes"),
        ("apply --sandbox --auto-approve", "nothing to do"),
        ("plan --sandbox", "nothing to do"),
        ("drift --sandbox", "one is held"),
        ("history", "two runs"),
        ("history --run 1", "the writes of a run"),
    ):
        ended = shell(line)
        golden(line.split()[0], name, f"$ reconciler {line}\n{ended.out}{ended.err}")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("two problems", "version: 1\nportfolios:\n  aaa: {state: actve, interval: 24h}\n  bbb: {interval: 1s}\n"),
        ("not YAML", "version: 1\nportfolios: {aaa\n"),
        ("a version that is not there", "version: 2\nportfolios: {}\n"),
    ],
    ids=lambda one: one if ":" not in one else "",
)
def test_files_that_are_wrong(shell: Shell, golden: Golden, name: str, files: str) -> None:
    """Every problem with its place, its line and how to repair it."""
    shell.write("automation.yaml", files)
    golden("validate", name, shell("validate").err)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("an option that is not there", "plan --sandbx"),
        ("a command that is not there", "paln"),
        ("a target that is not declared", "plan --sandbox --target aab"),
        ("nobody to ask", "apply --sandbox"),
        ("no such file", "validate -f nothing.yaml"),
        ("no such plan", "show nothing.json"),
        ("no service", "plan"),
        ("a word of others: yes", "apply --yes"),
        ("a word of others: -n", "-n"),
        ("a word of others: json", "plan --format json"),
        ("a word of others: version", "-V"),
        ("a word of others: pause", "pause aaa"),
        ("a word of others: resume", "resume aaa"),
        ("a word of others: list", "ls"),
        ("a word of others: diff", "diff"),
        ("a word of others: delete", "destroy"),
        ("a word of others: lint", "lint"),
        ("a word of others: run", "run aaa"),
        ("a word of others: export", "export"),
        ("a file without -f", "plan automation.yaml"),
        ("an id without --target", "plan aaa"),
        ("an id for --sandbox", "status --sandbox aaa"),
        ("a group that is empty", "plan --sandbox --select group=empty"),
        ("a target that nothing is like", "plan --sandbox --target nosuch"),
        ("a limit that is none", "apply --sandbox --auto-approve --allow pause=x"),
        ("a joined apply of no plan", "apply --sandbox --join"),
        ("a joined apply with a journal in a file", "apply plan.json --sandbox --join"),
        ("several in one target", "plan --sandbox --target aaa,bbb"),
        ("a number that is none", "plan --sandbox --parallelism ten"),
        ("a word of others: force", "apply --sandbox --force"),
        ("a word of others: completion", "completion bash"),
        ("another kind of file for --live", "plan --live automation.yaml"),
        ("a plan saved over the files", "plan --sandbox --out automation.yaml"),
        ("an import of nothing", "import --all --sandbox"),
        ("an id that is only near", "status aaaa --sandbox"),
        ("an id for --resume-held", "plan --sandbox --resume-held cccc"),
    ],
)
def test_what_can_not_be_done(shell: Shell, golden: Golden, name: str, line: str) -> None:
    """The error says what happened and what to do."""
    golden("errors", name, f"$ reconciler {line}\n{shell(line).err}")


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a saved plan", "plan --sandbox --out saved.json"),
        ("a live file", "status --sandbox --out saved.json"),
        ("an export of the journal", "journal export saved.json --sandbox"),
    ],
)
def test_files_of_another_kind(shell: Shell, golden: Golden, name: str, save: str) -> None:
    """What a command saved for another one is named as that, and not key by key as one that is wrong."""
    assert shell("apply --sandbox --auto-approve -q").code == 0
    assert shell(save).code == 0
    ended = shell("plan -f saved.json --sandbox")
    assert ended.code == 3
    golden("errors", f"files: {name}", f"$ reconciler plan -f saved.json --sandbox\n{ended.err}")


def test_what_a_command_prints_is_no_file(shell: Shell) -> None:
    """Nor is the document of `status`."""
    shell.write("saved.json", shell("status --sandbox -o json").out)
    ended = shell("validate -f saved.json")
    assert (ended.code, "this is what `-o json` prints" in ended.err) == (3, True)


def test_over_two_guards(shell: Shell, golden: Golden) -> None:
    """Each is told once, and what lets both through can be pasted; a plan of another service is refused for that."""
    shell.write("automation.yaml", f"{FILES}guards: {{max_start: 0, max_resume: 0}}\n")
    shell("plan --sandbox --out plan.json")
    for line in ("apply --sandbox --auto-approve", "apply plan.json --sandbox"):
        ended = shell(line)
        assert (ended.code, ended.err.count("to start, but")) == (5, 1)
        golden("errors", f"over two guards: {line}", f"$ reconciler {line}\n{ended.err}")
    allow = ended.err.rpartition("allow it with ")[2].strip()
    assert shell("apply plan.json --sandbox --allow start=1 --allow update=9").code == 5
    assert shell("sandbox reset").code == 0
    ended = shell("apply plan.json --sandbox")
    assert (ended.code, "guard" in ended.err) == (4, False)
    assert shell(f"apply --sandbox --auto-approve {allow}").code == 0
