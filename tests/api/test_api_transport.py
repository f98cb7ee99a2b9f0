"""The transport against a scripted service and against raw bytes: retries, limits, losses, secrets."""

from __future__ import annotations

import asyncio
import itertools
import logging
import pickle
import ssl
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11
import pytest
from stub_service import KEY, Request, Service, StillClock, fail, http, ok, raw_server, script, transport

from reconciler import __version__
from reconciler.api import connection
from reconciler.api.connection import NoConnection, Timeouts, authorities
from reconciler.api.transport import LARGEST_BODY, Transport
from reconciler.core.errors import ApiError, FailureKind, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

SERVER_ERROR = fail(500)
LIMITED = (429, {"Retry-After": "7"}, b'{"error": "Too Many Requests", "message": "slow down"}')
OK_BYTES = http(200, b'{"success": true, "data": {}}')


def get(client: Transport, times: int = 1) -> list[object]:
    """Send ``times`` reads one after the other; a failure stands in its place."""

    async def run() -> list[object]:
        async with client:
            return [await caught(client.get("/x", operation="x")) for _ in range(times)]

    return asyncio.run(run())


def post(client: Transport) -> object:
    async def run() -> object:
        async with client:
            return await caught(client.post("/x", {"a": 1}, operation="x"))

    return asyncio.run(run())


async def caught(call: Coroutine[Any, Any, object]) -> object:
    try:
        return await call
    except ApiError as error:
        return error


def kind(result: object) -> FailureKind:
    assert isinstance(result, ApiError), result
    return result.kind


@pytest.mark.parametrize(
    ("answers", "reads", "writes"),
    [
        ([ok({})], 1, 1),
        ([SERVER_ERROR, ok({})], 2, 1),
        ([SERVER_ERROR, fail(502), fail(503), ok({})], 4, 1),
        ([SERVER_ERROR], 4, 1),
        ([fail(408)], 4, 1),
        ([LIMITED, ok({})], 2, 2),
        ([LIMITED], 4, 4),
        ([LIMITED, SERVER_ERROR], 4, 2),
        ([fail(400)], 1, 1),
        ([fail(401)], 1, 1),
        ([fail(403)], 1, 1),
        ([fail(404)], 1, 1),
        ([fail(409)], 1, 1),
        ([(200, {}, b"<html>")], 1, 1),
        ([(302, {"Location": "https://evil.example"}, b"")], 1, 1),
    ],
)
def test_how_often_a_call_is_sent(answers: list[Any], reads: int, writes: int) -> None:
    """A read four times at most and only after what may pass; a write once, but again after a limit."""
    for send, expected in ((get, reads), (post, writes)):
        service = Service(script(*answers))
        send(transport(service))
        assert len(service.seen) == expected


def test_the_backoff_grows_and_is_jittered() -> None:
    """Waits are half of 250, 500 and 1000 ms with a jitter of one half."""
    clock = StillClock()
    get(transport(Service(script(SERVER_ERROR)), clock=clock))
    assert clock.sleeps == [0.125, 0.25, 0.5]


@pytest.mark.parametrize(
    ("answer", "shortest"),
    [
        (LIMITED, 7),
        ((429, {}, b'{"error": "Too Many Requests", "retryAfter": 42}'), 42),
        ((429, {"Retry-After": "Sun, 18 Oct 2026 00:00:00 GMT"}, b"{}"), 0),
        ((429, {}, b"<html>"), 1),
        (fail(503, Retry_After="9"), 9),
    ],
)
def test_the_service_is_obeyed_when_it_asks_to_wait(answer: Any, shortest: float) -> None:
    """Retry-After in both forms, retryAfter in the body, and a second where a limit names nothing."""
    clock = StillClock()
    assert get(transport(Service(script(answer, ok({}))), clock=clock)) == [{"success": True, "data": {}}]
    assert shortest - 0.1 <= sum(clock.sleeps) <= shortest + 0.5


def test_a_wait_that_is_too_long_ends_the_run_at_once() -> None:
    """Ten minutes are not waited for: the call fails, and the next fail without being sent."""
    clock = StillClock()
    service = Service(script(fail(429, Retry_After="600")))
    results = get(transport(service, clock=clock), times=5)
    assert [kind(result) for result in results] == [FailureKind.RATE_LIMITED] * 5
    assert len(service.seen) == 1
    assert clock.sleeps == []
    assert "wait 10m" in str(results[4])


def test_a_limit_holds_every_request_of_the_run() -> None:
    """While the gate is shut nobody is let through, writes included."""
    clock = StillClock()
    sent: list[int] = []

    def answer(request: Request) -> Any:
        sent.append(clock.now)
        return LIMITED if len(sent) == 1 else ok({})

    async def run() -> None:
        async with transport(Service(answer), clock=clock, parallelism=1) as client:
            calls = [client.get("/a", operation="a"), client.post("/b", {}, operation="b")]
            await asyncio.gather(*calls, client.get("/c", operation="c"))

    asyncio.run(run())
    assert len(sent) == 4
    assert min(sent[1:]) - sent[0] >= 7_000


def test_a_rate_to_keep_to_holds_for_every_request() -> None:
    """Calls, questions about the service, and a look with its write: two turns each second, from the first one on."""
    clock = StillClock()
    sent: list[int] = []

    async def main() -> None:
        async with transport(Service(script(ok({}))), clock=clock, max_rate_per_s=2) as client:
            for _ in range(3):
                await client.look("/x", operation="x", sending=lambda: sent.append(clock.now))
                await client.get("/x", operation="x")
            async with client.room():
                await client.get("/x", operation="x")
                await client.post("/x", {}, operation="x")
            await client.look("/x", operation="x", sending=lambda: sent.append(clock.now))

    asyncio.run(main())
    assert [later - earlier for earlier, later in itertools.pairwise(sent)] == pytest.approx(
        [1_000, 1_000, 2_000], abs=5
    )


def test_endless_limits_are_given_up() -> None:
    """A service that only ever limits is asked a handful of times, not four times a portfolio."""
    service = Service(script(fail(429)))
    results = get(transport(service), times=200)
    assert {kind(result) for result in results} == {FailureKind.RATE_LIMITED}
    assert len(service.seen) < 10


def test_silence_is_given_up() -> None:
    """A host that never answers is not waited for ten thousand times."""

    async def broken(scope: object, receive: object, send: object) -> None:
        raise ConnectionResetError

    client = transport(broken)
    results = get(client, times=300)
    assert {kind(result) for result in results} == {FailureKind.INTERRUPTED, FailureKind.UNREACHABLE}
    assert "not sent" in str(results[-1])
    assert client.requests < 50


H11_ERRORS = (h11.LocalProtocolError, h11.RemoteProtocolError)


@pytest.mark.parametrize(
    "error",
    [NoConnection, *H11_ERRORS, OSError, ssl.SSLError, RuntimeError, AssertionError, TimeoutError, ExceptionGroup],
)
def test_every_exception_becomes_ours(error: type[Exception]) -> None:
    """Any exception is mapped: nothing sent, or perhaps sent, never a traceback."""
    cause = ExceptionGroup("x", [OSError("y")]) if error is ExceptionGroup else error("x")

    async def broken(scope: object, receive: object, send: object) -> None:
        raise cause

    result = post(transport(broken))
    expected = FailureKind.UNREACHABLE if error is NoConnection else FailureKind.INTERRUPTED
    assert kind(result) is expected
    assert isinstance(result, ApiError)
    assert result.__cause__ is cause
    assert result.may_have_taken_effect is (error is not NoConnection)


def test_the_exceptions_of_h11_are_found() -> None:
    """The list above knows all that h11 raises."""
    assert {kind for kind in vars(h11).values() if isinstance(kind, type) and issubclass(kind, Exception)} == {
        h11.ProtocolError,
        *H11_ERRORS,
    }


def test_cancellation_passes() -> None:
    """A cancelled call is cancelled, and its slot is free again."""
    started = asyncio.Event()

    async def hang(scope: object, receive: object, send: object) -> None:
        started.set()
        await asyncio.Event().wait()

    async def run() -> None:
        async with transport(hang, parallelism=1) as client:
            call = asyncio.create_task(client.get("/x", operation="x"))
            await started.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            started.clear()
            again = asyncio.create_task(client.get("/x", operation="x"))
            await started.wait()
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)

    asyncio.run(run())


def test_what_goes_out() -> None:
    """The documented headers and a JSON body, and nothing that was not asked for."""
    service = Service(script(ok({})))
    post(transport(service))
    get(transport(service))
    write, read = service.seen
    assert write.json() == {"a": 1}
    assert write.headers == {
        "host": "sandbox.localhost",
        "user-agent": f"glider-reconciler/{__version__}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "x-api-key": KEY,
        "content-type": "application/json",
        "content-length": "7",
    }
    assert read.headers == {k: v for k, v in write.headers.items() if not k.startswith("content-")}


ECHO = f'{{"success": false, "error": {{"code": "{KEY}", "message": "bad key {KEY}"}}, "requestId": "{KEY}"}}'.encode()


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: (401, {}, ECHO),
        lambda request: (500, {}, f"<b>{request.headers['x-api-key']}</b>".encode()),
        lambda request: (302, {"Location": f"https://evil.example/{KEY}"}, b""),
        lambda request: (400, {"X-Request-Id": KEY}, b""),
    ],
)
def test_the_key_is_never_shown(answer: Callable[[Request], Any], caplog: pytest.LogCaptureFixture) -> None:
    """A service that sends the key back does not get it into an error, a traceback, a log or a repr."""
    caplog.set_level(logging.DEBUG)
    client = transport(Service(answer))
    [error] = get(client)
    assert isinstance(error, ApiError)
    shown = [str(error), repr(error), error.detail, "".join(traceback.format_exception(error)), repr(client)]
    shown += [str(vars(error)), caplog.text]
    assert not [text for text in shown if KEY in text]


def test_the_key_is_cut_from_a_good_answer_too() -> None:
    """A pause reason that holds the key would end up in a plan."""
    [answer] = get(transport(Service(script(ok({"reason": f"by {KEY}"})))))
    assert answer == {"success": True, "data": {"reason": "by [key]"}}


def test_the_key_is_in_no_exception_of_the_library() -> None:
    """Nor does it leave by the message of an exception."""

    async def broken(scope: Any, receive: object, send: object) -> None:
        raise ValueError(str(scope["headers"]))

    async def run() -> ApiError:
        async with transport(broken) as client:
            with pytest.raises(ApiError) as error:
                await client.post("/x", {}, operation="x")
        return error.value

    assert KEY not in "".join(traceback.format_exception(asyncio.run(run())))


def test_a_transport_needs_sane_settings() -> None:
    """No requests at a time, a bad base URL or key are refused before anything happens."""
    with pytest.raises(UsageError):
        transport(parallelism=0)
    with pytest.raises(UsageError):
        transport(base_url="http://api.glider.fi")
    with pytest.raises(ApiError):
        transport(Service(script(ok())), key=" ")


def entered(client: Transport) -> None:
    async def run() -> None:
        async with client:
            pass

    asyncio.run(run())


def test_https_is_verified() -> None:
    """Names and certificates are checked, by the authorities that are named."""
    context = authorities(str(Path(__file__).with_name("authority.pem")))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert [authority["serialNumber"] for authority in context.get_ca_certs()] == ["2A"]


def test_authorities_are_found_by_a_python_that_was_built_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its own places hold none, those of the distribution count."""
    nothing = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "/nowhere", "SSL_CERT_DIR", "/nowhere")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)
    here = str(Path(__file__).with_name("authority.pem"))
    monkeypatch.setattr(connection, "_AUTHORITIES", ("/nowhere.pem", here))
    assert [authority["serialNumber"] for authority in authorities(None).get_ca_certs()] == ["2A"]


def test_a_certificate_that_is_not_trusted_says_what_to_do() -> None:
    """Neither the base URL nor the network has to be at fault: a company's proxy may sign by its own authority."""

    async def broken(scope: object, receive: object, send: object) -> None:
        raise NoConnection("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get issuer")

    assert "SSL_CERT_FILE" in str(post(transport(broken)))


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"])
def test_an_unreadable_certificate_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """A file of SSL_CERT_FILE that is not there, or holds no certificate, is a mistake of usage with its repair."""
    place = tmp_path / "authorities.pem"
    if content is not None:
        place.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    with pytest.raises(UsageError) as caught:
        entered(transport(base_url="https://api.glider.fi"))
    assert "SSL_CERT_FILE" in caught.value.detail
    entered(transport(base_url="http://127.0.0.1:1"))  # nothing to check there, so nothing is read


def raw(answer: Callable[[bytes], bytes | None], *, write: bool = False, **options: Any) -> tuple[object, list[bytes]]:
    """Send one call to a raw server; return the result and the request heads it saw."""

    async def run() -> tuple[object, list[bytes]]:
        async with raw_server(answer) as server:
            async with transport(base_url=f"{server.url}/base", **options) as client:
                call = client.post("/x", {}, operation="x") if write else client.get("/x", operation="x")
                result = await caught(call)
            return result, server.heads

    return asyncio.run(run())


@pytest.mark.slow
def test_a_call_over_a_socket() -> None:
    """Path, prefix and host go out as they should, and the answer comes back."""
    result, [head] = raw(lambda _: OK_BYTES)
    assert result == {"success": True, "data": {}}
    assert head.startswith(b"GET /base/x HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.slow
def test_no_redirect_is_followed() -> None:
    """The place that the service names is not visited, and so gets no key."""

    def answer(head: bytes) -> bytes:
        host = head.partition(b"Host: ")[2].partition(b"\r\n")[0].decode()
        return http(307, b"", f"Location: http://{host}/elsewhere")

    result, heads = raw(answer)
    assert kind(result) is FailureKind.MALFORMED
    assert len(heads) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        b"x",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
def test_a_cut_or_broken_answer_may_have_been_obeyed(answer: bytes) -> None:
    """After the request is out, whatever breaks is INTERRUPTED; the write is not repeated."""
    result, heads = raw(lambda _: answer, write=True)
    assert kind(result) is FailureKind.INTERRUPTED
    assert len(heads) == 1


@pytest.mark.slow
def test_nobody_listening_is_unreachable() -> None:
    """A refused connection proves that nothing was sent; a read is tried again."""

    async def free_port() -> str:
        async with raw_server(lambda _: None) as server:
            return server.url

    client = transport(base_url=asyncio.run(free_port()))
    [result] = get(client)
    assert kind(result) is FailureKind.UNREACHABLE
    assert f"no connection to {client.base_url}: Connection refused; check the base URL" in str(result)
    assert client.requests == 4
    assert kind(post(transport(base_url=client.base_url))) is FailureKind.UNREACHABLE


@pytest.mark.slow
@pytest.mark.parametrize("timeouts", [Timeouts(read=0.02), Timeouts(whole=0.02)])
def test_a_service_that_keeps_silent_is_left(timeouts: Timeouts) -> None:
    """Both the limit of a step and that of the whole request end the wait; the write may have been done."""
    result, heads = raw(lambda _: None, write=True, timeouts=timeouts)
    assert kind(result) is FailureKind.INTERRUPTED
    assert len(heads) == 1


@pytest.mark.slow
@pytest.mark.parametrize("length", [True, False])
def test_an_endless_body_is_not_read_to_its_end(length: bool) -> None:
    """More than 4 MiB are malformed, whether announced or not."""
    body = b" " * (LARGEST_BODY + 1)
    answer = http(200, body) if length else b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body
    result, _ = raw(lambda _: answer)
    assert kind(result) is FailureKind.MALFORMED
    assert "4 MiB" in str(result)


@pytest.mark.slow
def test_connections_are_kept_and_never_more_than_allowed() -> None:
    """Two hundred calls at once through a transport of five open five connections."""

    async def run() -> tuple[int, int]:
        async with raw_server(lambda _: OK_BYTES) as server:
            async with transport(base_url=server.url, parallelism=5) as client:
                await asyncio.gather(*(client.get("/x", operation="x") for _ in range(200)))
            return server.peak, server.connections

    assert asyncio.run(run()) == (5, 5)


@pytest.mark.slow
def test_a_broken_connection_is_replaced() -> None:
    """After a failure the slot gets a new connection, and the old one is closed."""
    answers = [b"x", OK_BYTES]

    async def run() -> tuple[object, int, int]:
        async with raw_server(lambda _: answers.pop(0)) as server:
            async with transport(base_url=server.url, parallelism=1) as client:
                result = await client.get("/x", operation="x")
            return result, server.connections, server.peak

    assert asyncio.run(run()) == ({"success": True, "data": {}}, 2, 1)


@pytest.mark.slow
def test_an_api_error_is_no_carrier_of_the_request() -> None:
    """The library's exception, kept as the cause, holds no request and so no header."""
    result, _ = raw(lambda _: b"x", write=True)
    assert isinstance(result, ApiError)
    cause = result.__cause__
    while cause is not None:
        assert KEY.encode() not in pickle.dumps([str(cause), repr(vars(cause))])
        cause = cause.__cause__
