"""Halting, lifting and listing at the command line: nothing of a halt begins but by its lift, and a lift is exact."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journal import open_journal
from reconciler.cli import halt as command
from reconciler.core.intent import Call, Intent, WriteOutcome
from reconciler.core.model import ApiVersion, PortfolioId
from reconciler.sandbox import AutomationState, Enrolled, Portfolio, Simulator, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Ended, Shell

SEED = """
version: 1
strategies:
  S1: {frequency: daily}
  S2: {frequency: daily}
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  bbb: {status: active, interval: 12h, started: 10d}
  ccc: {status: paused, interval: 24h, pause_reason: Paused from the app}
  ddd: {api: v2, strategy: S1, status: active, started: 50h}
  eee: {api: v2, strategy: S1, status: paused, started: 50h}
  fff: {status: inactive}
"""
FILES = """
version: 1
guards: {max_resume: 100%, max_start: 100%}
strategies: {S1: {schedule: daily}, S2: {schedule: daily}}
portfolios:
  aaa: {state: active, interval: 24h, labels: {team: fx}}
  bbb: {state: active, interval: 12h}
  ccc: {state: active, interval: 24h}
  ddd: {api: v2, state: active, labels: {team: fx}}
  eee: {api: v2, state: active}
  fff: {state: paused, interval: 24h}
"""
RUNNING = ["aaa", "bbb", "ddd"]
IDS = ["aaa", "bbb", "ccc", "ddd", "eee", "fff"]


def with_files(shell: Shell, **declared: str) -> None:
    """Declare some portfolios, or strategies, otherwise."""
    lines = FILES.splitlines()
    for name, fields in declared.items():
        (place,) = (number for number, line in enumerate(lines) if line.startswith(f"  {name}:"))
        lines[place] = f"  {name}: {{{fields}}}"
    shell.write("automation.yaml", "\n".join(lines))


@pytest.fixture
def shell(bare: Shell) -> Shell:
    """Six portfolios of both APIs, three of which run."""
    return bare.holding(SEED, FILES)


def store() -> Store:
    return Store.open(Path(".reconciler/sandbox.db"))


def states() -> dict[str, str]:
    """Return the true state of every portfolio that is paused or runs."""
    with closing(store()) as found:
        known = {one: found.portfolio(one) or found.enrolled(one) for one in IDS}
    every = {one: state.state.value for one, state in known.items() if state is not None}
    return {one: state for one, state in sorted(every.items()) if state != AutomationState.INACTIVE}


def running() -> list[str]:
    return [one for one, state in states().items() if state == "active"]


def by_hand(which: str, action: str) -> None:
    """Let a person pause or resume one in the app."""
    with closing(store()) as found:
        person = Simulator(found, lambda: time.time_ns() // 1_000_000 + found.clock_offset_ms)
        if which in ("ddd", "eee"):
            time.sleep(0.002)  # the due time of a resume is its trace, to the millisecond
            person.change_enrolled(which, Enrolled.start if action == "resume" else Enrolled.stop)
        else:
            does: Any = Portfolio.resume if action == "resume" else partial(Portfolio.pause, reason="by maria")
            person.change(which, does)


def halted(shell: Shell, line: str = "--all") -> str:
    """Halt, and return the id of the halt."""
    before = {path.stem for path in Path("halts").glob("*.json")}
    ended = shell(f"halt --reason oracle {line} --auto-approve --sandbox")
    assert ended.code == 0, ended.err
    (made,) = {path.stem for path in Path("halts").glob("*.json")} - before
    return made


def lift(shell: Shell, halt: str, more: str = "") -> Ended:
    return shell(f"halt lift {halt} --auto-approve --sandbox {more}")


def plan(shell: Shell, more: str = "") -> dict[str, Any]:
    return shell(f"plan --sandbox -o json {more}").json


def holding(shell: Shell) -> list[str]:
    return [one["id"] for one in shell("halt list --sandbox -o json").json["halts"] if one["lifted_at"] is None]


def edited(path: Path, change: Callable[[Any], object]) -> None:
    """Edit the file of a halt as anybody may who can write to the repository."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document, indent=2), "utf-8")


def another_machine() -> None:
    """Take away all but the files that Git keeps, and the service."""
    Path(".reconciler/journal.db").unlink()


def test_from_halt_to_lift(shell: Shell) -> None:
    """What ran is paused and nothing else; no merge undoes it; a lift restores exactly that."""
    before = states()
    made = halted(shell)
    assert running() == []
    shown = plan(shell)
    assert shown["changes"] == []
    told = {one["id"]: (one["halt"], one["waits"]) for one in shown["halted"]}
    assert told == dict.fromkeys(RUNNING, (made, None))
    assert [one["id"] for one in shown["held"]] == ["ccc", "eee"]
    assert shell("apply --sandbox --auto-approve --resume-held ccc --resume-held eee").code == 0
    assert running() == []
    shell.write(
        "automation.yaml",
        FILES.replace("interval: 12h", "interval: 48h").replace("fff: {state: paused", "fff: {state: active"),
    )
    waits = {one["id"]: one["waits"] for one in plan(shell)["halted"]}
    assert waits == {"aaa": None, "bbb": None, "ddd": None, "fff": "start"}
    assert shell("apply --sandbox --auto-approve").code == 0
    assert "fff" not in states()
    shell.write("automation.yaml", FILES)
    ended = lift(shell, made)
    assert ended.code == 0, ended.err
    assert states() == before
    assert holding(shell) == []
    assert plan(shell)["halted"] == []
    assert plan(shell)["changes"] == [], "a schedule was touched"


def test_what_a_halt_writes(shell: Shell) -> None:
    """The file tells, for each portfolio, what shows the very pause; the note says to commit it."""
    ended = shell("halt --reason Oracle --select team=fx --auto-approve --sandbox")
    (path,) = Path("halts").glob("*.json")
    assert f"note: commit {path}: other machines know of the halt by this file" in ended.err
    assert f"`reconciler halt lift {path.stem}`" in ended.err
    file = json.loads(path.read_text("utf-8"))
    aaa, ddd = file["portfolios"]
    assert (file["reason"], file["selection"]["terms"], file["lifted_at"]) == ("Oracle", ["team=fx"], None)
    assert (aaa["id"], aaa["api"], len(aaa["token"]), aaa["due"]) == ("aaa", "v1", 6, None)
    assert (ddd["id"], ddd["api"], ddd["token"], ddd["strategy"]) == ("ddd", "v2", None, "S1")
    assert ddd["due"].startswith("due 20")
    with closing(store()) as found:
        reason = found.portfolio("aaa").pause_reason  # type: ignore[union-attr]
    assert reason == f"Paused via API: Oracle [glider-reconciler {aaa['token']} halt:{path.stem}]"


def test_the_document_of_a_halt(shell: Shell) -> None:
    """JSON alone on stdout, with the halt, its file and what became of each portfolio."""
    ended = shell("halt --reason Oracle aaa ddd eee --auto-approve --sandbox -o json")
    document = ended.json
    (path,) = Path("halts").glob("*.json")
    assert document["exit_reason"] == "ok"
    assert document["halt"]["portfolios"] == ["aaa", "ddd", "eee"]
    assert document["halt"]["file"] == str(path)
    assert {one["id"]: one["outcome"] for one in document["results"]} == {
        "aaa": "done",
        "ddd": "done",
        "eee": "already_done",
    }
    assert len(document["notes"]) == 2


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("--reason x", 64, "Nothing is selected to be halted."),
        ("--all", 64, "A halt needs a reason."),
        ("--reason [glider-reconciler] --all", 64, "A halt needs a reason."),
        ("--reason x ../../x", 64, "'../../x' is not a portfolio id"),
        ("--reason x --select team=none", 64, "no portfolio has that `team`"),
        ("--reason x zzz", 1, "1 failed"),
        ("--reason x --target strategies/S1", 1, "there is nothing to halt: the selection has no portfolio"),
        ("--reason x --known", 1, "there is nothing to halt: the journal knows no portfolio"),
    ],
)
def test_what_can_not_be_halted(shell: Shell, line: str, code: int, said: str) -> None:
    """Nothing named, no reason, no such portfolio: each says so, and nothing runs less."""
    ended = shell(f"halt {line} --auto-approve --sandbox")
    assert ended.code == code
    assert said in ended.err + ended.out
    assert running() == RUNNING


def test_without_a_terminal(shell: Shell) -> None:
    """It refuses rather than hangs, and writes nothing."""
    assert shell("halt --reason x --all --sandbox").code == 64
    assert shell("halt lift 20261122-7f3a9c --sandbox").code == 64
    assert not Path("halts").exists()


@pytest.mark.parametrize(("answer", "code", "left"), [("3", 0, []), ("yes", 1, RUNNING), ("2", 1, RUNNING)])
def test_the_number_is_asked_for(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: list[str]
) -> None:
    """Only the number of those that run is a yes; without it nothing is recorded either."""
    asked: list[str] = []

    def says(question: str, *, meaning_yes: str = "yes") -> bool:
        asked.append(question)
        return answer == meaning_yes

    monkeypatch.setattr(command, "is_terminal", lambda _: True)
    monkeypatch.setattr(command, "said_yes", says)
    ended = shell("halt --reason x --all --sandbox")
    assert (ended.code, running()) == (code, left)
    assert "3 of 6 portfolios at sandbox://" in ended.err
    assert asked == ["\nType the number of those that run, 3, to pause them."]
    assert Path("halts").exists() is (code == 0)


def test_with_broken_files(shell: Shell) -> None:
    """Ids, and what the journal knows, need no files; a selection does, and says the way out."""
    assert shell("apply --sandbox --auto-approve --exclude ccc --exclude eee").code == 0
    shell.write("automation.yaml", "portfolios: [")
    ended = shell("halt --reason x --all --auto-approve --sandbox")
    assert (ended.code, running()) == (3, RUNNING)
    assert "or with --known for all that the journal knows, a halt needs no files." in ended.err
    ended = shell("halt --reason x ddd --api v2 --auto-approve --sandbox")
    assert (ended.code, running()) == (0, ["aaa", "bbb"]), ended.err
    assert "the files can't be used, so the halt goes on without them" in ended.err
    assert shell("halt --reason x --known --auto-approve --sandbox").code == 0
    assert running() == []


def test_an_id_that_nobody_knows(shell: Shell) -> None:
    """It is looked for on one API, and then on the other."""
    Path("automation.yaml").unlink()
    assert shell("halt --reason x aaa ddd --auto-approve --sandbox").code == 0
    assert running() == ["bbb"]


def test_with_a_broken_journal(shell: Shell) -> None:
    """The halt goes on with a journal of its own; its file is enough for the lift."""
    before = states()
    Path(".reconciler/journal.db").write_text("not a journal at all, but some text\n" * 40)
    ended = shell("halt --reason x --all --auto-approve --sandbox")
    assert (ended.code, running()) == (0, [])
    assert "the halt goes on with a journal of its own, " in ended.err
    Path(".reconciler/journal.db").unlink()
    (path,) = Path("halts").glob("*.json")
    assert lift(shell, path.stem).code == 0
    assert states() == before


def test_where_no_file_can_be_written(shell: Shell) -> None:
    """The halt goes on, and says who knows of it: the journal."""
    Path("halts").write_text("a file")
    ended = shell("halt --reason x --all --auto-approve --sandbox")
    assert (ended.code, running()) == (0, [])
    assert "the halt goes on, and only this journal knows of it" in ended.err
    Path("halts").unlink()
    assert {one["id"] for one in plan(shell)["halted"]} == set(RUNNING)
    (made,) = holding(shell)
    assert lift(shell, made).code == 0
    assert running() == RUNNING


def test_a_lost_file(shell: Shell) -> None:
    """The journal is enough to hold, to lift and to list."""
    made = halted(shell)
    shutil.rmtree("halts")
    assert {one["id"] for one in plan(shell)["halted"]} == set(RUNNING)
    assert "(no file here)" in shell("halt list --sandbox").out
    assert lift(shell, made).code == 0
    assert (running(), holding(shell)) == (RUNNING, [])


def test_another_machine_with_the_file_alone(shell: Shell) -> None:
    """Without any journal the file holds, and tells on v2 whose pause it is; a lift restores everything."""
    before = states()
    made = halted(shell)
    another_machine()
    assert {one["id"]: one["halt"] for one in plan(shell)["halted"]} == dict.fromkeys(RUNNING, made)
    assert shell("apply --sandbox --auto-approve --resume-held ccc").code == 0
    assert running() == []
    assert lift(shell, made).code == 0
    assert (states(), holding(shell)) == (before, [])


def test_nothing_but_the_marks(shell: Shell) -> None:
    """On v1 the mark alone holds, and is enough for a lift; on v2 nobody can know, and it stays held."""
    made = halted(shell)
    another_machine()
    shutil.rmtree("halts")
    shown = plan(shell)
    assert [one["id"] for one in shown["halted"]] == ["aaa", "bbb"]
    assert [one["id"] for one in shown["held"]] == ["ccc", "ddd", "eee"]
    assert shell("apply --sandbox --auto-approve").code == 0
    assert running() == []
    assert lift(shell, made).code == 0
    assert running() == ["aaa", "bbb"]
    assert lift(shell, "nobody-made-it").code == 1


@pytest.mark.parametrize("which", ["aaa", "ddd"])
def test_a_hand_in_between(shell: Shell, which: str) -> None:
    """Whoever resumed and paused one since keeps it paused, and is named; whoever resumed one keeps it running."""
    made = halted(shell)
    by_hand(which, "resume")
    by_hand(which, "pause")
    by_hand("bbb", "resume")
    ended = lift(shell, made)
    assert ended.code == 0
    assert f"left as they are, because somebody else paused them since: {which}" in ended.err
    assert running() == sorted({*RUNNING} - {which})


def test_what_was_paused_before_is_none_of_a_lift(shell: Shell) -> None:
    """Neither resumed, nor told as paused since."""
    ended = lift(shell, halted(shell))
    assert "somebody else" not in ended.err
    assert states()["ccc"] == states()["eee"] == "paused"


def test_declared_paused_meanwhile(shell: Shell) -> None:
    """A lift does not resume what the files declare paused by now; once they don't, lifting again does."""
    made = halted(shell)
    with_files(shell, bbb="state: paused, interval: 12h")
    assert lift(shell, made).code == 0
    assert running() == ["aaa", "ddd"]
    shell.write("automation.yaml", FILES)
    assert [one["id"] for one in plan(shell)["halted"]] == ["bbb"]
    assert shell("apply --sandbox --auto-approve").code == 0
    assert running() == ["aaa", "ddd"]
    assert lift(shell, made).code == 0
    assert running() == RUNNING


def test_one_that_waits_is_told_as_one(shell: Shell) -> None:
    """Of two halts that share one portfolio, the lift of the first leaves that one."""
    first = halted(shell)
    assert shell("halt aaa --reason again --sandbox --auto-approve").code == 0
    (second,) = {*holding(shell)} - {first}
    told = f"1 portfolio of it stays paused, because the halt {second} holds it: after its lift, lift {first} again"
    assert told in lift(shell, first).err
    assert "aaa" not in running()


def test_halting_twice(shell: Shell) -> None:
    """The second finds everything paused; both hold; what the first paused waits for both lifts."""
    first = halted(shell)
    second = halted(shell)
    assert holding(shell) == sorted([first, second], reverse=holding(shell)[0] > holding(shell)[1])
    ended = lift(shell, first)
    assert ended.code == 0
    assert f"because the halt {second} holds them: after its lift, lift {first} again" in ended.err
    assert running() == []
    ended = lift(shell, second)
    assert f"3 portfolios of it are in the pause of the halt {first}: `reconciler halt lift {first}`" in ended.err
    assert (ended.code, running()) == (0, [])
    assert lift(shell, first).code == 0
    assert running() == RUNNING


def test_halts_that_overlap(shell: Shell) -> None:
    """Each lift resumes what is in its own pause, and what the other one holds stays."""
    first = halted(shell, "aaa ddd")
    second = halted(shell, "aaa bbb")
    assert lift(shell, first).code == 0
    assert running() == ["ddd"]
    assert lift(shell, second).code == 0
    assert running() == ["bbb", "ddd"]
    assert [one["halt"] for one in plan(shell)["halted"]] == [first]
    assert lift(shell, first).code == 0
    assert running() == RUNNING


def test_lifting_twice(shell: Shell) -> None:
    """The second has nothing to do, and nothing that is paused since is resumed."""
    made = halted(shell)
    assert lift(shell, made).code == 0
    assert "\nNothing to do.\n" in lift(shell, made).out
    by_hand("aaa", "pause")
    by_hand("ddd", "pause")
    filed = Path(f"halts/{made}.json").read_text("utf-8")
    ended = lift(shell, made)
    assert (ended.code, running()) == (0, ["bbb"])
    assert f"the halt {made} was lifted " in ended.err
    assert Path(f"halts/{made}.json").read_text("utf-8") == filed


def test_what_could_not_be_paused_is_said(shell: Shell) -> None:
    """Whoever halts learns last what may still run; nobody does where all is paused."""
    ended = shell("halt aaa nosuch --reason oracle --auto-approve --sandbox")
    assert (ended.code, running()) == (6, ["bbb", "ddd"])
    assert ended.err.splitlines()[-1] == "note: 1 portfolio may still run: halt it again"
    assert "may still run" not in shell("halt bbb --reason oracle --auto-approve --sandbox").err


def test_one_that_no_file_declares(shell: Shell) -> None:
    """It is halted like any other, and its page says so."""
    with_files(shell)
    shell.write("automation.yaml", "version: 1\nportfolios: {bbb: {state: active}}\n")
    made = halted(shell, "aaa")
    assert f"halted: paused by halt {made} (oracle)" in shell("status aaa --sandbox").out


def test_a_lift_on_another_machine(shell: Shell) -> None:
    """It is committed as lifted, and here the journal still holds: lifting again ends that, though all runs by now."""
    made = halted(shell)
    journal, spare = Path(".reconciler/journal.db"), Path("spare.db")
    journal.rename(spare)
    assert lift(shell, made).code == 0
    spare.replace(journal)
    assert (running(), holding(shell)) == (RUNNING, [made])
    assert lift(shell, made).code == 0
    assert holding(shell) == []


def test_lifting_half(shell: Shell) -> None:
    """A part is resumed and the halt holds on, until the rest follows."""
    made = halted(shell)
    ended = lift(shell, made, "--target aaa --target ddd")
    assert (ended.code, running(), holding(shell)) == (0, ["aaa", "ddd"], [made])
    assert f"the halt {made} holds on" in ended.err
    with_files(shell, aaa="state: active, interval: 48h")
    assert {one["id"]: one["waits"] for one in plan(shell)["halted"]}["aaa"] == "update"
    assert lift(shell, made).code == 0
    assert (running(), holding(shell)) == (RUNNING, [])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("--target nobody", "--target 'nobody' is not among the portfolios of the halt"),
        ("--target ccc", "--target 'ccc' is not among the portfolios of the halt"),
        ("--exclude aaa", "The selection has no portfolio of the halt"),
    ],
)
def test_lifting_a_part_that_is_none(shell: Shell, part: str, said: str) -> None:
    """A slip in the selection of a lift is wrong usage, not a lift that had nothing to do."""
    made = halted(shell, "aaa")
    ended = lift(shell, made, part)
    assert (ended.code, running(), holding(shell)) == (64, ["bbb", "ddd"], [made])
    assert said in ended.err


def test_a_lift_with_broken_files(shell: Shell) -> None:
    """It stops, because their freezes and what they declare paused can't be known; with --known it goes by the halt
    alone, under the guards that hold by default."""
    made = halted(shell)
    shell.write("automation.yaml", "portfolios: [")
    ended = lift(shell, made)
    assert (ended.code, running()) == (3, [])
    assert "With --known, a lift needs no files" in ended.err
    ended = lift(shell, made, "--known")
    assert (ended.code, running()) == (0, RUNNING)
    assert "without files, nothing is known to be frozen or declared paused, and the default guards hold" in ended.err
    assert holding(shell) == []


@pytest.mark.parametrize("more", ["--select team=fx", "-f automation.yaml"])
def test_a_lift_without_files_takes_nothing_from_them(shell: Shell, more: str) -> None:
    """What only the files tell contradicts --known."""
    assert lift(shell, halted(shell), f"--known {more}").code == 64
    assert running() == []


def test_a_lift_by_another_key(shell: Shell) -> None:
    """Where most of a halt is not found, the key is another account's: nothing is resumed, and the halt holds on."""
    made = halted(shell)
    names = {"aaa": "a", "bbb": "b", "ddd": "d", "ccc": "c"}
    for kept in (Path(f"halts/{made}.json"),):
        edited(kept, lambda d: [one.update(id=names.get(one["id"], one["id"])) for one in d["portfolios"]])
    another_machine()
    ended = lift(shell, made)
    assert (ended.code, holding(shell)) == (7, [made])
    assert "4 of 6 portfolios are not found" in ended.err


def test_one_that_is_gone_keeps_no_halt(shell: Shell) -> None:
    """A portfolio that Glider no longer has is told, and the halt is lifted all the same."""
    made = halted(shell)
    edited(Path(f"halts/{made}.json"), lambda d: d["portfolios"][0].update(id="gone"))
    ended = lift(shell, made)
    assert ended.code == 6
    assert "gone" in ended.out
    assert (running(), holding(shell)) == (["bbb", "ddd"], [])


def test_a_lift_is_under_the_guards(shell: Shell) -> None:
    """Over a limit it exits 5, names the number, and resumes nothing; the number lets it through."""
    made = halted(shell)
    shell.write("automation.yaml", FILES.replace("max_resume: 100%", "max_resume: 2"))
    ended = lift(shell, made)
    assert (ended.code, running(), holding(shell)) == (5, [], [made])
    assert "--allow resume=3" in ended.err
    assert lift(shell, made, "--allow resume=3 --canary 1").code == 0
    assert running() == RUNNING


def test_a_lift_waits_for_a_freeze(shell: Shell) -> None:
    """What a freeze forbids waits, and the halt holds on."""
    made = halted(shell)
    window = "freeze: [{name: year-end, from: '2020-01-01T00:00:00Z', to: '2999-01-01T00:00:00Z', select: [team=fx]}]\n"
    shell.write("automation.yaml", FILES + window)
    ended = lift(shell, made)
    assert (ended.code, running(), holding(shell)) == (5, ["bbb"], [made])
    assert lift(shell, made, "--allow freeze=year-end").code == 0
    assert (running(), holding(shell)) == (RUNNING, [])


def test_a_portfolio_declared_later(shell: Shell) -> None:
    """What the selection selects later waits, too; by ids alone, nothing else does."""
    made = halted(shell, "--select team=fx")
    with_files(shell, fff="labels: {team: fx}, state: active, interval: 24h")
    assert {one["id"]: one["waits"] for one in plan(shell)["halted"]} == {"aaa": None, "ddd": None, "fff": "start"}
    shell("plan --sandbox --out plan.json")
    assert lift(shell, made).code == 0
    by_id = halted(shell, "aaa")
    assert [one["id"] for one in plan(shell)["halted"]] == ["aaa"]
    assert shell("apply --sandbox --auto-approve --target fff").code == 0
    assert states()["fff"] == "active"
    assert lift(shell, by_id).code == 0


@pytest.mark.parametrize(("line", "code"), [("--select team=fx", 1), ("aaa", 0)])
def test_a_plan_from_before_the_halt(shell: Shell, line: str, code: int) -> None:
    """After a halt by conditions nobody knows whether they mean what the plan is about; after one by ids one does."""
    with_files(shell, fff="state: active, interval: 24h")
    assert shell("plan --sandbox --target fff --out plan.json").code == 0
    made = halted(shell, line)
    ended = shell("apply plan.json --sandbox")
    assert ended.code == code
    assert ("fff" in states()) is (code == 0)
    if code:
        assert f"halt {made} (oracle) has begun since it was planned" in ended.out


def test_a_saved_plan_that_resumes(shell: Shell) -> None:
    """What was paused before the halt is not resumed by a plan from before it."""
    assert shell("plan --sandbox --resume-held ccc --target ccc --out plan.json").code == 0
    made = halted(shell, "ccc aaa")
    ended = shell("apply plan.json --sandbox")
    assert (ended.code, states()["ccc"]) == (1, "paused")
    assert f"holds it until `reconciler halt lift {made}`" in ended.out
    assert lift(shell, made).code == 0
    assert shell("apply plan.json --sandbox").code == 0
    assert states()["ccc"] == "active"


@pytest.mark.parametrize("lost", [False, True])
def test_a_cadence_waits(shell: Shell, *, lost: bool) -> None:
    """The cadence that a halted portfolio follows waits, another one does not; also by the file alone."""
    made = halted(shell, "ddd")
    if lost:
        another_machine()
    cadences = FILES.replace("S1: {schedule: daily}", "S1: {schedule: hourly}")
    shell.write("automation.yaml", cadences.replace("S2: {schedule: daily}", "S2: {schedule: weekly}"))
    shown = plan(shell)
    assert {one["id"]: (one["halt"], one["waits"]) for one in shown["halted"]} == {
        "ddd": (made, None),
        "strategies/S1": (made, "update"),
    }
    assert [one["id"] for one in shown["changes"]] == ["strategies/S2"]
    assert "Halted: 1 portfolio, 1 strategy." in shell("plan --sandbox").out


@pytest.mark.parametrize("which", ["aaa", "ddd", "ccc", "eee"])
def test_a_rebalance_is_refused(shell: Shell, which: str) -> None:
    """Also of what was paused before, and whatever --although-paused says."""
    halted(shell)
    ended = shell(f"rebalance {which} --although-paused {which} --auto-approve --sandbox")
    assert ended.code == 5
    assert "holds it until `reconciler halt lift" in ended.out


@pytest.mark.parametrize("which", ["aaa", "ddd"])
def test_a_rebalance_of_what_was_left_in_the_pause(shell: Shell, which: str) -> None:
    """After the lift of a halt, what stayed in its pause is refused by that pause."""
    made = halted(shell)
    with_files(shell, aaa="state: paused", bbb="state: paused", ddd="api: v2, state: paused")
    assert lift(shell, made).code == 0
    ended = shell(f"rebalance {which} --although-paused {which} --auto-approve --sandbox")
    assert (ended.code, running()) == (5, [])
    assert f"it is in the pause of the halt {made}" in ended.out


def test_drift_of_what_is_halted_is_none(shell: Shell) -> None:
    """It is shown, and exits 0; anything else still counts."""
    halted(shell, "--all")
    with_files(shell, ccc="state: paused", eee="api: v2, state: paused")
    ended = shell("drift --sandbox")
    assert ended.code == 0
    assert "3 halted" in ended.out
    shell.write("automation.yaml", FILES)
    assert shell("drift --sandbox").code == 2


def test_an_old_halt_is_reminded_of(shell: Shell) -> None:
    """From a day on, by plan, drift and status; not once it is lifted."""
    made = halted(shell)
    assert "old" not in shell("plan --sandbox").err
    assert shell("sandbox advance 9d").code == 0
    for line in ("plan --sandbox", "drift --sandbox", "status --sandbox"):
        assert f"the halt {made} (oracle) is 9d old; `reconciler halt lift {made}` ends it" in shell(line).err, line
    assert lift(shell, made).code == 0
    assert "old" not in shell("plan --sandbox").err


def test_status_says_so(shell: Shell) -> None:
    """A table tells what is halted, and counts it among what needs a person."""
    made = halted(shell)
    shown = shell("status --sandbox").out
    assert f"paused by halt {made} (oracle)" in shown
    assert "3 halted" in shown


FORGED = {
    "version": lambda d: d.update(format_version="2.0"),
    "id": lambda d: d.update(id="../../etc"),
    "portfolio": lambda d: d["portfolios"][0].update(id="../../x"),
    "token": lambda d: d["portfolios"][0].update(token="x"),
    "time": lambda d: d.update(halted_at="yesterday"),
    "another id": lambda d: d.update(id="other"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_file_that_is_not_one(shell: Shell, what: str) -> None:
    """It may be a halt, so whoever would write goes no further; a halt itself is not kept by it."""
    made = halted(shell, "aaa")
    edited(Path(f"halts/{made}.json"), FORGED[what])
    for line in ("plan --sandbox", "apply --sandbox --auto-approve", f"halt lift {made} --auto-approve --sandbox"):
        ended = shell(line)
        assert ended.code == 3, line
        assert f"halts/{made}.json" in ended.err
    assert shell("halt --reason x bbb --auto-approve --sandbox").code == 0
    assert running() == ["ddd"]
    for line in ("status --sandbox", "halt list --sandbox"):  # they show what they can
        ended = shell(line)
        assert (ended.code, ended.err.count(f"halts/{made}.json")) == (3, 1), line
        assert "a halt may be missing here" in ended.err
        assert len(ended.out.splitlines()) > 2
    assert shell("status bbb --sandbox").code == 0


def test_a_forged_file_resumes_nothing(shell: Shell) -> None:
    """Live must show that very pause: a token or a due time that is made up lifts nothing of somebody else's."""
    made = halted(shell, "aaa ddd")
    path = Path(f"halts/{made}.json")

    def forge(document: Any) -> None:
        forged = [{"id": one, "api": "v1", "token": "7f3a9c"} for one in ("aaa", "ccc")]
        document["portfolios"] = [*forged, {"id": "eee", "api": "v2", "due": "due 2026-01-01T00:00:00Z"}]

    edited(path, forge)
    another_machine()
    ended = lift(shell, made)
    assert ended.code == 0
    assert running() == ["aaa", "bbb"]


def test_a_forged_end(shell: Shell) -> None:
    """A file that says the halt is lifted resumes nothing, and the journal holds on until it is lifted there."""
    made = halted(shell)
    edited(Path(f"halts/{made}.json"), lambda d: d.update(lifted_at=d["halted_at"]))
    assert shell("apply --sandbox --auto-approve --resume-held ccc").code == 0
    assert (running(), holding(shell)) == ([], [made])
    another_machine()
    assert shell("apply --sandbox --auto-approve").code == 0
    assert running() == []


def test_a_file_of_another_service(shell: Shell) -> None:
    """It holds nothing here, and can't be lifted here."""
    made = halted(shell)
    another_machine()
    edited(Path(f"halts/{made}.json"), lambda d: d.update(base_url="https://elsewhere"))
    assert holding(shell) == []
    assert {one["id"] for one in plan(shell)["halted"]} == {"aaa", "bbb"}, "their marks are read"


def test_beside_an_apply_that_is_at_work(shell: Shell) -> None:
    """It does not wait for the lock, and marks no other run as cut off."""
    with closing(store()) as found:
        label = f"sandbox://{found.instance}"
    with open_journal(Path(".reconciler/journal.db"), base_url=label, now_ms=lambda: 1) as journal:
        run = journal.open_run(fingerprint="f", tool="t")
        begun = time.monotonic()
        made = halted(shell)
        assert time.monotonic() - begun < 30
        assert running() == []
        assert list(journal.halting()) == [made]
        journal.close_run("ok")
    with closing(sqlite3.connect(".reconciler/journal.db")) as connection:
        assert connection.execute("SELECT exit_reason FROM runs WHERE id = ?", (run,)).fetchone() == ("ok",)


@pytest.mark.parametrize("ends", [True, False])
def test_a_resume_that_was_under_way(shell: Shell, monkeypatch: pytest.MonkeyPatch, *, ends: bool) -> None:
    """What another command had begun before the halt may land after the look: it is looked at once more."""
    by_hand("bbb", "pause")
    with closing(store()) as found:
        label = f"sandbox://{found.instance}"
    with open_journal(Path(".reconciler/journal.db"), base_url=label, now_ms=lambda: 1) as journal:
        journal.open_run(fingerprint="f", tool="t")
        number = journal.begin(Intent(address=PortfolioId("bbb"), call=Call.RESUME, token="00000a", api=ApiVersion.V1))
        until_ended = command.until_ended

        async def lands(*given: Any) -> None:
            by_hand("bbb", "resume")
            if ends:
                journal.end(number, WriteOutcome.CONFIRMED, "")
            await until_ended(*given)

        monkeypatch.setattr(command, "until_ended", lands)
        ended = shell("halt --reason x --all --auto-approve --sandbox -o json")
    assert (ended.code, running()) == (0, [])
    assert {one["id"]: one["outcome"] for one in ended.json["results"]}["bbb"] == "done"


def test_a_halt_that_died_halfway(shell: Shell) -> None:
    """It holds from its first moment; what it had paused is lifted like any other, what it had not runs on."""

    async def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "carry_out", dies)
        assert shell("halt --reason x --all --auto-approve --sandbox").code == 130
    (made,) = holding(shell)
    assert running() == RUNNING
    assert shell("apply --sandbox --auto-approve --resume-held ccc").code == 0
    assert states()["ccc"] == "paused"
    halted(shell)
    assert running() == []
    assert lift(shell, made).code == 0


def test_the_list(shell: Shell) -> None:
    """The newest first, what holds and what is lifted; without a key."""
    assert shell("halt list --sandbox").out == "Halts: 0 in force, 0 lifted.\n"
    first = halted(shell, "aaa")
    assert shell("sandbox advance 1h").code == 0
    second = halted(shell)
    assert lift(shell, first).code == 0
    rows = shell("halt list --sandbox").out.splitlines()
    assert [line.split()[0] for line in rows if line.startswith("  2")] == [second, first]
    assert "lifted" in rows[1]
    assert rows[-1] == "Halts: 1 in force, 1 lifted."


@pytest.mark.parametrize(
    "line",
    [
        "--sandbox halt list -o json",
        "halt --help",
        "halt lift --help",
        "halt list --help",
    ],
)
def test_options_before_the_command(shell: Shell, line: str) -> None:
    """Options that may stand before a command may stand before a command of a command, too."""
    assert shell(line).code == 0
