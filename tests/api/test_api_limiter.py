"""The pace of a whole run on the wire: what a dead service costs, and how a limiting one is worked through."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import LoopClock, Strays, reads, simulated_loop
from stub_service import NOW_MS, Request, Service, StillClock, fail, ok, raw_server, script, transport

from reconciler.api.fleet import read_all as read_many
from reconciler.api.limiter import PacedCall, RequestLimiter
from reconciler.core.errors import ApiError, ExitReason, FailureKind, exit_reason_of
from tests.support import World, examples, portfolio

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.api.transport import Transport

GONE = "gone"
LIMITED = fail(429, Retry_After="7")


class Window:
    """An ASGI application that serves ``limit`` requests in each window of ``window_s``, by the clock of the run."""

    def __init__(self, clock: StillClock, *, limit: int, window_s: int, tells: bool) -> None:
        self.clock = clock
        self.limit = limit
        self.window_s = window_s
        self.tells = tells
        self.ends_ms = 0
        self.used = 0
        self.refused = 0

    def answer(self, request: Request) -> Any:
        if self.clock.now >= self.ends_ms:
            self.ends_ms = (self.clock.now // 1_000 + self.window_s) * 1_000
            self.used = 0
        if self.used >= self.limit:
            self.refused += 1
            wait_s = -(-(self.ends_ms - self.clock.now) // 1_000)
            return 429, {}, json.dumps({"error": "Too Many Requests", "retryAfter": wait_s}).encode()
        self.used += 1
        told = {"X-RateLimit-Remaining": str(self.limit - self.used), "X-RateLimit-Reset": str(self.ends_ms // 1_000)}
        return 200, told if self.tells else {}, b'{"success": true, "data": {}}'


def dead(answers: list[Any]) -> Any:
    """Return an application that gives these answers in turn for ever; ``GONE`` breaks the connection."""
    given = iter(range(10**9))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = answers[next(given) % len(answers)]
        if answer == GONE:
            raise ConnectionResetError
        await Service(lambda _: answer)(scope, receive, send)

    return app


async def _read_all(client: Transport, reads: int, workers: int) -> list[ApiError]:
    failures: list[ApiError] = []
    left = iter(range(reads))

    async def work() -> None:
        for number in left:
            try:
                await client.get(f"/{number}", operation=f"{number}")
            except ApiError as error:
                failures.append(error)

    async with client:
        await asyncio.gather(*(work() for _ in range(workers)))
    return failures


def read_all(client: Transport, reads: int, workers: int = 10) -> list[ApiError]:
    """Send ``reads`` reads by ``workers``; return the failures."""
    return asyncio.run(_read_all(client, reads, workers))


@pytest.mark.parametrize("reads", [1, 10, 60, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("parallelism", [1, 10, 50])
@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        ([fail(500)], {FailureKind.SERVER}),
        ([fail(503, Retry_After="1")], {FailureKind.SERVER}),
        ([fail(429)], {FailureKind.RATE_LIMITED}),
        ([fail(429, Retry_After="0")], {FailureKind.RATE_LIMITED}),
        ([fail(429, Retry_After="7")], {FailureKind.RATE_LIMITED}),
        ([fail(429, Retry_After="600")], {FailureKind.RATE_LIMITED}),
        ([fail(429, Retry_After="99999999999")], {FailureKind.RATE_LIMITED}),
        ([GONE], {FailureKind.INTERRUPTED, FailureKind.UNREACHABLE}),
    ],
)
def test_a_dead_service_costs_a_fifth_more_at_most(
    reads: int, parallelism: int, answers: list[Any], kinds: set[FailureKind]
) -> None:
    """However dead, it is sent at most 1.2 times the calls and 20; the failures are of the kinds that exit with 8."""
    client = transport(dead(answers), parallelism=parallelism)
    failures = read_all(client, reads, workers=parallelism)
    assert len(failures) == reads
    assert client.requests <= 1.2 * reads + 20
    assert {error.kind for error in failures} <= kinds
    assert {exit_reason_of(error.kind) for error in failures} == {ExitReason.UNREACHABLE}


@settings(max_examples=examples(40), deadline=None)
@given(
    answers=st.lists(
        st.sampled_from([GONE, fail(500), fail(503), fail(408), fail(429), fail(429, Retry_After="0")]), min_size=1
    ),
    reads=st.integers(1, 120),
    parallelism=st.integers(1, 20),
)
def test_no_mixture_of_failures_costs_more(answers: list[Any], reads: int, parallelism: int) -> None:
    """The bound holds whatever way a service that never answers well changes its mind."""
    client = transport(dead(answers), parallelism=parallelism)
    assert len(read_all(client, reads, workers=parallelism)) == reads
    assert client.requests <= 1.2 * reads + 20


def test_retries_after_a_limit_are_paid_for_too() -> None:
    """Twenty calls that are all limited and then fail cost no more than twenty that fail at once."""
    client = transport(dead([fail(429, Retry_After="0")] * 20 + [fail(500)] * 200), parallelism=20)
    assert len(read_all(client, 20, workers=20)) == 20
    assert client.requests <= 44


def test_retries_that_succeed_use_nothing_up() -> None:
    """A service that limits every call once, and then lets it through, is worked through however long it takes."""
    client = transport(dead([fail(429, Retry_After="0"), ok({})]), parallelism=1)
    assert read_all(client, 200, workers=1) == []
    assert client.requests == 400


@pytest.mark.slow
def test_nobody_listening_costs_little() -> None:
    """A thousand reads of a port that nobody listens on are given up after a few dozen connections."""

    async def run() -> tuple[list[ApiError], int]:
        async with raw_server(lambda _: None) as server:
            url = server.url
        client = transport(base_url=url, parallelism=10)
        return await _read_all(client, 1_000, 10), client.requests

    failures, requests = asyncio.run(run())
    assert {error.kind for error in failures} == {FailureKind.UNREACHABLE}
    assert requests < 100


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("limit", [5, 7, 40, 100])
@pytest.mark.parametrize("parallelism", [1, 10, 50])
def test_a_limiting_service_is_worked_through(parallelism: int, limit: int, tells: bool) -> None:
    """Every read gets its answer in the end, and no window is refused more often than it has to be."""
    clock = StillClock()
    service = Window(clock, limit=limit, window_s=30, tells=tells)
    client = transport(Service(service.answer), clock=clock, parallelism=parallelism)
    reads = 30 * limit if limit < 10 else 300
    failures = read_all(client, reads, workers=parallelism)
    assert failures == []
    windows = (clock.now - NOW_MS) / 30_000
    assert service.refused <= parallelism + 3 * windows


def test_those_who_wait_are_let_go_in_the_order_of_asking() -> None:
    """A window that ends again and again leaves nobody behind: who asked first goes first."""
    clock = StillClock()
    service = Window(clock, limit=3, window_s=10, tells=True)
    order: list[str] = []

    async def run() -> None:
        async with transport(Service(service.answer), clock=clock, parallelism=30) as client:
            await client.get("/first", operation="first")

            async def call(name: str) -> None:
                await client.get(f"/{name}", operation=name)
                order.append(name)

            await asyncio.gather(*(call(f"{number:02}") for number in range(30)))

    asyncio.run(run())
    assert order == sorted(order)


def test_one_limit_holds_up_nobody_else_for_long() -> None:
    """Who got a 429 waits as it was asked to; meanwhile the others go on, slowly at first, soon as before."""
    service = Strays(frozenset({50}))
    course = reads(service, 1_000, 10)
    assert (course.served, course.refused, course.failed) == (1_000, 1, 0)
    assert course.seconds < 5 + 1


def test_after_a_limit_one_request_goes_alone() -> None:
    """While nothing that was sent later got through, one request at a time asks whether it would."""
    sent = flying = 0
    alone: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent, flying
        sent += 1
        flying += 1
        limited = 41 <= sent <= 48  # all that are on their way together
        if 49 <= sent <= 51:
            alone.append(flying)
        for _ in range(5):
            await asyncio.sleep(0)
        flying -= 1
        await Service(lambda _: fail(429, Retry_After="1") if limited else ok({}))(scope, receive, send)

    assert read_all(transport(app, parallelism=8), 400, workers=8) == []
    assert sent == 408
    assert alone[0] == 1


def test_no_more_are_in_flight_than_are_left() -> None:
    """Where the service says that three are left, three are in flight at most, until its window ends."""
    told = {"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": str(NOW_MS // 1_000 + 3_600)}
    peaks: list[int] = []
    flying = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal flying
        flying += 1
        peaks.append(flying)
        for _ in range(5):
            await asyncio.sleep(0)
        flying -= 1
        await Service(lambda _: (200, told, b"{}"))(scope, receive, send)

    assert read_all(transport(app, parallelism=8), 100, workers=8) == []
    assert max(peaks[:8]) == 8
    assert max(peaks[16:]) == 3


class Rooms:
    """Rooms that come and go in one window of the service: each holds requests that it may send, and sent ones."""

    def __init__(self, parallelism: int, size: int) -> None:
        self.limiter = RequestLimiter(parallelism=parallelism, clock=LoopClock(), jitter=lambda: 0.0)
        self.left = size
        self.rooms: list[tuple[int, list[PacedCall]]] = []
        self.waiting: list[asyncio.Task[int]] = []
        self._tell()

    @property
    def claims(self) -> int:
        return sum(reserved + len(sent) for reserved, sent in self.rooms)

    def _tell(self) -> None:
        reset = str(NOW_MS // 1_000 + 30).encode()
        told = [(b"X-RateLimit-Remaining", str(self.left).encode()), (b"X-RateLimit-Reset", reset)]
        self.limiter.heard(told, limited=False)

    async def step(self, step: str, number: int) -> None:
        """Do one thing, with one of the rooms, where it makes sense; then let go whoever may go."""
        if step == "ask":
            self.waiting.append(asyncio.ensure_future(self.limiter.enter_room("look", number)))
        elif step == "give up" and self.waiting:
            self.waiting.pop(number % len(self.waiting)).cancel()
        elif self.rooms:
            reserved, sent = self.rooms.pop(number % len(self.rooms))
            self.rooms += self._in_room(step, reserved, sent)
        for _ in range(3):
            await asyncio.sleep(0)  # no time passes: the window goes on
        self.rooms += [(task.result(), []) for task in self.waiting if task.done()]
        self.waiting = [task for task in self.waiting if not task.done()]

    def _in_room(self, step: str, reserved: int, sent: list[PacedCall]) -> list[tuple[int, list[PacedCall]]]:
        match step:
            case "claim" if self.limiter.open and self.limiter.reserve_one():
                return [(reserved + 1, sent)]
            case "send" if reserved and self.limiter.open:
                self.limiter.count(call := self.limiter.call("look", safe=True))
                return [(reserved - 1, [*sent, call])]
            case "answer" if sent:
                self.left -= 1
                self._tell()
                self.limiter.succeeded(sent.pop())
                self.limiter.answered()
            case "leave" if not sent:
                self.limiter.give_back(reserved)
                return []
        return [(reserved, sent)]


@given(
    parallelism=st.integers(1, 8),
    size=st.integers(1, 20),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ask", "ask", "claim", "send", "send", "answer", "leave", "give up"]), st.integers(1, 3)
        ),
        max_size=60,
    ),
)
def test_claims_never_exceed_what_is_left(parallelism: int, size: int, steps: list[tuple[str, int]]) -> None:
    """In whatever order rooms and requests come and go: all claims fit into the window, all places into what may be."""

    async def main() -> None:
        rooms = Rooms(parallelism, size)
        for step, number in steps:
            await rooms.step(step, number)
            assert rooms.claims <= rooms.left
            assert len(rooms.rooms) <= parallelism
        for task in rooms.waiting:
            task.cancel()
        await asyncio.gather(*rooms.waiting, return_exceptions=True)

    with asyncio.Runner(loop_factory=simulated_loop) as runner:
        runner.run(main())


def test_a_count_of_nothing_left_is_waited_for() -> None:
    """Where the service says that nothing is left, nothing is sent before its window ends."""
    clock = StillClock()
    told = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW_MS // 1_000 + 30)}
    sent: list[int] = []

    def answer(request: Request) -> Any:
        sent.append(clock.now)
        return 200, told if len(sent) == 1 else {}, b"{}"

    client = transport(Service(answer), clock=clock)
    assert read_all(client, 3, workers=1) == []
    assert sent[1] >= NOW_MS + 30_000
    assert client.notes == ()


@pytest.mark.parametrize("reset", [NOW_MS // 1_000 + 900, NOW_MS])
def test_an_absurd_reset_is_capped_and_said(reset: int) -> None:
    """A window that ends far away is waited for two minutes, once; then the answers alone count."""
    clock = StillClock()
    told = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    client = transport(Service(lambda _: (200, told, b"{}")), clock=clock)
    assert read_all(client, 100, workers=4) == []
    # Each of the four workers sleeps for itself, and every sleep moves the one clock of the test.
    assert 120 <= max(clock.sleeps) < 121
    assert len(clock.sleeps) <= 4
    [note] = client.notes
    assert "the wait was 2m" in note


def test_an_absurd_retry_after_is_capped_and_said() -> None:
    """A wait of years is taken for a minute, the call goes on, and people are told."""
    clock = StillClock()
    client = transport(Service(script(fail(429, Retry_After="99999999999"), ok({}))), clock=clock)
    assert read_all(client, 5, workers=1) == []
    assert 60 <= sum(clock.sleeps) < 61
    [note] = client.notes
    assert note == ("the service asked to wait more than 24h; no rate limit lasts that long, so the wait was 1m")


def test_an_absurd_retry_after_that_is_repeated_ends_the_run() -> None:
    """The second one in a row is believed: a run costs one minute and two requests, and says why."""
    clock = StillClock()
    service = Service(script(fail(429, Retry_After="99999999999")))
    failures = read_all(transport(service, clock=clock), 100, workers=1)
    assert len(service.seen) == 2
    assert sum(clock.sleeps) < 61
    assert {error.kind for error in failures} == {FailureKind.RATE_LIMITED}
    assert "let nothing through" in str(failures[-1])


def test_a_limit_that_names_no_wait_ends_with_its_window() -> None:
    """Without Retry-After, X-RateLimit-Reset of the same answer says how long."""
    clock = StillClock()
    limited = fail(429)
    limited[1].update({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW_MS // 1_000 + 20)})
    assert read_all(transport(Service(script(limited, ok({}))), clock=clock), 1, workers=1) == []
    assert 19 < sum(clock.sleeps) <= 20.5


def test_a_clock_that_is_set_back_makes_no_wait_longer() -> None:
    """What is waited for has nothing to do with the time of day."""

    class SetBack(StillClock):
        def now_ms(self) -> int:
            return super().now_ms() - 3_600_000 * bool(self.sleeps)

    clock = SetBack()
    assert read_all(transport(Service(script(LIMITED, ok({}))), clock=clock), 5, workers=2) == []
    assert 7 <= max(clock.sleeps) < 8


def test_a_cancelled_call_does_not_keep_its_turn() -> None:
    """Whoever is cancelled in the queue, or with the turn just given to it, leaves it to the next."""

    async def run() -> list[bool]:
        limiter = RequestLimiter(parallelism=1, clock=StillClock(), jitter=lambda: 0.5)
        await limiter.enter(PacedCall("first", safe=True))
        waiting = [asyncio.create_task(limiter.enter(PacedCall(f"{n}", safe=True))) for n in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        limiter.leave()
        waiting[1].cancel()
        await asyncio.wait_for(waiting[2], 5)
        return [task.cancelled() for task in waiting]

    assert asyncio.run(run()) == [True, True, False]


@pytest.mark.parametrize("parallelism", [1, 8])
def test_the_sandbox_is_never_asked_more_than_it_allows(tmp_path: Path, parallelism: int) -> None:
    """Forty reads against a limit of ten a minute take four windows, and none of them is refused."""
    names = [f"p{number:03}" for number in range(40)]
    settings = {"rate_limit": {"limit": 10, "window": "60s"}}
    world = World(tmp_path / "journal.db", {name: {} for name in names}, settings, parallelism=parallelism)

    async def read() -> dict[Any, Any]:
        async with world.api() as api:
            return await read_many(api, [portfolio(name) for name in names], parallelism=parallelism)

    began_ms = world.clock.now_ms()
    live = asyncio.run(read())
    assert {state.failure for state in live.values()} == {None}
    assert len(world.app.requests.kept()) == len(live) == 40
    assert world.clock.now_ms() - began_ms >= 180_000


@pytest.mark.parametrize(("asked_ms", "sent"), [(7_000, True), (600_000, False)])
def test_a_limit_reaches_those_who_stand_in_line(asked_ms: int, sent: bool) -> None:
    """Whoever queued before the gate shut waits for it too, or fails with all the others; nobody is left behind."""
    clock = StillClock()

    async def run() -> list[Any]:
        limiter = RequestLimiter(parallelism=1, clock=clock, jitter=lambda: 0.5)
        first = PacedCall("first", safe=True)
        await limiter.enter(first)

        async def call(name: str) -> int:
            await limiter.enter(PacedCall(name, safe=True))
            limiter.leave()
            return clock.now

        waiting = [asyncio.create_task(call(name)) for name in ("second", "third")]
        await asyncio.sleep(0)
        limiter.failed(first, ApiError(FailureKind.RATE_LIMITED, "no", status=429, retry_after_ms=asked_ms))
        limiter.leave()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)

    for result in asyncio.run(run()):
        if sent:
            assert result >= NOW_MS + asked_ms
        else:
            assert isinstance(result, ApiError)
            assert "not sent" in str(result)
