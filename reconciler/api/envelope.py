"""What all answers of Glider have in common: whether one is a success, which error it is, and the service's time.

In: HTTP status, headers and body as they came. Out: the JSON object of a success, or an :class:`ApiError` whose text
is harmless; the time by the service's clock. API facts §2.1 to §2.5. An answer may also come from a gateway in between.
Knows no socket and no portfolio, and not what ``data`` means.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Final, NoReturn, assert_never
from urllib.parse import unquote

from reconciler.api.limiter import LONGEST_WAIT_MS
from reconciler.api.pace import LONGEST_PLAUSIBLE_MS
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.text import SECOND_MS, format_duration, harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.core.ports import Clock

    Headers = Sequence[tuple[bytes, bytes]]

DEEPEST: Final = 64
"""Nesting of an answer; the documented ones stay below 6."""

_KINDS: Final = {
    401: FailureKind.UNAUTHENTICATED,
    403: FailureKind.FORBIDDEN,
    404: FailureKind.NOT_FOUND,
    # Some gateways send 408 when the service behind them was slow: it proves nothing about the work.
    408: FailureKind.INTERRUPTED,
    429: FailureKind.RATE_LIMITED,
}
_ETH_CODE: Final = rb"SCHEDULE_ETH_[A-Z_]{1,60}"
_ESCAPED: Final = re.compile(rb"(?s)\\.")
# The end of the text ends a string as well, so that a hostile body can't make the pattern search it again and again.
_STRING: Final = re.compile(rb'"[^"]*+(?:"|\Z)')
_NOT_OF_NESTING: Final = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_ESCAPE: Final = r"(?s)\\(?:u([0-9A-Fa-f]{4})|(.))"
_MASK: Final = "[key]"
_NOT_OF_A_KEY: Final = bytes(byte for byte in range(256) if not 0x21 <= byte <= 0x7E)
"""Bytes that no key has: whitespace, controls, and all of UTF-8 beyond ASCII, such as a space without a width."""
_BETWEEN: Final = "[^!-~]*+"
_LONGEST_ID: Final = 128
_FIRST_WORDS: Final = 80
SMALLEST_SKEW_MS: Final = 2 * SECOND_MS
"""Clocks that differ by no more than this count as equal, because an answer takes time to get here."""

_HALF_MS: Final = SECOND_MS // 2  # ``Date`` is cut to the second, so on average it is half a second behind
_DATE: Final = b"date"
_EARLIEST_MS: Final = 1_577_836_800_000
_LATEST_MS: Final = 32_503_680_000_000
"""The years from 2020 to 2999. A time outside of them comes from a clock that was never set: some such times can't even
be stored, others would make every run overdue."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode: Final = json.JSONDecoder(parse_constant=_no_constant).decode


def success_of(status: int, headers: Headers, body: bytes, *, operation: str, now_ms: int) -> dict[str, object]:
    """Return the JSON object of a 2xx answer; raise :class:`ApiError` for any other.

    The HTTP status decides first, the code second (API facts §2.4). ``now_ms``, by the service's
    clock, turns an HTTP date of ``Retry-After`` into a wait.
    """
    if 200 <= status < 300:
        payload = object_of(body)
        if payload is None:
            raise ApiError(
                FailureKind.MALFORMED,
                f"the answer is not a JSON object: {_first_words(body)}; is the base URL Glider's?",
                operation=operation,
                status=status,
                request_id=_id({}, headers, "requestId", b"x-request-id"),
                correlation_id=_id({}, headers, "correlationId", b"x-correlation-id"),
            )
        if payload.get("success") is not False:
            return payload
    raise error_of(status, headers, body, operation=operation, now_ms=now_ms)


def error_of(status: int, headers: Headers, body: bytes, *, operation: str, now_ms: int) -> ApiError:
    """Return the error that an answer stands for; any status, any body."""
    payload = object_of(body) or {}
    error = payload.get("error")
    details: dict[str, object] = error if isinstance(error, dict) else {}
    kind = kind_of(status)
    asked_ms = None
    if kind in (FailureKind.RATE_LIMITED, FailureKind.SERVER):
        in_body = payload.get("retryAfter", details.get("retryAfter"))
        asked_ms = retry_after_ms(header_of(headers, b"retry-after"), in_body, now_ms=now_ms)
    return ApiError(
        kind,
        _sentence(kind, status, _message(payload, body), asked_ms=asked_ms, location=header_of(headers, b"location")),
        operation=operation,
        status=status,
        code=_code(details, body),
        retry_after_ms=asked_ms,
        request_id=_id(payload, headers, "requestId", b"x-request-id"),
        correlation_id=_id(payload, headers, "correlationId", b"x-correlation-id"),
    )


def without_key(
    headers: list[tuple[bytes, bytes]], body: bytes, secret: str
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of an answer with ``[key]`` wherever they repeat ``secret``, unless that is empty.

    This includes a key that is spelled with the escapes of JSON, of a URL or of HTML, or broken by whitespace, because
    decoding would bring it back. If it can't be taken out of a body, the whole body is dropped. ``secret`` is printable
    ASCII without a space; :func:`~reconciler.core.endpoint.checked_key` sees to that.
    """
    if not secret:
        return headers, body
    key, mask = secret.encode(), _MASK.encode()
    # Nearly every answer passes these checks. They must be cheap, because ten thousand answers go through them.
    values = b"\n".join([value for _, value in headers])
    if key in values or _may_escape(values):
        headers = [(name, _plain_header(value.replace(key, mask), secret)) for name, value in headers]
    body = body.replace(key, mask)
    if not _may_escape(body) and key not in body.translate(None, _NOT_OF_A_KEY):
        return headers, body
    text = body.decode(errors="replace")
    if redacted(text, secret) == text:
        return headers, body
    payload = object_of(body)
    text = redacted(text, secret) if payload is None else json.dumps(_cleaned(payload, secret))
    # A key that is spread over two values of the JSON is not found in either of them, so look at the whole once more.
    return headers, text.encode() if redacted(text, secret) == text else mask


def redacted(text: str, secret: str) -> str:
    """Return ``text`` with ``[key]`` for ``secret``; where it was spelled with escapes, all of them are resolved."""
    text = text.replace(secret, _MASK)
    for read in _readings(text):
        if secret in read:
            return read.replace(secret, _MASK)
        if secret.encode() in read.encode(errors="replace").translate(None, _NOT_OF_A_KEY):
            return re.sub(_BETWEEN.join(map(re.escape, secret)), _MASK, read)
    return text


def _readings(text: str) -> Iterator[str]:
    """Yield the text, and then what it becomes as each kind of escape is decoded; twice, as one may hide another."""
    yield text
    for _ in range(2):
        if "\\" in text:
            yield (text := re.sub(_ESCAPE, _unescaped, text))
        if "%" in text:
            yield (text := unquote(text))
        if "&" in text:
            from html import unescape  # its table of names takes a millisecond, and hardly any run needs it

            yield (text := unescape(text))


def _unescaped(found: re.Match[str]) -> str:
    code, letter = found.groups()
    if code is not None:
        return chr(int(code, 16))
    return letter if letter in '"\\/' else " "  # the others stand for whitespace, which no key holds


def _cleaned(value: object, secret: str) -> object:
    """Return decoded JSON, at most :data:`DEEPEST` deep, with every text of it redacted, names of fields included."""
    match value:
        case str():
            return redacted(value, secret)
        case list():
            return [_cleaned(inner, secret) for inner in value]
        case dict():
            return {redacted(name, secret): _cleaned(inner, secret) for name, inner in value.items()}
        case _:
            return value


def _may_escape(value: bytes) -> bool:
    """Whether anything in it begins an escape of JSON, of a URL or of HTML. A pattern takes a hundred times longer."""
    return b"\\" in value or b"%" in value or b"&" in value


def _plain_header(value: bytes, secret: str) -> bytes:
    if not _may_escape(value):
        return value
    text = value.decode("latin-1")
    shown = redacted(text, secret)
    return value if shown == text else shown.encode("latin-1", errors="replace")


def kind_of(status: int) -> FailureKind:
    """Return what an HTTP status that is no clean success means for the caller."""
    if kind := _KINDS.get(status):
        return kind
    if 400 <= status < 500:
        return FailureKind.REFUSED
    return FailureKind.SERVER if 500 <= status < 600 else FailureKind.MALFORMED


def _sentence(kind: FailureKind, status: int, said: str, *, asked_ms: int | None, location: str | None) -> str:
    match kind:
        case FailureKind.UNAUTHENTICATED:
            return f"the service does not accept the key: {said}; check GLIDER_API_KEY and the base URL"
        case FailureKind.FORBIDDEN:
            return f"the key may not do this: {said}; give it the scope in Glider's console"
        case FailureKind.NOT_FOUND:
            return f"the service does not find it: {said}"
        case FailureKind.REFUSED:
            return f"the service refused: {said}"
        case FailureKind.RATE_LIMITED:
            return f"the service limits the rate: {said}; {_advice(asked_ms)}"
        case FailureKind.SERVER:
            too_long = asked_ms is not None and asked_ms > LONGEST_WAIT_MS
            return f"the service failed: {said}" + (f"; {_advice(asked_ms)}" if too_long else "")
        case FailureKind.INTERRUPTED:
            return f"the service gave up waiting for the request: {said}"
        case FailureKind.MALFORMED | FailureKind.UNREACHABLE:
            return _oddity(status, said, location)
        case _:
            assert_never(kind)


def _oddity(status: int, said: str, location: str | None) -> str:
    """Say what is wrong with an answer that is neither a success nor a failure as documented."""
    if 200 <= status < 300:
        return f"the answer has a status of success, but says that it failed: {said}"
    if 300 <= status < 400:
        place = harmless(location, longest=120) if location else "nowhere"
        return f"the service redirects to {place}, and no redirect is followed; check the base URL"
    return f"the service answered with a status that it does not document: {said}"


def _advice(asked_ms: int | None) -> str:
    if asked_ms is None or asked_ms <= LONGEST_WAIT_MS:
        return "run again later, or with a smaller --parallelism"
    if asked_ms > LONGEST_PLAUSIBLE_MS:
        plausible = format_duration(LONGEST_PLAUSIBLE_MS)
        return f"it asks to wait more than {plausible}, which is not waited for; run again later"
    asked, longest = format_duration(-(-asked_ms // SECOND_MS) * SECOND_MS), format_duration(LONGEST_WAIT_MS)
    return f"it asks to wait {asked}, and more than {longest} is not waited for; run again then"


def object_of(body: bytes) -> dict[str, object] | None:
    """Return the body as a JSON object, or ``None`` where it is anything else."""
    if body.count(b"[") + body.count(b"{") > DEEPEST and _depth(body) > DEEPEST:
        return None
    try:
        payload = _decode(body.decode())
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number of thousands of digits
        return None
    return payload if isinstance(payload, dict) else None


def _depth(body: bytes) -> int:
    # A page of the list has 100 kB, so first C code drops what can't matter. That may join two texts that stand side by
    # side, which does no harm: all texts are dropped below.
    shape = _ESCAPED.sub(b"", body).translate(None, _NOT_OF_NESTING).replace(b'""', b"")
    depth = deepest = 0
    for byte in _STRING.sub(b"", shape):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _message(payload: dict[str, object], body: bytes) -> str:
    """Return what the service says, from the v1 envelope, the 429 body of §2.5 or, failing both, the first words."""
    error = payload.get("error")
    inner = error.get("message") if isinstance(error, dict) else None
    for said in (inner, payload.get("message"), error):
        if isinstance(said, str) and said.strip():
            return harmless(said.strip())
    return "no reason given" if payload else _first_words(body)


def _first_words(body: bytes) -> str:
    if not body.strip():
        return "an empty body"
    text = re.sub(r"<[^>]*>|\s+", " ", body[:2000].decode(errors="replace"))
    return repr(harmless(" ".join(text.split()), longest=_FIRST_WORDS))


def _code(details: dict[str, object], body: bytes) -> str | None:
    # It is not documented where an answer holds the codes of ETH mainnet, so any place counts (API facts §1.1, §6).
    if found := re.search(_ETH_CODE, body):
        return found.group().decode()
    return _short(details.get("code"))


def _id(payload: dict[str, object], headers: Headers, key: str, header: bytes) -> str | None:
    """Return an id that support asks for: from beside the error, inside it, or a header (API facts §2.1, §2.3)."""
    error = payload.get("error")
    inner = error.get(key) if isinstance(error, dict) else None
    return _short(payload.get(key)) or _short(inner) or _short(header_of(headers, header))


def _short(value: object) -> str | None:
    return harmless(value, longest=_LONGEST_ID) if isinstance(value, str) and value else None


def header_of(headers: Headers, name: bytes) -> str | None:
    """Return a header's first value; ``name`` in lower case."""
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), None)


def retry_after_ms(header: str | None, body: object, *, now_ms: int) -> int | None:
    """Return the wait that an answer asks for, or ``None`` where it names none that can be understood.

    ``header`` is ``Retry-After``, in seconds or as an HTTP date; ``body`` is the value of ``retryAfter``, seconds
    (API facts §2.3, §2.5). Where both speak, the longer one counts. A date in the past is a wait of 0.
    ``now_ms`` is the time by the service's clock, which the date was made by.
    """
    waits = [wait for wait in (_of_header(header, now_ms), _of_number(body)) if wait is not None]
    return max(waits, default=None)


def _of_header(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text[:12]) * SECOND_MS
    moment_ms = http_date_ms(text)
    return None if moment_ms is None else max(0, moment_ms - now_ms)


def http_date_ms(text: str, *, with_zone: bool = False) -> int | None:
    """Return an HTTP date as UTC epoch milliseconds, or ``None`` where it can't be understood.

    A date without a zone ("-0000", as mail spells it) is taken as UTC, or with ``with_zone`` as none.
    """
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            if with_zone:
                return None
            from datetime import UTC

            moment = moment.replace(tzinfo=UTC)
        return math.ceil(moment.timestamp() * 1000)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None  # the standard parser raises any of these on hostile text


def _of_number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return math.ceil(min(value, 10**12) * SECOND_MS) if value >= 0 else None


class ServiceTime:
    """How far the service's clock is ahead of ``clock``; 0 until an answer shows another time."""

    __slots__ = ("_ahead_ms", "_clock", "_last", "named")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = 0
        self._last = b""
        self.named = False
        """Whether any answer named a time that can be understood."""

    def now_ms(self) -> int:
        """Return the time by the service's clock; by ours where it named none, or hardly another."""
        return self._clock.now_ms() + self._ahead_ms

    def heard(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in the headers of an answer that has just come."""
        for name, value in headers:
            if len(name) == len(_DATE) and name.lower() == _DATE:
                # Many answers share one second, and parsing the header is the slowest step here.
                if value != self._last:
                    self._last = value
                    self._read(value)
                return

    def _read(self, value: bytes) -> None:
        named_ms = http_date_ms(value.decode("latin-1"))
        if named_ms is None or not _EARLIEST_MS <= named_ms < _LATEST_MS:
            return
        self.named = True
        ahead_ms = named_ms + _HALF_MS - self._clock.now_ms()
        # A smaller difference is noise, and would make our time jump back and forth.
        if abs(ahead_ms - self._ahead_ms) > SMALLEST_SKEW_MS + _HALF_MS:
            self._ahead_ms = ahead_ms
