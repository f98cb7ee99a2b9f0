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
    for name in (saved.base_url, saved.account):
        if name is not None and harmless(name) != name:
            raise ValueError("a name that no journal holds")
    rows = sorted(saved.records, key=lambda row: row.id)
    remembered: dict[Address, Remembered] = {row.id: _remembered(row) for row in rows}
    if len(remembered) < len(rows):
        raise ValueError("one id twice")
    return Export(base_url=saved.base_url, account=saved.account, exported_ms=saved.exported_at, remembered=remembered)


def _remembered(row: _Row) -> Remembered:
    is_strategy, since, pause = strategy_of(row.id) is not None, row.since, row.pause
    if is_strategy and not (row.confirmed is None and pause is None):
        raise ValueError("a strategy is neither paused nor confirmed like a portfolio")
    if since is not None and (since.call is Call.REBALANCE or (since.call is Call.SET_CADENCE) != is_strategy):
        raise ValueError("a call that sets no state or schedule of it")
    if since is not None and (since.call is Call.SET_CADENCE) != (since.cadence is not None):
        raise ValueError("a cadence that its call does not set")
    if pause is not None and (pause.call is not Call.PAUSE or since is None):
        raise ValueError("not a pause of ours")
    return Remembered(record=row.confirmed, since=since, pause=pause)
