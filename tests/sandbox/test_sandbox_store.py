"""The store: files that are there, missing, damaged or somebody else's; several openers; the clock."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from reconciler.core.errors import SandboxError
from reconciler.sandbox import AutomationState, Course, Portfolio, Seed, Simulator, Store, parse_seed
from reconciler.sandbox.model import PastRun
from reconciler.sandbox.store import LARGEST_OFFSET_MS

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_000_000_000
HOUR = 3_600_000


def seed(**fields: str) -> Seed:
    """A seed of one active portfolio ``p``."""
    return parse_seed({"version": 1, "portfolios": {"p": {"status": "active"} | fields}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A loaded sandbox."""
    place = tmp_path / "made" / "sandbox.db"
    Store.load(place, seed(), now_ms=NOW).close()
    return place


@pytest.mark.parametrize("state", list(AutomationState))
def test_a_portfolio_survives_the_file(tmp_path: Path, state: AutomationState) -> None:
    """What is saved is what is read, in every state."""
    store = Store.load(tmp_path / "s.db", seed(status=state.value, name="n", word="w"), now_ms=NOW)
    before = store.portfolio("p")
    assert before is not None
    with store.transaction():
        store.save(before)
    store.close()
    again = Store.open(tmp_path / "s.db")
    assert again.portfolio("p") == before
    assert again.portfolio("q") is None
    again.close()


def test_how_runs_went_survives_the_file(path: Path) -> None:
    """The courses of runs, which no seed makes more than one of, are read as they were saved."""
    store = Store.open(path)
    saved = store.portfolio("p")
    assert saved is not None
    recent = tuple(PastRun(run.at_ms, course) for run, course in zip(saved.recent, Course, strict=False))
    store.save(replace(saved, recent=recent))
    store.close()
    again = Store.open(path)
    assert again.portfolio("p") == replace(saved, recent=recent)
    again.close()


def test_a_clock_that_stands_at_its_beginning(tmp_path: Path) -> None:
    """A machine without a battery begins in 1970; what a seed tells of lies before that, and is read all the same."""
    portfolio = {"status": "active", "api": "both", "strategy": "s", "started": "3650d"}
    data = {"version": 1, "strategies": {"s": {"frequency": "daily"}}, "portfolios": {"p": portfolio}}
    store = Store.load(tmp_path / "s.db", parse_seed(data), now_ms=0)
    simulator = Simulator(store, lambda: 1_000)
    assert simulator.read("p").portfolio.runs == 14_600
    assert simulator.read_enrolled("p").portfolio.created_ms == -3650 * 24 * HOUR
    store.close()


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """Opening makes nothing, and names the command that does."""
    with pytest.raises(SandboxError) as caught:
        Store.open(tmp_path / "none.db")
    assert "reconciler sandbox load" in caught.value.detail
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_neither_opened_nor_replaced(tmp_path: Path) -> None:
    """Neither text nor somebody's database is taken for a sandbox, and a load leaves both as they are."""
    text = tmp_path / "automation.yaml"
    text.write_text("version: 1\n" * 200)
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE precious (x)")
    connection.close()
    for place in (text, other):
        content = place.read_bytes()
        with pytest.raises(SandboxError):
            Store.open(place)
        with pytest.raises(SandboxError) as caught:
            Store.load(place, seed(), now_ms=NOW)
        assert "Choose another path" in caught.value.detail
        assert place.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        "PRAGMA user_version = 99",
        "DROP TABLE sandbox",
        "DELETE FROM sandbox",
        "UPDATE sandbox SET settings = 'x'",
        "UPDATE sandbox SET settings = '{}'",
        "UPDATE sandbox SET settings = json_set(settings, '$.paths', 'odd')",
    ],
)
def test_a_damaged_file_is_refused_on_opening(path: Path, damage: str) -> None:
    """What this program did not write is not guessed at, and a load repairs it."""
    harm(path, damage)
    with pytest.raises(SandboxError) as caught:
        Store.open(path)
    assert "reconciler sandbox load" in caught.value.detail
    Store.load(path, seed(), now_ms=NOW).close()
    Store.open(path).close()


@pytest.mark.parametrize(
    "damage",
    [
        *("UPDATE portfolios SET value = 'x'", "UPDATE portfolios SET value = NULL"),
        "UPDATE portfolios SET value = json_set(value, '$.state', 'odd')",
        "UPDATE portfolios SET value = json_set(value, '$.recent', 'x')",
        "UPDATE portfolios SET value = json_set(value, '$.grid', NULL)",
        "UPDATE portfolios SET value = json_set(value, '$.grid.interval_ms', 0)",
        "UPDATE portfolios SET value = json_set(value, '$.grid.offset_ms', 'x')",
        "UPDATE portfolios SET value = json_set(value, '$.grid.offset_ms', 999999999)",
        "UPDATE portfolios SET value = json_remove(value, '$.runs')",
        "DROP TABLE portfolios",
    ],
)
def test_a_damaged_portfolio_is_refused(path: Path, damage: str) -> None:
    """A row that nobody wrote is an error, never a portfolio."""
    harm(path, damage)
    store = Store.open(path)
    with pytest.raises(SandboxError):
        store.portfolio("p")
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE enrolled SET value = json_set(value, '$.state', 'odd')",
        "UPDATE enrolled SET value = json_set(value, '$.past', 'x')",
        "UPDATE enrolled SET value = json_set(value, '$.past', json('[[5, \"odd\"]]'))",
        "UPDATE enrolled SET value = json_set(value, '$.next_due_ms', NULL)",
        "DELETE FROM strategies",
        "UPDATE strategies SET value = json_set(value, '$.cadence', 'odd')",
        "DROP TABLE enrolled",
        "UPDATE operations SET value = json_set(value, '$.course', 'odd')",
        "DROP TABLE operations",
    ],
)
def test_damage_to_what_belongs_to_v2_is_refused(tmp_path: Path, damage: str) -> None:
    """A row that nobody wrote is an error there too, and so is a strategy that is missing."""
    place = tmp_path / "s.db"
    portfolio = {"status": "active", "api": "v2", "strategy": "s"}
    data = {"version": 1, "strategies": {"s": {"frequency": "daily"}}, "portfolios": {"p": portfolio}}
    store = Store.load(place, parse_seed(data), now_ms=NOW)
    simulator = Simulator(store, lambda: NOW)
    begun = simulator.rebalance("p", Course.COMPLETED)
    assert simulator.operation("p", begun.id)[0] == begun
    harm(place, damage)
    with pytest.raises(SandboxError) as caught:
        simulator.operation("p", begun.id)
    assert "reconciler sandbox load" in caught.value.detail
    store.close()


def test_a_sandbox_of_an_earlier_version_says_so(path: Path) -> None:
    """Its tables are others: it is refused by name and format, and a load makes it anew."""
    harm(path, "PRAGMA user_version = 1")
    with pytest.raises(SandboxError) as caught:
        Store.open(path)
    assert "has format 1, and this program reads 3" in caught.value.summary
    assert "reconciler sandbox load" in caught.value.detail


FILTERS = ("", " AND strategy = 's'", " AND owner = 'o'")


def test_a_page_walks_an_index(path: Path) -> None:
    """No page of a large fleet is sorted or searched for from its beginning."""
    connection = sqlite3.connect(path)
    asked = ("strategies WHERE own = 1", *(f"enrolled WHERE state != 'archived'{more}" for more in FILTERS))
    for what in asked:
        sql = f"SELECT value FROM {what} AND (created_ms, id) < (1, 'a') "
        (step,) = connection.execute(f"EXPLAIN QUERY PLAN {sql} ORDER BY created_ms DESC, id DESC LIMIT 9").fetchall()
        assert "USING INDEX" in step[3]
        assert "(created_ms,id)<(?,?)" in step[3]
    connection.close()


def harm(path: Path, statement: str) -> None:
    """Change a file behind the program's back."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_reset_goes_back_to_the_seed(path: Path) -> None:
    """Portfolios and clock are as loaded, and the instance is another."""
    store = Store.open(path)
    instance, portfolio = store.instance, store.portfolio("p")
    store.advance(7 * HOUR)
    assert store.clock_offset_ms == 7 * HOUR
    assert Simulator(store, lambda: NOW).read("p").portfolio != portfolio
    store.reset(now_ms=NOW)
    assert (store.clock_offset_ms, store.portfolio("p")) == (0, portfolio)
    assert store.instance != instance
    store.close()


def test_two_openers_see_each_other(path: Path) -> None:
    """A clock moved, a portfolio changed or a seed loaded in one is at once so in the other."""
    one, two = Store.open(path), Store.open(path)
    one.advance(24 * HOUR)
    assert Simulator(two, lambda: NOW).read("p").portfolio.runs == 124
    Simulator(two, lambda: NOW).change("p", partial(Portfolio.pause, reason=None))
    saved = one.portfolio("p")
    assert saved is not None
    assert (saved.runs, saved.state) == (124, AutomationState.PAUSED)
    Store.load(path, seed(started="6h"), now_ms=NOW).close()
    loaded = one.portfolio("p")
    assert loaded is not None
    assert (loaded.runs, one.clock_offset_ms, one.instance) == (1, 0, two.instance)
    one.close()
    two.close()


def break_off(store: Store, portfolio: Portfolio) -> None:
    """Save a portfolio and fail before the end."""
    with store.transaction():
        store.save(portfolio)
        raise ZeroDivisionError


def test_a_failed_change_leaves_nothing(path: Path) -> None:
    """What was saved in a block that raised is not saved."""
    store = Store.open(path)
    saved = store.portfolio("p")
    assert saved is not None
    with pytest.raises(ZeroDivisionError):
        break_off(store, replace(saved, runs=saved.runs + 1))
    assert store.portfolio("p") == saved
    store.close()


@pytest.mark.parametrize("ms", [-1, LARGEST_OFFSET_MS + 1])
def test_the_clock_goes_ahead_and_not_out_of_sight(path: Path, ms: int) -> None:
    """Moving it back, or over a century ahead, is refused and changes nothing."""
    store = Store.open(path)
    with pytest.raises(SandboxError):
        store.advance(ms)
    assert store.clock_offset_ms == 0
    store.close()


def test_a_folder_that_cant_be_made_is_explained(path: Path) -> None:
    """A path below a file is an error with a repair."""
    with pytest.raises(SandboxError) as caught:
        Store.load(path / "below" / "s.db", seed(), now_ms=NOW)
    assert caught.value.detail == "Choose another path."
