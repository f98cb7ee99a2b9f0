"""Where the journals of these tests lie: every test of what a journal does runs on a file and on a server."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import examples, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.apply.journaltables import JournalPlace


ON_FILE = pytest.mark.parametrize("new_place", ["file"], indirect=True)
"""For a test of what a file alone is or does."""
WAY_OUT = {
    "file": "Free the file or its disk, or name another with --journal. Moving it away loses what it knows, nothing "
    "else.",
    "server": "See that its server runs, has this database and lets this user in; a password comes from PGPASSWORD, "
    "~/.pgpass or a service file. Or name another journal with --journal.",
}


SHARE = 4
"""Of how many rows of a table `make test` tries one on a server, besides the first; the statements are the same."""
_ROWS = count()
_BEGUN: set[str] = set()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave most rows of a table to CI where their journal is on a server: a file has them all."""
    params = getattr(item, "callspec", None) and item.callspec.params  # type: ignore[attr-defined]  # a test's, not a file's
    if params and params.get("new_place") == "server" and len(params) > 1:
        table = item.nodeid.partition("[")[0]
        if table in _BEGUN and next(_ROWS) % SHARE:
            item.add_marker("thorough")
        _BEGUN.add(table)


def broken(place: JournalPlace, why: str, *, server: str = "") -> tuple[str, str]:
    """Return what is said of a journal that can't be used; ``server`` is why where a server has other words for it."""
    on_file = isinstance(place, Path)
    why = why if on_file else server or why
    return f"the journal {place} can't be used: {why}", WAY_OUT["file" if on_file else "server"]


def examples_at(place: JournalPlace, most: int) -> int:
    """Return how many random examples a law of the journal is tried on there: a server takes its time for each."""
    return examples(most if isinstance(place, Path) else most // 6)


@pytest.fixture(params=["file", pytest.param("server", marks=pytest.mark.slow)])
def new_place(request: pytest.FixtureRequest) -> Iterator[Callable[[], JournalPlace]]:
    """Gives the place of a journal that is not there yet, another one each time."""
    if request.param == "server":
        yield request.getfixturevalue("server").database
        return
    with folder() as path:
        numbers = count()
        yield lambda: path / f"journal{next(numbers)}.db"


@pytest.fixture
def place(new_place: Callable[[], JournalPlace]) -> JournalPlace:
    """The place of a journal that is not there yet."""
    return new_place()
