"""A simulated Glider in memory with a clock that stands still, and a way to call it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from reconciler.sandbox import Faults, Store, create_app, parse_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_795_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


class Bench:
    """One simulator; ``call`` goes through HTTP in process, ``now`` is its wall clock, ``slept`` what faults waited."""

    def __init__(
        self, portfolios: dict[str, Any], settings: dict[str, Any], strategies: dict[str, Any] | None = None
    ) -> None:
        self.now = NOW
        self.slept: list[float] = []
        self.faults = Faults()
        data = {"version": 1, "settings": settings, "strategies": strategies or {}, "portfolios": portfolios}
        self.seed = parse_seed(data)
        self.store = Store.load(None, self.seed, now_ms=self.now)
        self.app = create_app(self.store, now_ms=lambda: self.now, faults=self.faults, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def call(
        self, method: str, path: str, body: object = None, *, key: str | None = "k", content: bytes | None = None
    ) -> httpx2.Response:
        """Send one request; paths that do not begin with ``/`` lie under the portfolio ``p``."""
        url = path if path.startswith("/") else f"/v1/portfolio/p/{path}"

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=self.app)
            headers = {} if key is None else {"X-API-KEY": key}
            async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                return (
                    await client.request(method, url, json=body, content=content, headers=headers)
                    if body is not None
                    else await client.request(method, url, content=content, headers=headers)
                )

        return asyncio.run(send())

    def data(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send one request that must succeed and return its data."""
        response = self.call(method, path, body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        assert answer["success"] is True
        return answer["data"]  # type: ignore[no-any-return]  # checked by the tests themselves

    def status(self, portfolio: str = "p") -> dict[str, Any]:
        """Return the automation status."""
        return self.data("GET", f"/v1/portfolio/{portfolio}/automation/status")

    def refusal(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Send one request that must be refused; return status and code."""
        response = self.call(method, path, body)
        answer = response.json()
        assert answer["success"] is False
        return response.status_code, answer["error"]["code"]


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Return a maker of benches: keyword arguments are fields of portfolio ``p``; the rest is the seed's."""
    made: list[Bench] = []

    def make(
        *,
        settings: dict[str, Any] | None = None,
        strategies: dict[str, Any] | None = None,
        others: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Bench:
        fields.setdefault("status", "active")
        made.append(Bench({"p": fields} | (others or {}), settings or {}, strategies))
        return made[-1]

    yield make
    for one in made:
        one.store.close()
