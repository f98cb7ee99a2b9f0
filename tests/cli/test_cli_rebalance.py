"""``reconciler rebalance`` as a user meets it: what it asks, prints, writes down and exits with."""

from __future__ import annotations

import io
import re
import sys
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journalreads import read_results
from reconciler.core.fleet import selection_of
from reconciler.core.halt import Halt, format_halt
from tests.support import HOUR_MS

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

SEED = """
version: 1
settings: {rebalance: {queue: 0, takes: 1}}
strategies:
  s: {frequency: daily}
portfolios:
  aaa: {status: active, interval: 24h, started: 10d}
  idle: {status: inactive}
  pf_one: {api: v2, strategy: s, status: active, started: 1h}
"""


@pytest.fixture
def quick(bare: Shell) -> Shell:
    """A sandbox whose rebalances are over at once, and no files."""
    return bare.holding(SEED)


class Terminal(io.StringIO):
    """A person who has typed an answer."""

    buffer = io.BytesIO()

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_it_refuses(quick: Shell) -> None:
    """It trades, so nothing is asked for unless somebody says yes; and no journal is made."""
    ended = quick("rebalance aaa --sandbox")
    assert ended.code == 64
    assert "--auto-approve" in ended.err
    assert not (quick.folder / ".reconciler/journal.db").exists()


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("y\n", 1), ("\n", 1)])
def test_it_asks(quick: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    """The question names each portfolio and says that it will trade; only yes is one."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ended = quick("rebalance aaa idle --skip-schedule-validation --sandbox")
    assert ended.code == code
    rows = r"  aaa +v1 +active +not declared\n  idle +v1 +inactive +not declared\n"
    assert re.search(rf"Rebalance now at sandbox://\w+:\n{rows}", ended.err)
    assert "Each of these 2 portfolios will trade now. Only 'yes' is accepted." in ended.err
    assert (quick.folder / ".reconciler/journal.db").exists() is (code == 0)


def test_a_halt_by_a_label_while_a_person_is_asked(quick: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not among its portfolios, because its files don't have it, does not run: it may be meant by the label."""
    quick.write("automation.yaml", "version: 1\nportfolios: {aaa: {state: active, labels: {team: fx}}}\n")
    base_url = quick("plan --sandbox -o json").json["base_url"]
    asked: list[str] = []

    class Halting(Terminal):
        """A person before whose answer another one halts."""

        def readline(self, *_: object) -> str:
            halt = Halt(
                id="20261122-7f3a9c",
                base_url=base_url,
                account=None,
                reason="Oracle",
                at_ms=time.time_ns() // 1_000_000 + HOUR_MS,
                selection=selection_of(("team=fx",)),
            )
            (quick.folder / "halts").mkdir()
            quick.write(f"halts/{halt.id}.json", format_halt(halt))
            asked.append(halt.id)
            return "yes\n"

    monkeypatch.setattr(sys, "stdin", Halting())
    ended = quick("rebalance aaa --sandbox")
    assert asked, ended
    assert ended.code == 5
    assert "halt 20261122-7f3a9c (Oracle) holds it until `reconciler halt lift 20261122-7f3a9c`" in ended.out


def test_text(quick: Shell) -> None:
    """A row each, the gravest last, and a last line of counts."""
    ended = quick("rebalance aaa idle zzz --sandbox --auto-approve")
    assert ended.code == 6
    rows = ended.out.splitlines()
    assert re.match(r"  accepted  aaa +rebal_\w+  -$", rows[0])
    assert rows[1].startswith("  refused   idle")
    assert "--skip-schedule-validation" in rows[1]
    assert "Glider has no such portfolio, or the key may not see it; check the id" in rows[2]
    assert rows[-1] == "3 rebalances: 1 accepted, 2 refused."
    assert ended.err == ""


def test_json(quick: Shell) -> None:
    """One document with everything, on both versions; what was asked for stands in the journal."""
    quick.write(
        "automation.yaml",
        "version: 1\nportfolios:\n  pf_one: {api: v2, name: Index, state: active}\n  aaa: {state: active}\n",
    )
    ended = quick("rebalance pf_one aaa --sandbox --auto-approve --wait -o json")
    document = ended.json
    assert (ended.code, document["exit_reason"], document["waited"]) == (0, "ok", True)
    assert document["summary"]["completed"] == 2
    assert [(r["id"], r["api"], r["name"], r["outcome"]) for r in document["results"]] == [
        ("aaa", "v1", None, "completed"),
        ("pf_one", "v2", "Index", "completed"),
    ]
    assert document["results"][0]["rebalance"]["transaction"].startswith("0x")
    (run,) = quick("history --run 1 -o json").json["runs"]
    assert (run["fingerprint"], run["ended"]) == ("rebalance", "ok")
    assert [(w["portfolio"], w["call"], w["outcome"]) for w in run["writes"]] == [
        ("aaa", "rebalance", "confirmed"),
        ("pf_one", "rebalance", "confirmed"),
    ]
    assert {r["rebalance_id"] for r in document["results"]} == {w["detail"].split(" ")[1] for w in run["writes"]}
    journal = quick.folder / ".reconciler/journal.db"
    kept = read_results(journal, base_url=document["base_url"], last=9)
    seen = [(one, known.rebalance.id, known.rebalance.status) for one, results in kept.items() for known in results]
    assert seen == [(r["id"], r["rebalance_id"], "completed") for r in document["results"]]


def test_a_cooldown(quick: Shell) -> None:
    """It has a sentence of its own with the wait and the time, and exits 8 when nothing else happened."""
    assert quick("rebalance pf_one --api v2 --sandbox --auto-approve --wait").code == 0
    ended = quick("rebalance pf_one --api v2 --sandbox --auto-approve")
    assert ended.code == 8
    assert re.search(
        r"cooling down  pf_one .* is too recent; run again in \w+ \(at \d{4}-\d\d-\d\d \d\d:\d\d UTC\)", ended.out
    )


def test_waiting_that_takes_too_long(shell: Shell) -> None:
    """It is told as timed out, and goes on; it took no longer than asked for."""
    ended = shell("rebalance aaa --sandbox --auto-approve --wait --timeout 1ms --although-paused aaa")
    assert ended.code == 6
    assert "timed out  aaa" in ended.out
    assert "it is not over after 1ms (running), and goes on; look with `reconciler status aaa`" in ended.out


WRONG = {
    "": "Missing argument",
    "a/b": "is not a portfolio id",
    "aaa --timeout 5m": "--timeout says how long",
    "aaa --wait --timeout soon": "--timeout:",
    "aaa --api v3": "'v3' is not one of 'v1', 'v2'",
    "aaa --api v2": "aaa is declared with the API v1",
    "pf --api v2 --skip-schedule-validation": "--skip-schedule-validation is only for v1",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage(shell: Shell, line: str) -> None:
    """What makes no sense is refused before anything is sent."""
    ended = shell(f"rebalance {line} --sandbox --auto-approve")
    assert ended.code == 64
    assert WRONG[line] in ended.err


def test_what_is_paused_is_not_run(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Declared paused, or paused by a person: refused with the way out, and nobody is asked where nothing may run."""
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    ended = shell("rebalance aaa ccc --sandbox")
    assert ended.code == 1
    assert "trade now" not in ended.err
    assert "the files declare it paused; name it with --although-paused aaa to run it all the same" in ended.out
    assert "it is paused (Paused from the app), and a rebalance trades all the same" in ended.out
    assert shell("history -o json").json["runs"][0]["summary"]["confirmed"] == 0
    named = shell("rebalance aaa ccc --sandbox --auto-approve --although-paused ccc --skip-schedule-validation")
    assert named.code == 6
    assert re.search(r"accepted  ccc +rebal_", named.out)
    for option in ("--although-paused bbb", "--again bbb"):
        ended = shell(f"rebalance aaa --sandbox --auto-approve {option}")
        assert (ended.code, "is not among the portfolios to run\n" in ended.err) == (64, True)
    assert "Did you mean 'aaa'?" in shell("rebalance aaa --sandbox --auto-approve --again aab").err


def test_files_that_are_there_must_be_good(shell: Shell) -> None:
    """They say which API a portfolio is managed by, so a broken one stops everything."""
    shell.write("automation.yaml", "version: 1\nportfolios: 7\n")
    assert shell("rebalance aaa --sandbox --auto-approve").code == 3
    assert shell("rebalance aaa --sandbox --auto-approve -f nowhere.yaml").code == 3


def test_verbose_says_each_step(quick: Shell) -> None:
    """With -v, or at a terminal, each step is told on stderr as it happens."""
    ended = quick("rebalance aaa --sandbox --auto-approve --wait -v")
    assert re.search(r"accepted +aaa  rebal_\w+\n", ended.err)
    assert "completed      aaa" in ended.err
