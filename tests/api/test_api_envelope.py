"""The shell of an answer: which failure each status and body stands for, what people read, and the service's time."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_service import NOW_MS, Request, Service, StillClock, fail, ok, script, transport

from reconciler.api.envelope import ServiceTime, _depth, success_of, without_key
from reconciler.core.errors import ApiError, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable


def failure(status: int, body: object, headers: tuple[tuple[bytes, bytes], ...] = ()) -> ApiError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ApiError) as caught:
        success_of(status, headers, raw, operation="status of x", now_ms=0)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "may_have_taken_effect"),
    [
        (200, FailureKind.MALFORMED, True),
        (204, FailureKind.MALFORMED, True),
        (301, FailureKind.MALFORMED, True),
        (400, FailureKind.REFUSED, False),
        (401, FailureKind.UNAUTHENTICATED, False),
        (403, FailureKind.FORBIDDEN, False),
        (404, FailureKind.NOT_FOUND, False),
        (405, FailureKind.REFUSED, False),
        (408, FailureKind.INTERRUPTED, True),
        (409, FailureKind.REFUSED, False),
        (422, FailureKind.REFUSED, False),
        (429, FailureKind.RATE_LIMITED, False),
        (500, FailureKind.SERVER, True),
        (502, FailureKind.SERVER, True),
        (503, FailureKind.SERVER, True),
        (600, FailureKind.MALFORMED, True),
    ],
)
def test_the_status_decides(status: int, kind: FailureKind, may_have_taken_effect: bool) -> None:
    """One table of statuses, whatever the body says; HTML of a gateway is quoted harmlessly."""
    for body in ({"success": False, "error": {"code": "API_200"}}, b"<html>\x1b[2J<b>Bad</b> gateway</html>", b""):
        error = failure(status, body)
        assert error.kind is kind
        assert error.may_have_taken_effect is may_have_taken_effect
        assert error.status == status
        assert str(error).isprintable()


def test_the_v1_envelope_gives_code_message_and_ids() -> None:
    """Code, message and both ids arrive, from beside the error or from inside it."""
    ids = {"correlationId": "corr_1", "requestId": "req_1"}
    error = {"code": "API_104", "message": "Missing scope"}
    for body in ({"success": False, "error": error, **ids}, {"success": False, "error": {**error, **ids}}):
        assert str(failure(403, body)) == (
            "the key may not do this: Missing scope; give it the scope in Glider's console "
            "(HTTP 403, API_104, request req_1, correlation corr_1)"
        )


def test_ids_may_come_in_headers_alone() -> None:
    """An answer without a body of ours still names the ids that support asks for."""
    error = failure(502, b"<h1>Bad gateway</h1>", ((b"X-Request-Id", b"r"), (b"x-correlation-id", b"c")))
    assert (error.request_id, error.correlation_id) == ("r", "c")
    assert "'Bad gateway'" in str(error)


def test_the_limit_has_a_body_of_its_own() -> None:
    """The 429 body, whose error is a string, gives message, wait and ids."""
    body = {"error": "Too Many Requests", "message": "Try again in 42 seconds.", "retryAfter": 42,
            "correlationId": "corr_1", "requestId": "req_1"}  # fmt: skip
    error = failure(429, body)
    assert error.retry_after_ms == 42_000
    assert "Try again in 42 seconds." in error.summary
    assert error.request_id == "req_1"


def test_a_wait_that_is_too_long_is_told() -> None:
    """Who asks for ten minutes is not waited for, and the person learns how long."""
    assert "wait 10m, and more than 2m is not waited for" in failure(429, {"retryAfter": 600}).summary
    assert "wait 10m" in failure(503, {}, ((b"retry-after", b"600"),)).summary


@pytest.mark.parametrize(
    "error",
    [
        {"code": "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT", "message": "no"},
        {"code": "API_400", "message": "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT: no"},
        {"code": "API_400", "message": "no", "details": {"why": [{"x": "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT"}]}},
        {"code": 7, "details": ["SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT"]},
        "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT",
    ],
)
def test_the_eth_code_is_found_anywhere(error: object) -> None:
    """Where the service puts it is not documented, so any place will do."""
    assert failure(400, {"success": False, "error": error}).code == "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"ok"',
        b"{",
        b"<!doctype html><title>Login</title>",
        b"\xff\xfe{}",
        b'{"data": NaN}',
        b'{"data": Infinity}',
        b'{"data": ' + b"9" * 5000 + b"}",
        b'{"data": ' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b"{" + b'"\\"' * 300_000 + b"[" * 65,
        b'{"success": false, "data": {"status": "active"}}',
    ],
)
def test_a_success_that_is_none_is_malformed(body: bytes) -> None:
    """Junk, depth, absurd numbers and a failure that looks like a success are told apart from data."""
    assert failure(200, body).kind is FailureKind.MALFORMED


def grows_with_its_size(work: Callable[[int], object]) -> bool:
    """Whether ten times as much work takes about ten times the processor time, and nowhere near a hundred times."""

    def cost(size: int) -> float:
        began = time.process_time()
        work(size)
        return time.process_time() - began

    small, large = (min(cost(size) for _ in range(3)) for size in (20_000, 200_000))
    return large < 40 * small


@pytest.mark.parametrize(
    "body",
    [
        lambda size: b'{"data": ' + b"[" * size + b"]" * size + b"}",
        lambda size: b"[" * size,
        lambda size: b"{" + b'"\\"' * size + b"[" * 65,
    ],
    ids=["nested", "never closed", "escaped quotes"],
)
def test_a_hostile_body_is_refused_in_proportion_to_its_size(body: Callable[[int], bytes]) -> None:
    """Depth, and texts that are never closed, are not searched again and again."""
    assert grows_with_its_size(lambda size: failure(200, body(size)))


def test_brackets_inside_text_are_no_depth() -> None:
    """A long text or a wide list is not mistaken for a deep one."""
    wide = {"data": {"text": "[" * 500 + '"', "list": [{}] * 500}}
    assert success_of(200, [], json.dumps(wide).encode(), operation="x", now_ms=0) == wide


_TEXTS = st.text(alphabet='[]{}"\\\\ab,:é\n', max_size=8)


def _nesting(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_nesting, inner), default=0)


@given(
    value=st.recursive(_TEXTS | st.none(), lambda v: st.lists(v, max_size=4) | st.dictionaries(_TEXTS, v, max_size=4)),
    ascii_only=st.booleans(),
)
def test_the_depth_of_a_document_is_counted_as_a_parser_would(value: object, *, ascii_only: bool) -> None:
    """Whatever stands in its texts: brackets, quotes, and escapes of either."""
    assert _depth(json.dumps(value, ensure_ascii=ascii_only).encode()) == _nesting(value)


def test_a_redirect_names_its_place_harmlessly() -> None:
    """Where it would have gone is shown, and that nobody went."""
    text = str(failure(302, b"", ((b"Location", b"https://evil.example/\x1b[2J"),)))
    assert "https://evil.example/\\u{1b}[2J" in text
    assert "no redirect is followed" in text


KEY = "gldr_sk/Canary+4f1d7c"
"""A key with what JSON, a URL and HTML each have an escape for."""
LETTERS = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
CAPITALS = "".join(f"\\u{ord(letter):04X}" for letter in KEY)
PERCENT = "".join(f"%{ord(letter):02x}" for letter in KEY)
ENTITIES = "".join(f"&#{ord(letter)};" for letter in KEY)


@pytest.mark.parametrize(
    "spelled",
    [
        KEY,
        LETTERS,
        CAPITALS,
        KEY.replace("/", "\\/"),
        KEY.replace("k", "\\u006b"),
        KEY.replace("/", "%2F").replace("+", "%2b"),
        PERCENT,
        KEY.replace("/", "&#x2F;").replace("+", "&plus;"),
        ENTITIES,
        LETTERS.replace("\\", "\\\\"),
        PERCENT.replace("%", "%25"),
        PERCENT.replace("%", "\\u0025"),
        " ".join(KEY),
        KEY.replace("_", "\\n_"),
        KEY.replace("_", "_\u200b"),
        KEY.replace("_", "\\u200b\\t_"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        '{"success": false, "error": {"code": "API_102", "message": "unknown key <>"}}',
        '{"success": false, "error": {"code": "<>", "message": "no", "details": ["<>", {"a": "<>"}]}}',
        '{"success": false, "error": {"message": "no", "<>": 1}, "requestId": "<>", "correlationId": "a<>b"}',
        '{"error": "<>", "message": "<> <>", "retryAfter": 1}',
        '["<>"]',
        '{"message": "cut off <>',
        "<html><p>unknown key <></p></html>",
        "<>",
    ],
)
def test_an_answer_never_gives_the_key_back(spelled: str, body: str) -> None:
    """However an answer spells the key, and wherever, nothing that is read from it or shown of it has it."""
    _, answer = without_key([], body.replace("<>", spelled).encode(), KEY)
    for status in (200, 401, 429, 500):
        try:
            shown = repr(success_of(status, [], answer, operation="x", now_ms=0))
        except ApiError as error:
            shown = f"{error} {error.code} {error.request_id} {error.correlation_id}"
        for text in (shown, answer.decode()):
            assert KEY not in "".join(letter for letter in text if "!" <= letter <= "~")
            assert not any(part in text for part in (LETTERS[:12], CAPITALS[:12], PERCENT[:6], ENTITIES[:12]))
    assert b"[key]" in answer


def test_what_is_around_the_key_stays() -> None:
    """Only the key is taken out of an answer; everything else of it means what it did."""
    spelled = (
        '{"success": true, "data": {"a": "x LETTERS y", "LETTERS": [1, 2.5, null, true, "\u00e9"], "b": "50%25 & <"}}'
    )
    _, answer = without_key([], spelled.replace("LETTERS", LETTERS).encode(), KEY)
    payload = success_of(200, [], answer, operation="x", now_ms=0)
    data = {"a": "x [key] y", "[key]": [1, 2.5, None, True, "é"], "b": "50%25 & <"}
    assert payload == {"success": True, "data": data}


@pytest.mark.parametrize(
    "body", [b'{"a": "\\u0041 50%25 &amp; \\/ \\ud800"}', b"\xff\\u00", b"%zz&#;", b"", b"{" * 100_000, b"\\" * 100_001]
)
def test_an_answer_without_the_key_is_left_as_it_is(body: bytes) -> None:
    """Byte for byte, whatever escapes it has; and without a secret nothing is looked for."""
    headers = [(b"Location", b"/a%20b?c&d")]
    assert without_key(headers, body, KEY) == (headers, body)
    assert without_key(headers, KEY.encode(), "") == (headers, KEY.encode())


def test_a_key_across_two_values_takes_the_answer_with_it() -> None:
    """What can't be taken out of any one text is not given to anybody."""
    key = 'abc","defgh'
    assert without_key([], b'{"a": ["abc", "defgh"]}', key) == ([], b"[key]")


def test_headers_are_redacted_as_well() -> None:
    """An id or the place of a redirect that repeats the key, plainly or with the escapes of a URL."""
    place = b"https://evil.example/?k=gldr_sk%2FCanary%2b4f1d7c"
    headers, _ = without_key([(b"Location", place), (b"X-Request-Id", KEY.encode()), (b"Date", b"x")], b"", KEY)
    assert headers == [
        (b"Location", b"https://evil.example/?k=[key]"),
        (b"X-Request-Id", b"[key]"),
        (b"Date", b"x"),
    ]


@pytest.mark.parametrize("filler", [b"g ", b"g" + b" " * 8_000 + b"g", b"\\u0067 ", b"%25", b"&amp;"])
def test_a_hostile_body_is_searched_in_proportion_to_its_size(filler: bytes) -> None:
    """So are escapes, and spaces between the letters of the key, which is found behind all of them."""
    spread = b" " * 1000 + b" ".join(bytes([letter]) for letter in KEY.encode())

    def search(size: int) -> None:
        body = filler * (size // len(filler))
        assert KEY not in without_key([], body + spread, KEY)[1].decode().replace(" ", "")

    assert grows_with_its_size(search)


HOUR_MS = 3_600_000


def date(ahead_ms: int = 0, at_ms: int = NOW_MS) -> str:
    return formatdate((at_ms + ahead_ms) // 1_000, usegmt=True)


def heard(*values: str, clock: StillClock | None = None) -> ServiceTime:
    time = ServiceTime(clock or StillClock())
    for value in values:
        time.heard([(b"Content-Type", b"application/json"), (b"DATE", value.encode())])
    return time


@pytest.mark.parametrize("ahead_ms", [0, 1_000, -1_000, 2_000, -2_000])
def test_a_clock_that_is_hardly_another_is_ours(ahead_ms: int) -> None:
    """Two seconds are as good as none: the header has no fractions."""
    clock = StillClock()
    assert heard(date(ahead_ms), clock=clock).now_ms() == clock.now
    assert heard(date(ahead_ms)).named


@pytest.mark.parametrize("ahead_ms", [4_000, -4_000, HOUR_MS, -30 * 24 * HOUR_MS])
def test_another_clock_is_followed(ahead_ms: int) -> None:
    """Within the second that the header leaves open."""
    clock = StillClock()
    assert abs(heard(date(ahead_ms), clock=clock).now_ms() - clock.now - ahead_ms) <= 510


def test_the_skew_does_not_jitter() -> None:
    """Between two headers the service's time runs on as ours does, whatever the fractions of a second were."""
    clock = StillClock()
    time = ServiceTime(clock)
    skews = set()
    for ahead_ms in range(HOUR_MS, HOUR_MS + 1_000, 37):
        time.heard([(b"date", date(ahead_ms, clock.now).encode())])
        skews.add(time.now_ms() - clock.now)
    assert len(skews) == 1


def test_a_clock_that_is_set_is_noticed() -> None:
    """Ours, or the service's, in the middle of a run."""
    clock = StillClock()
    time = heard(date(HOUR_MS), clock=clock)
    clock.now += HOUR_MS
    time.heard([(b"date", date(HOUR_MS + 5_000).encode())])
    assert abs(time.now_ms() - clock.now - 5_000) <= 510


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "0", "\u0664", "Sun, 99 Foo 2026 00:00:00 GMT", "9" * 5_000),
        # Of a clock that was never set: no journal holds such a time, or it is beyond the last that can be written.
        *("Wed, 31 Dec 1969 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Tue, 31 Dec 2019 23:59:59 GMT"),
        *("Wed, 01 Jan 3000 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_what_is_no_date_names_no_time(value: str) -> None:
    """Then the time is ours."""
    clock = StillClock()
    time = heard(value, clock=clock)
    assert not time.named
    assert time.now_ms() == clock.now


@given(st.binary(max_size=60))
def test_no_date_breaks_anything(value: bytes) -> None:
    """Whatever the header holds, there is a time."""
    time = ServiceTime(StillClock())
    time.heard([(b"date", value)])
    assert isinstance(time.now_ms(), int)


def test_a_retry_after_date_is_meant_by_the_clock_of_the_service() -> None:
    """A service whose clock is an hour behind asks for nine seconds: they are waited, and not forgotten as past."""
    clock = StillClock()
    behind = fail(429, Retry_After=date(9_000 - HOUR_MS), Date=date(-HOUR_MS))
    client = transport(Service(script(behind, ok({}))), clock=clock)
    asyncio.run(client.get("/x", operation="x"))
    assert 8 <= sum(clock.sleeps) <= 10
    assert client._time.named
    assert abs(client.service_ms() - clock.now + HOUR_MS) <= 1_000


def test_a_window_ends_by_the_clock_of_the_service() -> None:
    """The end of a window is waited for although it lies in the past by ours."""
    clock = StillClock()
    sent: list[int] = []

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        sent.append(clock.now)
        reset = str((NOW_MS - HOUR_MS) // 1_000 + 30)
        told = {"Date": date(-HOUR_MS), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        return 200, told if len(sent) == 1 else {}, b"{}"

    async def run() -> None:
        async with transport(Service(answer), clock=clock) as client:
            await client.get("/x", operation="x")
            await client.get("/x", operation="x")

    asyncio.run(run())
    assert 29_000 <= sent[1] - sent[0] <= 31_000


def test_a_service_without_a_date_has_our_time() -> None:
    """And says that it named none."""
    clock = StillClock()
    client = transport(Service(script(ok({}))), clock=clock)
    asyncio.run(client.get("/x", operation="x"))
    assert not client._time.named
    assert abs(client.service_ms() - clock.now) <= 1
