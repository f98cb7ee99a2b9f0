"""Everything that can go wrong with one call: on the wire, in HTTP, in what is said. Each is a spoil by its name."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import h11

from reconciler.api.connection import NoConnection
from tests.faults.support import FACTS, READ, Answer, Died
from tests.support import HOUR_MS

if TYPE_CHECKING:
    from tests.faults.support import Exchange, Spoil

DAY = 24 * HOUR_MS
TEN_MINUTES = 600
TEN_YEARS = 315_360_000
HTML = b"<!doctype html><title>Bad gateway</title>"


def _failure(status: int, code: str = "API_000", **more: Any) -> Answer:
    error = {"code": code, "message": "An error occurred", "details": {}}
    return Answer(status, json.dumps({"success": False, "error": error, **more}).encode())


def lost(error: Exception, *, after: bool = False) -> Spoil:
    """The connection ends, before the work or after it."""

    async def spoil(exchange: Exchange) -> Answer:
        if after:
            await exchange.work()
        raise error

    return spoil


def answers(answer: Answer, *, after: bool = False) -> Spoil:
    """Something else is answered, instead of the work or after it."""

    async def spoil(exchange: Exchange) -> Answer:
        if after:
            await exchange.work()
        return answer

    return spoil


def status(number: int, *, after: bool = False, code: str = "API_000") -> Spoil:
    return answers(_failure(number, code), after=after)


async def gone(exchange: Exchange) -> Answer:
    """There is neither a status nor the portfolio, this time."""
    exchange.wire.arm(status(404, code="API_200"), FACTS, exchange.portfolio)
    return _failure(404, "API_200")


def limited(*, header: str | None, in_body: int | None, enveloped: bool) -> Spoil:
    """429 in one of its shapes; a ``header`` of ``date`` is a date so many seconds ahead as the body says."""

    async def spoil(exchange: Exchange) -> Answer:
        named: dict[str, Any] = {} if in_body is None else {"retryAfter": in_body}
        text = header
        if header == "date":
            text = formatdate(exchange.wire.clock.now_ms() / 1000 + 5, usegmt=True)
            named = {}
        body = {"error": "Too Many Requests", "message": "Rate limit exceeded", **named}
        answer = _failure(429, "API_004", **named) if enveloped else Answer(429, json.dumps(body).encode())
        return replace(answer, headers=((b"Retry-After", text.encode()),)) if text else answer

    return spoil


def said(change: Any) -> Spoil:
    """The work is done, and its answer's data is changed."""

    async def spoil(exchange: Exchange) -> Answer:
        answer = await exchange.work()
        return answer.saying(change(answer.data)) if answer.status == 200 else answer

    return spoil


def body(change: Any) -> Spoil:
    """The work is done, and its answer's bytes are changed."""

    async def spoil(exchange: Exchange) -> Answer:
        answer = await exchange.work()
        return replace(answer, body=change(answer.body))

    return spoil


def beside(**values: Any) -> Spoil:
    """The work is done, and its answer has other values beside its data."""
    return body(lambda text: json.dumps({**json.loads(text), **values}).encode())


def fields(**values: Any) -> Spoil:
    return said(lambda data: {**data, **values})


def without(*names: str) -> Spoil:
    return said(lambda data: {name: value for name, value in data.items() if name not in names})


async def stores_another(exchange: Exchange) -> Answer:
    """The service stores 12 h whatever was asked for, and says so."""
    asked = json.loads((await exchange.receive())["body"])
    asked["interval"] = DAY // 2 if isinstance(asked["interval"], int) else {"every": DAY // 2}
    sent = json.dumps(asked).encode()

    async def receive() -> Any:
        return {"type": "http.request", "body": sent, "more_body": False}

    return await replace(exchange, receive=receive).work()


def lags(reads: int) -> Spoil:
    """The work is done and answered well, but so many reads do not show it."""

    async def spoil(exchange: Exchange) -> Answer:
        answer = await exchange.work()
        exchange.wire.stale[exchange.portfolio] = reads, exchange.wire.seen[exchange.portfolio]
        return answer

    return spoil


def clock(ms: int) -> Spoil:
    """The machine's clock is set while the call is under way."""

    async def spoil(exchange: Exchange) -> Answer:
        answer = await exchange.work()
        exchange.wire.here.off_ms += ms
        return answer

    return spoil


def used_up(seconds: int, *, limited: bool = False) -> Spoil:
    """The answer says that nothing is left of the window, which ends so many seconds from now; or it is a 429."""

    async def spoil(exchange: Exchange) -> Answer:
        answer = _failure(429, "API_004") if limited else await exchange.work()
        ends_s = -(-exchange.wire.clock.now_ms() // 1000) + seconds
        said = ((b"Limit", b"100"), (b"Remaining", b"0"), (b"Reset", str(ends_s).encode()))
        return replace(answer, headers=(*answer.headers, *((b"X-RateLimit-" + name, value) for name, value in said)))

    return spoil


def dawdles(seconds: float) -> Spoil:
    """A read is looked at late, a write is answered late: what happens meanwhile is before a look, or after a write."""

    async def spoil(exchange: Exchange) -> Answer:
        if exchange.call == READ:
            await exchange.wire.clock.sleep(seconds)
            return await exchange.work()
        answer = await exchange.work()
        await exchange.wire.clock.sleep(seconds)
        return answer

    return spoil


async def slow(exchange: Exchange) -> Answer:
    """The answer comes, but late."""
    answer = await exchange.work()
    await exchange.wire.clock.sleep(25)
    return answer


def interrupted(*, after: bool, answered: bool) -> Spoil:
    """A signal comes while the call is under way, and the answer then, or never."""

    async def spoil(exchange: Exchange) -> Answer:
        answer = await exchange.work() if after else None
        exchange.wire.stop.request("interrupted before it began", urgent=not answered)
        if answer is None or not answered:
            await asyncio.Event().wait()
            raise AssertionError("nobody waits for this answer any more")
        return answer

    return spoil


def dies(*, after: bool) -> Spoil:
    """The process is gone while the call is under way."""

    async def spoil(exchange: Exchange) -> Answer:
        if after:
            await exchange.work()
        exchange.wire.life.dead = True
        raise Died

    return spoil


NOT_SENT: dict[str, Spoil] = {
    "connection refused": lost(NoConnection("Connection refused")),
    "name not found": lost(NoConnection("Name or service not known")),
    "certificate refused": lost(NoConnection("certificate verify failed")),
    "no connection in time": lost(NoConnection("nothing answered within 10 s")),
    "a proxy that refuses": lost(NoConnection("the proxy refused to connect: 407")),
}
LOST_BEFORE: dict[str, Spoil] = {
    "reset before the work": lost(ConnectionResetError(104, "Connection reset by peer")),
    "broken pipe": lost(BrokenPipeError(32, "Broken pipe")),
    "closed without an answer": lost(ConnectionError("the service closed it without an answer")),
    "read timeout before the work": lost(TimeoutError("nothing came for 30 s")),
    "no whole answer in time": lost(TimeoutError()),
    "an error of no library": lost(OSError(5, "Input/output error")),
    "408": status(408),
    "500": status(500),
    "500 without a body": answers(Answer(500, b"")),
    "502 html": answers(Answer(502, HTML)),
    "503": status(503),
    "504": status(504),
}
ODD_BEFORE: dict[str, Spoil] = {
    "302": answers(Answer(302, b"", ((b"Location", b"https://elsewhere.example/"),))),
    "307": answers(Answer(307, b"", ((b"Location", b"/v2"),))),
    "304": answers(Answer(304, b"")),
    "200 html": answers(Answer(200, HTML)),
    "200 with success false": status(200),
}
LOST_AFTER: dict[str, Spoil] = {
    "reset after the work": lost(ConnectionResetError(104, "Connection reset by peer"), after=True),
    "read timeout after the work": lost(TimeoutError("nothing came for 30 s"), after=True),
    "cut body": lost(h11.RemoteProtocolError("peer closed connection without a complete body"), after=True),
    "500 after the work": status(500, after=True),
    "502 html after the work": answers(Answer(502, HTML), after=True),
    "504 after the work": status(504, after=True),
}
ODD_AFTER: dict[str, Spoil] = {
    "success false after the work": status(200, after=True),
    "empty": body(lambda _: b""),
    "not json": body(lambda _: b"upstream connect error"),
    "truncated": body(lambda text: text[: len(text) // 2]),
    "not utf-8": body(lambda text: b"\xff\xfe" + text),
    "a list": body(lambda text: b"[" + text + b"]"),
    "not a number": body(lambda text: text.replace(b"true", b"NaN", 1)),
    "too large": body(lambda text: text[:-1] + b',"x":"' + b"x" * (4 << 20) + b'"}'),
    "too deep": body(lambda text: text[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "another portfolio": fields(portfolioId="zz0zz0zz"),
}
REFUSED: dict[str, Spoil] = {
    "400": status(400, code="API_002"),
    "409": status(409, code="API_202"),
    "413": status(413),
    "422": status(422),
    "mainnet minimum": status(400, code="SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT"),
}
NO_ROUTE: dict[str, Spoil] = {"404": status(404, code="API_006"), "405": status(405, code="API_003")}
LIMITED: dict[str, Spoil] = {
    "429 seconds": limited(header="5", in_body=5, enveloped=False),
    "429 date": limited(header="date", in_body=None, enveloped=False),
    "429 body alone": limited(header=None, in_body=5, enveloped=False),
    "429 no wait": limited(header=None, in_body=None, enveloped=False),
    "429 envelope seconds": limited(header="5", in_body=5, enveloped=True),
    "429 envelope date": limited(header="date", in_body=None, enveloped=True),
    "429 nonsense": limited(header="soon", in_body=None, enveloped=True),
    "429 ten years": limited(header=str(TEN_YEARS), in_body=TEN_YEARS, enveloped=False),
}
LIMITED_LONG: dict[str, Spoil] = {"429 ten minutes": limited(header=str(TEN_MINUTES), in_body=None, enveloped=False)}
WAITS: dict[str, Spoil] = {
    "window used up": used_up(30),
    "window used up and 429": used_up(30, limited=True),
    "window of an hour used up": used_up(3600),
    "1.5 s late": dawdles(1.5),
    "2.5 s late": dawdles(2.5),
    "asleep for a minute": clock(60_000),
}
"""What makes an apply wait, or lets time pass, between a look and its write or after it."""
HARMLESS: dict[str, Spoil] = {
    "slow": slow,
    "clock a day ahead": clock(DAY),
    "clock a day back": clock(-DAY),
    "unknown fields": fields(newThing={"a": [1]}, flags="x"),
    "hostile text": fields(message="\x1b[31m\u202e\ud800" + "x" * 5000),
}
