"""Find out what became of writes that nobody was told of, by reading, before anything new is written.

In: the journal's intents without an outcome, and requests for a run that stayed unanswered. Out: their outcomes in the
journal, and a sentence for each. Nothing is written to the service here: whatever is left to do is for the next plan to
find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.intent import Call, Effect, WriteOutcome, effect_on_portfolio, effect_on_strategy
from reconciler.core.model import ApiVersion, PortfolioId, Status, strategy_of
from reconciler.core.text import MINUTE_MS

if TYPE_CHECKING:
    from reconciler.core.intent import OpenIntent
    from reconciler.core.ports import Journal, RebalanceApi, ServiceApi
    from reconciler.core.rebalance import Rebalance

LISTED: Final = 10
"""How many workflows are compared before and after; the guide asks for as many (API facts §1.1, V1.7)."""
NEAR_MS: Final = 5 * MINUTE_MS
"""A scheduled run this close can't be told from one that was asked for: clocks differ, and schedulers are late."""
_SOON_MS: Final = 10 * MINUTE_MS
"""A run that was asked for begins within this time, or is not taken for it."""


async def settle(*, api: ServiceApi, journal: Journal) -> tuple[str, ...]:
    """Give every open intent its outcome: ``seen`` or ``unseen`` where a read tells, else ``unknown``.

    Returns a sentence for each, oldest first. An intent whose portfolio can't be read stays open, and its record void.
    Raises :class:`ApiError` only for a refused key.
    """
    sentences = []
    for opened in journal.unsettled():
        intent = opened.intent
        if intent.call is Call.REBALANCE:
            sentences.append(_leave_unanswered(opened, journal))
            continue
        what = f"an earlier apply was cut off during {intent.call.value} of {intent.address}"
        try:
            effect = await _effect_of(opened, api)
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                raise
            sentences.append(f"{what}; it can't be read now, so that stays open ({error})")
            continue
        outcome = _OUTCOMES.get(effect, WriteOutcome.UNKNOWN)
        journal.end(opened.number, outcome, "an earlier apply was cut off; settled by reading")
        sentences.append(f"{what}; a read {_SAYS[effect]}")
    return tuple(sentences)


async def _effect_of(opened: OpenIntent, api: ServiceApi) -> Effect:
    strategy = strategy_of(opened.intent.address)
    if strategy is None:
        live = await api.read(PortfolioId(opened.intent.address))
        return effect_on_portfolio(opened.intent, live, answered=False)
    return effect_on_strategy(opened.intent, await api.read_strategy(strategy))


_OUTCOMES: Final = {Effect.SHOWN: WriteOutcome.SEEN, Effect.UNCHANGED: WriteOutcome.UNSEEN}
_SAYS: Final = {
    Effect.SHOWN: "shows that it took effect",
    Effect.UNCHANGED: "shows that it had no effect",
    Effect.SOMEBODY_ELSES: "shows it paused, but not that the pause is ours",
    Effect.OPEN: "can't tell whether it took effect",
}


def settle_rebalances(journal: Journal) -> tuple[str, ...]:
    """Give the open intents of rebalances alone their outcome, without a read; a sentence for each, oldest first.

    They stay unanswered: whoever asks for one again has to look for it first.
    """
    opened = [one for one in journal.unsettled() if one.intent.call is Call.REBALANCE]
    return tuple(_leave_unanswered(one, journal) for one in opened)


def _leave_unanswered(opened: OpenIntent, journal: Journal) -> str:
    """Leave a rebalance unknown: no status tells one that was asked for from one that the schedule began."""
    journal.end(opened.number, WriteOutcome.UNKNOWN, "cut off before its answer came; it is not repeated")
    portfolio = opened.intent.address
    return (
        f"an earlier rebalance of {portfolio} was cut off, and may have begun; it is not repeated: "
        f"look with `reconciler status {portfolio}`"
    )


async def find_run(opened: OpenIntent, api: RebalanceApi) -> Rebalance | None:
    """Look for the run that an unanswered request began, among those that the service lists now.

    Only a run that is new since the request, began soon after it, and can't be the scheduled one is taken for it;
    ``None`` where there is no such run, or no list (v2). Raises :class:`ApiError`.
    """
    intent = opened.intent
    if intent.api is ApiVersion.V2 or intent.before.runs is None:
        return None
    portfolio = PortfolioId(intent.address)
    due_ms = intent.before.due_ms
    after_ms = None if due_ms is None or intent.before.status is not Status.ACTIVE else due_ms - opened.at_ms
    if after_ms is not None and -NEAR_MS <= after_ms <= _SOON_MS + NEAR_MS:
        return None
    recent = await api.recent(portfolio, limit=LISTED)
    # The oldest one: what began later may be somebody's, or the schedule's next.
    return next((one for one in reversed(recent.rebalances) if _may_be_of(opened, one)), None)


def _may_be_of(opened: OpenIntent, one: Rebalance) -> bool:
    begun_ms = one.begun_ms
    return (
        begun_ms is not None
        and opened.at_ms - MINUTE_MS <= begun_ms <= opened.at_ms + _SOON_MS
        and one.id not in (opened.intent.before.runs or ())
    )
