"""Two accounts on two services, with the same ids in each: random histories of files, keys, services and journals.

Whatever a pipeline mixes up, nothing is written of an account with the files, the key or the journal of another one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.loopback import Reply, Request, loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Shell

pytestmark = pytest.mark.slow

KEYS = {"Acme EU": "key-of-acme-eu-12345678", "Acme US": "key-of-acme-us-12345678"}
ACCOUNTS = tuple(KEYS)


class Write(NamedTuple):
    """One write that a service took: with whose key, of which portfolio, and which."""

    account: str
    portfolio: str
    verb: str


class Accounts:
    """What one service holds for both accounts: the pause reasons of two portfolios each, and the writes it took."""

    def __init__(self) -> None:
        self.paused: dict[tuple[str, str], str | None] = {}
        self.writes: list[Write] = []

    def answer(self, account: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the data of an answer; ``None`` for what is not there."""
        if path == "/v2/whoami":
            return {"tenantName": account, "scopes": []}
        if path.startswith("/v2/portfolios?"):
            return {"portfolios": []}
        if not path.startswith("/v1/portfolio"):
            return None
        portfolio, verb = path.split("/")[3], path.rpartition("/")[2]
        if method == "POST":
            self.writes.append(Write(account, portfolio, verb))
            if verb == "pause":
                self.paused[account, portfolio] = f"Paused via API: {body.get('reason')}"
            else:
                self.paused.pop((account, portfolio), None)
        shown = {"portfolioId": portfolio, "hasAutomation": True}
        if (account, portfolio) not in self.paused:
            return shown | {"status": "active"}
        return shown | {"status": "paused", "details": {"pauseReason": self.paused[account, portfolio]}}


@contextmanager
def listening() -> Iterator[tuple[str, Accounts]]:
    """Answer on a loopback port for both keys; yield its URL and what it holds."""
    held = Accounts()

    def answer(request: Request) -> Reply:
        sent = str(request.headers)
        (account,) = (name for name, key in KEYS.items() if key in sent)
        data = held.answer(account, request.method, request.path, request.data)
        return Reply({"success": data is not None, "data": data, "nextCursor": None}, 404 if data is None else 200)

    with loopback(answer) as url:
        yield url, held


class Step(NamedTuple):
    """One thing that happens: a run with these files, this key, at this service, or somebody's own pause there."""

    by_hand: bool
    files_of: tuple[int, str]
    at: tuple[int, str]
    state: str
    journal: str
    saved: bool


PLACES = st.tuples(st.sampled_from((0, 1)), st.sampled_from(ACCOUNTS))
STEPS = st.builds(
    Step,
    by_hand=st.sampled_from((False, False, False, True)),
    files_of=PLACES,
    at=PLACES,
    state=st.sampled_from(("active", "paused")),
    journal=st.sampled_from(("one", "other")),
    saved=st.booleans(),
)
HISTORIES = st.lists(
    st.tuples(STEPS, st.booleans()).map(lambda pair: pair[0]._replace(files_of=pair[0].at) if pair[1] else pair[0]),
    min_size=1,
    max_size=8,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORIES)
def test_nothing_is_written_with_what_belongs_to_another_account(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, history: list[Step]
) -> None:
    """A write goes where files and key agree; a pause by hand stays, whatever the other's journal knows of that id."""
    for old in shell.folder.glob("*.db*"):
        old.unlink()
    with listening() as one, listening() as two:
        services = (one, two)
        by_hand: set[tuple[int, str]] = set()
        for step in history:
            number, account = step.at
            url, held = services[number]
            if step.by_hand:
                if (account, "aaa") not in held.paused:
                    held.paused[account, "aaa"] = None
                    by_hand.add(step.at)
                continue
            expected_url, expected = services[step.files_of[0]][0], step.files_of[1]
            shell.write(
                "automation.yaml",
                f"version: 1\nservice:\n  expect: {{url: '{expected_url}', account: {expected}}}\n"
                f"portfolios:\n  aaa: {{state: {step.state}}}\n  bbb: {{state: {step.state}}}\n",
            )
            monkeypatch.setenv("GLIDER_API_KEY", KEYS[account])
            before = [list(service.writes) for _, service in services]
            options = f"--base-url {url} --journal {shell.folder / step.journal}.db"
            if step.saved:
                shell(f"plan {options} --out plan.json")
                ended = shell(f"apply plan.json {options}") if (shell.folder / "plan.json").exists() else None
                (shell.folder / "plan.json").unlink(missing_ok=True)
            else:
                ended = shell(f"apply --auto-approve {options}")
            wrote = [service.writes[len(old) :] for (_, service), old in zip(services, before, strict=True)]
            if step.files_of != step.at:
                assert wrote == [[], []]
                assert ended is None or ended.code == 7
                continue
            assert wrote[1 - number] == []
            assert {write.account for write in wrote[number]} <= {account}
            assert ended is not None
            assert ended.code in (0, 2), ended.err
            if step.at in by_hand:
                assert Write(account, "aaa", "resume") not in wrote[number]
            stands = "paused" if (account, "bbb") in held.paused else "active"
            assert stands == step.state
