"""Read a journal without writing to it: what it knows of a service, its runs, and whether it is sound.

In: where a journal lies. Out: what is asked for, or nothing if there is no journal. Nothing is made, no lock is taken,
and an apply may be at work. Everything here raises :class:`~reconciler.core.errors.JournalError` for a journal that is
damaged or something else.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.apply.journal import CADENCE, OpenJournal
from reconciler.apply.journaltables import SCHEMA_VERSION, Question
from reconciler.core.ports import Memory
from reconciler.core.report import Run, Write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from reconciler.apply.journaltables import JournalPlace, Tables
    from reconciler.core.doctor import JournalFacts
    from reconciler.core.halt import Halt
    from reconciler.core.model import Address, PortfolioId
    from reconciler.core.rebalance import KeptRebalance


@contextmanager
def reading(place: JournalPlace) -> Iterator[Tables | None]:
    """Open a journal for reading only, and close it again; ``None`` if there is none yet."""
    tables = _tables_of(place)
    if tables is None:
        yield None
        return
    with closing(tables):
        yield tables


def _tables_of(place: JournalPlace) -> Tables | None:
    if isinstance(place, Path):
        from reconciler.apply.journalfile import file_to_read

        return file_to_read(place)
    from reconciler.apply.journalserver import server_to_read

    return server_to_read(place)


@contextmanager
def reading_of(
    place: JournalPlace, *, base_url: str, account: str | None = None, now_ms: int = 0
) -> Iterator[OpenJournal | None]:
    """Open what a journal knows of one service for reading only; ``None`` if there is no journal.

    ``now_ms`` is the present, UTC epoch milliseconds, where that matters.
    """
    with reading(place) as tables:
        if tables is None:
            yield None
        else:
            yield OpenJournal(tables, base_url=base_url, account=account, now_ms=lambda: now_ms)


def exists(place: JournalPlace) -> bool:
    """Whether there is a journal. Of a file only the name is looked at."""
    if isinstance(place, Path):
        return place.is_file()
    with reading(place) as tables:
        return tables is not None


def read_halts(place: JournalPlace, *, base_url: str) -> tuple[Halt, ...]:
    """Return every halt of a service that a journal knows, of all accounts, lifted or not; sorted by id."""
    with reading_of(place, base_url=base_url) as journal:
        return () if journal is None else journal.halts()


def read_memory(
    place: JournalPlace,
    *,
    base_url: str,
    now_ms: int,
    plans: Collection[str] = (),
    account: str | None = None,
    results: int = 0,
) -> Memory:
    """Return what a journal knows of one service; ``results`` is how many rebalances of each portfolio to add.

    ``plans`` are fingerprints, see :class:`~reconciler.core.ports.Journal`.
    """
    with reading_of(place, base_url=base_url, account=account, now_ms=now_ms) as journal:
        if journal is None:
            return Memory()
        with journal.together():
            found = journal.memory(plans=plans)
            return replace(found, results=journal.results(last=results)) if results else found


def read_written(place: JournalPlace, *, base_url: str, account: str | None, since_ms: int) -> Mapping[Address, int]:
    """Return what a journal knows of writes since a time; see :meth:`OpenJournal.written_since`."""
    with reading_of(place, base_url=base_url, account=account) as journal:
        return {} if journal is None else journal.written_since(since_ms)


def read_results(
    place: JournalPlace, *, base_url: str, last: int, account: str | None = None
) -> Mapping[PortfolioId, Sequence[KeptRebalance]]:
    """Return what a journal remembers of rebalances; see :meth:`OpenJournal.results`."""
    with reading_of(place, base_url=base_url, account=account) as journal:
        return {} if journal is None else journal.results(last=last)


def read_runs(
    place: JournalPlace, *, run: int | None = None, portfolios: Sequence[PortfolioId] = ()
) -> tuple[Run, ...] | None:
    """Return the runs of a journal, newest first, each with its writes in order; ``None`` where there is none.

    With ``run``, only that one; with ``portfolios``, only writes to these, and only runs that have any.
    """
    with reading(place) as tables:
        if tables is None:
            return None
        of_writes = f"""
            SELECT run, id AS number, portfolio, call, {CADENCE}, wanted, intent_ms, outcome,
                COALESCE(detail, '') AS detail, outcome_ms, token
            FROM writes WHERE {"TRUE" if run is None else "run = :run"} ORDER BY id"""
        of_runs = f"""
            SELECT id AS number, base_url, fingerprint, tool, process, started_ms, finished_ms, exit_reason, approved,
                account, who, "commit", pull_request, ci_run
            FROM runs WHERE {"TRUE" if run is None else "id = :run"} ORDER BY id DESC"""
        writes, runs = tables.ask(*(Question(one, {"run": run}) for one in (of_writes, of_runs)))
    # The journal is closed before the rows are built, so that an apply waits only while they are read.
    of_run: defaultdict[int, list[Write]] = defaultdict(list)
    for row in writes:
        if not portfolios or row["portfolio"] in portfolios:
            number, wanted = row.pop("run"), row.pop("wanted")
            of_run[number].append(Write(**row, interval_ms=wanted.interval_ms, offset_ms=wanted.offset_ms))
    found = [Run(**row, writes=tuple(of_run[row["number"]])) for row in runs]
    return tuple(one for one in found if one.writes or not portfolios)


def read_facts(place: JournalPlace) -> JournalFacts | None:
    """Check a journal and count what is in it, of all services; ``None`` where there is none yet."""
    from reconciler.core.doctor import JournalFacts

    with reading(place) as tables:
        if tables is None:
            return None
        tables.require_sound()
        ((found,),) = tables.ask(
            Question(
                "SELECT (SELECT COUNT(*) FROM confirmed) AS records,"
                " (SELECT COUNT(*) FROM writes WHERE outcome IS NULL) AS open_intents,"
                " id AS last_run, started_ms AS last_started_ms, exit_reason AS last_ended"
                " FROM (SELECT 1) AS one LEFT JOIN runs ON id = (SELECT MAX(id) FROM runs)"
            )
        )
        return JournalFacts(version=SCHEMA_VERSION, **found)


def services_of(place: JournalPlace) -> tuple[tuple[str, str | None], ...]:
    """Return the services and accounts that a journal knows something of, sorted; none where there is no journal."""
    with reading(place) as tables:
        if tables is None:
            return ()
        (found,) = tables.ask(
            Question("SELECT base_url, account FROM writes UNION SELECT base_url, account FROM confirmed")
        )
        return tuple(sorted(((row["base_url"], row["account"]) for row in found), key=_none_first))


def _none_first(service: tuple[str, str | None]) -> tuple[str, str]:
    return service[0], service[1] or ""
