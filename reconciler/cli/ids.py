"""Portfolio ids from arguments and from a file or standard input, one a line.

In: the command line. Out: ids, each once, sorted. Every line that holds no id is named at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli.wiring import refuse
from reconciler.core.model import PortfolioId, is_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_SHOWN: Final = 5
_REPAIR: Final = "Give a text file of one id a line; # begins a comment."


def ids_from(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--ids-from``."""
    return click.option(
        "--ids-from",
        "ids_from",
        metavar="FILE",
        help="Portfolio ids, one a line, # begins a comment; - for stdin.",
    )(command)


def ids_of(options: Mapping[str, Any], given: Iterable[str] = ()) -> tuple[PortfolioId, ...]:
    """Return the ids given as arguments and those of ``--ids-from``.

    Raises a usage error for what is no id, and :class:`~reconciler.core.errors.ReconcilerError` for a file that can't
    be read or holds none: an empty list must not read as "nothing is there".
    """
    found = []
    for one in given:
        if not is_id(one):
            raise refuse(f"{one[:60]!r} is no portfolio id; ids are 1 to 128 of A-Z a-z 0-9 _ -.")
        found.append(PortfolioId(one))
    if options["ids_from"] is not None:
        found += ids_in(options["ids_from"], files=options["sources"], option="--ids-from ")
    return tuple(sorted(set(found)))


def ids_in(source: str, *, files: tuple[str, ...], option: str) -> tuple[PortfolioId, ...]:
    """Return the ids in a file, in its order; ``-`` is standard input. Raises as :func:`ids_of` does.

    ``option`` is how the command line names the file, up to its name; ``files`` are those of the configuration.
    """
    from reconciler.core.errors import ReconcilerError

    if source == "-" and "-" in files:
        raise refuse(f"{option}- and -f - both read standard input: name a file for one of them.")
    shown = "<stdin>" if source == "-" else source
    try:
        data = sys.stdin.buffer.read(_MOST_BYTES + 1) if source == "-" else _read(source)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows, bytes that are no UTF-8
        why = getattr(error, "strerror", None) or error
        raise ReconcilerError(f"can't read the ids from {shown}: {why}", _REPAIR) from error
    if len(data) > _MOST_BYTES:
        raise ReconcilerError(f"{shown} is larger than 8 MiB", _REPAIR)
    found, wrong = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.partition("#")[0].strip()
        if word and not is_id(word):
            wrong.append(f"line {number}: {word[:60]!r}")
        elif word:
            found.append(PortfolioId(word))
    if wrong:
        more = f" and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
        raise refuse(f"{shown} holds what is no portfolio id: {', '.join(wrong[:_MOST_SHOWN])}{more}.")
    if not found:
        raise ReconcilerError(f"{shown} holds no portfolio id", _REPAIR)
    return tuple(found)


def _read(source: str) -> bytes:
    from reconciler.config.files import read_file

    return read_file(Path(source), most=_MOST_BYTES + 1)
