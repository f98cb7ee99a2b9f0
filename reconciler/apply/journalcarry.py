"""Export what a journal knows, and import it into another journal.

In: where a journal lies, an :class:`Export` or its text. Out: an export, its text, or counts of what was imported. The
file holds no key and no reason that was sent. It is not signed: whoever can change it can change what is remembered.
An import never replaces what this journal knows better: a newer record, or a later write of its own. What is imported
counts only while the service still shows what it says (:func:`reconciler.core.evidence.applies`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from reconciler import TOOL
from reconciler.apply.journal import OpenJournal, open_journal
from reconciler.apply.journalreads import reading_of, services_of
from reconciler.core.codec import Moment, SavedFormat, dump, load
from reconciler.core.errors import ExitReason, ExportInvalid, NotExpected, UsageError
from reconciler.core.intent import Call, Intent, LastWrite, WriteOutcome
from reconciler.core.model import Address, PortfolioId, Record, SavedAddress, strategy_of
from reconciler.core.report import NOWHERE
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.apply.journaltables import JournalPlace
    from reconciler.core.ports import Memory
    from reconciler.core.report import RunOrigin

IMPORTED: Final = "imported"
"""What stands in the journal in place of a fingerprint, and as the detail of each write that was brought in."""


class Remembered(Struct, frozen=True, kw_only=True):
    """What a journal knows of one portfolio or strategy.

    ``since`` is the last write to its state or schedule; ``pause`` is the last pause of ours where nothing of ours
    lifted it since. A strategy has no record.
    """

    id: SavedAddress
    record: Record | None = field(name="confirmed")
    since: LastWrite | None
    pause: LastWrite | None


_Name = Annotated[str, Meta(min_length=1)]


class Export(Struct, frozen=True, kw_only=True):
    """What a journal knows of one service and account, sorted by address; ``account`` is ``None`` where it does not
    know whose it is."""

    base_url: _Name
    account: _Name | None
    exported_ms: Moment = field(name="exported_at")
    remembered: tuple[Remembered, ...] = field(name="records")


class Taken(Struct, frozen=True, kw_only=True):
    """How many portfolios and strategies were taken over, were known here just so, and are known better here."""

    taken: int = 0
    known: int = 0
    newer_here: int = 0


def read_export(place: JournalPlace, *, base_url: str, account: str | None, now_ms: int) -> Export | None:
    """Return what a journal knows of one service and account, ``None`` if there is no journal.

    Without an ``account`` it is the one that the journal knows. Raises :class:`UsageError` if it knows several, and
    :class:`~reconciler.core.errors.JournalError`.
    """
    accounts = [whose for url, whose in services_of(place) if url == base_url and whose is not None]
    if account is None and len(accounts) > 1:
        raise UsageError(
            f"the journal {place} knows {len(accounts)} accounts of {base_url}: {', '.join(accounts)}",
            "Name one with --account.",
        )
    account = account if account is not None else next(iter(accounts), None)
    with reading_of(place, base_url=base_url, account=account, now_ms=now_ms) as journal:
        if journal is None:
            return None
        memory = journal.memory()
        addresses: set[Address] = {*memory.records, *memory.since, *memory.pauses}
        remembered = tuple(_remembered(journal, memory, address) for address in sorted(addresses))
    return Export(base_url=base_url, account=account, exported_ms=now_ms, remembered=remembered)


def _remembered(journal: OpenJournal, memory: Memory, address: Address) -> Remembered:
    since = memory.since.get(address)
    portfolio = PortfolioId(address) if strategy_of(address) is None else None
    pause = memory.pauses.get(portfolio) if portfolio is not None else None
    return Remembered(
        id=address,
        record=memory.records.get(portfolio) if portfolio is not None else None,
        since=journal.last_write(address, since) if since is not None else None,
        pause=journal.last_write(address, pause) if pause is not None else None,
    )


def import_export(
    place: JournalPlace, export: Export, *, now_ms: Callable[[], int], process: str, origin: RunOrigin = NOWHERE
) -> Taken:
    """Bring an export into a journal, under its lock; a missing journal is made.

    Raises :class:`~reconciler.core.errors.NotExpected` where the journal belongs to another account of that service,
    and :class:`~reconciler.core.errors.JournalError`.
    """
    _require_account(place, export)
    with open_journal(
        place, base_url=export.base_url, account=export.account, now_ms=now_ms, process=process, origin=origin
    ) as journal:
        memory, confirmed_at = journal.memory(), journal.confirmed_at()
        writes: list[tuple[Address, LastWrite]] = []
        records: dict[PortfolioId, Record] = {}
        known = newer_here = 0
        for there in export.remembered:
            address = there.id
            here, at_ms = memory.since.get(address), confirmed_at.get(PortfolioId(address), -1)
            written = journal.last_write(address, here) if here is not None else None
            if _is_older(there, written, journal) or _newest_ms(there) < at_ms:
                newer_here += 1
                continue
            new = _writes_of(there, journal)
            writes += [(address, one) for one in new]
            # The token goes along: an imported record counts only where Glider still shows it, or the schedule's id.
            if there.record is not None and (new or there.record.confirmed_ms > at_ms):
                token = there.pause.token if there.pause is not None else ""
                records[PortfolioId(address)] = replace(there.record, imported=token)
            elif not new:
                known += 1
        taken = len(export.remembered) - known - newer_here
        if taken:  # an import that brings nothing new leaves no run in the history
            journal.open_run(fingerprint=IMPORTED, tool=TOOL)
            journal.take_over([_as_write(address, one) for address, one in writes])
            journal.confirm(records)
            journal.close_run(ExitReason.OK.word)
    return Taken(taken=taken, known=known, newer_here=newer_here)


def _require_account(place: JournalPlace, export: Export) -> None:
    accounts = {whose for url, whose in services_of(place) if url == export.base_url and whose is not None}
    if export.account is not None and accounts and export.account not in accounts:
        raise NotExpected(
            f"the export is from the account {export.account}, "
            f"the journal {place} is for {', '.join(sorted(accounts))}",
            "Nothing was imported. Name the journal of that account with --journal; each account has one of its own.",
        )


def _is_older(there: Remembered, here: LastWrite | None, journal: OpenJournal) -> bool:
    """Whether this journal has a write that came after those of the exported journal.

    If both journals were written to independently, the later write decides; at equal times this journal counts as
    newer.
    """
    if here is None:
        return False
    if there.since is None:
        return True
    if there.since.token == here.token:
        return False
    return journal.knows(there.since.token) or there.since.at_ms <= here.at_ms


def _newest_ms(there: Remembered) -> int:
    """Return when the newest of what is known was written or confirmed."""
    return max(there.record.confirmed_ms if there.record else 0, there.since.at_ms if there.since else 0)


def _writes_of(there: Remembered, journal: OpenJournal) -> list[LastWrite]:
    """Return the writes that this journal lacks, oldest first, because the last one decides what is believed."""
    if there.since is None or journal.knows(there.since.token):
        return []
    is_apart = there.pause is not None and there.pause.token != there.since.token
    pauses = [there.pause] if there.pause is not None and is_apart and not journal.knows(there.pause.token) else []
    return [*pauses, there.since]


def _as_write(address: Address, write: LastWrite) -> tuple[Intent, int, WriteOutcome, str]:
    """Return a write as the journal keeps it. A cadence is imported as unknown: nothing shows it to be in force."""
    confirmed = write.took_effect and write.call is not Call.SET_CADENCE
    intent = Intent(address=address, call=write.call, token=write.token, cadence=write.cadence, halt=write.halt)
    return intent, write.at_ms, WriteOutcome.CONFIRMED if confirmed else WriteOutcome.UNKNOWN, IMPORTED


EXPORT_FORMAT: Final = SavedFormat(
    file="the export",
    what="the export",
    is_none="an export of a journal",
    version="1.0",
    command="reconciler journal export FILE",
    largest=64 * 1024 * 1024,  # one portfolio takes about 900 bytes
    key="exported_at",
    first="base_url",
    error=ExportInvalid,
)


_NOT_OF_STATE: Final = frozenset({Call.REBALANCE, Call.SET_CADENCE})
"""Calls that set no state or schedule of a portfolio."""


def format_export(export: Export) -> str:
    """Return the file as JSON text that ends in a line break; the same knowledge gives the same text."""
    return EXPORT_FORMAT.text(dump(export))


def parse_export(content: bytes | str) -> Export:
    """Return what a file holds.

    Raises :class:`ExportInvalid` for anything that is not such a file, is of another major format, or is too large.
    """
    return EXPORT_FORMAT.parse(content, _export)


def _export(document: dict[str, Any]) -> Export:
    found = load(document, Export)
    names = [name for name in (found.base_url, found.account) if name is not None]
    once = {one.id for one in found.remembered}
    sound = all(harmless(name) == name for name in names) and all(map(_can_be, found.remembered))
    if not sound or len(once) < len(found.remembered):
        raise ValueError("what no journal holds")
    return replace(found, remembered=tuple(sorted(found.remembered, key=lambda one: one.id)))


def _can_be(row: Remembered) -> bool:
    """Whether a journal may know this: a strategy is neither paused nor confirmed like a portfolio, and each kind has
    calls of its own."""
    since, pause = row.since, row.pause
    if strategy_of(row.id) is not None:
        only_a_cadence = since is None or (since.call is Call.SET_CADENCE and since.cadence is not None)
        return only_a_cadence and row.record is None and pause is None
    of_a_portfolio = since is None or (since.call not in _NOT_OF_STATE and since.cadence is None)
    return of_a_portfolio and (pause is None or (pause.call is Call.PAUSE and since is not None))
