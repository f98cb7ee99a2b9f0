"""Odd and hostile input at the command line: whatever a checkout, an environment or a disk holds, nothing is lost in
silence, and nothing is called an internal error."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cli.action_posts import event_of
from reconciler.cli.haltfiles import Filed
from reconciler.core.intent import GateClosed

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SEED = """
version: 1
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  bbb: {status: active, interval: 12h, started: 10d}
"""
FILES = """
version: 1
guards: {max_resume: 100%, max_start: 100%}
portfolios:
  aaa: {state: active, interval: 24h, labels: {team: fx}}
  bbb: {state: active, interval: 12h}
"""


@pytest.fixture
def shell(bare: Shell) -> Shell:
    """Two portfolios that run."""
    return bare.holding(SEED, FILES)


@pytest.fixture
def halt(shell: Shell) -> Path:
    """The file of a halt of one of them, and no journal that knows of it."""
    assert shell("halt --reason oracle --select team=fx --auto-approve --sandbox").code == 0
    Path(".reconciler/journal.db").unlink()
    (found,) = Path("halts").iterdir()
    return found


class TestHaltFiles:
    """What may hold a halt, and can't be read as one, stops whatever would write."""

    @pytest.mark.parametrize("in_its_place", ["file", "link"])
    def test_a_folder_that_can_not_be_read_may_hold_halts(self, shell: Shell, halt: Path, in_its_place: str) -> None:
        halt.unlink()
        halt.parent.rmdir()
        if in_its_place == "file":
            halt.parent.write_text("")
        else:
            halt.parent.symlink_to("nowhere")
        for command in ("plan", "apply --auto-approve", "drift"):
            ended = shell(f"{command} --sandbox")
            assert (ended.code, ended.out) == (3, "")
            assert "the folder halts can't be read" in ended.err

    def test_that_holds_for_a_run_that_is_under_way(self, shell: Shell) -> None:
        asked = Filed("sandbox://x", None)
        assert asked() == {}
        shell.write("halts", "")
        with pytest.raises(GateClosed, match="can't be read"):
            asked()

    @pytest.mark.parametrize("name", ["{}.JSON", "{} (1).json", "._{}.json"])
    def test_a_file_by_another_name_is_not_passed_over(self, shell: Shell, halt: Path, name: str) -> None:
        halt.rename(halt.with_name(name.format(halt.stem)))
        ended = shell("plan --sandbox")
        assert ended.code == 3
        assert f"Call it {halt}" in ended.err

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("base_url", "https://API.glider.fi/", "not spelled as it is everywhere else"),
            ("selection", {"terms": ["a=="]}, "not the file of a halt"),
            ("selection", {"terms": "team=fx"}, "not the file of a halt"),
            ("selection", {"groups": [None]}, "not the file of a halt"),
            ("id", "../../etc/passwd", "not the file of a halt"),
            ("portfolios", [{"id": "../x"}], "not the file of a halt"),
            ("halted_at", "2026-02-30T00:00:00.000Z", "not the file of a halt"),
            ("lifted_at", "", "not the file of a halt"),
        ],
    )
    def test_a_file_with_odd_values_is_not_passed_over(
        self, shell: Shell, halt: Path, key: str, value: Any, said: str
    ) -> None:
        halt.write_text(json.dumps({**json.loads(halt.read_text()), key: value}))
        ended = shell("plan --sandbox")
        assert (ended.code, ended.out) == (3, "")
        assert said in ended.err


def test_an_apply_of_a_saved_plan_says_why_it_is_no_success(shell: Shell) -> None:
    shell.write("automation.yaml", FILES + "  nosuch: {state: active, interval: 24h}\n")
    assert shell("plan --sandbox --out plan.json").code == 1
    ended = shell("apply plan.json --sandbox")
    assert ended.code == 1
    assert "1 portfolio blocked when the plan was made; `reconciler show plan.json` tells why" in ended.err


FULL = "BEGIN SELECT RAISE(FAIL, 'disk is full'); END"


@pytest.mark.parametrize(
    "damage",
    [
        f"CREATE TRIGGER full BEFORE INSERT ON halts {FULL}",
        f"CREATE TRIGGER full BEFORE INSERT ON runs {FULL}",
        "DROP TABLE halts",
        "UPDATE confirmed SET interval_ms = -1",
        "UPDATE confirmed SET state = 'running'",
        "UPDATE halts SET halt = '{'",
        "UPDATE writes SET wanted = '[['",
    ],
)
def test_a_halt_goes_on_with_a_journal_that_can_be_opened_and_not_used(shell: Shell, damage: str) -> None:
    """As on a full disk, which SQLite notices at the first write, or with a row that makes no sense."""
    assert shell("rebalance aaa --auto-approve --sandbox").code == 0
    assert shell("apply --auto-approve --sandbox").code == 0
    assert shell("halt zzz --reason drill --auto-approve --sandbox").code == 1
    with closing(sqlite3.connect(".reconciler/journal.db")) as journal, journal:
        journal.execute(damage)
    ended = shell("halt --reason oracle --all --auto-approve --sandbox")
    assert ended.code == 0
    assert "Halt: 2 done" in ended.out
    assert "; the halt goes on with a journal of its own" in ended.err
    halted = {path.stem: json.loads(path.read_text()) for path in Path("halts").glob("*.json")}
    (made,) = (halt for halt in halted.values() if halt["reason"] == "oracle")
    assert [one["id"] for one in made["portfolios"] if one["token"]] == ["aaa", "bbb"]


def test_the_end_of_a_halt_that_can_not_be_written_down_hides_nothing(shell: Shell) -> None:
    assert shell("apply --auto-approve --sandbox").code == 0
    with closing(sqlite3.connect(".reconciler/journal.db")) as journal, journal:
        journal.execute(f"CREATE TRIGGER full BEFORE INSERT ON halts WHEN (SELECT count(*) FROM halts) > 0 {FULL}")
    ended = shell("halt --reason oracle --all --auto-approve --sandbox")
    assert "Halt: 2 done" in ended.out
    assert "the pauses of this halt could not be written down" in ended.err


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("confirmed", "interval_ms", -1),
        ("confirmed", "interval_ms", 0),
        ("confirmed", "offset_ms", -(2**63)),
        ("confirmed", "interval_ms", 2**63 - 1),
        ("results", "result", "[" * 9_000),
        ("results", "result", '{"n": ' + "9" * 5_000 + "}"),
    ],
)
def test_a_row_that_makes_no_sense_is_a_damaged_journal(
    shell: Shell, table: str, column: str, value: int | str
) -> None:
    shell("apply --auto-approve --sandbox --allow update=2")
    assert shell("status --results --sandbox").code == 0
    with closing(sqlite3.connect(".reconciler/journal.db")) as journal, journal:
        journal.execute(f"UPDATE {table} SET {column} = ?", (value,))
        assert journal.execute("SELECT changes()").fetchone()[0]
    ended = shell("report --out fleet.html --sandbox")
    assert ended.code == 1
    assert "it is damaged" in ended.err


def test_an_import_tells_of_a_halt(shell: Shell, halt: Path) -> None:
    """What is imported as paused stays paused after the lift, and whoever reads the file sees why it is."""
    Path("automation.yaml").unlink()
    ended = shell("import aaa bbb --sandbox")
    (line,) = (line for line in ended.out.splitlines() if line.startswith("  aaa:"))
    assert f"paused by the halt {halt.stem}, whose lift leaves paused what is declared so" in line


def test_what_a_lift_had_to_leave_is_not_forgotten(shell: Shell) -> None:
    """Of two halts, the first that is lifted has to leave what the second one holds. Nothing else resumes that."""
    made = []
    for selected in ("aaa", "--all"):
        assert shell(f"halt {selected} --reason oracle --auto-approve --sandbox").code == 0
        made += [path.stem for path in Path("halts").iterdir() if path.stem not in made]
    for halt in made:
        assert shell(f"halt lift {halt} --auto-approve --sandbox").code == 0
    for command in ("plan", "drift"):
        ended = shell(f"{command} --sandbox")
        said = f"the halt {made[0]} (oracle) is lifted, and 1 portfolio that it paused did not resume"
        assert said in " ".join(ended.err.split())
    shell.write("automation.yaml", FILES.replace("aaa: {state: active", "aaa: {state: paused"))
    assert shell("plan --sandbox").err == ""
    shell.write("automation.yaml", FILES)
    assert shell(f"halt lift {made[0]} --auto-approve --sandbox").code == 0
    assert shell("plan --sandbox").err == ""


@pytest.mark.parametrize("command", ["plan --out -", "plan --metrics -", "status --out -", "report --out -"])
def test_a_dash_is_no_name_for_a_file(shell: Shell, command: str) -> None:
    """Elsewhere it means a standard stream; a file of that name surprises everybody."""
    ended = shell(f"{command} --sandbox")
    assert (ended.code, ended.out) == (1, "")
    assert "that is no name of a file" in ended.err
    assert not Path("-").exists()


def test_no_kind_of_file_takes_the_place_of_another(shell: Shell, halt: Path) -> None:
    """A plan saved over the file of a halt would end the halt, and over an export it would lose what was confirmed."""
    assert shell("apply --auto-approve --sandbox").code == 0
    made = {"plan.json": "plan --out", "live.json.gz": "status --out", "export.json": "journal export", str(halt): ""}
    for name, command in made.items():
        assert not command or shell(f"{command} {name} --sandbox").code == 0
    before = {name: Path(name).read_bytes() for name in made}
    for own, command in made.items():
        for name in made:
            if command and name != own:
                ended = shell(f"{command} {name} --sandbox")
                assert (ended.code, "what is there is something else" in ended.err) == (1, True), (command, name)
    assert {name: Path(name).read_bytes() for name in made} == before
    for name, command in made.items():
        assert not command or shell(f"{command} {name} --sandbox").code == 0


@pytest.mark.parametrize("event", ["/dev/zero", "fifo", "."])
def test_an_event_that_has_no_end_is_none(shell: Shell, event: str) -> None:
    os.mkfifo(shell.folder / "fifo")
    assert event_of({"GITHUB_EVENT_PATH": event}) == {}


@pytest.mark.parametrize("field", ["interval: {}", "interval: 24h, offset: {}", "labels: {{team: {}}}", "owner: {}"])
@pytest.mark.parametrize("digits", ["9" * 5_000, "0" * 5_000, "-" + "9" * 5_000, "9" * 5_000 + "h", "1e" + "9" * 5_000])
def test_a_number_that_python_does_not_read_is_a_problem_with_a_place(shell: Shell, field: str, digits: str) -> None:
    """Its conversion has a limit of 4,300 digits."""
    shell.write("automation.yaml", f"version: 1\nportfolios:\n  aaa: {{state: active, {field.format(digits)}}}\n")
    ended = shell("validate")
    assert ended.code == 3
    assert ended.err.startswith("automation.yaml:3:")


def test_each_item_of_a_list_has_its_own_problem(shell: Shell) -> None:
    """They have the place of the list; that is no reason to tell of the first one alone, or to call it as the list."""
    shell.write("automation.yaml", f"{FILES}freeze: [1, x, {{}}, []]\n")
    ended = shell("validate")
    assert ended.code == 3
    said = [line.split(": ", 2)[1:] for line in ended.err.splitlines() if line.startswith("automation.yaml:")]
    assert [address for address, _ in said] == ["freeze.0", "freeze.1", "freeze.2", "freeze.3"]
    assert said[0][1].startswith("`1` is not a mapping")


def test_an_export_says_that_it_has_no_halts(shell: Shell) -> None:
    """A journal that is carried to another machine without their files would let everything begin there."""
    assert shell("halt aaa --reason oracle --auto-approve --sandbox").code == 0
    (made,) = Path("halts").iterdir()
    said = f"the halt {made.stem} (oracle) holds: take {made} along"
    assert said in shell("journal export journal.json --sandbox").err
    assert shell(f"halt lift {made.stem} --auto-approve --sandbox").code == 0
    assert "halt" not in shell("journal export journal.json --sandbox").err
