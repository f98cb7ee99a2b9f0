"""The same application on a real port: answers arrive, and lost ones really are lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import httpx2
import pytest

from reconciler.core.errors import SandboxError
from reconciler.sandbox import Fault, FaultKind, Store, bind, make_server, parse_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.sandbox.conftest import Bench

    Make = Callable[..., Bench]

pytestmark = pytest.mark.slow


@pytest.fixture
def served(bench: Make) -> Iterator[tuple[Bench, httpx2.Client]]:
    """A simulator on a free port of the loopback, and a client for it."""
    here = bench()
    with bind("127.0.0.1", 0) as listening:
        server = make_server(here.app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx2.Client(base_url=url, headers={"X-API-KEY": "k"}, timeout=60, trust_env=False) as client:
            yield here, client
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


STATUS = "/v1/portfolio/p/automation/status"
PAUSE = "/v1/portfolio/p/pause"


def test_lost_connections(served: tuple[Bench, httpx2.Client], caplog: pytest.LogCaptureFixture) -> None:
    """Before or after the work, not one byte of an answer comes; the server goes on and complains of nothing."""
    here, client = served
    assert client.get(STATUS).json()["data"]["status"] == "active"
    for kind, word in ((FaultKind.LOST_BEFORE, "active"), (FaultKind.LOST_AFTER, "paused")):
        here.faults.add(Fault(kind=kind))
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)) as caught:
            client.post(PAUSE)
        assert "without sending a response" in str(caught.value) or isinstance(caught.value, httpx2.ReadError)
        assert client.get(STATUS).json()["data"]["status"] == word
    assert caplog.records == []


def test_spoilt_bodies_arrive_as_they_are(served: tuple[Bench, httpx2.Client]) -> None:
    """An empty and a cut body are whole answers to HTTP; only their reader can tell."""
    here, client = served
    here.faults.add(Fault(kind=FaultKind.EMPTY), Fault(kind=FaultKind.TRUNCATED))
    assert client.get(STATUS).content == b""
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        client.get(STATUS).json()


def test_a_port_that_is_taken_is_explained() -> None:
    """The error names the address and the flag."""
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(SandboxError) as caught:
            bind("127.0.0.1", port)
    assert f"127.0.0.1:{port}" in caught.value.summary
    assert "--port" in caught.value.detail


PROGRAM = """
import pathlib, sys
from reconciler.sandbox import Store, create_app, serve_app
store = Store.open(pathlib.Path(sys.argv[1]))
app = create_app(store, now_ms=lambda: 1_795_000_000_000)
serve_app(app, host="127.0.0.1", port=0, ready=lambda url: print(url, flush=True))
"""


def test_another_process_serves_the_same_file(tmp_path: Path) -> None:
    """A served sandbox follows what other processes do to its file, and a signal ends it."""
    path = tmp_path / "sandbox.db"
    seed = parse_seed({"version": 1, "portfolios": {"p": {"status": "active", "started": "0s"}}})
    store = Store.load(path, seed, now_ms=1_795_000_000_000)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with httpx2.Client(base_url=url, headers={"X-API-KEY": "k"}, timeout=60, trust_env=False) as client:
                assert client.get(STATUS).json()["data"]["details"]["totalExecutions"] == 0
                store.advance(24 * 3_600_000)
                assert client.get(STATUS).json()["data"]["details"]["totalExecutions"] == 4
                assert client.post(PAUSE).status_code == 200
            saved = store.portfolio("p")
            assert saved is not None
            assert (saved.runs, saved.state) == (4, "paused")
        finally:
            process.send_signal(signal.SIGTERM)
        _out, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (-signal.SIGTERM, "")
    store.close()
