"""The plan: what an apply will do, as a value. It holds no callable, no client, and no flag for a dry run.

In: nothing. Out: :class:`Plan`, which holds what was decided (:mod:`reconciler.core.change`), counts it, and says what
goes beyond a limit; and the order in which its changes are written.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct, field

from reconciler.core.change import Blocked, Change, Halted, Held, Moved, Overdue, Snapshot
from reconciler.core.codec import Amount, Count, Moment
from reconciler.core.diagnostics import Diagnostic
from reconciler.core.fleet import EVERYTHING, Listing, Selection, Unmanaged
from reconciler.core.model import SavedPortfolioId, Status, Verb, strategy_of
from reconciler.core.text import plural


class JournalState(StrEnum):
    """Whether a journal could tell anything when the plan was made."""

    IN_USE = "in_use"
    NEW = "new"
    """There is one, but it knows nothing of this service yet."""
    MISSING = "missing"


class Guarded(StrEnum):
    """What a guard counts: changes of a verb, or portfolios that faster cadences reach, paused ones included."""

    START = "start"
    RESUME = "resume"
    UPDATE = "update"
    PAUSE = "pause"
    REACH = "reach"
    INCOMPLETE = "incomplete"
    """Portfolios and strategies that no live file holds: of these, what would have to be done is not known."""


UNKNOWN: Final = "unknown"
"""What ``--allow`` takes instead of a number that is not known."""
Allowed = int | Literal["unknown"]
"""What a person allowed by ``--allow``."""


class Excess(Struct, frozen=True, kw_only=True):
    """One guard that a plan exceeds; ``limit`` is the limit as written.

    ``planned`` is ``None`` if the number is not known, which exceeds any limit.
    """

    guarded: Guarded = field(name="verb")
    planned: Count | None
    allowed: Count
    limit: str

    def __str__(self) -> str:
        """Return a sentence that ends in the flag which allows this number."""
        return f"{self.fact}; after reading the plan, allow it with {self.flag}"

    @property
    def fact(self) -> str:
        """What is over which limit."""
        if self.guarded is Guarded.INCOMPLETE:
            were = (
                "1 portfolio or strategy was" if self.planned == 1 else f"{self.planned} portfolios or strategies were"
            )
            return f"the plan is incomplete: {were} not read"
        share = self.limit if self.limit == str(self.allowed) else f"{self.limit} = {self.allowed}"
        return f"{self._planned_text}, but guards.max_{self.guarded} is {share}"

    @property
    def flag(self) -> str:
        """What lets it through."""
        return f"--allow {self.guarded}={UNKNOWN if self.planned is None else self.planned}"

    @property
    def _planned_text(self) -> str:
        if self.guarded is not Guarded.REACH:
            return f"{self.planned} to {self.guarded}"
        reached = "an unknown number of portfolios" if self.planned is None else plural(self.planned, "portfolio")
        return f"faster cadences reach {reached}"


class PlanCost(Struct, frozen=True, kw_only=True):
    """Runs and costs of the selected portfolios with a declared cost, in US dollars in 30 days.

    For ``portfolios_known`` of the ``portfolios``, the interval is known before and after; only these are added up.
    """

    before_usd_month: Amount
    after_usd_month: Amount
    before_runs_day: Amount
    after_runs_day: Amount
    portfolios_known: Count
    portfolios: Count


class Worst(Struct, frozen=True, kw_only=True):
    """The minute in which most portfolios run, the first where there are several, and who they are, sorted."""

    at_ms: Moment = field(name="at")
    count: Count
    ids: tuple[SavedPortfolioId, ...]


class Load(Struct, frozen=True, kw_only=True):
    """The runs from one moment to another, by hours of the clock, of which first and last may be parts.

    ``runs_day`` is of all whose interval is known.

    ``portfolios`` are those that run. The next run of ``unknown`` of them is not known, so they are in no hour and no
    minute; of ``once`` of them only the next run is known.
    """

    from_ms: Moment = field(name="from")
    to_ms: Moment = field(name="to")
    hours: tuple[Count, ...]
    runs_day: Amount
    worst: Worst | None
    portfolios: Count
    unknown: Count
    once: Count


class ShareCount(Struct, frozen=True, kw_only=True):
    """Which shares of a fleet a plan was made from: all ``of`` shares of a round but the ``missing`` ones."""

    round: str
    of: Count
    missing: tuple[Count, ...] = ()


class LoadChange(Struct, frozen=True, kw_only=True):
    """The load of the selected portfolios before and after a plan."""

    before: Load
    after: Load


class LiveSummary(Struct, frozen=True, kw_only=True):
    """What was live when a plan was made: how many selected portfolios were in each state, and the runs a day of those
    that run and whose interval is known."""

    states: dict[Status, Count]
    runs_day: Amount


class StrategySummary(Struct, frozen=True, kw_only=True):
    """Counts of strategies."""

    update: int
    no_op: int
    blocked: int
    frozen: int


class Summary(Struct, frozen=True, kw_only=True):
    """Counts of portfolios, and separately of ``strategies``. Those in ``unverified``, ``overdue`` and ``frozen``
    are counted elsewhere, too."""

    start: int
    resume: int
    pause: int
    update: int
    no_op: int
    held: int
    blocked: int
    unmanaged: int
    unverified: int
    moved: int
    overdue: int
    halted: int
    frozen: int
    strategies: StrategySummary


class Plan(Struct, frozen=True, kw_only=True):
    """What an apply will do. Every tuple is sorted by id; a strategy's is ``strategies/ID``.

    ``base_url`` names the service that was read, and ``account`` whom the key belonged to, if that was known.
    ``created_ms`` is when it was made, by the service's clock, or by ours if it comes from live files. ``no_op``,
    ``unverified`` and ``strategies_no_op`` are counts, because nobody needs more than the number of what stays as it
    is.
    ``as_of_ms`` is ``None`` if live was read for this plan. If the plan comes from live files, it is when the oldest of
    them was read, and ``shares`` says which ones these are.
    """

    created_ms: Moment = field(name="created_at")
    as_of_ms: Moment | None = field(default=None, name="as_of")
    shares: ShareCount | None = None
    base_url: str
    account: str | None = None
    config_digest: str = ""
    config_files: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    over: tuple[Excess, ...] = field(default=(), name="guards")
    """The guards that the plan exceeds. Nothing of it is applied before a person has allowed each of these numbers."""
    warnings: tuple[Diagnostic, ...] = ()
    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    moved: tuple[Moved, ...] = ()
    """Portfolios that follow another strategy than declared, without those that this plan pauses or that are blocked.
    They are not counted in ``no_op``."""
    halted: tuple[Halted, ...] = ()
    """What a halt keeps as it is. It is counted nowhere else."""
    overdue: tuple[Overdue, ...] = ()
    """Portfolios that should have run and did not. They are counted elsewhere, too."""
    unmanaged: tuple[Unmanaged, ...] = ()
    """What the service lists but no file declares. Unless ``listing`` is complete it is empty, which proves nothing."""
    listing: Listing = Listing.NONE
    journal: JournalState = JournalState.IN_USE
    no_op: int = 0
    unverified: int = 0
    strategies_no_op: int = 0
    cost: PlanCost | None = None
    """``None`` if no selected portfolio declares what a run costs."""
    live: LiveSummary | None = None
    """``None`` in a plan of a version that did not tell."""
    load: LoadChange | None = None
    """The load of the selected portfolios in 24 hours, before and after. ``None`` if nothing changes."""

    @property
    def portfolios(self) -> tuple[Change, ...]:
        """The changes of portfolios alone."""
        return tuple(change for change in self.changes if change.of_strategy is None)

    @property
    def cadences(self) -> tuple[Change, ...]:
        """The changes of strategies alone."""
        return tuple(change for change in self.changes if change.of_strategy is not None)

    @property
    def managed(self) -> int:
        """How many declared portfolios the plan is about."""
        found = self.summary
        return len(self.portfolios) + found.held + found.halted + found.blocked + found.moved + found.no_op

    @property
    def summary(self) -> Summary:
        """Count every kind of outcome."""
        verbs = Counter(change.verb for change in self.portfolios)
        blocked_strategies = sum(strategy_of(one.id) is not None for one in self.blocked)
        return Summary(
            start=verbs[Verb.START],
            resume=verbs[Verb.RESUME],
            pause=verbs[Verb.PAUSE],
            update=verbs[Verb.UPDATE],
            no_op=self.no_op,
            held=len(self.held),
            blocked=len(self.blocked) - blocked_strategies,
            unmanaged=len(self.unmanaged),
            unverified=self.unverified,
            moved=len(self.moved),
            overdue=len(self.overdue),
            halted=sum(strategy_of(one.id) is None for one in self.halted),
            frozen=sum(change.frozen is not None for change in self.portfolios),
            strategies=StrategySummary(
                update=len(self.changes) - verbs.total(),
                no_op=self.strategies_no_op,
                blocked=blocked_strategies,
                frozen=sum(change.frozen is not None for change in self.cadences),
            ),
        )


def write_stages(changes: tuple[Change, ...]) -> tuple[tuple[Change, ...], ...]:
    """Return the changes in stages, which must be carried out one after the other. Inside a stage they are sorted by
    id, and may be carried out in any order.

    The stages are pauses, lengthened intervals, other schedule updates, shortened intervals, resumes, starts. So an
    apply that dies midway leaves less trading than before or after, never more. Cadences go with the intervals, before
    every resume (API facts §5.3).
    """
    stages: dict[int, list[Change]] = {}
    for change in sorted(changes, key=lambda change: change.id):
        stages.setdefault(_stage(change), []).append(change)
    return tuple(tuple(stages[rank]) for rank in sorted(stages))


class Wave(Struct, frozen=True, kw_only=True):
    """Changes that may be carried out at once, sorted by id. Unless each canary is done, no later wave begins."""

    changes: tuple[Change, ...]
    is_canary: bool = False


def write_waves(changes: tuple[Change, ...], *, canary: int) -> tuple[Wave, ...]:
    """Return the stages as waves: ``canary`` changes of each go first, then the others.

    What waited for a freeze when the plan was made is a canary only where there are too few others.
    """
    stages = (tuple(sorted(stage, key=lambda one: one.frozen is not None)) for stage in write_stages(changes))
    waves = [
        wave
        for stage in stages
        for wave in (Wave(changes=stage[:canary], is_canary=True), Wave(changes=stage[canary:]))
    ]
    return tuple(wave for wave in waves if wave.changes)


def _stage(change: Change) -> int:
    match change.verb:
        case Verb.PAUSE:
            return 0
        case Verb.UPDATE:
            live, desired = _pause_between_runs(change.before), _pause_between_runs(change.after)
            if live is None or desired is None or live == desired:
                return 2
            return 1 if desired > live else 3
        case Verb.RESUME:
            return 4
        case Verb.START:
            return 5


def _pause_between_runs(end: Snapshot) -> int | None:
    """Return a number that is larger the rarer the runs are. It compares two portfolios, or two strategies."""
    return end.interval_ms if end.cadence is None else end.cadence.rank
