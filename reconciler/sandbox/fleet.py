"""The v2 part of the store: enrolled portfolios, strategies, and the manual rebalances that were asked for.

In and out: the values of :mod:`reconciler.sandbox.enrolled`, as they were saved. Knows the SQL of its three tables,
and nothing of HTTP, of the clock, and of what the changes mean. Content that this program did not write is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from reconciler.sandbox.enrolled import Enrolled, EnrolledState, Frequency, ManualRebalance, Strategy
from reconciler.sandbox.runs import Course, Past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.core.errors import SandboxError
    from reconciler.sandbox.rows import Value

    Made = TypeVar("Made")

TABLES: Final = {
    "strategies": "id TEXT PRIMARY KEY, name TEXT NOT NULL, frequency TEXT, own INTEGER NOT NULL, "
    "version INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL",
    "enrolled": "id TEXT PRIMARY KEY, name TEXT, chain TEXT, word TEXT, owner TEXT NOT NULL, strategy TEXT NOT NULL, "
    "state TEXT NOT NULL, next_due_ms INTEGER, empty INTEGER NOT NULL, operations INTEGER NOT NULL, "
    "past TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL",
    "operations": "id TEXT PRIMARY KEY, portfolio TEXT NOT NULL, submitted_ms INTEGER NOT NULL, course TEXT NOT NULL",
}
INDEXES: Final = (
    "CREATE INDEX listed ON enrolled (created_ms, id)",
    "CREATE INDEX members ON enrolled (strategy, created_ms, id)",
    "CREATE INDEX owned ON enrolled (owner, created_ms, id)",
)
"""Each way of listing walks an index, so that a page costs the same wherever in a large fleet it lies."""

_STRATEGY: Final = "id, name, frequency, own, version, created_ms, updated_ms"
_ENROLLED: Final = (
    "id, name, chain, word, owner, strategy, state, next_due_ms, empty, operations, past, created_ms, updated_ms"
)
_OPERATION: Final = "id, portfolio, submitted_ms, course"


class Statements(Protocol):
    """What runs SQL; raises ``SandboxError`` for whatever SQLite complains about."""

    def run(self, sql: str, *values: Value) -> Any:
        """Run one statement; return its rows as a cursor."""

    def run_many(self, sql: str, rows: Iterable[tuple[Value, ...]]) -> None:
        """Run one statement for each row."""

    def damaged(self, how: str) -> SandboxError:
        """Return the error for content that this program did not write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What of the list is asked for; ``None`` for whatever it is. ``owner`` is in lower case."""

    owner: str | None = None
    strategy: str | None = None
    state: EnrolledState | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """The v2 side of one open store. Saving belongs inside the store's transaction."""

    statements: Statements

    def portfolio(self, portfolio: str) -> Enrolled | None:
        """Return an enrolled portfolio as it was saved; runs that became due since are not in it."""
        found = self._enrolled("WHERE id = ?", portfolio)
        return found[0] if found else None

    def page(self, filters: Filters, *, after: tuple[int, str] | None, most: int) -> list[Enrolled]:
        """Return at most ``most`` that are not archived, newest first, ties by id from its end (API facts §2.6).

        ``after`` is ``created_ms`` and id of the last one of the page before.
        """
        conditions, values = [f"state != '{EnrolledState.ARCHIVED.value}'"], list[str | int]()
        wanted = {"owner": filters.owner, "strategy": filters.strategy, "state": filters.state}
        for column, value in wanted.items():
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(str(value))
        if after is not None:
            conditions.append("(created_ms, id) < (?, ?)")
            values.extend(after)
        order = "ORDER BY created_ms DESC, id DESC LIMIT ?"
        return self._enrolled(f"WHERE {' AND '.join(conditions)} {order}", *values, most)

    def members(self, strategy: str) -> list[Enrolled]:
        """Return every portfolio of a strategy, archived ones included."""
        return self._enrolled("WHERE strategy = ?", strategy)

    def save(self, *enrolled: Enrolled) -> None:
        """Save enrolled portfolios."""
        marks = ", ".join("?" * 13)
        sql = f"REPLACE INTO enrolled ({_ENROLLED}) VALUES ({marks})"  # noqa: S608 - made of constants alone
        self.statements.run_many(sql, map(_enrolled_row, enrolled))

    def strategy(self, strategy: str) -> Strategy | None:
        """Return a strategy, whoever owns it."""
        found = self._strategies("WHERE id = ?", strategy)
        return found[0] if found else None

    def strategies(self, *, after: str, most: int) -> list[Strategy]:
        """Return at most ``most`` strategies of our own whose ids come after ``after``, sorted by id."""
        return self._strategies("WHERE own AND id > ? ORDER BY id LIMIT ?", after, most)

    def save_strategies(self, *strategies: Strategy) -> None:
        """Save strategies."""
        sql = f"REPLACE INTO strategies ({_STRATEGY}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - as above
        self.statements.run_many(sql, map(_strategy_row, strategies))

    def operation(self, operation: str) -> ManualRebalance | None:
        """Return the manual rebalance with this id."""
        sql = f"SELECT {_OPERATION} FROM operations WHERE id = ?"  # noqa: S608 - as above
        found = self._made(_operation_of, self.statements.run(sql, operation).fetchall())
        return found[0] if found else None

    def save_operation(self, operation: ManualRebalance) -> None:
        """Save a manual rebalance."""
        sql = f"REPLACE INTO operations ({_OPERATION}) VALUES (?, ?, ?, ?)"  # noqa: S608 - as above
        course = operation.course.value
        self.statements.run(sql, operation.id, operation.portfolio, operation.submitted_ms, course)

    def _enrolled(self, rest: str, *values: str | int) -> list[Enrolled]:
        sql = f"SELECT {_ENROLLED} FROM enrolled {rest}"  # noqa: S608 - of constants; what is asked for is bound
        return self._made(_enrolled_of, self.statements.run(sql, *values).fetchall())

    def _strategies(self, rest: str, *values: str | int) -> list[Strategy]:
        sql = f"SELECT {_STRATEGY} FROM strategies {rest}"  # noqa: S608 - as above
        return self._made(_strategy_of, self.statements.run(sql, *values).fetchall())

    def _made(self, make: Callable[[tuple[Any, ...]], Made], rows: list[tuple[Any, ...]]) -> list[Made]:
        try:
            return [make(row) for row in rows]
        except (ValueError, TypeError, AttributeError) as error:
            raise self.statements.damaged(str(error)) from error


def _enrolled_row(one: Enrolled) -> tuple[Value, ...]:
    past = " ".join(f"{run.begun_ms}={run.course.value}" for run in one.past)
    return (
        *(one.id, one.name, one.chain, one.word, one.owner, one.strategy, one.state.value, one.next_due_ms),
        *(int(one.empty), one.operations, past, one.created_ms, one.updated_ms),
    )


def _enrolled_of(row: tuple[Any, ...]) -> Enrolled:
    (key, name, chain, word, owner, strategy, state, due, empty, operations, past, created, updated) = row
    if due is None and state not in (EnrolledState.UNSCHEDULED, EnrolledState.ARCHIVED):
        raise ValueError(f"portfolio {key} is {state} without a schedule")
    return Enrolled(
        id=key,
        name=name,
        chain=chain,
        word=word,
        owner=owner,
        strategy=strategy,
        state=EnrolledState(state),
        next_due_ms=due,
        empty=bool(empty),
        operations=operations,
        past=tuple(Past(int(begun), Course(course)) for begun, _, course in (p.partition("=") for p in past.split())),
        created_ms=created,
        updated_ms=updated,
    )


def _strategy_row(one: Strategy) -> tuple[Value, ...]:
    frequency = None if one.frequency is None else one.frequency.value
    return (one.id, one.name, frequency, int(one.own), one.version, one.created_ms, one.updated_ms)


def _strategy_of(row: tuple[Any, ...]) -> Strategy:
    key, name, frequency, own, version, created, updated = row
    return Strategy(
        id=key,
        name=name,
        frequency=None if frequency is None else Frequency(frequency),
        own=bool(own),
        version=version,
        created_ms=created,
        updated_ms=updated,
    )


def _operation_of(row: tuple[Any, ...]) -> ManualRebalance:
    key, portfolio, submitted, course = row
    return ManualRebalance(id=key, portfolio=portfolio, submitted_ms=submitted, course=Course(course))
