"""``service.expect`` on the command line: an import compares it, and writes it where nobody has."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.api.rebalance import Rebalances
from reconciler.api.router import Glider
from reconciler.api.transport import Transport
from reconciler.cli.adopting import read_expect
from reconciler.cli.output import Output
from reconciler.cli.service import Service, SystemClock
from reconciler.core.errors import NotExpected
from reconciler.core.expect import NOTHING, Expect
from reconciler.core.paths import Paths
from tests.api.stub_service import Service as Stub
from tests.api.stub_service import fail, ok, script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.stub_service import Answer
    from tests.cli.conftest import Shell

LIVE = "https://api.glider.fi"
OURS = Expect(url=LIVE, account="Acme EU")


def files(url: str, account: str = "") -> str:
    """Return a file of one portfolio that expects somebody."""
    whose = f", account: {account}" if account else ""
    return f"version: 1\nservice:\n  expect: {{url: '{url}'{whose}}}\nportfolios:\n  aaa:\n    state: active\n"


@contextmanager
def listening(account: str | None) -> Iterator[tuple[str, list[str]]]:
    """Answer on a loopback port as a service of this account; yield its URL and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data: dict[str, Any] = {"portfolioId": "bbb", "status": "inactive", "hasAutomation": False}
            if self.path == "/v2/whoami":
                data = {"tenantName": account, "scopes": []}
            known = self.path != "/v2/whoami" or account is not None
            body = json.dumps({"success": known, "data": data} if known else {"success": False}).encode()
            self.send_response(200 if known else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


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
    assert "note: whose key this is can't be known, so it was not compared with Acme EU" in ended.err


def test_whose_key_it_is_is_not_asked_where_nobody_wants_to_know(shell: Shell) -> None:
    """Files without an account, and a service on this machine: one call less, and nothing written of it."""
    (shell.folder / "automation.yaml").unlink()
    with listening("Acme EU") as (url, asked):
        ended = shell(f"import bbb --base-url {url}")
    assert ended.code == 0
    assert "/v2/whoami" not in asked
    assert "expect" not in ended.out


def test_the_sandbox_is_not_compared(shell: Shell) -> None:
    """Files of a live service can be tried in the sandbox, and keep what they expect."""
    shell.write("automation.yaml", files(LIVE, "Acme EU"))
    ended = shell("import bbb --into automation.yaml --sandbox")
    assert ended.code == 0, ended.err
    assert (shell.folder / "automation.yaml").read_text().count("expect:") == 1
    assert shell("validate").code == 0


WHO: dict[str, tuple[Answer, Expect, Expect]] = {
    "nobody is expected yet": (ok({"tenantName": "Acme EU"}), NOTHING, OURS),
    "without a tenant": (fail(403, "API_105"), NOTHING, Expect(url=LIVE)),
    "without such a call": (fail(404), NOTHING, Expect(url=LIVE)),
    "a name that is none": (ok({"tenantName": 7}), NOTHING, Expect(url=LIVE)),
    "a blank name": (ok({"tenantName": " "}), NOTHING, Expect(url=LIVE)),
    "hostile": (ok({"tenantName": "Acme\u202e\n"}), NOTHING, Expect(url=LIVE, account="Acme\\u{202e}\\u{a}")),
    "the same": (ok({"tenantName": "Acme EU"}), OURS, NOTHING),
    "left out on purpose": (ok({"tenantName": "Acme US"}), Expect(url=LIVE), NOTHING),
}


def ask(answer: Answer, expected: Expect) -> tuple[Expect, list[str]]:
    """Return what new files are to say, and the calls that it took."""
    stub = Stub(script(answer))

    async def go() -> Expect:
        clock = SystemClock()
        async with Transport(
            base_url=LIVE, key="test-key-1234", parallelism=1, clock=clock, jitter=lambda: 0.5, asgi_app=stub
        ) as transport:
            api = Glider(transport, paths=Paths.AUTO, versions={})
            service = Service(api=api, rebalances=Rebalances(transport, api.v1), label=LIVE, clock=clock)
            return await read_expect(expected, service, Output(format="text", verbose=False, quiet=True, color=False))

    return asyncio.run(go()), stub.calls


@pytest.mark.parametrize("name", WHO)
def test_what_is_written_of_a_live_service(name: str) -> None:
    """The service and its account where the files expect nobody; nothing where they say it, or leave it out."""
    answer, expected, written = WHO[name]
    found, calls = ask(answer, expected)
    assert found == written
    assert calls == ([] if name == "left out on purpose" else ["GET /v2/whoami"])


def test_another_account_of_a_live_service_is_refused() -> None:
    """By the sentence that names both."""
    with pytest.raises(NotExpected, match="Acme EU, and this key belongs to Acme US"):
        ask(ok({"tenantName": "Acme US"}), OURS)
