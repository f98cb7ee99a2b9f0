"""What a journal knows of one service and account as a file, so that another journal can take it over.

In: an :class:`Export`. Out: JSON text, and the way back. It holds what was confirmed and which writes of ours were the
last ones; no key, and no reason that was sent. It is not signed: whoever can change it can change what is remembered,
but a record that was imported counts only where the service itself still shows what it says.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.desired import PortfolioId
from reconciler.core.errors import ExportInvalid
from reconciler.core.intent import Call, LastWrite
from reconciler.core.jsonread import flag, maybe_text, number_within, portfolio_id, read_document, text
from reconciler.core.live import LATEST_MS, Record
from reconciler.core.planfile import TOOL, from_iso, iso
from reconciler.core.recordfile import parse_record, record_document
from reconciler.core.strategy import Cadence, StrategyAddress, strategy_of
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.intent import Address

EXPORT_FORMAT: Final = "1.0"
"""Minor versions only add keys; a reader refuses another major version."""
LARGEST_EXPORT: Final = 64 * 1024 * 1024
"""Bytes of a file that is read; one portfolio takes about 900 of them."""
_REPAIR: Final = "It is cut, edited or something else. Make it again with `reconciler journal export FILE`."
_TOKEN: Final = re.compile(r"[0-9a-z]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a journal knows of one portfolio or strategy.

    ``since`` is the last write to its state or schedule; ``pause`` is the last pause of ours where nothing of ours
    lifted it since. A strategy has no record.
    """

    record: Record | None = None
    since: LastWrite | None = None
    pause: LastWrite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What a journal knows of one service and account; ``account`` is ``None`` where it does not know whose it is."""

    base_url: str
    account: str | None
    exported_ms: int
    remembered: Mapping[Address, Remembered]


def format_export(export: Export) -> str:
    """Return the file as JSON text that ends in a line break; the same knowledge gives the same text."""
    document = {
        "format_version": EXPORT_FORMAT,
        "tool": TOOL,
        "base_url": export.base_url,
        "account": export.account,
        "exported_at": iso(export.exported_ms),
        "records": [
            {
                "id": address,
                "confirmed": record_document(one.record) if one.record is not None else None,
                "since": _write(one.since),
                "pause": _write(one.pause),
            }
            for address, one in sorted(export.remembered.items())
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _write(write: LastWrite | None) -> dict[str, Any] | None:
    if write is None:
        return None
    return {
        "token": write.token,
        "call": write.call.value,
        "at_ms": write.at_ms,
        "took_effect": write.took_effect,
        "cadence": write.cadence.value if write.cadence is not None else None,
    }


def parse_export(content: bytes | str) -> Export:
    """Return what a file holds.

    Raises :class:`ExportInvalid` for anything that is not such a file, is of another major format, or is too large.
    """
    if len(content) > LARGEST_EXPORT:
        raise ExportInvalid(f"the export is larger than {LARGEST_EXPORT // 1024 // 1024} MiB", _REPAIR)
    try:
        document = read_document(content)
        _require_format(document["format_version"])
        return _export(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExportInvalid("the file is not an export of a journal", _REPAIR) from error


def _require_format(version: object) -> None:
    if str(version).split(".", maxsplit=1)[0] != EXPORT_FORMAT.split(".", maxsplit=1)[0]:
        raise ExportInvalid(
            f"the export has format version {version!s:.20}",
            f"This is {TOOL}, which reads version {EXPORT_FORMAT}. Make the export again with this version.",
        )


def _export(document: Mapping[str, Any]) -> Export:
    found = [(_address(entry["id"]), entry) for entry in document["records"]]
    if len(dict(found)) < len(found):
        raise ValueError("one id twice")
    account = maybe_text(document["account"])
    return Export(
        base_url=_plain(text(document["base_url"])),
        account=None if account is None else _plain(account),
        exported_ms=from_iso(text(document["exported_at"])),
        remembered={address: _remembered(address, entry) for address, entry in sorted(found, key=lambda one: one[0])},
    )


def _remembered(address: Address, entry: Mapping[str, Any]) -> Remembered:
    confirmed, is_strategy = entry["confirmed"], strategy_of(address) is not None
    since, pause = _last_write(entry["since"]), _last_write(entry["pause"])
    if is_strategy and not (confirmed is None and pause is None):
        raise ValueError("a strategy is neither paused nor confirmed like a portfolio")
    if since is not None and (since.call is Call.REBALANCE or (since.call is Call.SET_CADENCE) != is_strategy):
        raise ValueError("a call that sets no state or schedule of it")
    if pause is not None and (pause.call is not Call.PAUSE or since is None):
        raise ValueError("not a pause of ours")
    return Remembered(record=None if confirmed is None else parse_record(confirmed), since=since, pause=pause)


def _last_write(write: Mapping[str, Any] | None) -> LastWrite | None:
    if write is None:
        return None
    token, call = text(write["token"]), Call(write["call"])
    if not _TOKEN.fullmatch(token):
        raise ValueError("not a token")
    return LastWrite(
        token=token,
        call=call,
        at_ms=number_within(write["at_ms"], lowest=0, highest=LATEST_MS),
        took_effect=flag(write["took_effect"]),
        cadence=Cadence(write["cadence"]) if call is Call.SET_CADENCE else None,
    )


def _address(value: object) -> Address:
    found = text(value)
    return StrategyAddress(found) if strategy_of(found) is not None else PortfolioId(portfolio_id(found))


def _plain(value: str) -> str:
    """Return a name as it is; one that would have to be made harmless is none that a journal holds."""
    if not value or harmless(value) != value:
        raise ValueError("not a name")
    return value
