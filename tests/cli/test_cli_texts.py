"""What commands say of one small fleet, whole: kept in `tests/golden`, one file a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
        ("a limit that is none", "apply --sandbox --auto-approve --allow pause=x"),
    ],
)
def test_what_can_not_be_done(shell: Shell, golden: Golden, name: str, line: str) -> None:
    """The error says what happened and what to do."""
    golden("errors", name, f"$ reconciler {line}\n{shell(line).err}")
