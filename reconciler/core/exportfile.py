"""What a journal knows of one service and account as a file, so that another journal can take it over.

In: an :class:`Export`, or text. Out: the other, or an error that says what to do. It holds what was confirmed and which
writes of ours were the last ones; no key, and no reason that was sent. It is not signed: whoever can change it can
change what is remembered, but a record that was imported counts only where the service itself still shows what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct

from reconciler.core.codec import Moment, SavedFormat, dump, load
from reconciler.core.errors import ExportInvalid
from reconciler.core.intent import Call, LastWrite
from reconciler.core.model import Address, Record, SavedAddress, strategy_of
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORT_FORMAT: Final = SavedFormat(
    file="the export",
    what="the export",
    is_none="an export of a journal",
    version="1.0",
    command="reconciler journal export FILE",
    largest=64 * 1024 * 1024,  # one portfolio takes about 900 bytes
    error=ExportInvalid,
)


_NOT_OF_STATE: Final = frozenset({Call.REBALANCE, Call.SET_CADENCE})
"""Calls that set no state or schedule of a portfolio."""


class Remembered(Struct, frozen=True, kw_only=True):
    """What a journal knows of one portfolio or strategy.

    ``since`` is the last write to its state or schedule; ``pause`` is the last pause of ours where nothing of ours
    lifted it since. A strategy has no record.
    """

    record: Record | None = None
    since: LastWrite | None = None
    pause: LastWrite | None = None


class Export(Struct, frozen=True, kw_only=True):
    """What a journal knows of one service and account; ``account`` is ``None`` where it does not know whose it is."""

    base_url: str
    account: str | None
    exported_ms: int
    remembered: Mapping[Address, Remembered]


class _Row(Struct, frozen=True, kw_only=True):
    id: SavedAddress
    confirmed: Record | None
    since: LastWrite | None
    pause: LastWrite | None


_Name = Annotated[str, Meta(min_length=1)]


class _Saved(Struct, frozen=True, kw_only=True):
    base_url: _Name
    account: _Name | None
    exported_at: Moment
    records: tuple[_Row, ...]


def format_export(export: Export) -> str:
    """Return the file as JSON text that ends in a line break; the same knowledge gives the same text."""
    saved = _Saved(
        base_url=export.base_url,
        account=export.account,
        exported_at=export.exported_ms,
        records=tuple(
            _Row(id=address, confirmed=one.record, since=one.since, pause=one.pause)
            for address, one in sorted(export.remembered.items())
        ),
    )
    return EXPORT_FORMAT.text(dump(saved))


def parse_export(content: bytes | str) -> Export:
    """Return what a file holds.

    Raises :class:`ExportInvalid` for anything that is not such a file, is of another major format, or is too large.
    """
    return EXPORT_FORMAT.parse(content, _export)


def _export(document: dict[str, Any]) -> Export:
    saved = load(document, _Saved)
    rows = sorted(saved.records, key=lambda row: row.id)
    remembered: dict[Address, Remembered] = {
        row.id: Remembered(record=row.confirmed, since=row.since, pause=row.pause) for row in rows
    }
    names = [name for name in (saved.base_url, saved.account) if name is not None]
    if any(harmless(name) != name for name in names) or len(remembered) < len(rows) or not all(map(_can_be, rows)):
        raise ValueError("what no journal holds")
    return Export(base_url=saved.base_url, account=saved.account, exported_ms=saved.exported_at, remembered=remembered)


def _can_be(row: _Row) -> bool:
    """Whether a journal may know this: a strategy is neither paused nor confirmed like a portfolio, and each kind has
    calls of its own."""
    since, pause = row.since, row.pause
    if strategy_of(row.id) is not None:
        only_a_cadence = since is None or (since.call is Call.SET_CADENCE and since.cadence is not None)
        return only_a_cadence and row.confirmed is None and pause is None
    of_a_portfolio = since is None or (since.call not in _NOT_OF_STATE and since.cadence is None)
    return of_a_portfolio and (pause is None or (pause.call is Call.PAUSE and since is not None))
