"""What both versions of the simulated service share: states, refusals, made-up ids, and how a rebalance goes on.

Pure values, and functions of them. Times and durations are milliseconds. Knows neither HTTP nor SQLite.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, assert_never

from msgspec import Meta, Struct

from reconciler.core.codec import LATEST_MS

TimeMs = Annotated[int, Meta(ge=-(10**13), le=LATEST_MS)]
"""UTC epoch milliseconds. A machine without a clock battery starts in 1970, and a seed's history must fit before."""


class AutomationState(StrEnum):
    """What a portfolio is doing; the words of the service (API facts §3.1, §3.2)."""

    INACTIVE = "inactive"
    """It has no schedule: on v1 it was never started, on v2 there is nothing to start or stop."""
    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"
    ERROR = "error"
    """v1 alone."""


class Calendar(StrEnum):
    """How often a template of v1 trades that goes by the calendar (API facts §7a)."""

    DAILY = "daily"
    WEEKLY = "weekly"
    BIWEEKLY = "biweekly"
    MONTHLY = "monthly"


class Code(StrEnum):
    """The error codes this simulator answers with (API facts §2.4 and §6)."""

    UNKNOWN_ERROR = "API_000"
    INVALID_REQUEST = "API_002"
    METHOD_NOT_ALLOWED = "API_003"
    RATE_LIMITED = "API_004"
    NOT_FOUND = "API_006"
    KEY_MISSING = "API_101"
    KEY_INVALID = "API_102"
    KEY_EXPIRED = "API_103"
    PERMISSION_DENIED = "API_104"
    TENANT_NOT_FOUND = "API_105"
    PORTFOLIO_NOT_FOUND = "API_200"
    ALREADY_EXISTS = "API_202"
    UPDATE_FAILED = "API_203"
    VALIDATION_FAILED = "API_400"
    REBALANCE_FAILED = "API_600"
    ETH_INTERVAL_TOO_SHORT = "SCHEDULE_ETH_MAINNET_INTERVAL_TOO_SHORT"


class Refused(Exception):
    """The service says no: the HTTP status and the error object it answers with. Nothing was changed.

    ``retry_after_s`` is what ``Retry-After`` says, where there is one.
    """

    def __init__(self, status: int, code: Code, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


def invalid(what: str) -> Refused:
    """Return the refusal of a request that is not valid."""
    return Refused(400, Code.INVALID_REQUEST, what)


def not_found() -> Refused:
    """Return the refusal for a portfolio that is not there, belongs to another tenant or, on v2, is archived."""
    return Refused(404, Code.PORTFOLIO_NOT_FOUND, "Portfolio not found")


def too_short_for_ethereum(wanted: str) -> Refused:
    """Return the refusal of a schedule that is shorter than Ethereum mainnet allows (API facts §6)."""
    message = f"Ethereum mainnet requires an interval of at least 24h, not {wanted}"
    return Refused(400, Code.ETH_INTERVAL_TOO_SHORT, message)


def made_up(size: int, what: str, instance: str, portfolio: str, number: int = 0) -> str:
    """Return ``size`` bytes as hexadecimal digits, to make ids and addresses of.

    Nothing is random: the same input always gives the same id, so the id of a run need not be stored.
    """
    return blake2b(f"{what}:{instance}:{portfolio}:{number}".encode(), digest_size=size).hexdigest()


def owner_address(instance: str, portfolio: str) -> str:
    """Return the address that owns a portfolio for which the seed names no owner."""
    return f"0x{made_up(20, 'owner', instance, portfolio)}"


class Course(StrEnum):
    """How one rebalance will go; decided when it is requested."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRYING = "retrying"
    """Completes, after a while of retrying."""
    AWAITING_USER = "awaiting_user"
    """Completes, after a while of waiting for a person."""


class PastRun(Struct, frozen=True, array_like=True):
    """One run of a portfolio: the time it was scheduled for, or on v2 the time it began, and how it goes."""

    at_ms: TimeMs
    course: Course = Course.COMPLETED


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


class RebalancePace(Struct, frozen=True, kw_only=True):
    """How fast rebalances go. Requires ``queue_ms < takes_ms``."""

    queue_ms: int = 2_000
    """How long a rebalance waits before it runs."""
    takes_ms: int = 40_000
    """How long it takes from being asked for to its end, the wait included."""
    cooldown_ms: int = 300_000
    """How long after one manual v2 rebalance was asked for the next is refused; the service publishes no number."""


class Stage(Struct, frozen=True):
    """A phase, and how many milliseconds after its beginning the rebalance entered it."""

    phase: Phase
    after_ms: int


def stage(course: Course, pace: RebalancePace, age_ms: int) -> Stage:
    """Return where a rebalance stands ``age_ms`` after it began."""
    stages = _stages(course, pace)
    return next((one for one in reversed(stages) if one.after_ms <= age_ms), stages[0])


@lru_cache(maxsize=64)
def _stages(course: Course, pace: RebalancePace) -> tuple[Stage, ...]:
    """Return the stages of a whole rebalance in order; a detour takes the middle third of its running time."""
    third = (pace.takes_ms - pace.queue_ms) // 3
    begin = (Stage(Phase.ACCEPTED, 0), Stage(Phase.RUNNING, pace.queue_ms))
    match course:
        case Course.COMPLETED | Course.FAILED | Course.CANCELLED:
            return (*begin, Stage(Phase(course.value), pace.takes_ms))
        case Course.RETRYING | Course.AWAITING_USER:
            detour = Stage(Phase(course.value), pace.queue_ms + third)
            back = Stage(Phase.RUNNING, pace.queue_ms + 2 * third)
            return (*begin, detour, back, Stage(Phase.COMPLETED, pace.takes_ms))
        case _:
            assert_never(course)
