"""``reconciler history``: what the journal tells, offline."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Shell


def test_without_a_journal(shell: Shell) -> None:
    """No journal is said, and is no error; nothing is made by looking."""
    ended = shell("history")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "There is no journal .reconciler/journal.db: no apply has written one yet.\n"
    document = shell("history -o json").json
    assert (document["exit_reason"], document["exists"], document["runs"]) == ("ok", False, [])
    assert not (shell.folder / ".reconciler/journal.db").exists()


def test_runs_newest_first(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has a line with its end and its counts; neither a key nor the service is needed."""
    assert shell("apply --sandbox --auto-approve").code == 0
    assert shell("apply --sandbox --auto-approve").code == 0
    monkeypatch.delenv("GLIDER_API_KEY")
    (shell.folder / ".reconciler/sandbox.db").unlink()
    lines = shell("history").out.splitlines()
    assert re.match(r"2 .* UTC .*sandbox://\w+ .*  ok     none$", lines[1])
    assert re.match(r"1 .* UTC .*sandbox://\w+ .*  ok     3 confirmed$", lines[2])
    assert lines[-1] == "2 runs, 3 writes."
    document = shell("history -o json").json
    assert [run["run"] for run in document["runs"]] == [2, 1]
    assert document["runs"][1]["summary"]["confirmed"] == 3


def test_writes_of_a_run(shell: Shell) -> None:
    """The writes stand in the order in which they were sent, with what was wanted of a schedule."""
    assert shell("apply --sandbox --auto-approve").code == 0
    rows = [line.split() for line in shell("history --run 1").out.splitlines() if " UTC  " in line]
    assert [row[3:] for row in rows] == [
        ["aaa", "pause", "-", "confirmed"],
        ["bbb", "resume", "-", "confirmed"],
        ["ddd", "start", "24h", "confirmed"],
    ]
    (run,) = shell("history --target ddd -o json").json["runs"]
    assert [(w["portfolio"], w["interval_ms"], w["outcome"]) for w in run["writes"]] == [
        ("ddd", 86_400_000, "confirmed")
    ]
    assert "has no write to zzz yet" in shell("history --target zzz").out


def test_a_run_that_is_not_there(shell: Shell) -> None:
    """Asking for a run that never was is an error."""
    assert shell("apply --sandbox --auto-approve").code == 0
    ended = shell("history --run 9")
    assert ended.code == 1
    assert "has no run 9" in ended.err


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE writes SET call = 'delete'",
        "UPDATE writes SET wanted = '{'",
        "UPDATE writes SET wanted = '{}'",
        "UPDATE writes SET intent_ms = -1",
        "UPDATE runs SET started_ms = 999999999999999999",
    ],
)
def test_rows_that_make_no_sense(shell: Shell, damage: str) -> None:
    """Values that no journal has are told as damage, not as a bug."""
    assert shell("apply --sandbox --auto-approve").code == 0
    with closing(sqlite3.connect(shell.folder / ".reconciler/journal.db")) as connection, connection:
        connection.execute(damage)
    ended = shell("history")
    assert ended.code == 1
    assert "can't be used: it is damaged" in ended.err
