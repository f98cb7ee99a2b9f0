"""How a value becomes JSON and comes back: what is saved follows from its type, and what is read is checked by it.

In: a msgspec ``Struct``, or JSON text. Out: the other. A type says its ranges and patterns itself (``Count``,
``Milliseconds``, ``Moment``, ``Shown`` below), keys that a type does not know are passed over, because minor versions
of a format add some, and a key that stands twice is refused: a parser would take one of the two values, and a person
who reads the file perhaps the other.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from reconciler import TOOL
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.text import LONGEST_TEXT, harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.core.errors import ReconcilerError

T = TypeVar("T")

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: a later time can't be written down, so no live value is one."""
LONGEST_MS: Final = 10**15
"""A bound for every interval, offset and count, as in the service's answers."""
LARGEST_AMOUNT: Final = 1e18
"""A bound for every amount of money and every percentage."""
_LONGEST_SHOWN: Final = 16 * LONGEST_TEXT
"""Characters of a text that is already harmless: each of the service's may have become an escape of ten."""

Count = Annotated[int, Meta(ge=0, le=LONGEST_MS)]
Milliseconds = Annotated[int, Meta(ge=0, le=LONGEST_MS)]
Interval = Annotated[int, Meta(ge=1, le=LONGEST_MS)]
"""An interval in milliseconds. 0 is not a valid interval."""
AtMs = Annotated[int, Meta(ge=0, le=LATEST_MS)]
"""A time as UTC epoch milliseconds, in JSON too."""
Amount = Annotated[float, Meta(ge=-LARGEST_AMOUNT, le=LARGEST_AMOUNT)]

if TYPE_CHECKING:
    Moment = int
    Shown = str
else:

    class _Plain(type):
        """Makes a plain number or text pass for these types: msgspec checks what :func:`_in` returns, and values hold
        nothing but plain ones."""

        def __instancecheck__(cls, found: object) -> bool:
            return isinstance(found, cls.__base__)

    class Moment(int, metaclass=_Plain):
        """A time as UTC epoch milliseconds, which in JSON is ISO 8601 text (:func:`iso`)."""

    class Shown(str, metaclass=_Plain):
        """Text of the service, made harmless again where it is read from a file."""


def iso(ms: int) -> str:
    """Return UTC epoch milliseconds as ISO 8601 text with milliseconds and ``Z``."""
    seconds = datetime.fromtimestamp(ms // 1000, tz=UTC).isoformat()[:19]
    return f"{seconds}.{ms % 1000:03d}Z"


def from_iso(text: str) -> int:
    """Return the UTC epoch milliseconds of :func:`iso`'s text. Raises ``ValueError`` for any other spelling."""
    found = round(datetime.fromisoformat(text).timestamp() * 1000)
    if iso(found) != text:
        raise ValueError("not a time as it is written here")
    return found


def dump(value: Struct) -> dict[str, Any]:
    """Return a value as a JSON object, its keys in the order of its fields."""
    document: dict[str, Any] = msgspec.to_builtins(value, enc_hook=_out)
    _write_moments(document, _moments_in(type(value)))
    return document


def load(document: Any, kind: type[T]) -> T:
    """Return the value of this type that a JSON value holds. Raises ``ValueError`` for anything else."""
    return msgspec.convert(document, kind, dec_hook=_in)


def json_text(document: Mapping[str, Any]) -> str:
    """Return a JSON object as text for people and programs; it ends in a line break."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        return msgspec.json.format(text, indent=2) + "\n"  # the standard library indents in Python, five times as slow
    except UnicodeEncodeError:  # a file name that is not valid UTF-8
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read_document(content: str | bytes) -> Any:
    """Return what a JSON text holds. Raises ``ValueError`` for text that is not JSON or repeats a key."""
    return json.loads(content, object_pairs_hook=_each_key_once, parse_constant=_no_number)


GZIP: Final = b"\x1f\x8b"
"""How a compressed file begins."""
_MOST_PACKED: Final = 256
"""How much larger than itself a compressed file may become. Ours stay below 100; a bomb becomes a thousand times as
large."""


def unpacked(content: bytes, *, most: int) -> bytes:
    """Return what a compressed file holds, or what is not compressed as it is; hardly more than ``most`` bytes.

    Raises ``ValueError`` for a file that is cut, damaged, or made to become far larger than any of ours.
    """
    if not content.startswith(GZIP):
        return content
    import zlib

    unpacker = zlib.decompressobj(wbits=31)
    bound = min(most, max(_MOST_PACKED * len(content), LONGEST_TEXT))
    try:
        found = unpacker.decompress(content, bound + 1)
    except zlib.error as error:
        raise ValueError("a damaged file") from error
    if len(found) > most:
        return found
    if len(found) > bound or not unpacker.eof or unpacker.unused_data:
        raise ValueError("a compressed file that is cut, or none of ours")
    return found


class SavedFormat(Struct, frozen=True, kw_only=True):
    """A kind of file that we write and read back. Minor versions only add keys; another major version is refused.

    ``file`` names it ("the plan file"), ``what`` is the part to make again ("the plan"), and ``is_none`` completes
    the sentence "the file is not …" ("a saved plan"). ``command`` makes one. ``largest`` is a bound in bytes.
    ``key`` stands in each version of this kind and in no other kind: a plan is no live file of another version.
    ``first`` is the key that follows those that all kinds have, different for each kind.
    """

    file: str
    what: str
    is_none: str
    version: str
    command: str
    largest: int
    key: str
    first: str
    error: type[ReconcilerError]

    @property
    def begins(self) -> bytes:
        """How such a file begins, as a pattern: only such a file is replaced by another one."""
        behind = rb'(?:"exit_reason":\s*"[^"]*",\s*)?"%s"' % self.first.encode()  # a plan has one, too
        return rb'\s*\{\s*"format_version":\s*"[^"]*",\s*"tool":\s*"[^"]*",\s*' + behind

    @property
    def repair(self) -> str:
        """What to do about a file that can't be used."""
        return f"It is cut, edited or something else. Make it again with `{self.command}`."

    def text(self, body: Mapping[str, Any]) -> str:
        """Return the text of such a file."""
        return json_text({"format_version": self.version, "tool": TOOL, **body})

    def parse(self, content: bytes | str, read: Callable[[dict[str, Any]], T]) -> T:
        """Return what ``read`` makes of the document.

        Raises ``error`` for anything that is not such a file, is of another major version, or is too large; ``read``
        may raise what :func:`load` raises.
        """
        try:
            if isinstance(content, bytes):
                content = unpacked(content, most=self.largest)
            if len(content) > self.largest:
                raise self.error(f"{self.file} is larger than {self.largest // 1024 // 1024} MiB", self.repair)
            document = read_document(content)
            found = str(document["format_version"])
            _ = document[self.key]
            if found.split(".", maxsplit=1)[0] != self.version.split(".", maxsplit=1)[0]:
                raise self.error(
                    f"{self.file} has format version {found:.20}",
                    f"This is {TOOL}, which reads version {self.version}. Make {self.what} again with this version.",
                )
            return read(document)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.error(f"the file is not {self.is_none}", self.repair) from error


class _Failure(Struct, frozen=True, kw_only=True):
    """A failed read as it is saved: its kind decides what a plan exits with, the rest is what people are told."""

    kind: FailureKind
    message: Shown
    status: Count | None
    code: Shown | None
    request_id: Shown | None
    correlation_id: Shown | None
    detail: Shown = ""
    """What to do about it, in our words."""


def _out(value: object) -> Any:
    if not isinstance(value, ApiError):
        raise NotImplementedError(f"nothing says how a {type(value).__name__} is saved")
    told = {"detail": value.detail} if value.detail else {}
    return {"kind": value.kind.value, "message": value.summary, **failure_facts(value), **told}


def failure_facts(error: ApiError | _Failure) -> dict[str, Any]:
    """Return what support needs of a failed call: status, code and ids."""
    return {name: getattr(error, name) for name in ("status", "code", "request_id", "correlation_id")}


def _in(kind: type, found: Any) -> Any:
    if kind is ApiError:
        failure = load(found, _Failure)
        error = ApiError(failure.kind, failure.message, **failure_facts(failure))
        error.detail = failure.detail
        return error
    if not isinstance(found, str):
        raise TypeError("not a text")
    return from_iso(found) if kind is Moment else harmless(found, longest=_LONGEST_SHOWN)


def _each_key_once(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found = list(pairs)
    document = dict(found)
    if len(document) < len(found):
        raise ValueError("a key twice")
    return document


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a number")


_NAME: Final = re.compile(r"""(["']).*?\1|(\w+)""")
"""A text in an annotation, such as a pattern, or a name."""

_Moments = dict[str, "_Moments | None"]
"""Where moments stand in a JSON object: ``None`` for a key that is one, else what its objects hold."""


@lru_cache(maxsize=64)
def _moments_in(kind: type[Struct]) -> _Moments:
    found: _Moments = {}
    inside = dict(_types_in(kind))
    for field, key in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        if Moment in inside[field]:
            found[key] = None
        for part in inside[field]:
            if isinstance(part, type) and issubclass(part, Struct) and (deeper := _moments_in(part)):
                found[key] = deeper
    return found


def _types_in(kind: type[Struct]) -> Iterator[tuple[str, set[Any]]]:
    """Yield each field of a type, and every type that its annotation names.

    Annotations are text here. To look their words up takes a tenth of what it takes to evaluate them. Raises
    :class:`NameError` for a type that its module imports for type checkers only: it might be a moment.
    """
    for base in reversed(kind.__mro__):
        if issubclass(base, Struct) and base is not Struct:
            names = {"None": None, **vars(import_module(base.__module__))}
            for field, annotation in base.__annotations__.items():
                words = [word for _, word in _NAME.findall(annotation) if word]
                if missing := next((word for word in words if word[0].isupper() and word not in names), None):
                    raise NameError(f"{base.__name__}.{field}: {missing} has to be imported at run time")
                yield field, set().union(*(_parts(names.get(word)) for word in words))


def _parts(hint: Any) -> set[Any]:
    """Return every type that a hint names."""
    return {hint}.union(*(_parts(part) for part in get_args(hint)))


def _write_moments(document: dict[str, Any], moments: _Moments) -> None:
    for key, deeper in moments.items():
        value = document[key]
        if value is None:
            continue
        if deeper is None:
            document[key] = iso(value)
            continue
        for one in value if isinstance(value, (list, tuple)) else (value,):
            _write_moments(one, deeper)
