"""From a fleet's two sides to its plan: decide about every portfolio and gather the answers.

In: desired and live portfolios, keyed by id, and what the journal knows of them. Out: a
:class:`~reconciler.core.plan.Plan`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.core.decide import DEFAULT_POLICY, Policy, decide
from reconciler.core.guards import check_guards
from reconciler.core.live import Verdict
from reconciler.core.plan import (
    Blocked,
    BlockReason,
    Change,
    Held,
    JournalState,
    Listing,
    Moved,
    Plan,
    Unchanged,
    Unmanaged,
)
from reconciler.core.selection import EVERYTHING, Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.limits import Guards
    from reconciler.core.live import Live
    from reconciler.core.ports import Memory


def build_plan(
    desired: Mapping[PortfolioId, Desired],
    live: Mapping[PortfolioId, Live],
    memory: Memory,
    *,
    base_url: str,
    created_ms: int,
    config_digest: str = "",
    config_files: tuple[str, ...] = (),
    selection: Selection = EVERYTHING,
    policy: Policy = DEFAULT_POLICY,
    guards: Guards | None = None,
    managed: int = 0,
    warnings: tuple[Diagnostic, ...] = (),
    as_of_ms: int | None = None,
    unmanaged: tuple[Unmanaged, ...] = (),
    listing: Listing = Listing.NONE,
    account: str | None = None,
    journal: JournalState | None = None,
) -> Plan:
    """Decide about every desired portfolio; ``live`` must hold each of them. Mappings are keyed by portfolio id.

    ``memory`` is what the journal knew before the first of these reads: a write that came later makes a change stale.
    ``journal`` says whether that could be anything, where the memory itself does not tell.
    ``guards`` limit the changes; their shares are of ``managed``, the whole declared fleet.
    """
    changes: list[Change] = []
    held: list[Held] = []
    blocked: list[Blocked] = []
    moved: list[Moved] = []
    no_op = unverified = 0
    for portfolio in sorted(desired):
        decision = decide(
            desired[portfolio],
            live[portfolio],
            memory.records.get(portfolio),
            policy,
            unanswered=portfolio in memory.unanswered,
        )
        match decision:
            case Unchanged() as unchanged:
                no_op += 1
                unverified += unchanged.unverified
            case Change() as change:
                changes.append(replace(change, since=memory.since.get(portfolio)))
                unverified += any(f.verdict is Verdict.UNVERIFIED for f in change.fields)
            case Held() as hold:
                held.append(hold)
                unverified += hold.unverified
            case Moved() as elsewhere:
                moved.append(elsewhere)
            case Blocked() as block:
                blocked.append(block)
                unverified += block.reason is BlockReason.UNVERIFIED
    return Plan(
        base_url=base_url,
        account=account,
        created_ms=created_ms,
        config_digest=config_digest,
        config_files=config_files,
        selection=selection,
        changes=tuple(changes),
        held=tuple(held),
        blocked=tuple(blocked),
        moved=tuple(moved),
        no_op=no_op,
        unverified=unverified,
        over=check_guards(changes, guards, managed=managed) if guards is not None else (),
        warnings=warnings,
        as_of_ms=as_of_ms,
        unmanaged=unmanaged,
        listing=listing,
        journal=journal or journal_state(memory),
    )


def journal_state(memory: Memory) -> JournalState:
    """Return whether the journal could tell anything of the service."""
    if memory.records or memory.since:
        return JournalState.IN_USE
    return JournalState.NEW if memory.exists else JournalState.MISSING
