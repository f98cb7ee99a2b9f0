"""The journal's tables, wherever they lie: how they are made, what their columns mean, and what a driver does for them.

In: rows as a database has them. Out: rows whose values are ours, or a :class:`JournalError`. The same statements go to
SQLite (:mod:`reconciler.apply.journalfile`) and to PostgreSQL (:mod:`reconciler.apply.journalserver`);
:mod:`reconciler.apply.journal` has them.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from reconciler.core.codec import AtMs, Interval, Milliseconds, load
from reconciler.core.endpoint import JournalUrl
from reconciler.core.errors import JournalBusy
from reconciler.core.halt import Halt
from reconciler.core.intent import Before, Call
from reconciler.core.model import ApiVersion, AtStart, Cadence, RunState, StrategyId, strategy_of
from reconciler.core.rebalance import Rebalance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from reconciler.core.errors import JournalError
    from reconciler.core.intent import Intent

SCHEMA_VERSION: Final = 4
JournalPlace: TypeAlias = Path | JournalUrl
"""Where a journal lies: a file, or a database on a server."""

RESULTS_TABLE: Final = """
    CREATE TABLE results (
        base_url TEXT NOT NULL, portfolio TEXT NOT NULL, rebalance TEXT NOT NULL, begun_ms INTEGER NOT NULL,
        read_ms INTEGER NOT NULL, over INTEGER NOT NULL, result TEXT NOT NULL, account TEXT,
        PRIMARY KEY (base_url, portfolio, rebalance)
    ) STRICT, WITHOUT ROWID;
"""
HALTS_TABLE: Final = """
    CREATE TABLE halts (
        id TEXT NOT NULL, base_url TEXT NOT NULL, account TEXT, halt TEXT NOT NULL, lifted_ms INTEGER,
        PRIMARY KEY (base_url, id)
    ) STRICT, WITHOUT ROWID;
"""
ALL_TABLES: Final = f"""
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY, base_url TEXT NOT NULL, fingerprint TEXT NOT NULL, tool TEXT NOT NULL,
        process TEXT NOT NULL, started_ms INTEGER NOT NULL, finished_ms INTEGER, exit_reason TEXT, approved TEXT,
        account TEXT, who TEXT, "commit" TEXT, pull_request TEXT, ci_run TEXT
    ) STRICT;
    CREATE TABLE writes (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id), base_url TEXT NOT NULL,
        portfolio TEXT NOT NULL, call TEXT NOT NULL, wanted TEXT NOT NULL, intent_ms INTEGER NOT NULL,
        outcome TEXT, detail TEXT, outcome_ms INTEGER, token TEXT NOT NULL, step INTEGER NOT NULL, account TEXT
    ) STRICT;
    CREATE INDEX writes_by_portfolio ON writes (base_url, portfolio, id);
    CREATE INDEX writes_by_token ON writes (token);
    CREATE INDEX writes_left_open ON writes (base_url, portfolio, id) WHERE outcome IS NULL OR outcome = 'unknown';
    CREATE INDEX writes_that_rebalance ON writes (base_url, intent_ms) WHERE call = 'rebalance';
    CREATE TABLE confirmed (
        base_url TEXT NOT NULL, portfolio TEXT NOT NULL, state TEXT NOT NULL, interval_ms INTEGER, offset_ms INTEGER,
        schedule_id TEXT, confirmed_ms INTEGER NOT NULL, marked INTEGER NOT NULL, last_write INTEGER NOT NULL,
        pause_reason TEXT, account TEXT, imported TEXT, PRIMARY KEY (base_url, portfolio)
    ) STRICT, WITHOUT ROWID;
    {RESULTS_TABLE}
    {HALTS_TABLE}
"""
"""The tables of a new journal, in the words of SQLite."""

JournalRow = dict[str, Any]
"""A row by the names of its columns, each value parsed."""


class Wanted(AtStart, frozen=True, kw_only=True, omit_defaults=True):
    """The column ``wanted`` of a write: what of its intent has no column of its own. The reason that is sent stays out.

    It is saved as JSON. A field that is missing there has its default; only the schedule is always there. Rows say
    ``run_now`` for ``run_on_start``, because journals are never rewritten, and misreading an old one would let a start
    whose answer was lost trade a second time.
    """

    interval_ms: Milliseconds | None
    offset_ms: Milliseconds | None
    api: ApiVersion = ApiVersion.V1
    cadence: Cadence | None = msgspec.field(default=None, name="schedule")
    run_on_start: bool = msgspec.field(default=False, name="run_now")
    skip_schedule_validation: bool = False
    halt: str | None = None
    before: Before = Before()

    @staticmethod
    def text_of(intent: Intent) -> str:
        """Return what a row is to hold."""
        document = msgspec.to_builtins(msgspec.convert(intent, Wanted, from_attributes=True))
        before = {name: value for name, value in document.pop("before", {}).items() if value is not None}
        return json.dumps({**document, "before": before} if before else document)


def _strategy(address: str) -> StrategyId:
    strategy = strategy_of(address)
    if strategy is None:
        raise ValueError(f"{address!r} is no strategy")
    return strategy


_PARSED: Final[Mapping[str, Callable[[Any], object]]] = {
    "wanted": json.loads,
    "cadence": lambda wanted: Cadence(json.loads(wanted)["schedule"]),
    "strategy": _strategy,
    "result": lambda text: load(json.loads(text), Rebalance),
    "made": lambda text: load(json.loads(text), Halt),
    **dict.fromkeys(("marked", "is_step", "took_effect"), bool),
}
_TYPES: Final[Mapping[str, Any]] = {
    "call": Call,
    "state": RunState,
    "wanted": Wanted,
    "cadence": Cadence | None,
    "strategy": str,
    **dict.fromkeys(("base_url", "fingerprint", "tool", "process", "portfolio", "address", "token", "detail"), str),
    **dict.fromkeys(("approved", "account", "exit_reason", "last_ended", "outcome"), str | None),
    **dict.fromkeys(("schedule_id", "pause_reason", "imported", "halt"), str | None),
    **dict.fromkeys(("who", "commit", "pull_request", "ci_run"), str | None),
    "result": Rebalance,
    "made": Halt,
    **dict.fromkeys(("started_ms", "confirmed_ms", "intent_ms", "at_ms", "read_ms"), AtMs),
    **dict.fromkeys(("finished_ms", "outcome_ms", "last_started_ms", "lifted_ms"), AtMs | None),
    **dict.fromkeys(("number", "run", "count", "records", "open_intents"), int),
    "last_run": int | None,
    "interval_ms": Interval | None,
    "offset_ms": Milliseconds | None,
    **dict.fromkeys(("marked", "is_step", "took_effect"), bool),
}
"""The type of a value and, above, how it is parsed, by the name that a question gives its column."""


@lru_cache
def _row_type(columns: tuple[str, ...]) -> type[Struct]:
    return msgspec.defstruct("JournalRow", [(name, _TYPES[name]) for name in columns])


class Question(Struct, frozen=True):
    """A SELECT in the words of SQLite, and its values by name."""

    text: str
    values: dict[str, object] = {}


class Tables(Protocol):
    """The open tables of a journal, of the present version.

    Questions and statements are SQL that SQLite understands, with values named ``:name``; a driver says the few words
    that another database has for the same thing. Every method raises :class:`JournalError`.
    """

    def ask(self, *questions: Question) -> list[Iterator[JournalRow]]:
        """Answer all questions as of one moment. The rows are parsed only when they are iterated."""

    def write(self, statement: str, rows: Sequence[JournalRow]) -> Callable[[], int]:
        """Execute a statement once for each row, all or none.

        Returns a function for the number of the row that was inserted last, if the statement is ``RETURNING id``.
        Calling it before the commit may have to wait.
        """

    def together(self) -> AbstractContextManager[None]:
        """Make one transaction of everything inside; it is on the disk when this ends.

        No other connection writes meanwhile. One inside another is part of the outer one.
        """

    def is_locked(self) -> bool:
        """Whether another connection holds the journal's lock."""

    def require_sound(self) -> None:
        """Look for damage in the whole journal, not only in what is asked for."""

    def hang_up(self) -> None:
        """Let nobody wait any longer for a server that does not answer; any thread may call it."""

    def close(self) -> None:
        """Close the connection, and give up its locks."""


def busy(place: JournalPlace, holders: Sequence[str]) -> JournalBusy:
    """Return the error of a journal that others have locked; ``holders`` are the names of their processes."""
    holder = "".join(f": {name}" for name in holders[:1] if name)
    return JournalBusy(
        f"another apply is at work with the journal {place}{holder}",
        "Wait for it to end, or give --lock-timeout more time. Two applies must not share a journal.",
    )


def meant(
    broken: Callable[[Exception], JournalError], columns: tuple[str, ...], rows: list[tuple[object, ...]]
) -> Iterator[JournalRow]:
    """Yield rows with our own types of values. Raises what ``broken`` makes of a value that no journal can hold."""
    kind, parsed = _row_type(columns), [(name, _PARSED[name]) for name in columns if name in _PARSED]
    for row in rows:
        found = dict(zip(columns, row, strict=True))
        try:
            for name, parse in parsed:
                found[name] = None if found[name] is None else parse(found[name])
            found = msgspec.structs.asdict(msgspec.convert(found, kind))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise broken(ValueError(f"it is damaged: {error}")) from error
        yield found
