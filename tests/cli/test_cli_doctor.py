"""``reconciler doctor`` as a command: against the sandbox, on a socket, without a key, and never writing anything."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import CANARY
from tests.loopback import Reply, Request, loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Ended, Shell

WHO = {"tenantName": "Acme", "apiKeyId": "k1", "scopes": ["portfolios:read"]}
"""What whoami says (API facts §1.4)."""


def statuses(ended: Ended) -> dict[str, str]:
    return {check["id"]: check["status"] for check in ended.json["checks"]}


def finding(ended: Ended, name: str) -> str:
    return str(next(check["finding"] for check in ended.json["checks"] if check["id"] == name))


@contextmanager
def service(answers: dict[str, tuple[int, object]], date: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a service with these answers by the end of their path, and its log of requests."""
    log: list[str] = []

    def answer(request: Request) -> Reply:
        log.append(f"{request.method} {request.path}")
        tail = next((end for end in answers if request.path.endswith(end)), "")
        status, body = answers.get(tail, (404, {"success": False, "error": {"message": "Not found"}}))
        return Reply(body, status, {"X-RateLimit-Remaining": "41"} | ({"Date": date} if date else {}))

    with loopback(answer) as url:
        yield url, log


GOOD: dict[str, tuple[int, object]] = {
    "/v2/whoami": (200, {"success": True, "data": WHO}),
    "/automation/status": (200, {"success": True, "data": {"portfolioId": "aaa", "status": "active"}}),
    "/aaa/pause": (405, {"success": False, "error": {"message": "Method not allowed"}}),
}


def test_all_is_well_with_the_sandbox(shell: Shell) -> None:
    """Against the sandbox nothing fails, and nothing is written: no journal is made."""
    ended = shell("doctor --sandbox -o json")
    assert ended.code == 0
    assert ended.json["exit_reason"] == "ok"
    assert statuses(ended) == {
        "program": "ok",
        "files": "ok",
        "journal": "ok",
        "proxy": "skipped",
        "service": "ok",
        "key": "ok",
        "account": "ok",
        "scopes": "ok",
        "paths": "ok",
        "latency": "ok",
        "rate_limit": "ok",
        "clock": "ok",
    }
    assert "reference there, guide there" in finding(ended, "paths")
    assert not (shell.folder / ".reconciler/journal.db").exists()
    assert shell("doctor --sandbox").out.endswith("Doctor: 11 ok, 0 warnings, 0 failed, 1 skipped.\n")


@pytest.mark.parametrize(
    ("paths", "said"),
    [("reference", "reference there, guide not there"), ("guide", "reference not there, guide there")],
)
def test_the_sandbox_shows_its_paths(shell: Shell, paths: str, said: str) -> None:
    """The family that the service has is the one that is found."""
    shell.write("seed.yaml", f"version: 1\nsettings: {{paths: {paths}}}\nportfolios: {{aaa: {{status: active}}}}\n")
    assert shell("sandbox load seed.yaml --sandbox other.db").code == 0
    assert said in finding(shell("doctor --sandbox other.db -o json"), "paths")


@pytest.mark.slow
def test_only_reads_are_sent_and_few(shell: Shell) -> None:
    """Seven GETs and nothing else, none of which would start anything if taken for a write."""
    with service(GOOD) as (url, log):
        ended = shell(f"doctor --base-url {url} -o json")
    assert ended.code == 0
    assert log == [
        *["GET /v2/whoami"] * 3,
        "GET /v1/portfolio/aaa/automation/status",
        "GET /v1/portfolio/aaa/rebalance/schedule/pause",
        "GET /v1/portfolio/aaa/pause",
        "GET /v1/portfolio/aaa/rebalance/schedule/no-such-route",
    ]
    assert (finding(ended, "key"), finding(ended, "account")) == ("accepted", "Acme")
    assert finding(ended, "rate_limit") == "remaining 41"
    assert "reference not there, guide there" in finding(ended, "paths")
    assert statuses(ended)["clock"] == "ok"


EXPECTS = "version: 1\nservice: {expect: %s}\nportfolios: {aaa: {state: paused}}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("account", "code", "status", "said"),
    [
        ("Acme", 0, "ok", "Acme, as the files expect"),
        ("Acme US", 7, "fail", "the files expect the account Acme US, and this key belongs to Acme"),
    ],
)
def test_whose_key_it_is(shell: Shell, account: str, code: int, status: str, said: str) -> None:
    """The account is compared with the one that the files expect; the other checks are made all the same."""
    shell.write("automation.yaml", EXPECTS % f"{{account: {account}}}")
    with service(GOOD) as (url, _):
        ended = shell(f"doctor --base-url {url} -o json")
    assert (ended.code, statuses(ended)["account"], finding(ended, "account")) == (code, status, said)
    assert statuses(ended)["paths"] == "ok"


@pytest.mark.slow
def test_another_service_than_the_files_expect_gets_no_key(shell: Shell) -> None:
    """It is a finding, and nothing at all is sent there."""
    shell.write("automation.yaml", EXPECTS % '{url: "https://api.glider.fi"}')
    with service(GOOD) as (url, log):
        ended = shell(f"doctor --base-url {url} -o json")
    assert (ended.code, statuses(ended)["service"], log) == (7, "fail", [])
    assert finding(ended, "service") == f"the files expect the service https://api.glider.fi, and this is {url}"


def test_the_sandbox_is_nobody_s(shell: Shell) -> None:
    """Files that expect somebody can be tried out in it."""
    shell.write("automation.yaml", EXPECTS % '{url: "https://api.glider.fi", account: Acme}')
    assert shell("doctor --sandbox").code == 0


@pytest.mark.slow
def test_a_journal_that_git_tracks_is_a_warning(shell: Shell) -> None:
    """An apply would refuse it."""
    subprocess.run(["git", "init", "--quiet"], cwd=shell.folder, check=True)
    (shell.folder / "j.db").touch()
    subprocess.run(["git", "add", "j.db"], cwd=shell.folder, check=True)
    ended = shell("doctor --sandbox --journal j.db -o json")
    assert (ended.code, statuses(ended)["journal"]) == (0, "warn")
    assert finding(ended, "journal").endswith("; Git tracks it")


@pytest.mark.slow
def test_a_clock_that_is_off(shell: Shell) -> None:
    """A service whose time is another one is a warning, and a warning fails nothing."""
    with service(GOOD, date="Sun, 01 Jan 2023 00:00:00 GMT") as (url, _):
        ended = shell(f"doctor --base-url {url} -o json")
    assert (ended.code, statuses(ended)["clock"]) == (0, "warn")
    assert "ahead of the service's" in finding(ended, "clock")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "code", "wrong"),
    [
        ({"/v2/whoami": (401, {"success": False, "error": {"message": f"no {CANARY}"}})}, 7, "key"),
        ({"/v2/whoami": (503, "<html>")}, 8, "service"),
        ({"/v2/whoami": (200, "<html>Hello</html>"), "/automation/status": (200, "<html>")}, 1, "service"),
    ],
)
def test_what_a_failure_exits_with(shell: Shell, answers: dict[str, tuple[int, object]], code: int, wrong: str) -> None:
    """A bad key is 7, a service that can't be reached 8, and one that is not Glider 1; the key is never shown."""
    with service(answers) as (url, _):
        ended = shell(f"doctor --base-url {url} -o json")
    assert (ended.code, statuses(ended)[wrong]) == (code, "fail")
    assert CANARY not in ended.out + ended.err


@pytest.mark.slow
def test_a_service_that_is_not_there_is_asked_once(shell: Shell) -> None:
    """No connection is exit 8, and every other check of the service is left."""
    with service({}) as (url, _):
        pass
    ended = shell(f"doctor --base-url {url} -o json")
    assert ended.code == 8
    found = statuses(ended)
    assert found["service"] == "fail"
    assert {found[name] for name in ("key", "account", "scopes", "paths", "latency", "rate_limit", "clock")} == {
        "skipped"
    }


def test_no_key_is_a_finding(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key everything else is still checked, and the exit is 7."""
    monkeypatch.delenv("GLIDER_API_KEY")
    ended = shell("doctor -o json")
    assert ended.code == 7
    assert finding(ended, "key") == "GLIDER_API_KEY is not set"
    assert statuses(ended)["files"] == "ok"


@pytest.mark.parametrize("options", ["--base-url ftp://x", "--proxy nonsense", "--sandbox missing/none.db"])
def test_what_can_not_be_opened_is_a_finding(shell: Shell, options: str) -> None:
    """A base URL, a proxy or a sandbox that can't be used is a failed check with its repair, not an end."""
    ended = shell(f"doctor {options} -o json")
    assert (ended.code, statuses(ended)["service"]) == (1, "fail")
    assert next(check["repair"] for check in ended.json["checks"] if check["id"] == "service")


def test_a_proxy_is_shown_without_its_password(shell: Shell) -> None:
    """Of the proxy, host and port are shown."""
    ended = shell("doctor --proxy http://maria:hunter2@127.0.0.1:9 --base-url http://127.0.0.1:9 -o json")
    assert finding(ended, "proxy") == "127.0.0.1:9"
    assert "hunter2" not in ended.out + ended.err


def test_broken_files_and_a_broken_journal_are_findings(shell: Shell) -> None:
    """Each check stands by itself: broken files and a broken journal don't keep the service from being asked."""
    shell.write("automation.yaml", "version: 2\n")
    shell.write("j.db", "no journal")
    ended = shell("doctor --sandbox --journal j.db -o json")
    assert ended.code == 1
    found = statuses(ended)
    assert (found["files"], found["journal"], found["service"], found["paths"]) == ("fail", "fail", "ok", "skipped")


def test_the_journal_is_counted(shell: Shell) -> None:
    """After an apply the journal's records and its last run are shown."""
    assert shell("apply --sandbox --auto-approve").code == 0
    said = finding(shell("doctor --sandbox -o json"), "journal")
    assert re.fullmatch(r"\.reconciler/journal\.db, format \d+, 3 records, last run 1 \(.*\): ok", said)
