"""Portfolios that a command line names by their ids, whether the files declare them or not.

In: ids as arguments, or from a file or standard input, one a line; the files, if there are any; ``--api``. Out: ids,
each once and sorted, or a :class:`Named` for each. For a declared portfolio its file says which API manages it. For
another one ``--api`` says so, or else the defaults of the files. All lines that are not ids are reported together.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.core.errors import ReconcilerError, UsageError
from reconciler.core.model import ApiVersion, PortfolioId, is_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.cli.options import FileOptions
    from reconciler.config.load import Configuration
    from reconciler.core.model import Desired

_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_SHOWN: Final = 5
_REPAIR: Final = "Give a text file of one id a line; # begins a comment."


class Named(Struct, frozen=True, kw_only=True):
    """One portfolio; ``desired`` is ``None`` where no file declares it."""

    id: PortfolioId
    version: ApiVersion
    desired: Desired | None

    @property
    def name(self) -> str | None:
        """Its label in the files."""
        return self.desired.name if self.desired is not None else None


def named(ids: Iterable[str], configuration: Configuration, version: ApiVersion | None) -> tuple[Named, ...]:
    """Return the portfolios with these ids, each once, sorted.

    Raises :class:`~reconciler.core.errors.UsageError` for what can't be an id, and where ``--api`` contradicts a file:
    a portfolio is managed by one API and never by both (API facts §4.9).
    """
    declared, default = configuration.desired, configuration.default_api
    return tuple(_named(_id(one), declared, version, default) for one in sorted(set(ids)))


def _named(
    portfolio: PortfolioId,
    declared: Mapping[PortfolioId, Desired],
    version: ApiVersion | None,
    default: ApiVersion,
) -> Named:
    desired = declared.get(portfolio)
    if desired is None:
        return Named(id=portfolio, version=version or default, desired=None)
    if version not in (None, desired.api):
        raise UsageError(f"{portfolio} is declared with the API {desired.api.value}; drop --api, or change its file.")
    return Named(id=portfolio, version=desired.api, desired=desired)


def _id(text: str) -> PortfolioId:
    if not is_id(text):
        raise UsageError(f"{text[:60]!r} is not a portfolio id; ids are 1 to 128 of A-Z a-z 0-9 _ -.")
    return PortfolioId(text)


def ids_of(given: Iterable[str], ids_from: str | None, files: FileOptions) -> tuple[PortfolioId, ...]:
    """Return the ids given as arguments and those in the file of ``--ids-from``.

    Raises :class:`~reconciler.core.errors.UsageError` for what is not an id, and
    :class:`~reconciler.core.errors.ReconcilerError` for a file that can't be read or holds none: an empty list must
    not read as "nothing is there".
    """
    found = [_id(one) for one in given]
    if ids_from is not None:
        found += ids_in(ids_from, files=files, option="--ids-from ")
    return tuple(sorted(set(found)))


def ids_in(source: str, *, files: FileOptions, option: str) -> tuple[PortfolioId, ...]:
    """Return the ids in a file, in its order; ``-`` is standard input. Raises as :func:`ids_of` does.

    ``option`` is how the command line names the file, up to its name; ``files`` are those of the configuration.
    """
    if source == "-" and "-" in files.sources:
        raise UsageError(f"{option}- and -f - both read standard input: name a file for one of them.")
    shown = "<stdin>" if source == "-" else source
    found, wrong = [], []
    for number, line in enumerate(_text(source, shown).splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if word and not is_id(word):
            wrong.append(f"line {number}: {word[:60]!r}")
        elif word:
            found.append(PortfolioId(word))
    if wrong:
        more = f" and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
        raise UsageError(f"{shown} holds lines that are not portfolio ids: {', '.join(wrong[:_MOST_SHOWN])}{more}.")
    if not found:
        raise ReconcilerError(f"{shown} holds no portfolio id", _REPAIR)
    return tuple(found)


def _text(source: str, shown: str) -> str:
    from reconciler.config.files import read_file

    most = _MOST_BYTES + 1
    try:
        data = sys.stdin.buffer.read(most) if source == "-" else read_file(Path(source), most=most)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows, bytes that are no UTF-8
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't read the ids from {shown}: {why}", _REPAIR) from error
    if len(data) > _MOST_BYTES:
        raise ReconcilerError(f"{shown} is larger than 8 MiB", _REPAIR)
    return text
