"""Limits: those that Glider sets on a schedule, and those that a team sets on one apply.

In: nothing. Out: constants in milliseconds, and :class:`Guards` as declared. Whether a plan keeps within the guards is
found out in :mod:`reconciler.core.guards`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from reconciler.core.duration import DAY_MS, HOUR_MS
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

    ``percent`` is 0 to 100. ``text`` is the limit as written, for messages.
    """

    text: str
    count: int | None = None
    percent: float | None = None

    def allows(self, managed: int) -> int:
        """Return how many of ``managed`` portfolios this limit lets through, a share rounded down but at least 1.

        Rounding a positive share up to one keeps small fleets usable: 10 % of three portfolios is still one of them.
        """
        if self.count is not None:
            return self.count
        percent = self.percent or 0.0
        return max(int(managed * percent / 100), 1 if percent > 0 and managed > 0 else 0)


@dataclass(frozen=True, slots=True)
class Guards:
    """The declared limits; ``None`` where a verb has none."""

    max_start: Limit | None = None
    max_resume: Limit | None = None
    max_pause: Limit | None = None
    max_update: Limit | None = None

    def limit(self, verb: Verb) -> Limit | None:
        """Return the limit of one verb."""
        match verb:
            case Verb.START:
                return self.max_start
            case Verb.RESUME:
                return self.max_resume
            case Verb.PAUSE:
                return self.max_pause
            case Verb.UPDATE:
                return self.max_update
            case _:
                assert_never(verb)


NO_GUARDS = Guards()
