"""One fake GitHub on one socket for all tests; each test gets it empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.github.client import GitHub
from tests.github.fake import REPOSITORY, TOKEN, FakeGitHub, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stage:
    """Hands each request to the fake of the running test."""

    def __init__(self) -> None:
        self.fake = FakeGitHub()

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        await self.fake(scope, receive, send)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def stage() -> Iterator[tuple[Stage, str]]:
    """The socket, and who answers on it."""
    shown = Stage()
    with serving(shown) as url:  # type: ignore[arg-type]
        yield shown, url


@pytest.fixture
def fake(stage: tuple[Stage, str]) -> FakeGitHub:
    """An empty repository."""
    stage[0].fake = FakeGitHub(url=stage[1])
    return stage[0].fake


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the client waited."""
    return []


@pytest.fixture
def connect(fake: FakeGitHub, waits: list[float]) -> Iterator[Callable[..., GitHub]]:
    """Makes a client of the fake whose waits pass at once; all are closed in the end."""
    made: list[GitHub] = []

    def connecting(**changed: object) -> GitHub:
        given = {"api_url": fake.url, "token": TOKEN, "repository": REPOSITORY, "sleep": waits.append, **changed}
        made.append(GitHub(**given))  # type: ignore[arg-type]
        return made[-1]

    yield connecting
    for one in made:
        one.__exit__(None, None, None)


@pytest.fixture
def client(connect: Callable[..., GitHub]) -> GitHub:
    """A client of the fake."""
    return connect()
