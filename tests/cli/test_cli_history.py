"""``reconciler history``: what the journal tells, offline."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from unicodedata import category

import pytest
from msgspec.structs import replace

from reconciler.apply.journalreads import read_runs
from reconciler.cli.writing import origin_of
from reconciler.core.report import NOWHERE, Run, RunOrigin
from reconciler.render.history import history_page
from reconciler.render.terminal import Style, terminal
from tests.support import NOON_MS

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
        "ALTER TABLE runs RENAME TO r; CREATE TABLE runs AS SELECT * FROM r; UPDATE runs SET tool = x'1b5b324a'",
        "ALTER TABLE writes RENAME TO w; CREATE TABLE writes AS SELECT * FROM w; UPDATE writes SET detail = x'07'",
    ],
)
def test_rows_that_make_no_sense(shell: Shell, damage: str) -> None:
    """Values that no journal has are told as damage, not as a bug."""
    assert shell("apply --sandbox --auto-approve").code == 0
    with closing(sqlite3.connect(shell.folder / ".reconciler/journal.db")) as connection, connection:
        connection.executescript(damage)
    ended = shell("history")
    assert ended.code == 1
    assert "can't be used: it is damaged" in ended.err


SHA = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
GITHUB = {"GITHUB_ACTOR": "maria", "GITHUB_SHA": SHA, "GITHUB_REF": "refs/pull/12/merge", "GITHUB_RUN_ID": "4711"}
WHENCE = RunOrigin(who="maria", commit=SHA, pull_request="12", ci_run="4711")
KEY = "gldr_sk_live_0123456789"


@pytest.mark.parametrize(
    ("environ", "origin"),
    [
        ({}, NOWHERE),
        ({"USER": "maria", "CI": "true"}, NOWHERE),
        (GITHUB, WHENCE),
        (GITHUB | {"GITHUB_TRIGGERING_ACTOR": "joe"}, replace(WHENCE, who="joe")),
        (GITHUB | {"GITHUB_REF": "refs/heads/12"}, replace(WHENCE, pull_request=None)),
        (GITHUB | {"GITHUB_REF": "refs/tags/v1"}, replace(WHENCE, pull_request=None)),
        (GITHUB | {"GITHUB_ACTOR": "", "GITHUB_RUN_ID": " "}, replace(WHENCE, who=None, ci_run=None)),
        (
            {
                "GITLAB_USER_LOGIN": "maria",
                "CI_COMMIT_SHA": SHA,
                "CI_MERGE_REQUEST_IID": "12",
                "CI_PIPELINE_ID": "4711",
            },
            WHENCE,
        ),
        ({"BUILD_USER_ID": "maria", "GIT_COMMIT": SHA, "CHANGE_ID": "12", "BUILD_TAG": "4711"}, WHENCE),
        ({"GIT_COMMIT": "HEAD", "CHANGE_ID": "12; rm", "BUILD_TAG": "a"}, RunOrigin(ci_run="a")),
        ({"GITHUB_ACTOR": "\x1b[2Jmaria\u202e"}, RunOrigin(who="\\u{1b}[2Jmaria\\u{202e}")),
        ({"GITHUB_ACTOR": "m" * 5000}, RunOrigin(who="m" * 199 + "…")),
        ({"GITHUB_ACTOR": f"x{KEY}", "BUILD_TAG": KEY, "GLIDER_API_KEY": f" {KEY}\n"}, NOWHERE),
        ({"GITHUB_ACTOR": "ghs_1", "GITHUB_TOKEN": "ghs_1"}, NOWHERE),
    ],
)
def test_where_a_run_comes_from(environ: dict[str, str], origin: RunOrigin) -> None:
    """As far as CI tells it: what is no commit and no number of a pull request is left out, and so is any secret."""
    assert origin_of(environ) == origin


def test_origins_are_shown(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who, commit, pull request and CI's run stand in the table, the run and JSON; without CI nothing of it does."""
    assert shell("apply --sandbox --auto-approve").code == 0
    heads, *_ = shell("history").out.splitlines()
    assert not {"WHO", "COMMIT", "PULL"} & set(heads.split())
    assert "commit" not in shell("history --run 1").out
    for name, value in GITHUB.items():
        monkeypatch.setenv(name, value)
    assert shell("apply --sandbox --auto-approve").code == 0
    heads, newest, oldest, *_ = shell("history").out.splitlines()
    assert re.search(r"WHO +COMMIT +PULL REQUEST +ENDED", heads)
    assert re.search(r" maria  0a1b2c3d4e5f  12 +ok     none$", newest)
    assert "maria" not in oldest
    detail = shell("history --run 2").out
    for line in ("who +maria", f"commit +{SHA}", "pull request +12", "CI run +4711"):
        assert re.search(rf"^ *{line}$", detail, re.MULTILINE)
    runs = read_runs(shell.folder / ".reconciler/journal.db") or ()
    lines = terminal(history_page(runs, empty=""), Style(columns=80)).splitlines()
    assert re.search(r"RUN +WHEN UTC +WHO +COMMIT +PULL REQUEST +ENDED +WRITES", lines[0])
    assert max(map(len, lines)) <= 80
    names = ("who", "commit", "pull_request", "ci_run")
    told = [[run[name] for name in names] for run in shell("history -o json").json["runs"]]
    assert told == [["maria", SHA, "12", "4711"], [None] * 4]


TEXTS = {
    "runs": (
        "base_url",
        "fingerprint",
        "tool",
        "process",
        "exit_reason",
        "approved",
        "account",
        *RunOrigin.__struct_fields__,
    ),
    "writes": ("portfolio", "outcome", "detail", "token"),
}
"""Every text column of what is shown, but those whose words are checked."""


@pytest.mark.parametrize("line", ["history", "history --run 1", "history -o json", "history --run 1 -o json"])
def test_a_forged_journal_steers_no_terminal(shell: Shell, line: str) -> None:
    """A journal from a cache that others can write to may hold anything in any text: it is shown, and does nothing."""
    assert shell("apply --sandbox --auto-approve").code == 0
    for payload in ("\x1b[2J\x07", "\x9b31m\x85", "\u202eleft\u2066", "\u2028\u200b\ufeff\xad\U000e0001"):
        with closing(sqlite3.connect(shell.folder / ".reconciler/journal.db")) as connection, connection:
            for table, names in TEXTS.items():
                for name in names:
                    connection.execute(f'UPDATE {table} SET "{name}" = ?', (f"{payload} {name}",))
        ended = shell(line)
        assert (ended.code, ended.err) == (0, "")
        assert not [c for c in ended.out if category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"]
        assert "tool" in ended.out


@pytest.mark.parametrize(
    "damage",
    ["UPDATE writes SET wanted = ?", "UPDATE writes SET call = ?", "UPDATE confirmed SET state = ?"],
)
def test_what_is_said_of_a_forged_journal_steers_no_terminal(shell: Shell, damage: str) -> None:
    """The sentence about a word that no journal has quotes it."""
    assert shell("apply --sandbox --auto-approve").code == 0
    with closing(sqlite3.connect(shell.folder / ".reconciler/journal.db")) as connection, connection:
        connection.execute(damage, ("\x1b[2J\x9b31m\u202e",))
    for line in ("history", "history -o json", "plan --sandbox", "plan --sandbox -o json"):
        ended = shell(line)
        assert not {"\x1b", "\x9b", "\u202e"} & set(ended.out + ended.err)


def test_runs_of_several_machines_and_accounts() -> None:
    """Of a journal that several share, each run has its account and its machine."""
    run = Run(
        number=1,
        base_url="https://here",
        fingerprint="f" * 64,
        tool="t",
        process="process 7 on runner-1",
        started_ms=NOON_MS,
        finished_ms=None,
        exit_reason="ok",
        account="Acme EU",
        writes=(),
    )
    alone = terminal(history_page([run], empty=""), Style(columns=160))
    assert "Acme EU" in alone
    assert "runner-1" not in alone
    other = replace(run, number=2, process="process 7 on runner-2", account="Acme US")
    lines = terminal(history_page([other, run], empty=""), Style(columns=160)).splitlines()
    assert [word in lines[1] for word in ("Acme US", "runner-2", "Acme EU")] == [True, True, False]
    assert [word in lines[2] for word in ("Acme EU", "runner-1", "Acme US")] == [True, True, False]
