"""Find out what became of the writes of a run that died, by reading, before anything new is written.

In: the journal's intents without an outcome. Out: their outcomes in the journal, and a sentence for each. Nothing is
written to the service here: whatever is left to do is for the next plan to find.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.core.desired import PortfolioId
from reconciler.core.errors import ApiError, FailureKind
from reconciler.core.live import Status
from reconciler.core.report import Call
from reconciler.core.strategy import strategy_of

if TYPE_CHECKING:
    from reconciler.core.live import Live
    from reconciler.core.ports import AutomationApi, Journal, StrategyApi
    from reconciler.core.report import Intent
    from reconciler.core.strategy import StrategyLive


async def settle(*, api: AutomationApi, journal: Journal, strategies: StrategyApi | None = None) -> tuple[str, ...]:
    """Give every open intent its outcome: ``seen`` or ``unseen`` where a read tells, else ``unknown``.

    Returns a sentence for each, oldest first. An intent whose portfolio can't be read stays open, and its record void.
    Raises :class:`ApiError` only for a refused key.
    """
    sentences = []
    for intent in journal.unsettled():
        if intent.call is Call.REBALANCE:
            sentences.append(_give_up(intent, journal))
            continue
        what = f"an earlier apply was cut off during {intent.call.value} of {intent.portfolio}"
        try:
            outcome = await _find_out(intent, api, strategies)
        except ApiError as error:
            if error.kind is FailureKind.UNAUTHENTICATED:
                raise
            sentences.append(f"{what}; it can't be read now, so that stays open ({error})")
            continue
        journal.end(intent.write, outcome, "an earlier apply was cut off; settled by reading")
        sentences.append(f"{what}; a read {_SAYS[outcome]}")
    return tuple(sentences)


async def _find_out(intent: Intent, api: AutomationApi, strategies: StrategyApi | None) -> str:
    strategy = strategy_of(intent.portfolio)
    if strategy is None:
        return outcome_of(intent, await api.read(PortfolioId(intent.portfolio)))
    if strategies is None:
        return "unknown"
    return cadence_outcome_of(intent, await strategies.read_strategy(strategy))


def cadence_outcome_of(intent: Intent, live: StrategyLive) -> str:
    """Return what :func:`outcome_of` does, of a strategy's cadence, which proves itself wherever it can be read."""
    if live.cadence is None:
        return "unknown"
    return "seen" if live.cadence == json.loads(intent.wanted)["schedule"] else "unseen"


def settle_rebalances(journal: Journal) -> dict[PortfolioId, str]:
    """Give the open intents of rebalances alone their outcome, without a read; a sentence for each, oldest first.

    Keyed by portfolio: whoever asks for rebalances now must leave these out, since they may be running.
    """
    open_ones = [intent for intent in journal.unsettled() if intent.call is Call.REBALANCE]
    return {PortfolioId(intent.portfolio): _give_up(intent, journal) for intent in open_ones}


def _give_up(intent: Intent, journal: Journal) -> str:
    """Leave a rebalance unknown: no read tells one that was asked for from one that the schedule began."""
    journal.end(intent.write, "unknown", "cut off before its answer came; it is not repeated")
    return (
        f"an earlier rebalance of {intent.portfolio} was cut off, and may have begun; it is not repeated: "
        f"look with `reconciler status {intent.portfolio}`"
    )


_SAYS: Final = {
    "seen": "shows that it took effect",
    "unseen": "shows that it had no effect",
    "unknown": "can't tell whether it took effect",
}


def outcome_of(intent: Intent, live: Live) -> str:
    """Return ``seen`` when live shows what the write was to bring about, ``unseen`` when it shows the contrary.

    A state proves itself. A schedule does so only where the service returns it; otherwise nobody can tell, and neither
    can anybody from a status that is neither running nor at rest.
    """
    runs = live.status is Status.ACTIVE
    if not runs and live.status not in (Status.PAUSED, Status.INACTIVE):
        return "unknown"
    match intent.call:
        case Call.PAUSE:
            return "unseen" if runs else "seen"
        case Call.START | Call.RESUME:
            return "seen" if runs else "unseen"
        case Call.UPDATE_SCHEDULE:
            wanted = json.loads(intent.wanted)
            if live.interval_ms is None:
                return "unknown"
            same = live.interval_ms == wanted["interval_ms"] and wanted["offset_ms"] in (None, live.offset_ms)
            return "seen" if same else "unseen"
        case Call.REBALANCE | Call.SET_CADENCE:
            return "unknown"
        case _:
            assert_never(intent.call)
