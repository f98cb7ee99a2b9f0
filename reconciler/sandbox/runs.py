"""How one rebalance goes on, from being asked for to its end; the same for workflows of v1 and operations of v2.

Pure: in a course, a pace and an age, out the phase that it has reached. Knows neither portfolios nor a clock, and
nothing of the words the two versions of the API have for a phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


class Course(StrEnum):
    """What becomes of one rebalance, settled when it is asked for."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRYING = "retrying"
    """Completes, after a while of retrying."""
    AWAITING_USER = "awaiting_user"
    """Completes, after a while of waiting for a person."""


class Phase(StrEnum):
    """Where a rebalance stands; the words are those of a v2 operation (API facts §1.3)."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    RETRYING = "retrying"
    AWAITING_USER = "awaiting_user"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast rebalances go. Requires ``queue_ms < takes_ms``."""

    queue_ms: int = 2_000
    """How long a rebalance waits before it runs."""
    takes_ms: int = 40_000
    """How long it takes from being asked for to its end, the wait included."""
    cooldown_ms: int = 300_000
    """How long after one manual v2 rebalance was asked for the next is refused; the service publishes no number."""


@dataclass(frozen=True, slots=True)
class Past:
    """One rebalance of a portfolio: when it began, and its course."""

    begun_ms: int
    course: Course


@dataclass(frozen=True, slots=True)
class Stage:
    """A phase, and how many milliseconds after its beginning the rebalance entered it."""

    phase: Phase
    after_ms: int


def stage(course: Course, pace: Pace, age_ms: int) -> Stage:
    """Return where a rebalance stands ``age_ms`` after it began."""
    reached = [one for one in _stages(course, pace) if one.after_ms <= age_ms]
    return reached[-1] if reached else Stage(Phase.ACCEPTED, 0)


def _stages(course: Course, pace: Pace) -> tuple[Stage, ...]:
    """Return the stages of a whole rebalance in order; a detour takes the middle third of its running time."""
    third = (pace.takes_ms - pace.queue_ms) // 3
    begin = (Stage(Phase.ACCEPTED, 0), Stage(Phase.RUNNING, pace.queue_ms))
    match course:
        case Course.COMPLETED:
            return (*begin, Stage(Phase.COMPLETED, pace.takes_ms))
        case Course.FAILED:
            return (*begin, Stage(Phase.FAILED, pace.takes_ms))
        case Course.CANCELLED:
            return (*begin, Stage(Phase.CANCELLED, pace.takes_ms))
        case Course.RETRYING | Course.AWAITING_USER:
            detour = Phase.RETRYING if course is Course.RETRYING else Phase.AWAITING_USER
            back = Stage(Phase.RUNNING, pace.queue_ms + 2 * third)
            return (*begin, Stage(detour, pace.queue_ms + third), back, Stage(Phase.COMPLETED, pace.takes_ms))
        case _:
            assert_never(course)
