"""SIGINT, SIGTERM and SIGHUP: a bounded end, whatever the service does, and a journal for the next apply to settle."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.journalreads import read_runs
from tests.apply.test_journalserver import name_of
from tests.postgres import Proxy
from tests.process.conftest import FILES, SEED
from tests.process.support import NEVER_MS, PATIENCE_SECONDS, Glider, glider, kill, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import Server

NEVER_ANSWERED = {"kind": "latency", "operation": "pause", "ms": NEVER_MS}
BY_THE_GRACE = "interrupted before its answer came"
"""What the journal says of a call that the grace of an interrupted apply ended, and nothing else."""
SIGNALS = (
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
    (signal.SIGHUP, 143, "terminated"),
)


def test_an_answer_that_never_comes_does_not_hold_a_signal_up(tmp_path: Path) -> None:
    """Interrupted over a call that hangs: its grace ends it, it says what is unknown, and the next apply settles it."""
    with ExitStack() as open_until_the_end:
        pairs = []  # side by side: most of it is waiting
        for one in SIGNALS[:2]:  # a third beside them would want a third core for its seven seconds
            place = tmp_path / one[0].name
            place.mkdir()
            (place / "automation.yaml").write_text(FILES, encoding="utf-8")
            pairs.append((open_until_the_end.enter_context(glider(place, SEED)), one))
        processes = []
        for served, _ in pairs:
            served.misbehave(NEVER_ANSWERED)
            processes.append(served.start("apply", "--auto-approve", "-o", "json"))
        for (served, (number, _, _)), process in zip(pairs, processes, strict=True):
            until(lambda served=served: "aaa pause" in served.calls(), process)  # type: ignore[misc]  # bound now
            process.send_signal(number)
        for (served, (_, code, word)), process in zip(pairs, processes, strict=True):
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
            assert (process.returncode, err) == (code, "")
            document = json.loads(out)
            assert document["exit_reason"] == word
            assert {r["id"]: r["outcome"] for r in document["results"]} == {
                "aaa": "unknown",
                **dict.fromkeys(("bbb", "ccc", "ddd"), "not_attempted"),
            }
            [run] = read_runs(served.journal) or ()
            assert (run.exit_reason, [write.detail for write in run.writes]) == (word, [BY_THE_GRACE])
            served.converges()


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_second_signal_ends_at_once(served: Glider, number: signal.Signals, code: int, word: str) -> None:
    """Whoever asks twice does not wait, and still gets a document; the next apply finds out what became of it."""
    served.misbehave(NEVER_ANSWERED)
    process = served.start("apply", "--auto-approve", "-o", "json")
    until(lambda: "aaa pause" in served.calls(), process)
    process.send_signal(number)
    with pytest.raises(Exception, match="timed out"):
        process.wait(timeout=0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code
    [run] = read_runs(served.journal) or ()
    assert run.exit_reason is None  # which a run writes that the grace of the first signal ended
    assert json.loads(out)["exit_reason"] == word
    assert "Traceback" not in err
    served.converges()


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS, ids=["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_reading_ends_a_plan_with_a_document(
    served: Glider, number: signal.Signals, code: int, word: str
) -> None:
    """A plan that is stopped says so in JSON, too: nothing was written, so there is nothing to wait for."""
    served.misbehave({"kind": "latency", "operation": "read", "ms": NEVER_MS})
    process = served.start("plan", "-o", "json")
    until(lambda: served.calls(method="GET") != [], process)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code
    assert json.loads(out)["exit_reason"] == word
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "command", [("plan",), ("apply", "--auto-approve"), ("apply", "plan.json", "--join")], ids=" ".join
)
def test_a_signal_while_the_journal_does_not_answer(
    served: Glider, command: tuple[str, ...], number: signal.Signals
) -> None:
    """The first one ends the wait for a database that takes connections and says nothing, and no limit of time does."""
    assert served.run("plan", "--out", "plan.json").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://somebody@127.0.0.1:{silent.getsockname()[1]}/journal?connect_timeout={NEVER_MS}"
        process = served.start(*command, "--journal", url)
        with silent.accept()[0] as connection:
            assert connection.recv(8) != b""  # it waits for an answer now
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == (130 if number is signal.SIGINT else 143)
    assert (out, "Traceback" in err) == ("", False)
    assert served.calls() == []


@pytest.mark.parametrize("joins", [(), ("--join",)], ids=["alone", "joined"])
def test_a_second_signal_while_the_journal_hangs(served: Glider, server: Server, joins: tuple[str, ...]) -> None:
    """Nobody waits for a database that has stopped to answer, and the next apply finds out what became of the rest."""
    place = server.database()
    assert served.run("plan", "--out", "plan.json", "--journal", str(place)).returncode == 0
    served.misbehave(NEVER_ANSWERED)
    with Proxy(server) as between:
        url = server.url(name_of(place), folder=between.folder)
        process = served.start("apply", "plan.json", *joins, "-o", "json", "--journal", str(url))
        until(lambda: "aaa pause" in served.calls(), process)
        between.is_silent = True
        served.release()
        process.send_signal(signal.SIGINT)
        with pytest.raises(Exception, match="timed out"):
            process.wait(timeout=0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert json.loads(out)["exit_reason"] == "interrupted"
    assert "Traceback" not in err
    served.faults.clear()
    again = served.run("apply", "plan.json", *joins, "--journal", str(place))
    assert again.returncode == 0, again
    assert served.calls() == ["aaa pause", "bbb update-schedule-interval", "ccc resume", "ddd start"]


@pytest.mark.parametrize("joins", [(), ("--join",)], ids=["alone", "joined"])
def test_a_signal_while_the_journal_hangs_before_the_apply(
    served: Glider, server: Server, joins: tuple[str, ...]
) -> None:
    """What an earlier run left open is settled first, and a database that hangs over that holds no signal up."""
    place = server.database()
    assert served.run("plan", "--out", "plan.json", "--journal", str(place)).returncode == 0
    served.misbehave(NEVER_ANSWERED)
    dies = served.start("apply", "plan.json", "--journal", str(place))
    until(lambda: served.calls() == ["aaa pause"], dies)
    kill(dies)
    served.faults.clear()
    served.misbehave({"kind": "latency", "operation": "read", "portfolio": "aaa", "ms": NEVER_MS})
    looks = len(served.calls("aaa", "GET"))
    with Proxy(server) as between:
        url = server.url(name_of(place), folder=between.folder)
        process = served.start("apply", "plan.json", *joins, "--journal", str(url))
        until(lambda: len(served.calls("aaa", "GET")) > looks, process)
        between.is_silent = True
        served.release()
        until(lambda: between.ignored > 0, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
