"""Limits: those that Glider sets on a schedule, and those that a team sets on one apply.

In: nothing. Out: constants in milliseconds, and :class:`Guards` as declared. Whether a plan keeps within the guards is
found out in :mod:`reconciler.core.guards`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, assert_never

from reconciler.core.duration import DAY_MS, HOUR_MS
from reconciler.core.text import plural
from reconciler.core.verb import Verb

MIN_INTERVAL_MS: Final = HOUR_MS
"""API facts §6."""
MAX_INTERVAL_MS: Final = 365 * DAY_MS
"""API facts §4.6: "1 year", taken as 365 days."""
ETHEREUM_MIN_INTERVAL_MS: Final = DAY_MS
"""API facts §6, in force since 2026-03-02."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of portfolios, or a share of the managed ones; exactly one of the two is set.

    ``percent`` is 0 to 100. ``floor`` is what any positive share lets through, however small the fleet. ``text`` is the
    limit as written, for messages.
    """

    text: str
    count: int | None = None
    percent: float | None = None
    floor: int = 1

    def allows(self, managed: int) -> int:
        """Return how many of ``managed`` portfolios may go, a share rounded down but not under its floor.

        Without a floor small fleets would be stuck: 10 % of three portfolios is none of them.
        """
        if self.count is not None:
            return self.count
        percent = self.percent or 0.0
        return max(int(managed * percent / 100), self.floor if percent > 0 else 0)


REACH: Final = "reach"
"""Portfolios that faster cadences of strategies reach, the paused ones among them too."""
Guarded = Verb | Literal["reach"]
"""What a guard counts: changes of a verb, or portfolios reached."""

HANDFUL: Final = Limit("10%, at least 5", percent=10, floor=5)
"""What starts or resumes trading, when nothing else is declared: more at once is more likely a mistake than a wish."""
HALF: Final = Limit("50%, at least 10", percent=50, floor=10)
"""The same for schedules: a slip in the defaults or a group changes most of a fleet."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits in force; ``None`` where a verb has none. Pausing is never hindered unless somebody declares it."""

    max_start: Limit | None = HANDFUL
    max_resume: Limit | None = HANDFUL
    max_pause: Limit | None = None
    max_update: Limit | None = HALF
    max_reach: Limit | None = HALF

    def limit(self, guarded: Guarded) -> Limit | None:
        """Return the limit of a verb, or of reach."""
        match guarded:
            case Verb.START:
                return self.max_start
            case Verb.RESUME:
                return self.max_resume
            case Verb.PAUSE:
                return self.max_pause
            case Verb.UPDATE:
                return self.max_update
            case "reach":
                return self.max_reach
            case _:
                assert_never(guarded)


UNKNOWN: Final = "unknown"
"""What ``--allow`` names in place of a number that nobody knows."""
Allowed = int | Literal["unknown"]
"""What a person allowed by ``--allow``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """What a plan has more of than its limit lets through; ``limit`` is the limit as written.

    ``planned`` is ``None`` where nobody knows how many: that is over any limit.
    """

    guarded: Guarded
    planned: int | None
    allowed: int
    limit: str

    def __str__(self) -> str:
        """Return a sentence that ends in the flag that names the number."""
        share = self.limit if self.limit == str(self.allowed) else f"{self.limit} = {self.allowed}"
        number = UNKNOWN if self.planned is None else str(self.planned)
        return (
            f"{self._planned_text}, but guards.max_{self.guarded} is {share}; "
            f"after reading the plan, allow it with --allow {self.guarded}={number}"
        )

    @property
    def _planned_text(self) -> str:
        if self.guarded != REACH:
            return f"{self.planned} to {self.guarded}"
        reached = "an unknown number of portfolios" if self.planned is None else plural(self.planned, "portfolio")
        return f"faster cadences reach {reached}"
