"""``status`` puts what needs a person first: ``--problems``, ``--all``, ``--sort``; ``--metrics`` of each command."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics import parser

from reconciler.cli.output import write

if TYPE_CHECKING:
    from tests.cli.conftest import Shell
    from tests.golden import Golden

SEED = """
version: 1
settings: {rebalance: {queue: 0, takes: 40s}}
strategies: {01JW: {frequency: daily}, 01JX: {frequency: daily}}
portfolios:
  bad: {status: active, interval: 24h, started: 238h, last_result: failed}
  dark: {status: archived}
  held: {status: paused, interval: 24h, started: 238h, pause_reason: Paused from the app}
  late: {status: active, interval: 24h, started: 30d, stalled: 9d, last_result: failed}
  moved: {api: v2, status: active, strategy: 01JW, started: 3h}
  over: {status: paused, interval: 24h, pause_reason: "Paused via API: Freeze [glider-reconciler]"}
"""
FILES = """
version: 1
groups: {growth: {owner: fx-desk}}
portfolios:
  bad: {group: growth, name: Index, state: active}
  dark: {state: active}
  held: {group: growth, name: Alpha, state: active}
  late: {group: growth, state: active}
  moved: {api: v2, state: active, strategy: 01JX}
  over: {state: paused, until: 2020-01-01}
"""
FINE = [f"fine{number:02}" for number in range(30)]
ORDER = ["bad", "late", "held", "dark", "moved", "over"]
COUNTED = "2 failed, 1 overdue, 1 held, 1 blocked, 1 moved, 1 until passed"


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """One portfolio for each need, one with two, and thirty that need nobody."""
    one = "{status: active, interval: 24h, started: 238h}"
    live = "".join(f"  {i}: {one}\n" for i in FINE)
    declared = "".join(f"  {i}: {{state: active, interval: 24h}}\n" for i in FINE)
    return bare.holding(SEED + live, FILES + declared)


def rows(fleet: Shell, options: str) -> list[str]:
    """Return the ids of the table in its order; the row of those that need nobody counts as one."""
    lines = fleet(f"status --sandbox {options}").out.split("\n\n", maxsplit=1)[0].splitlines()[1:]
    known = {*ORDER, *FINE, "30 portfolios"}
    return [next(name for name in sorted(known, key=len, reverse=True) if f" {name} " in f" {line} ") for line in lines]


def test_what_needs_a_person_comes_first(fleet: Shell, golden: Golden) -> None:
    """In the order of need, with all reasons, group and owner; what needs nobody is one row, and the end counts."""
    ended = fleet("status --sandbox --results")
    assert ended.code == 0
    assert rows(fleet, "--results") == [*ORDER, "30 portfolios"]
    assert ended.out.endswith(f"\nNeeds a person: {COUNTED}.\n")
    golden("status", "needs", ended.out)


def test_in_a_document(fleet: Shell, golden: Golden) -> None:
    """The same order; times are moments, and what needs nobody is behind a click."""
    ended = fleet("status --sandbox --results -o markdown --exclude moved --exclude dark --exclude over")
    assert (ended.code, ended.out.count("<details>")) == (0, 1)
    golden("status", "a document", ended.out.partition("<details>")[0])


def test_marks_that_an_encoding_lacks() -> None:
    """A strip stays one."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    write(stream, "✔✔○✖\n")
    assert stream.buffer.getvalue() == b"++ox\n"


@pytest.mark.parametrize("options", ["--all", "-v"])
def test_nothing_is_folded(fleet: Shell, options: str) -> None:
    """Each has its row; with -v the times are moments as well."""
    assert rows(fleet, f"--results {options}") == [*ORDER, *FINE]
    assert (" ago " in fleet(f"status --sandbox {options}").out) is (options == "--all")


def test_problems_alone(fleet: Shell) -> None:
    """Nothing else is shown, in JSON neither; results are read for it, and the counts are of all."""
    assert rows(fleet, "--problems") == ORDER
    ended = fleet("status --sandbox --problems -o json")
    assert [row["id"] for row in ended.json["portfolios"]] == sorted(ORDER)
    assert ended.json["needs"] == {
        "failed": 2,
        "overdue": 1,
        "held": 1,
        "blocked": 1,
        "moved": 1,
        "until_passed": 1,
    }
    assert {row["id"]: row["needs"] for row in ended.json["portfolios"]}["late"] == ["failed", "overdue"]
    assert "36 portfolios: " in fleet("status --sandbox --problems").out
    fine = fleet("status --sandbox --problems --target fine01")
    assert (fine.code, fine.out) == (
        0,
        "1 portfolio: 1 active. Last rebalances: 1 completed.\nNeeds a person: nothing.\n",
    )


def test_problems_without_results(fleet: Shell) -> None:
    """Whoever leaves results out is not told what failed."""
    assert rows(fleet, "--problems --no-results") == ["late", "held", "dark", "moved", "over"]


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ("--sort id", ["bad", "dark", *FINE]),
        ("--sort name", ["held", "bad", "dark"]),
        ("--sort next", ["late", "bad", *FINE]),
        ("--sort last --target late --target held --target bad", ["bad", "held", "late"]),
        ("--problems --sort name", ["held", "bad", "dark", "late", "moved", "over"]),
    ],
)
def test_an_order_of_its_own(fleet: Shell, options: str, begins: list[str]) -> None:
    """It takes the place of the order of need, and all are listed; JSON has the same order."""
    assert rows(fleet, options)[: len(begins)] == begins
    found = fleet(f"status --sandbox {options} -o json").json["portfolios"]
    assert [row["id"] for row in found][: len(begins)] == begins


def test_an_order_of_its_own_in_a_document(fleet: Shell) -> None:
    """There, too, it is the order of all: what needs a person is no part of its own."""
    told = fleet("status --sandbox --sort id -o markdown").out
    assert re.findall(r"\| `(\w+)` \|", told) == sorted([*ORDER, *FINE])
    assert "Needs a person" not in told


def test_json_is_sorted_by_id(fleet: Shell) -> None:
    """Whatever needs a person: a program that compares two outputs sees what changed."""
    found = fleet("status --sandbox -o json").json["portfolios"]
    assert [row["id"] for row in found] == sorted([*ORDER, *FINE])
    assert {(row["group"], row["owner"]) for row in found} == {("growth", "fx-desk"), (None, None)}


def numbers(shell: Shell, name: str) -> dict[str, float]:
    """Return the samples of a file, by metric and the value of its own label."""
    text = (shell.folder / name).read_text(encoding="utf-8")
    return {
        ".".join(
            (sample.name, *(v for k, v in sample.labels.items() if k in ("state", "verb", "outcome")))
        ): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_of_each_command(fleet: Shell) -> None:
    """The same numbers whoever looks; an apply tells what it left; the file is replaced."""
    for line, code in (("plan", 1), ("drift", 1), ("status --results", 0)):
        assert fleet(f"{line} --sandbox --metrics glider.prom").code == code
        found = numbers(fleet, "glider.prom")
        assert (found["reconciler_overdue"], found["reconciler_held"], found["reconciler_blocked"]) == (1, 1, 1)
        assert (found["reconciler_portfolios.active"], found["reconciler_portfolios.paused"]) == (33, 2)
        assert found.get("reconciler_failed") == (2 if line.startswith("status") else None)
        assert found["reconciler_changes.pause"] == 0
    fleet.write(
        "automation.yaml", FILES.replace("bad: {group: growth, name: Index, state: active", "bad: {state: paused")
    )
    assert fleet("plan --sandbox --metrics glider.prom --target bad").code == 0
    assert numbers(fleet, "glider.prom")["reconciler_changes.pause"] == 1
    assert fleet("apply --sandbox --auto-approve --metrics glider.prom --target bad").code == 0
    found = numbers(fleet, "glider.prom")
    assert (found["reconciler_changes.pause"], found["reconciler_apply_results.done"]) == (0, 1)
    assert (found["reconciler_portfolios.active"], found["reconciler_portfolios.paused"]) == (0, 1)


@pytest.mark.parametrize("line", ["plan", "apply --auto-approve", "drift", "status"])
def test_a_place_that_can_not_be_written_to(fleet: Shell, line: str) -> None:
    """It is said before anything is read or written, and what is there stays."""
    before = (fleet.folder / "automation.yaml").read_text(encoding="utf-8")
    ended = fleet(f"{line} --sandbox --metrics automation.yaml")
    assert (ended.code, "something else, and is not overwritten" in ended.err) == (1, True)
    assert (fleet.folder / "automation.yaml").read_text(encoding="utf-8") == before
    assert not (fleet.folder / ".reconciler/journal.db").exists()


def test_what_breaks_off_saves_nothing(fleet: Shell) -> None:
    """The time of the last look stays where it is, so that an alert can tell."""
    assert fleet("drift --sandbox --metrics glider.prom").code == 1
    before = (fleet.folder / "glider.prom").read_bytes()
    assert fleet("drift --metrics glider.prom").code == 8  # nobody answers there
    assert (fleet.folder / "glider.prom").read_bytes() == before
