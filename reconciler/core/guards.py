"""Limits on one apply: how many portfolios it may start, resume, pause or update.

In: the limits as declared and a plan. Out: what is over a limit. Directional on purpose: stopping trades is never as
dangerous as starting them.
"""

from __future__ import annotations

from dataclasses import dataclass


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


NO_GUARDS = Guards()
