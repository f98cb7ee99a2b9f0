"""What was confirmed, carried from one journal to another: a fleet on v2 whose journal is lost, and wrong files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journalcarry import EXPORT_FORMAT

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

OURS = [f"p{number:03}" for number in range(68)]
PEOPLES = [f"q{number:02}" for number in range(30)]
RUNNING = ["r0", "r1"]
JOURNAL = ".reconciler/journal.db"


def seed() -> str:
    rows = [f"  {one}: {{api: v2, strategy: S1, status: active}}" for one in (*OURS, *RUNNING)]
    rows += [f"  {one}: {{api: v2, strategy: S1, status: paused}}" for one in PEOPLES]
    return "version: 1\nstrategies:\n  S1: {frequency: daily}\nportfolios:\n" + "\n".join(rows) + "\n"


def files(state: str) -> str:
    rows = [f"  {one}: {{api: v2, group: ours, state: {state}}}" for one in OURS]
    rows += [f"  {one}: {{api: v2, state: active}}" for one in (*PEOPLES, *RUNNING)]
    guards = "guards: {max_pause: 100%, max_resume: 100%}\ngroups: {ours: {}}\n"
    return f"version: 1\n{guards}portfolios:\n" + "\n".join(rows) + "\n"


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """100 portfolios on v2: 68 that an apply of ours paused, 30 that people paused, and 2 that run."""
    shell = bare.holding(seed(), files("paused"))
    applied = shell("apply --sandbox --auto-approve --parallelism 50")
    assert "Apply: 68 done" in applied.out
    shell.write("automation.yaml", files("active"))
    return shell


def lose_journal(shell: Shell) -> None:
    (shell.folder / JOURNAL).unlink()


@pytest.mark.slow
def test_a_fleet_whose_journal_was_lost(fleet: Shell) -> None:
    """The first line says that there is none and how many that holds; an import brings back exactly what was ours."""
    known = fleet("plan --sandbox -o json").json
    assert (known["journal"], known["summary"]["resume"], known["summary"]["held"]) == ("in_use", 68, 30)
    exported = fleet("journal export journal.json --sandbox")
    assert (exported.code, exported.out) == (0, "")
    assert "Exported 70 records" in exported.err
    lose_journal(fleet)

    lost = fleet("plan --sandbox")
    assert lost.code == 0
    first, heading = lost.out.splitlines()[:2]
    assert first == (
        "There is no journal, so nobody knows who paused the 98 held portfolios. "
        "`reconciler journal import FILE` brings back what an export kept."
    )
    assert heading.startswith("100 portfolios from automation.yaml")
    held = [line for line in lost.out.splitlines() if line.startswith("  ! held")]
    nobody = "paused, nobody knows by whom: this journal has no record of a pause of ours"
    assert held == [f"  ! held  98 portfolios  {nobody}: p000, p001, p002, p003, p004, p005 and 92 more"]
    assert "by somebody else" not in lost.out
    markdown = fleet("plan --sandbox -o markdown").out
    assert markdown.split("\n\n")[1].startswith("> [!IMPORTANT]\n> There is no journal, so nobody knows who paused")
    assert "**Held** (98)" in markdown
    assert f"98 portfolios | {nobody} |" in markdown
    assert "<summary><b>Held, one by one</b> (98)</summary>" in markdown
    assert "`reconciler journal import FILE`" in markdown
    document = fleet("plan --sandbox -o json").json
    assert (document["journal"], {one["paused_by"] for one in document["held"]}) == ("missing", {"unknown"})

    taken = fleet("journal import journal.json --sandbox")
    assert (taken.code, taken.out) == (0, "Import: 70 taken over, 0 known already, 0 known better here.\n")
    planned = fleet("plan --sandbox -o json").json
    assert [one["id"] for one in planned["changes"]] == OURS
    assert {(one["verb"], one["reason"]) for one in planned["changes"]} == {("resume", "paused_by_us")}
    assert [one["id"] for one in planned["held"]] == PEOPLES
    again = fleet("journal import journal.json --sandbox -o json").json
    assert again["summary"] == {"taken": 0, "known": 70, "newer_here": 0}
    assert "Apply: 68 done" in fleet("apply --sandbox --auto-approve --parallelism 50").out


@pytest.fixture
def small(shell: Shell) -> Shell:
    """A folder whose journal knows one service."""
    assert shell("apply --sandbox --auto-approve").code == 0
    return shell


def test_export_to_standard_output(small: Shell) -> None:
    """Without a file the JSON stands there alone; no key is needed, and none is in it."""
    found = small("journal export --sandbox")
    assert (found.code, found.err) == (0, "")
    document = found.json
    assert document["format_version"] == EXPORT_FORMAT.version == "1.0"
    assert (document["base_url"].startswith("sandbox://"), document["account"]) == (True, None)
    assert [one["id"] for one in document["records"]] == ["aaa", "bbb", "ddd"]
    assert document["records"][0]["pause"] == document["records"][0]["since"]
    assert "canary" not in found.out


def test_an_export_that_finds_nothing(small: Shell) -> None:
    """Without a journal it is an error; of another service it is empty, and says which ones are known."""
    (small.folder / JOURNAL).rename(small.folder / "away.db")
    gone = small("journal export --sandbox")
    assert (gone.code, gone.out) == (1, "")
    assert "there is no journal .reconciler/journal.db" in gone.err
    other = small("journal export --journal away.db --base-url https://api.glider.fi")
    assert (other.code, other.json["records"]) == (0, [])
    assert "knows nothing of https://api.glider.fi; it knows sandbox://" in other.err


@pytest.mark.parametrize(
    ("line", "change", "code", "said"),
    [
        ("gone.json", None, 3, "can't read the export gone.json"),
        ("automation.yaml", None, 3, "the file is not an export of a journal"),
        ("journal.json", {"format_version": "2.0"}, 3, "the export has format version 2.0"),
        ("journal.json", {"records": [{}]}, 3, "the file is not an export of a journal"),
        (
            "journal.json",
            {"base_url": "https://api.glider.fi"},
            7,
            "the export is from https://api.glider.fi, not from sandb",
        ),
    ],
)
def test_a_wrong_file_is_refused(small: Shell, line: str, change: dict[str, Any] | None, code: int, said: str) -> None:
    """With a sentence; the journal stays as it is."""
    document = small("journal export --sandbox").json
    small.write("journal.json", json.dumps({**document, **(change or {})}))
    before = (small.folder / JOURNAL).read_bytes()
    found = small(f"journal import {line} --sandbox")
    assert (found.code, said in found.err) == (code, True), found.err
    assert (small.folder / JOURNAL).read_bytes() == before
    assert small(f"journal import {line} --sandbox -o json").json["exit_reason"] in ("invalid", "permission")


def test_an_account_that_is_another_one(small: Shell) -> None:
    """A journal of one account takes nothing of another one."""
    document = small("journal export --sandbox").json
    small.write("theirs.json", json.dumps({**document, "account": "Acme US"}))
    small.write("ours.json", json.dumps({**document, "account": "Acme EU"}))
    assert small("journal import ours.json --sandbox --journal new/journal.db").out.startswith("Import: 3 taken over")
    found = small("journal import theirs.json --sandbox --journal new/journal.db")
    assert found.code == 7
    assert "the export is from the account Acme US, the journal new/journal.db is for Acme EU" in found.err
    assert (small.folder / "new" / ".gitignore").read_text() == "*\n"
