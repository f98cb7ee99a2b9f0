"""``reconciler status`` with last rebalances, of one portfolio in detail, and what it exits with."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from reconciler.apply.journal import open_journal
from reconciler.cli.main import run
from reconciler.cli.options import JournalOptions, ServiceOptions
from reconciler.cli.service import SystemClock, open_service, run_async
from reconciler.cli.writing import keep_results
from reconciler.core.model import Paths, PortfolioId
from reconciler.core.rebalance import KeptRebalance, Rebalance, RebalanceStatus
from tests.process.support import glider
from tests.support import HOUR_MS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell
    from tests.golden import Golden

SEED = """
version: 1
settings: {rebalance: {queue: 0, takes: 40s}}
strategies:
  s: {frequency: daily}
portfolios:
  bad: {status: active, interval: 24h, started: 10d, last_result: failed}
  gone: {status: paused, interval: 24h, started: 10d, pause_reason: by hand, last_result: cancelled}
  good: {status: active, interval: 24h, started: 10d}
  idle: {status: inactive}
  pf: {api: v2, strategy: s, status: active, started: 1h}
"""
FILES = """
version: 1
portfolios:
  bad: {name: Growth, state: active}
  gone: {state: paused}
  good: {state: active}
  idle: {state: paused}
  pf: {api: v2, state: active}
"""


@pytest.fixture
def fleet(bare: Shell) -> Shell:
    """One portfolio for each way that a last rebalance can be."""
    shell = bare.holding(SEED, FILES)
    assert shell("sandbox advance 1h").code == 0
    return shell


def settled(text: str) -> str:
    """Return a table without its times and with single gaps."""
    return re.sub(r" {2,}", "  ", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", text))


def test_the_table(fleet: Shell, golden: Golden) -> None:
    """A failed last rebalance stands out by its capitals and its reason, and is counted first."""
    ended = fleet("status --sandbox --results")
    assert ended.code == 0
    golden("status", "results", ended.out)


def test_without_results(fleet: Shell) -> None:
    """--no-results asks for none: no column, no count, null in JSON."""
    ended = fleet("status --sandbox --no-results")
    assert ended.code == 0
    assert "RESULT" not in ended.out
    assert ended.out.endswith("5 portfolios: 3 active, 1 inactive, 1 paused.\n")
    rows = fleet("status --sandbox --no-results -o json").json["portfolios"]
    assert [(row["last_rebalance"], row["results"]) for row in rows] == [(None, [])] * 5


def test_json(fleet: Shell) -> None:
    """Each row says how well its last rebalance is known, and whether it failed."""
    rows = {row["id"]: row["last_rebalance"] for row in fleet("status --sandbox --results -o json").json["portfolios"]}
    assert {name: (last["knowledge"], last["failed"]) for name, last in rows.items()} == {
        "bad": ("read", True),
        "gone": ("read", False),
        "good": ("read", False),
        "idle": ("none", False),
        "pf": ("not_exposed", False),
    }
    assert rows["good"]["rebalance"]["duration_ms"] == 40_000


def test_fail_on(fleet: Shell) -> None:
    """It exits 1 when a selected portfolio's last rebalance failed, and only when asked to."""
    ended = fleet("status --sandbox --fail-on failed-rebalance -o json")
    assert (ended.code, ended.json["exit_reason"]) == (1, "error")
    assert fleet("status --sandbox --fail-on failed-rebalance --exclude bad").code == 0
    assert fleet("status bad --sandbox --fail-on failed-rebalance").code == 1
    assert fleet("status gone --sandbox --fail-on failed-rebalance").code == 0


def test_an_operation_that_was_asked_for_here(fleet: Shell) -> None:
    """On v2 the result of one that the journal knows is shown, as long as it is the last."""
    assert fleet("rebalance pf --sandbox --auto-approve").code == 0
    rows = {row["id"]: row["last_rebalance"] for row in fleet("status --sandbox --results -o json").json["portfolios"]}
    assert (rows["pf"]["knowledge"], rows["pf"]["rebalance"]["status"]) == ("read", "running")
    assert fleet("sandbox advance 1m").code == 0
    assert "completed" in fleet("status pf --sandbox").out
    assert fleet("sandbox advance 3d").code == 0
    rows = {row["id"]: row["last_rebalance"] for row in fleet("status --sandbox --results -o json").json["portfolios"]}
    assert rows["pf"]["knowledge"] == "not_exposed"


def kept(fleet: Shell, portfolio: str, options: str = "") -> tuple[Any, list[str], list[str]]:
    """Return how well the last result of one is known, its results, and what it needs."""
    rows = {row["id"]: row for row in fleet(f"status --sandbox -o json {options}").json["portfolios"]}
    last = rows[portfolio]["last_rebalance"]
    return last and last["knowledge"], [one["status"] for one in rows[portfolio]["results"]], rows[portfolio]["needs"]


def journal(fleet: Shell) -> Path:
    """Return the journal, made by an apply that has nothing to do."""
    assert fleet("apply --sandbox --auto-approve --target idle").code == 0
    return fleet.folder / ".reconciler/journal.db"


def test_without_being_asked_nothing_is_read(fleet: Shell) -> None:
    """Where no journal knows a result there is a question mark, and how to have it read; no journal is made for it."""
    ended = fleet("status --sandbox")
    assert ended.code == 0
    assert kept(fleet, "bad") == (None, [], [])
    assert "? How its last rebalance ended is not known here: `reconciler status --results` reads it." in ended.out
    assert "Last rebalances" not in ended.out
    assert kept(fleet, "bad", "--results") == ("read", ["failed"], ["failed"])
    assert kept(fleet, "bad") == (None, [], [])
    assert not (fleet.folder / ".reconciler/journal.db").exists()


def test_what_was_read_is_kept(fleet: Shell) -> None:
    """The next command knows it without asking, until the service shows a later run; a failure stays one even then."""
    journal(fleet)
    assert fleet("status --sandbox --results").code == 0
    assert kept(fleet, "good") == ("kept", ["completed"], [])
    assert kept(fleet, "bad") == ("kept", ["failed"], ["failed"])
    assert fleet("sandbox advance 24h").code == 0
    assert kept(fleet, "good") == (None, ["completed"], [])
    assert kept(fleet, "bad") == (None, ["failed"], ["failed"])
    assert re.search(r"good .* ✔\?\n", fleet("status --sandbox").out)
    assert kept(fleet, "bad", "--results") == ("read", ["completed", "failed"], [])
    assert re.search(r"bad .* ✖✔ completed", fleet("status --sandbox").out)
    assert fleet("status --sandbox --fail-on failed-rebalance").code == 0


def test_it_stays_failed_until_a_later_one_has_ended_well(fleet: Shell) -> None:
    """A run that somebody triggered again clears nothing while it runs, with a journal or without one."""
    assert fleet("rebalance bad --sandbox --auto-approve --journal other.db").code == 0
    assert kept(fleet, "bad", "--results") == ("read", ["running", "failed"], ["failed"])
    assert fleet("status --sandbox --fail-on failed-rebalance").code == 1
    assert fleet("status bad --sandbox --fail-on failed-rebalance").code == 1
    assert "✖ running" in fleet("status --sandbox --results").out
    assert fleet("sandbox advance 1m").code == 0
    assert kept(fleet, "bad", "--results") == ("read", ["completed"], [])
    assert fleet("status bad --sandbox --fail-on failed-rebalance").code == 0


def test_one_in_detail_keeps_what_it_read(fleet: Shell) -> None:
    """All of them, so that the table has a strip."""
    journal(fleet)
    assert fleet("status bad --sandbox").code == 0
    assert re.search(r"bad .* ✔✔✔✔✖ FAILED", fleet("status --sandbox").out)


def test_a_journal_that_may_not_be_written_to(fleet: Shell) -> None:
    """Results are read and shown all the same; while another command is at the journal, too."""
    path = journal(fleet)
    with open_journal(path, base_url="https://glider.example.com", now_ms=lambda: 0):
        assert kept(fleet, "bad", "--results") == ("read", ["failed"], ["failed"])
    assert kept(fleet, "bad") == (None, [], [])


@pytest.mark.slow
def test_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One a v1 portfolio, a page for 200 v2 portfolios, one for the account; results take more, once."""
    ones = [f"p{number:03}" for number in range(30)]
    twos = [f"pf{number:03}" for number in range(450)]
    live: dict[str, Any] = {key: {"status": "active", "interval": "24h", "started": "238h"} for key in ones}
    live |= {i: {"api": "v2", "strategy": "s", "status": "active"} for i in twos}
    files = {i: {"state": "active"} | ({"api": "v2"} if i in twos else {}) for i in live}
    (tmp_path / "automation.yaml").write_text(json.dumps({"version": 1, "portfolios": files}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLIDER_API_KEY", "gldr_sk_canary_4f1d7c")
    with glider(tmp_path, {"strategies": {"s": {"frequency": "daily"}}, "portfolios": live}) as served:
        monkeypatch.setenv("GLIDER_BASE_URL", served.url)

        def asked(line: str) -> int:
            before = len(served.app.requests.kept())
            assert run(line.split()) == 0
            capsys.readouterr()
            return len(served.app.requests.kept()) - before

        assert asked("status") == 1 + 30 + 3
        assert asked("apply --auto-approve --unverified skip") == 1 + 30 + 3
        assert asked("status --results") == 1 + 30 + 3 + 2 * 30
        assert asked("status --problems") == 1 + 30 + 3 + 30
        assert asked("status") == 1 + 30 + 3


def test_one_in_detail(fleet: Shell) -> None:
    """Its facts line by line, and its last ten rebalances with how long they took."""
    ended = fleet("status bad --sandbox")
    assert ended.code == 0
    text = settled(ended.out)
    assert text.startswith(
        "bad\n"
        "  name  Growth\n"
        "  state  active\n"
        "  problem  failed: The rebalance failed: a swap was reverted\n"
        "  declared  active, automation.yaml:4\n"
        "  api  v1\n"
        "  schedule  24h (observed)\n"
        "  next run  TIME\n"
        "  last run  TIME\n"
        "  result  FAILED\n"
    )
    assert re.search(r"\nLast \d+ rebalances\nSTARTED  RESULT  TOOK  ID  DETAIL\nTIME  FAILED  40s  rebal_\w+", text)
    assert re.search(r"\nTIME  completed  40s  rebal_\w+  gas 125000; transaction 0x\w+\n", text)


def test_who_owns_it_and_whether_it_is_held(fleet: Shell) -> None:
    """What a person asks first about one that does not run: whose it is, and how it is released."""
    fleet.write(
        "automation.yaml",
        "version: 1\ngroups:\n  growth: {owner: treasury@example.com}\n"
        "portfolios:\n  gone: {group: growth, state: active}\n  good: {state: active, interval: 24h}\n",
    )
    text = settled(fleet("status gone --sandbox").out)
    assert "  problem  held: it stays paused; `reconciler plan --resume-held gone` shows what a release does\n" in text
    assert "  group  growth\n  owner  treasury@example.com\n" in text
    assert "held" not in fleet("status good --sandbox").out


def test_what_one_needs(fleet: Shell) -> None:
    """The same as in the table; one that no file declares can have failed, and needs nothing else."""
    assert fleet("status bad --sandbox -o json").json["portfolio"]["needs"] == ["failed"]
    fleet.write("automation.yaml", "version: 1\nportfolios:\n  gone: {state: active, until: 2020-01-01}\n")
    assert fleet("status gone --sandbox -o json").json["portfolio"]["needs"] == ["held", "until_passed"]
    text = settled(fleet("status gone --sandbox").out)
    assert "  problem  held: it stays paused; " in text
    assert "\n  until passed: declared until 2020-01-01\n" in text
    assert fleet("status bad --sandbox -o json").json["portfolio"]["needs"] == ["failed"]
    assert fleet("status idle --sandbox -o json").json["portfolio"]["needs"] == []
    assert fleet("status bad --sandbox --fail-on failed-rebalance").code == 1


def test_one_in_detail_that_is_not_there(fleet: Shell) -> None:
    """It is blocked, as in the table; and that it is not there is an error, because somebody asked for it."""
    fleet.write("automation.yaml", "version: 1\nportfolios:\n  lost: {state: active, interval: 24h}\n")
    ended = fleet("status lost --sandbox")
    assert (ended.code, "\n  problem   blocked: v1 has no such portfolio" in ended.out) == (1, True)
    (row,) = fleet("status --sandbox -o json").json["portfolios"]
    assert fleet("status lost --sandbox -o json").json["portfolio"]["needs"] == row["needs"] == ["blocked"]


def test_why_it_fails(fleet: Shell) -> None:
    """What --fail-on was about is said, of one portfolio as of all; what does not hold is not."""
    told = "--fail-on failed-rebalance: runs failed, and none that came later is known to have ended well"
    for line in ("status --sandbox", "status bad --sandbox"):
        ended = fleet(f"{line} --fail-on failed-rebalance --fail-on overdue")
        assert (ended.code, told in ended.err, "--fail-on overdue" in ended.err) == (1, True, False)
    assert fleet("status good --sandbox --fail-on failed-rebalance").err == ""


def test_one_that_is_not_declared(fleet: Shell) -> None:
    """No file needs to name it, and none needs to be there."""
    (fleet.folder / "automation.yaml").unlink()
    ended = fleet("status idle --sandbox -o json")
    found = ended.json["portfolio"]
    assert (ended.code, found["declared"], found["status"], found["rebalances"]) == (0, None, "inactive", [])
    assert "No rebalances yet." in fleet("status idle --sandbox").out
    assert "lists no rebalances" in fleet("status pf --api v2 --sandbox").out
    assert "v2 has it: declare it with `api: v2`" in fleet("status pf --sandbox").out
    assert fleet("status zzz --sandbox").code == 1


WRONG = {
    "--fail-on failed-rebalance --no-results": "--fail-on failed-rebalance needs the results",
    "--results --no-results": "--results asks for the results",
    "--problems --all": "--all lists what needs nobody, and --problems leaves it out",
    "aaa --problems": "shows that portfolio only",
    "aaa --sort next": "shows that portfolio only",
    "aaa --target aaa": "shows that portfolio only",
    "aaa --out live.json": "shows that portfolio only",
    "--api v2": "--api is for a portfolio that no file declares",
    "--watch": "--watch needs a terminal",
    "--watch=1": "every 1 s is too often",
    "--watch aaa": "A portfolio goes first",
    "a/b": "is not a portfolio id",
    "aaa --api v2": "aaa is declared with the API v1",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage(shell: Shell, line: str) -> None:
    """What makes no sense together is refused with what to do."""
    ended = shell(f"status {line} --sandbox")
    assert ended.code == 64
    assert WRONG[line] in ended.err


def test_what_was_read_just_now_is_newer_by_a_wrong_clock_too(fleet: Shell) -> None:
    """The journal's times are the service's, so those of this moment are, too."""
    sandbox, portfolio = str(fleet.folder / ".reconciler/sandbox.db"), PortfolioId("good")
    runs, retries = (Rebalance(id="w1", status=RebalanceStatus.RUNNING, word=word) for word in ("running", "retrying"))

    async def kept() -> str:
        async with open_service(ServiceOptions(sandbox=sandbox), Paths.AUTO) as service:
            behind = replace(service, clock=SystemClock(ahead_ms=service.clock.ahead_ms - 3 * HOUR_MS))
            before = [KeptRebalance(rebalance=runs, read_ms=service.api.service_ms() - 1)]
            options = JournalOptions(journal=str(fleet.folder / "none.db"))
            found = await keep_results(options, behind, {portfolio: [retries]}, {portfolio: before})
            return found[portfolio][0].rebalance.word

    assert run_async(kept) == "retrying"
