"""A loopback server that answers status reads of a generated fleet after a fixed latency, as cheaply as can be.

In: ``python -m benchmarks.server COUNT SEED LATENCY_MS [RATE BURST]``. Out: its port, as one line on stdout; then
HTTP/1.1 with keep-alive. With RATE and BURST it serves so many requests a second from a bucket of that size, and
answers 429 with ``Retry-After: 1`` and nothing else when that is empty. A BURST of 0 stands for windows of a second, of
which every answer says by ``X-RateLimit-*`` how much is left. Each address that requests come from has a limit of its
own. A pause is kept. The same fleet is listed on v2. ``GET
/counts`` answers what it has seen since the last such request. It ends when its stdin does, so that it never outlives
whoever started it. Made to be a small part of what is measured, not to be right about HTTP.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.fleet import list_row, members, pause_answer, paused, status_answer

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = b"GET /v1/portfolio/"
SUFFIX = b"/automation/status"
WRITE = b"POST /v1/portfolio/"
PAUSE = b"/rebalance/schedule/pause"
PAGE = b"GET /v2/portfolios?"
ROWS = 200


@dataclass(slots=True)
class Counts:
    """What was seen: ``reads`` of known portfolios and pages, ``writes``, ``refused`` ones, ``others``, the most
    connections at a time."""

    reads: int = 0
    writes: int = 0
    refused: int = 0
    others: int = 0
    open: int = 0
    most_open: int = 0


class Bucket:
    """A limit of ``rate`` requests a second, and ``burst`` at once after a rest."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = self.left = burst
        self.filled = 0.0

    def take(self) -> bool:
        """Whether one more request is served now."""
        now = time.monotonic()
        self.left = min(self.burst, self.left + (now - self.filled) * self.rate)
        self.filled = now
        served = self.left >= 1
        self.left -= served
        return served


class Windows:
    """A limit of ``rate`` requests in each second of the clock."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.time) -> None:
        self.rate = int(rate)
        self.clock = clock
        self.second = self.used = 0

    def take(self) -> bool:
        """Whether one more request is served now."""
        if (second := int(self.clock())) != self.second:
            self.second, self.used = second, 0
        self.used += 1
        return self.used <= self.rate

    def headers(self) -> bytes:
        """Return what is left, as a part of an answer's head."""
        left = max(0, self.rate - self.used)
        return b"x-ratelimit-limit: %d\r\nx-ratelimit-remaining: %d\r\nx-ratelimit-reset: %d\r\n" % (
            *(self.rate, left),
            self.second + 1,
        )


class Fleet:
    """The answers, by path; whole responses, head included."""

    def __init__(self, count: int, seed: int, latency_s: float, limit: Callable[[], Bucket | Windows | None]) -> None:
        self.latency_s = latency_s
        self.limits: defaultdict[str, Bucket | Windows | None] = defaultdict(limit)
        self.counts = Counts()
        self.members = {m.id.encode(): m for m in members(count, seed)}
        self.answers = {name: _response(b"200 OK", status_answer(m)) for name, m in self.members.items()}
        self.pages: list[bytes] = []
        rows = [list_row(member) for member in self.members.values()]
        for begin in range(0, count, ROWS):
            more = str(len(self.pages) + 1) if begin + ROWS < count else None
            page = {"success": True, "data": {"portfolios": rows[begin : begin + ROWS]}, "nextCursor": more}
            self.pages.append(_response(b"200 OK", json.dumps(page).encode()))

    def answer(self, line: bytes, body: bytes, address: str = "127.0.0.1") -> tuple[bytes, float]:
        """Return the response to a request line and a body from an address, and the seconds to wait before it."""
        limit = self.limits[address]
        if line.startswith(PREFIX) and (end := line.find(SUFFIX)) > 0:
            found = self.answers.get(line[len(PREFIX) : end])
            if found is not None:
                return self._limited(found, limit), self.latency_s
        if line.startswith(WRITE) and (end := line.find(PAUSE)) > 0:
            if limit is not None and not limit.take():
                self.counts.refused += 1
                return REFUSAL, self.latency_s
            return self._pause(line[len(WRITE) : end], body), self.latency_s
        if line.startswith(PAGE):
            self.counts.reads += 1
            return self.pages[int(line.partition(b"cursor=")[2].partition(b" ")[0] or 0)], self.latency_s
        if line.startswith(b"GET /counts "):
            seen, self.counts = self.counts, Counts(open=self.counts.open, most_open=0)
            return _response(b"200 OK", json.dumps(asdict(seen)).encode()), 0.0
        self.counts.others += 1
        return _response(b"404 Not Found", b'{"success":false,"error":{"code":"API_200","message":"unknown"}}'), 0.0

    def _pause(self, name: bytes, body: bytes) -> bytes:
        self.counts.writes += 1
        member = paused(self.members[name], json.loads(body)["reason"])
        self.answers[name] = _response(b"200 OK", status_answer(member))
        return _response(b"200 OK", pause_answer(member))

    def _limited(self, found: bytes, limit: Bucket | Windows | None) -> bytes:
        """Return an answer as far as the limit allows, with what is left where it says that."""
        served = limit is None or limit.take()
        self.counts.reads += served
        self.counts.refused += not served
        response = found if served else REFUSAL
        if isinstance(limit, Windows):
            line, _, rest = response.partition(b"\r\n")
            response = b"%b\r\n%b%b" % (line, limit.headers(), rest)
        return response


class Connection(asyncio.Protocol):
    """One connection; requests are not pipelined."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.received = b""
        self.address = ""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.address = transport.get_extra_info("peername")[0]
        counts = self.fleet.counts
        counts.open += 1
        counts.most_open = max(counts.most_open, counts.open)

    def connection_lost(self, _: Exception | None) -> None:
        """Count it off."""
        self.transport = None
        self.fleet.counts.open -= 1

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end]
            _, _, length = head.lower().partition(b"content-length:")
            end += 4
            whole = end + int(length.partition(b"\r\n")[0] or 0)
            if len(self.received) < whole:
                return
            body, self.received = self.received[end:whole], self.received[whole:]
            response, wait = self.fleet.answer(head[: head.find(b"\r\n")], body, self.address)
            if wait:
                asyncio.get_running_loop().call_later(wait, self._send, response)
            else:
                self._send(response)

    def _send(self, response: bytes) -> None:
        if self.transport is not None:
            self.transport.write(response)


def _response(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    return head + body


REFUSAL = _response(b"429 Too Many Requests\r\nretry-after: 1", b'{"error":"Too Many Requests"}')


async def serve(fleet: Fleet) -> None:
    """Serve on a free port until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(fleet), "127.0.0.1", 0, backlog=256)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    _count, _seed, _latency_ms, *_limit = sys.argv[1:]
    _rate, _burst = map(float, _limit or (0, 0))

    def _limit_of_one() -> Bucket | Windows | None:
        return Bucket(_rate, _burst) if _burst else Windows(_rate) if _rate else None

    asyncio.run(serve(Fleet(int(_count), int(_seed), int(_latency_ms) / 1_000, _limit_of_one)))
