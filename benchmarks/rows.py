"""What is measured, as values: a row of the table, and how much a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``measured`` and ``baseline`` carry their unit, ``value`` is what ``target`` limits."""

    what: str
    measured: str
    baseline: str
    value: float
    target: float

    @property
    def ok(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        return (
            self.what,
            self.measured,
            self.baseline,
            f"{self.value:.2f}",
            f"{self.target:.3g}",
            "" if self.ok else "over",
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work that mostly waits: portfolios, requests in flight, and after how long each is answered.

    ``quiet``, ``busy`` and ``slow`` are the most that the whole may take as a multiple of waiting alone, ``busy`` with
    one spinning process a core beside it, ``slow`` on a slow disk. Where one of them is ``None``, that is not measured.
    """

    count: int
    parallelism: int
    latency_ms: int
    quiet: float | None
    busy: float | None = None
    slow: float | None = None

    @property
    def what(self) -> str:
        """The work in words."""
        return f"{self.count:,} portfolios, {self.parallelism} at a time, {self.latency_ms} ms"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure: a full run, or a quick one while you work."""

    starts: int
    repeats: int
    plans: tuple[Waiting, ...]
    apply: Waiting
    listed: int
    requests: int
    checked: int
    small: int
    large: int
    limited: int
    shared: int
    live: int
    joined: int
