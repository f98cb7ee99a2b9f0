"""``service.expect`` on the command line: an import compares it, and writes it where nobody has."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.api.key import read_account
from reconciler.api.transport import Transport
from reconciler.cli.service import SystemClock
from reconciler.core.endpoint import Expect, expect_of
from tests.api.stub_service import Service as Stub
from tests.api.stub_service import fail, ok, script
from tests.loopback import Reply, Request, loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.stub_service import Answer
    from tests.cli.conftest import Shell

pytestmark = pytest.mark.slow

LIVE = "https://api.glider.fi"


def files(url: str, account: str = "") -> str:
    """Return a file of one portfolio that expects somebody."""
    whose = f", account: {account}" if account else ""
    return f"version: 1\nservice:\n  expect: {{url: '{url}'{whose}}}\nportfolios:\n  aaa:\n    state: active\n"


class Account:
    """The service of one account, ``None`` for one that does not tell; ``asked`` are the paths so far."""

    def __init__(self, name: str | None, missing: tuple[str, ...] = ()) -> None:
        self.name = name
        self.missing = missing
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Reply:
        path = request.path
        self.asked.append(path)
        portfolio = path.split("/")[3] if path.count("/") > 2 else ""
        data: dict[str, Any] = {"portfolioId": portfolio, "status": "inactive", "hasAutomation": False}
        status = 404 if portfolio in self.missing or path.startswith("/v2/portfolios/") else 200
        if request.method != "GET":
            status = 501
        elif path == "/v2/whoami":
            data, status = {"tenantName": self.name, "scopes": []}, 200 if self.name is not None else 403
        elif path.startswith("/v2/portfolios?"):
            data = {"portfolios": []}
        good = {"success": True, "data": data, "nextCursor": None}
        return Reply(good if status == 200 else {"success": False}, status)


@contextmanager
def listening(account: str | None, *, missing: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """Answer on a loopback port as a service of this account; yield its URL and the paths that were asked for."""
    service = Account(account, missing)
    with loopback(service) as url:
        yield url, service.asked


def test_another_service_than_expected_is_refused_before_it_hears_anything(shell: Shell) -> None:
    """Exit 7 and one sentence; the service that was named by mistake is not even called."""
    shell.write("automation.yaml", files(LIVE))
    before = (shell.folder / "automation.yaml").read_bytes()
    with listening("Acme EU") as (url, asked):
        ended = shell(f"import bbb --into automation.yaml --base-url {url}")
    assert (ended.code, ended.out, asked) == (7, "", [])
    assert f"the files expect the service {LIVE}, and this is {url}" in ended.err
    assert (shell.folder / "automation.yaml").read_bytes() == before


def test_another_spelling_of_the_expected_service_is_the_same(shell: Shell) -> None:
    """The sentence is about services, not about slashes and capitals."""
    with listening("Acme EU") as (url, _):
        shell.write("automation.yaml", files(url.upper().replace("HTTP", "http") + "/"))
        ended = shell(f"import bbb --into automation.yaml --base-url {url}/")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("into", ["--into automation.yaml", "--out new.yaml", ""])
def test_another_account_than_expected_is_refused_before_anything_is_read(shell: Shell, into: str) -> None:
    """Only the question whose key it is was asked, and nothing is written."""
    with listening("Acme US") as (url, asked):
        shell.write("automation.yaml", files(url, "Acme EU"))
        before = (shell.folder / "automation.yaml").read_bytes()
        ended = shell(f"import bbb {into} --base-url {url}")
    assert (ended.code, ended.out, asked) == (7, "", ["/v2/whoami"])
    assert "the files expect the account Acme EU, and this key belongs to Acme US" in ended.err
    assert (shell.folder / "automation.yaml").read_bytes() == before
    assert not (shell.folder / "new.yaml").exists()


def test_the_expected_account_goes_on_and_stays_as_it_is(shell: Shell) -> None:
    """What the files expect is not written a second time."""
    with listening("Acme EU") as (url, _):
        shell.write("automation.yaml", files(url, "Acme EU"))
        ended = shell(f"import bbb --into automation.yaml --base-url {url}")
    assert ended.code == 0, ended.err
    added = (shell.folder / "automation.yaml").read_text()
    assert (added.count("expect:"), added.count("  bbb:")) == (1, 1)


def test_an_account_that_can_not_be_known_is_said(shell: Shell) -> None:
    """An import only reads: it says so and goes on."""
    with listening(None) as (url, _):
        shell.write("automation.yaml", files(url, "Acme EU"))
        ended = shell(f"import bbb --base-url {url}")
    assert ended.code == 0
    assert (
        "note: the files expect the account Acme EU, and whose key this is can't be known; nothing could be compared"
        in ended.err
    )


def test_nothing_is_written_of_a_service_on_this_machine(shell: Shell) -> None:
    """It is there for trying things out: another one is the rule."""
    (shell.folder / "automation.yaml").unlink()
    with listening("Acme EU") as (url, _):
        ended = shell(f"import bbb --base-url {url}")
    assert ended.code == 0
    assert "expect" not in ended.out


def test_the_sandbox_is_not_compared(shell: Shell) -> None:
    """Files of a live service can be tried in the sandbox, and keep what they expect."""
    shell.write("automation.yaml", files(LIVE, "Acme EU"))
    ended = shell("import bbb --into automation.yaml --sandbox")
    assert ended.code == 0, ended.err
    assert (shell.folder / "automation.yaml").read_text().count("expect:") == 1
    assert shell("validate").code == 0


WHO: dict[str, tuple[Answer, str | None]] = {
    "named": (ok({"tenantName": "Acme EU"}), "Acme EU"),
    "without a tenant": (fail(403, "API_105"), None),
    "without such a call": (fail(404), None),
    "a name that is none": (ok({"tenantName": 7}), None),
    "a blank name": (ok({"tenantName": " "}), None),
    "hostile": (ok({"tenantName": "Acme\u202e\n"}), "Acme\\u{202e}\\u{a}"),
}


@pytest.mark.parametrize("name", WHO)
def test_whose_key_it_is(name: str) -> None:
    """The tenant's name, harmless; nothing where the service does not tell it, which is no error."""
    answer, account = WHO[name]
    stub = Stub(script(answer))

    async def go() -> str | None:
        async with Transport(
            base_url=LIVE, key="test-key-1234", parallelism=1, clock=SystemClock(), jitter=lambda: 0.5, asgi_app=stub
        ) as transport:
            return await read_account(transport)

    assert asyncio.run(go()) == account
    assert expect_of(url=LIVE, account=account) == Expect(url=LIVE, account=account)
    assert stub.calls == ["GET /v2/whoami"]


READS = ["plan", "drift", "status", "status bbb", "coverage"]
WRITES = ["apply --auto-approve", "rebalance bbb --auto-approve"]


@pytest.mark.parametrize("line", [*READS, *WRITES])
def test_every_command_compares_the_service(shell: Shell, line: str) -> None:
    """Another one hears nothing at all."""
    shell.write("automation.yaml", files(LIVE))
    with listening("Acme EU") as (url, asked):
        ended = shell(f"{line} --base-url {url}")
    assert (ended.code, ended.out, asked) == (7, "", [])
    assert f"the files expect the service {LIVE}, and this is {url}" in ended.err


@pytest.mark.parametrize("line", [*READS, *WRITES])
def test_every_command_compares_the_account(shell: Shell, line: str) -> None:
    """Of another one nothing is read."""
    with listening("Acme US") as (url, asked):
        shell.write("automation.yaml", files(url, "Acme EU"))
        ended = shell(f"{line} --base-url {url}")
    assert (ended.code, ended.out, asked) == (7, "", ["/v2/whoami"])
    assert "the files expect the account Acme EU, and this key belongs to Acme US" in ended.err


@pytest.mark.parametrize("line", [*READS, *WRITES])
def test_an_account_that_nobody_knows(shell: Shell, line: str) -> None:
    """Who only reads says so and goes on, who writes does not."""
    unknown = "the files expect the account Acme EU, and whose key this is can't be known"
    with listening(None) as (url, asked):
        shell.write("automation.yaml", files(url, "Acme EU"))
        ended = shell(f"{line} --base-url {url}")
    assert unknown in ended.err
    if line in WRITES:
        assert (ended.code, asked) == (7, ["/v2/whoami"])
    else:
        assert ended.code != 7
        assert len(asked) > 1


def test_a_plan_is_of_its_account(shell: Shell) -> None:
    """It stands in its first line, its JSON and its fingerprint; with another account's key it is not applied."""
    shell.write("automation.yaml", "version: 1\nportfolios:\n  aaa: {state: active, interval: 24h}\n")
    service = Account("Acme EU")
    with loopback(service) as url:
        planned = shell(f"plan --base-url {url} --out plan.json")
        assert f"live at {url}, account Acme EU" in planned.out
        document = json.loads((shell.folder / "plan.json").read_text())
        assert document["account"] == "Acme EU"
        for theirs, sentence in (
            ("Acme US", "and this key belongs to Acme US"),
            (None, "and whose key this is can't be known"),
        ):
            service.name = theirs
            service.asked.clear()
            ended = shell(f"apply plan.json --base-url {url}")
            assert (ended.code, service.asked) == (7, ["/v2/whoami"])
            assert f"the plan was made for the account Acme EU, {sentence}" in ended.err
    (shell.folder / "plan.json").write_text(json.dumps({**document, "account": "Acme US"}))
    assert shell(f"apply plan.json --base-url {url}").code == 3


def test_files_of_another_account_are_one_sentence(shell: Shell) -> None:
    """Where most of what is declared is not found, nothing else is worth saying, and nothing is written."""
    names = ("a", "b", "c", "d")
    shell.write("automation.yaml", json.dumps({"version": 1, "portfolios": {i: {"state": "paused"} for i in names}}))
    for missing, code in ((("a", "b", "c"), 7), (("a", "b"), 1)):
        for line in ("plan", "apply --auto-approve"):
            with listening("Acme US", missing=missing) as (url, _):
                ended = shell(f"{line} --base-url {url}")
            assert ended.code == code
            told = f"3 of 4 portfolios are not found at {url}; the key belongs to the account Acme US"
            assert (told in ended.err) is (code == 7)
