"""Keys: what is accepted; and what ``doctor`` asks of the service, bounded, with everything hostile made harmless."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from reconciler.api.key import ask_service
from reconciler.api.transport import Transport
from reconciler.core.doctor import Asking, ServiceAnswer
from reconciler.core.endpoint import checked_key
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.model import PortfolioId
from tests.support import NOON_MS, FakeClock, World, run

KEY = "gldr_sk_canary_4f1d7c"


def asked(app: Any, portfolio: str | None = None, bound_s: float = 10.0) -> Asking:
    """Ask an ASGI application."""

    async def main() -> Asking:
        clock = FakeClock()
        async with Transport(
            base_url="sandbox://t", key=KEY, parallelism=1, clock=clock, jitter=lambda: 0.5, asgi_app=app
        ) as transport:
            on_v1 = PortfolioId(portfolio) if portfolio is not None else None
            return await ask_service(transport, portfolio=on_v1, clock=clock, bound_s=bound_s)

    found: Asking = run(main())
    return found


def answering(body: object, *headers: tuple[bytes, bytes], status: int = 200) -> Any:
    """Return an application that always gives this answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": content})

    return app


def first(asking: Asking) -> ServiceAnswer:
    assert isinstance(asking.whoami[0], ServiceAnswer)
    return asking.whoami[0]


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (b"Sun, 22 Nov 2026 12:00:00 GMT", NOON_MS),
        (b"Sun, 22 Nov 2026 12:00:00 -0000", None),
        (b"yesterday", None),
        (b"", None),
        (b"\xff", None),
        (b"Sun, 22 Nov 999999 12:00:00 GMT", None),
    ],
)
def test_the_date_of_an_answer(date: bytes, expected: int | None) -> None:
    """The time of an answer is read where HTTP's form of it is there, and nothing else is."""
    assert first(asked(answering({}, (b"Date", date)))).date_ms == expected


def test_hostile_text_is_harmless_and_the_key_is_not_in_it() -> None:
    """Names, scopes and headers are made harmless and cut, and an echoed key is taken out."""
    data = {"tenantName": f"\x1b[31m{KEY}" + "x" * 500, "scopes": ["a\u202eb"]}
    app = answering({"success": True, "data": data}, (b"X-RateLimit-Remaining", b"9\x1b" + KEY.encode()))
    found = first(asked(app))
    assert found.scopes == {"a\\u{202e}b"}
    assert found.tenant is not None
    assert found.tenant.startswith("\\u{1b}[31m[key]x")
    assert found.limits == (("remaining", "9\\u{1b}[key]"),)
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("scopes", "known"),
    [
        (["portfolios:read"], {"portfolios:read"}),
        ([{"name": "portfolios:read"}, {"name": "strategies:read"}], {"portfolios:read", "strategies:read"}),
        ([["Portfolios:Read"]], {"portfolios:read"}),
        ([], set()),
        (["*"], None),
        ("*", None),
        ({"portfolios:read": True}, None),
        (["portfolios:read", 3], None),
        (None, None),
    ],
)
def test_scopes_of_the_key(scopes: object, known: set[str] | None) -> None:
    """They are known where each is named, in whatever shape; else not at all, so that none counts as missing."""
    assert first(asked(answering({"success": True, "data": {"scopes": scopes}}))).scopes == known


@pytest.mark.parametrize(
    ("body", "status", "glider"),
    [
        ({"success": True, "data": {}}, 200, True),
        ({"success": False, "error": {}}, 401, True),
        ({"error": "Too Many Requests", "retryAfter": 4}, 429, True),
        ({"error": "Too Many Requests"}, 429, False),
        ({"retryAfter": 4}, 200, False),
        ({"success": "yes"}, 200, False),
        (b"<html>", 200, False),
        (b"[" * 100_000, 200, False),
        ([], 200, False),
    ],
)
def test_what_is_gliders(body: object, status: int, glider: bool) -> None:
    """An answer is Glider's where it stands in one of its envelopes (API facts §2.1, §2.2, §2.5)."""
    assert first(asked(answering(body, status=status))).glider is glider


def test_a_service_that_hangs_is_given_up() -> None:
    """A request is given up after its time, and no second one is sent."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    found = asked(app, "aaa", bound_s=0.05)
    (failure,) = found.whoami
    assert isinstance(failure, ApiError)
    assert (failure.kind, str(failure)) == (FailureKind.INTERRUPTED, "no whole answer within 0.05 s")
    assert found.portfolio is None


def test_a_rate_limit_is_not_asked_again() -> None:
    """A 429 is no reason to go on asking who the key is."""
    assert len(asked(answering({"retryAfter": 1}, status=429)).whoami) == 1


def test_nothing_is_written(tmp_path: Any) -> None:
    """Every request to the sandbox is a GET, and the portfolio stays as it was."""
    world = World(tmp_path / "j.db", {"aaa": {}})
    found = asked(world.app, "aaa")
    assert found.routes is not None
    assert [found.routes.reference.status, found.routes.guide.status, found.routes.nowhere.status] == [405, 405, 404]
    assert {request.method for request in world.app.requests.kept()} == {"GET"}
    assert world.writes() == []


@pytest.mark.parametrize("text", ["", "  \n", "gldr sk", "gldr\nsk", "gldr\x00sk", "schlüssel", "a\x7fb"])
def test_a_key_that_can_not_be_one_is_refused_without_showing_it(text: str) -> None:
    """A key that no header can carry ends in the error for a missing permission, naming the variable only."""
    with pytest.raises(ApiError) as caught:
        checked_key(text)
    assert caught.value.kind is FailureKind.UNAUTHENTICATED
    assert "GLIDER_API_KEY" in str(caught.value)
    assert not text.strip() or text.strip() not in str(caught.value)


def test_whitespace_around_the_key_is_dropped() -> None:
    """A line break from a secret's file does no harm."""
    assert checked_key(" gldr_sk_abc\r\n") == "gldr_sk_abc"
