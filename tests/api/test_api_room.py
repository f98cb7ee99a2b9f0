"""Room for a look and a write: no write on an old look, none that waits, and no window that is overdrawn."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from simulation import Bucket, LoopClock, simulated_loop
from stub_service import NOW_MS, Request, Service, StillClock, fail, http, ok, raw_server, script, transport

from reconciler.api.client import Glider
from reconciler.api.limiter import ATTEMPTS
from reconciler.api.room import LOOK_LIVES_MS
from reconciler.api.transport import Transport
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.model import Paths
from reconciler.core.ports import WriteNotSent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.core.ports import ServiceApi

LIMITED = fail(429, Retry_After="7")
OK_BYTES = http(200, b'{"success": true, "data": {}}')


def told(left: int, reset_s: int = 30) -> dict[str, str]:
    return {"X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": str(NOW_MS // 1_000 + reset_s)}


async def look(client: Transport) -> object:
    return await client.get("/look", operation="look")


async def write(client: Transport) -> object:
    """Send a write; where it was not sent, or failed, that stands in place of its answer."""
    try:
        return await client.post("/write", {}, operation="write")
    except (WriteNotSent, ApiError) as error:
        return error


def not_sent(result: object) -> int | None:
    assert isinstance(result, WriteNotSent), result
    return result.age_ms


def in_room(service: Any, clock: StillClock, work: Callable[[Transport, Any], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with transport(service, clock=clock) as client:
            room = client.room()
            async with room:
                return await work(client, room)

    return asyncio.run(main())


def test_a_glider_is_a_service_with_rooms() -> None:
    """What writes are made through has the room and the time of its transport."""
    clock = StillClock()
    client = transport(Service(script(ok({}))), clock=clock)
    api: ServiceApi = Glider(client, paths=Paths.AUTO, versions={})
    assert abs(api.service_ms() - clock.now) <= 1

    async def main() -> object:
        async with client, api.room() as room:
            room.look_again()
            await look(client)
            return await write(client)

    assert asyncio.run(main()) == {"success": True, "data": {}}


@pytest.mark.parametrize(("age_ms", "sent"), [(0, True), (LOOK_LIVES_MS, True), (LOOK_LIVES_MS + 1, False)])
def test_a_write_goes_out_on_a_young_look_only(age_ms: int, sent: bool) -> None:
    """Two seconds after the look was sent, and not a millisecond later; what is not sent is no request."""
    clock = StillClock()
    service = Service(script(ok({})))

    async def work(client: Transport, _: Any) -> object:
        began = clock.now
        await look(client)
        clock.now = began + age_ms
        result = await write(client)
        assert client.requests == len(service.seen)
        return result

    result = in_room(service, clock, work)
    assert service.calls == ["GET /look", "POST /write"][: 1 + sent]
    if not sent:
        assert not_sent(result) == pytest.approx(age_ms, abs=2)


def test_a_write_without_a_look_is_not_sent() -> None:
    """None before it, one that was forgotten, or one that a write was sent on already."""
    service = Service(script(ok({})))

    async def work(client: Transport, room: Any) -> list[object]:
        found = [await write(client)]
        await look(client)
        room.look_again()
        found.append(await write(client))
        await look(client)
        await write(client)
        return [*found, await write(client)]

    for result in in_room(service, StillClock(), work):
        assert isinstance(result, WriteNotSent)
    assert service.calls == ["GET /look", "GET /look", "POST /write"]


def test_a_look_is_as_old_as_its_oldest_read() -> None:
    """Two reads make one look, and the first of them counts."""
    clock = StillClock()

    async def work(client: Transport, _: Any) -> object:
        await look(client)
        clock.now += 1_500
        await look(client)
        clock.now += 1_500
        return await write(client)

    assert not_sent(in_room(Service(script(ok({}))), clock, work)) == pytest.approx(3_000, abs=10)


@pytest.mark.parametrize("answer", [fail(500), fail(429, Retry_After="20"), fail(503, Retry_After="9")])
def test_a_read_that_is_repeated_counts_from_its_last_attempt(answer: Any) -> None:
    """However long a read had to wait, what it shows is as old as the request that was answered."""
    clock = StillClock()
    service = Service(script(answer, ok({})))

    async def work(client: Transport, _: Any) -> object:
        await look(client)
        return await write(client)

    assert in_room(service, clock, work) == {"success": True, "data": {}}
    assert service.calls == ["GET /look", "GET /look", "POST /write"]


def test_a_refused_read_is_a_look_too() -> None:
    """Not found is what a look can show."""

    async def work(client: Transport, _: Any) -> object:
        with pytest.raises(ApiError):
            await look(client)
        return await write(client)

    assert in_room(Service(script(fail(404), ok({}))), StillClock(), work) == {"success": True, "data": {}}


def test_a_write_never_waits_for_the_next_window() -> None:
    """Where the look used up the window, the write is not sent, and nothing sleeps for it."""
    clock = StillClock()
    service = Service(script((200, told(0), b"{}")))

    async def work(client: Transport, _: Any) -> object:
        await look(client)
        return await write(client)

    assert not_sent(in_room(service, clock, work)) is None
    assert service.calls == ["GET /look"]
    assert clock.sleeps == []


@pytest.mark.parametrize("passed_ms", [0, 1_500])
def test_a_write_never_waits_for_a_limit_of_somebody_else(passed_ms: int) -> None:
    """A 429 that another got between look and write sends the write back, also once the gate is open again.

    Then one request goes alone, and that is a look.
    """
    clock = StillClock()
    limit = fail(429, Retry_After="1")
    service = Service(lambda request: limit if request.path == "/other" else ok({}))

    async def main() -> list[object]:
        looked, limited = asyncio.Event(), asyncio.Event()
        async with transport(service, clock=clock) as client:

            async def other() -> None:
                await looked.wait()
                async with client.room():
                    await look(client)
                    with pytest.raises(ApiError):
                        await client.post("/other", {}, operation="other")
                limited.set()

            task = asyncio.create_task(other())
            async with client.room() as room:
                await look(client)
                looked.set()
                await limited.wait()
                clock.now += passed_ms
                found = [await write(client)]
                room.look_again()
                await look(client)
                found.append(await write(client))
            await task
        return found

    back, sent = asyncio.run(main())
    assert not_sent(back) is None
    assert sent == {"success": True, "data": {}}


def test_a_limited_write_is_raised_and_paid_for_at_the_door() -> None:
    """Its 429 is not repeated inside; entering again waits for the gate, and after four of them it is raised there."""
    clock = StillClock()
    service = Service(lambda request: LIMITED if request.method == "POST" else ok({}))

    async def main() -> list[object]:
        found: list[object] = []
        async with transport(service, clock=clock) as client:
            room = client.room()
            try:
                while len(found) < 20:
                    async with room:
                        room.look_again()
                        await look(client)
                        found.append(await write(client))
            except ApiError as error:
                found.append(error)
        return found

    found = asyncio.run(main())
    assert [getattr(error, "kind", None) for error in found] == [FailureKind.RATE_LIMITED] * (ATTEMPTS + 1)
    assert found[-1] is found[-2]
    assert service.calls == ["GET /look", "POST /write"] * ATTEMPTS
    assert all(seconds >= 7 for seconds in clock.sleeps)
    assert len(clock.sleeps) == ATTEMPTS - 1


def test_a_limited_write_that_asks_for_too_much_is_not_entered_again() -> None:
    """Ten minutes are not waited for."""
    clock = StillClock()
    service = Service(lambda request: fail(429, Retry_After="600") if request.method == "POST" else ok({}))

    async def main() -> None:
        async with transport(service, clock=clock) as client:
            room = client.room()
            async with room:
                await look(client)
                await write(client)
            with pytest.raises(ApiError, match="wait 10m"):
                await room.__aenter__()

    asyncio.run(main())
    assert clock.sleeps == []


def test_limits_that_end_use_nothing_up() -> None:
    """A hundred writes that are each limited once are all sent: what a retry cost is given back when it succeeds."""
    answers = {"GET": ok({}), "POST": LIMITED}
    tries: list[str] = []

    def answer(request: Request) -> Any:
        if request.method == "POST":
            tries.append(request.path)
            return LIMITED if len(tries) % 2 else ok({})
        return answers["GET"]

    async def main() -> list[object]:
        found = []
        async with transport(Service(answer), parallelism=1) as client:
            for _ in range(100):
                room = client.room()
                while True:
                    async with room:
                        room.look_again()
                        await look(client)
                        result = await write(client)
                    if not isinstance(result, ApiError):
                        break
                found.append(result)
        return found

    assert asyncio.run(main()) == [{"success": True, "data": {}}] * 100
    assert len(tries) == 200


def test_a_cooldown_is_raised_and_slows_nothing() -> None:
    """The 429 of one portfolio's cooldown shuts no gate and does not count as a limit of the write."""
    clock = StillClock()
    cooldown = fail(429, "API_004", "cooldown", Retry_After="600")
    service = Service(lambda request: cooldown if request.method == "POST" else ok({}))

    async def main() -> None:
        async with transport(service, clock=clock) as client:
            room = client.room()
            async with room:
                await look(client)
                with pytest.raises(ApiError):
                    await client.post("/x", {}, operation="x", cools_down=True)
            async with room:
                await look(client)

    asyncio.run(main())
    assert clock.sleeps == []


def test_the_room_belongs_to_its_task_while_it_is_entered() -> None:
    """A task that was made in a room and outlives it, another task, and another service go the common way."""
    service = Service(script(ok({})))

    async def main() -> list[object]:
        left = asyncio.Event()
        async with transport(service) as client, transport(service) as elsewhere:

            async def late() -> object:
                await left.wait()
                return await write(client)

            room = client.room()
            async with room:
                outlives = asyncio.create_task(late())
                other = await write(elsewhere)
                inside = await write(client)
            left.set()
            return [other, inside, await outlives]

    other, inside, outlives = asyncio.run(main())
    assert other == outlives == {"success": True, "data": {}}
    assert isinstance(inside, WriteNotSent)


def test_rooms_and_reads_never_wait_for_each_other_for_ever() -> None:
    """Looks of three reads, reads that fail and fewer places than workers: everyone comes through."""
    given = iter(range(10**6))

    def answer(request: Request) -> Any:
        return fail(500) if request.method == "GET" and next(given) % 7 == 0 else ok({})

    async def main() -> int:
        written = 0
        async with transport(Service(answer), parallelism=3) as client:

            async def change() -> None:
                nonlocal written
                room = client.room()
                async with room:
                    await asyncio.gather(look(client), look(client), look(client))
                    written += not isinstance(await write(client), WriteNotSent)

            plain = [look(client) for _ in range(20)]
            await asyncio.wait_for(asyncio.gather(*(change() for _ in range(12)), *plain), 20)
        return written

    assert asyncio.run(main()) > 0


@pytest.mark.parametrize("place", ["line", "room", "gate"])
def test_who_is_cancelled_keeps_nothing(place: str) -> None:
    """Cancelled in line, inside, or at the gate: the next one gets its place and its claims."""
    service = Service(script((200, told(2), b"{}"), ok({})) if place != "gate" else script(LIMITED, ok({})))

    async def main() -> object:
        async with transport(service, parallelism=1) as client:
            entered, leave = asyncio.Event(), asyncio.Event()

            async def stay() -> None:
                async with client.room():
                    entered.set()
                    await leave.wait()

            async def other() -> object:
                async with client.room() as room:
                    room.look_again()
                    await look(client)
                    return await write(client)

            first = asyncio.create_task(stay())
            await entered.wait()
            second = asyncio.create_task(other())
            third = asyncio.create_task(other())
            await asyncio.sleep(0)
            (second if place == "line" else first).cancel()
            await asyncio.sleep(0)
            leave.set()
            await asyncio.wait([first])
            result = await asyncio.wait_for(third, 10)
            await asyncio.gather(first, second, return_exceptions=True)
            return result

    assert asyncio.run(main()) == {"success": True, "data": {}}


async def _over_a_socket(clock: StillClock, before_write: Callable[[], None]) -> tuple[object, list[bytes], int]:
    async with raw_server(lambda head: OK_BYTES) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with transport(base_url=url, clock=clock) as client:
            async with client.room():
                await look(client)
                before_write()
                result = await write(client)
            return result, [head.partition(b" ")[0] for head in server.heads], client.requests


@pytest.mark.slow
def test_a_slow_connection_makes_a_look_old() -> None:
    """A connection that takes three seconds to open is opened for nothing: no byte of the write follows."""
    clock = StillClock()

    async def main() -> tuple[object, list[bytes], int]:
        async with raw_server(lambda head: http(200, b"{}", "connection: close")) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            loop = asyncio.get_running_loop()
            resolve: Any = loop.getaddrinfo

            async def slow(*args: Any, **named: Any) -> Any:
                clock.now += 3_000
                return await resolve(*args, **named)

            async with transport(base_url=url, clock=clock) as client:
                async with client.room():
                    await look(client)
                    await asyncio.sleep(0)
                    loop.getaddrinfo = slow  # type: ignore[method-assign]
                    result = await write(client)
                return result, [head.partition(b" ")[0] for head in server.heads], client.requests

    result, heads, requests = asyncio.run(main())
    assert not_sent(result) == pytest.approx(3_000, abs=50)
    assert heads == [b"GET"]
    assert requests == 1


@pytest.mark.slow
def test_nobody_comes_between_the_check_and_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tasks may take long; the check of the age and the bytes are one step all the same."""
    clock = StillClock()
    checked: list[int] = []
    written: list[int] = []
    turns = 0
    plain: Any = asyncio.selector_events._SelectorSocketTransport.write  # type: ignore[attr-defined]

    def ticks_ms() -> int:
        checked.append(turns)
        return clock.now

    def seen(self: Any, data: bytes) -> None:
        if data.startswith((b"POST", b"{}")):
            written.append(turns)
        plain(self, data)

    monkeypatch.setattr(clock, "ticks_ms", ticks_ms)
    monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "write", seen)  # type: ignore[attr-defined]

    async def busy() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> object:
        other = asyncio.create_task(busy())
        result, _, _ = await _over_a_socket(clock, lambda: None)
        other.cancel()
        return result

    assert asyncio.run(main()) == {"success": True, "data": {}}
    assert written == [checked[-1]]


@dataclass
class Windows:
    """A service that takes ``size`` requests in each second; ``others`` of them are somebody else's."""

    clock: LoopClock
    size: int
    names_limit: bool = True
    latency_s: float = 0.05
    others: int = 0
    ends_ms: int = 0
    used: int = 0
    looked_ms: dict[str, int] = field(default_factory=dict)
    oldest_ms: int = 0
    taken: dict[str, int] = field(default_factory=lambda: {"GET": 0, "POST": 0})
    refused: dict[str, int] = field(default_factory=lambda: {"GET": 0, "POST": 0})

    def take(self, request: Request) -> tuple[bool, dict[str, str]]:
        now_ms = self.clock.now_ms()
        if now_ms >= self.ends_ms:
            self.ends_ms, self.used = (now_ms // 1_000 + 1) * 1_000, 0
        elif self.others and self.used % 3 == 2:
            self.used += min(self.others, self.size - self.used)
        good = self.used < self.size
        self.used += good
        (self.taken if good else self.refused)[request.method] += 1
        if good and request.method == "GET":
            self.looked_ms[request.path] = now_ms
        elif good:
            self.oldest_ms = max(self.oldest_ms, now_ms - self.looked_ms.pop(request.path))
        headers = {
            "X-RateLimit-Remaining": str(self.size - self.used),
            "X-RateLimit-Reset": str(self.ends_ms // 1_000),
        }
        if self.names_limit:
            headers["X-RateLimit-Limit"] = str(self.size)
        return good, headers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        good, headers = self.take(Request(scope["method"], scope["path"], {}, b""))
        await asyncio.sleep(self.latency_s)
        limited = json.dumps({"error": "Too Many Requests", "retryAfter": 1}).encode()
        answer = (200, headers, b'{"success": true, "data": {}}') if good else (429, headers, limited)
        await Service(lambda _: answer)(scope, receive, send)


@dataclass
class Buckets(Windows):
    """A service that takes ``size`` requests a second and ten at once, and says nothing of it but 429."""

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.size, 10)

    def take(self, request: Request) -> tuple[bool, dict[str, str]]:
        now_ms = self.clock.now_ms()
        good = self.bucket.serves(asyncio.get_running_loop().time())
        (self.taken if good else self.refused)[request.method] += 1
        if good and request.method == "GET":
            self.looked_ms[request.path] = now_ms
        elif good:
            self.oldest_ms = max(self.oldest_ms, now_ms - self.looked_ms.pop(request.path))
        return good, {}


@dataclass
class Course:
    """How a simulated run went; ``most_looks`` is of the change that needed most."""

    seconds: float = 0.0
    written: int = 0
    bounced: int = 0
    late: int = 0
    most_looks: int = 0


async def simulate(service: Windows, clock: LoopClock, *, workers: int, changes: int, reads: int) -> Course:
    course = Course()
    left = iter(range(changes))
    client = Transport(
        base_url="sandbox://test",
        key="test-key-1234",
        parallelism=workers,
        clock=clock,
        jitter=random.Random(1).random,
        asgi_app=service,
    )

    async def change(number: int) -> None:
        room = client.room()
        for looks in range(1, 10**6):
            async with room:
                room.look_again()
                for _ in range(reads):
                    await client.get(f"/{number}", operation="look")
                try:
                    await client.post(f"/{number}", {}, operation="write")
                except WriteNotSent as unsent:
                    course.bounced += unsent.age_ms is None
                    course.late += unsent.age_ms is not None
                    continue
                except ApiError as error:
                    if error.kind is not FailureKind.RATE_LIMITED:
                        raise
                    continue
            course.written += 1
            course.most_looks = max(course.most_looks, looks)
            return

    async def work() -> None:
        for number in left:
            await change(number)

    began_ms = clock.now_ms()
    async with client:
        await asyncio.gather(*(work() for _ in range(workers)))
    course.seconds = (clock.now_ms() - began_ms) / 1_000
    return course


def simulated(
    size: int, workers: int, *, reads: int = 1, changes: int = 0, kind: type[Windows] = Windows, **options: Any
) -> tuple[Course, Windows, int]:
    """Carry out changes against windows of ``size`` a second; return the course, the service, the number of changes."""
    clock = LoopClock()
    service = kind(clock, size, **options)
    changes = changes or max(2 * workers, 3 * size)
    with asyncio.Runner(loop_factory=simulated_loop) as runner:
        course = runner.run(simulate(service, clock, workers=workers, changes=changes, reads=reads))
    return course, service, changes


@pytest.mark.parametrize("names_limit", [True, False])
@pytest.mark.parametrize("workers", [1, 10, 50])
@pytest.mark.parametrize("size", [2, 3, 10, 50, 60])
def test_a_window_is_used_and_never_overdrawn(size: int, workers: int, names_limit: bool) -> None:
    """Every change is written, no write is ever refused, and what the first burst wastes is all that is wasted.

    Before its first answer nothing is known of the window: up to one look of each worker is in vain then.
    """
    course, service, changes = simulated(size, workers, names_limit=names_limit)
    assert course.written == changes == service.taken["POST"]
    assert service.refused["POST"] == 0
    assert service.refused["GET"] + course.bounced <= workers
    assert course.late == 0
    assert course.most_looks <= 2
    assert service.oldest_ms <= LOOK_LIVES_MS
    # A window of an odd size leaves one request over, and a change takes two round trips whatever the window.
    windows = changes / (size // 2)
    assert course.seconds <= max(windows + 1.5, 2.2 * service.latency_s * changes / workers + windows / 2)


@pytest.mark.parametrize("workers", [2, 50])
@pytest.mark.parametrize(("size", "reads"), [(3, 2), (4, 3), (5, 2), (10, 2), (10, 3), (60, 3)])
def test_a_look_of_several_reads_is_made_room_for(size: int, reads: int, workers: int) -> None:
    """A look that ran into the end of a window is made anew with room for all of it: two such looks at most."""
    course, service, changes = simulated(size, workers, reads=reads)
    assert course.written == changes
    assert service.refused["POST"] == 0
    assert course.most_looks <= 3
    assert service.oldest_ms <= LOOK_LIVES_MS


@pytest.mark.parametrize("names_limit", [True, False])
@pytest.mark.parametrize("size", [5, 10, 40])
def test_reads_overdraw_no_window_but_the_first(size: int, names_limit: bool) -> None:
    """Those who waited for a window are not all let go at its beginning, but as many as it takes."""
    clock = LoopClock()
    service = Windows(clock, size, names_limit=names_limit)

    async def main() -> None:
        left = iter(range(10 * size))

        async def work(client: Transport) -> None:
            for number in left:
                await client.get(f"/{number}", operation="look")

        async with transport(service, clock=clock, parallelism=50) as client:  # type: ignore[arg-type]
            await asyncio.gather(*(work(client) for _ in range(50)))

    with asyncio.Runner(loop_factory=simulated_loop) as runner:
        runner.run(main())
    assert service.taken["GET"] == 10 * size
    assert service.refused["GET"] <= 50 - size


@pytest.mark.parametrize("workers", [2, 50])
@pytest.mark.parametrize("size", [5, 10, 50])
def test_a_window_that_others_use_too_is_worked_through(size: int, workers: int) -> None:
    """Where the count shrinks faster than we use it, writes go back to the look, and all are written in the end."""
    course, service, changes = simulated(size, workers, others=1)
    assert course.written == changes
    assert service.refused["POST"] <= course.seconds + 1  # the last one of a window, where another was faster
    assert course.bounced <= changes
    assert service.oldest_ms <= LOOK_LIVES_MS


@pytest.mark.parametrize("workers", [10, 50])
@pytest.mark.parametrize("size", [30, 100])
def test_changes_keep_to_a_limit_that_only_refusals_tell(size: int, workers: int) -> None:
    """Look and write are paced together: all is written, on young looks, and few requests are refused."""
    course, service, changes = simulated(size, workers, changes=500, kind=Buckets)
    assert course.written == changes == service.taken["POST"]
    assert service.oldest_ms <= LOOK_LIVES_MS
    assert sum(service.refused.values()) <= workers + 0.03 * sum(service.taken.values())
    assert course.seconds <= 1.15 * 2 * changes / size


@pytest.mark.parametrize("latency_s", [0.9, 1.8])
def test_a_slow_service_gets_its_writes_in_time(latency_s: float) -> None:
    """A round trip that nearly takes up the life of a look leaves the write no older look than that."""
    course, service, changes = simulated(10, 10, latency_s=latency_s)
    assert course.written == changes
    assert course.late == 0
    assert service.refused["POST"] == 0
    assert service.oldest_ms <= LOOK_LIVES_MS


def test_a_service_too_slow_for_any_look_gets_no_write() -> None:
    """A look that comes back after more than two seconds is too old for a write, each time."""
    clock = LoopClock()
    service = Windows(clock, 100, latency_s=2.1)

    async def main() -> list[object]:
        found = []
        async with transport(service, clock=clock) as client:  # type: ignore[arg-type]
            for _ in range(3):
                async with client.room():
                    await look(client)
                    found.append(await write(client))
        return found

    with asyncio.Runner(loop_factory=simulated_loop) as runner:
        ages = [not_sent(result) for result in runner.run(main())]
    assert all(age is not None and age > LOOK_LIVES_MS for age in ages)
    assert service.taken["POST"] == 0


def test_a_window_of_one_gives_up_a_look_each_time() -> None:
    """A look uses it up, so the write goes back each time; whoever looks decides when that is enough."""
    clock = LoopClock()
    service = Windows(clock, 1)

    async def main() -> list[object]:
        found = []
        async with transport(service, clock=clock) as client:  # type: ignore[arg-type]
            room = client.room()
            for _ in range(5):
                async with room:
                    room.look_again()
                    await look(client)
                    found.append(await write(client))
        return found

    with asyncio.Runner(loop_factory=simulated_loop) as runner:
        results = runner.run(main())
    assert [not_sent(result) for result in results] == [None] * 5
    assert service.taken == {"GET": 5, "POST": 0}
    assert service.refused == {"GET": 0, "POST": 0}
