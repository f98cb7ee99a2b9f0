"""Plans: ``plan`` makes and shows one, ``drift`` looks in one for what moved, ``show`` shows a saved one.

None of them writes anything but the file of ``--out``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from reconciler.cli.files import load_base, load_told
from reconciler.cli.journalplace import warn_of_journal
from reconciler.cli.offline import plan_offline
from reconciler.cli.options import Options, PlanningOptions
from reconciler.cli.planning import make_plan, require_metrics_place, save_metrics
from reconciler.cli.savefile import require_place, save
from reconciler.cli.service import open_service, run_async
from reconciler.core.errors import ExitReason
from reconciler.core.fleet import Listing
from reconciler.core.report import FailOn, blocked_text, conditions_met, drift_exit_reason, plan_exit_reason
from reconciler.render.ending import Ending, View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.cli.planning import Declared
    from reconciler.config.load import Configuration
    from reconciler.core.plan import Plan
    from reconciler.render.ending import Found
    from reconciler.render.page import Page


class PlanOptions(PlanningOptions, frozen=True, kw_only=True):
    """The options of ``plan``."""

    out: str | None = None
    base: str | None = None
    live: tuple[str, ...] = ()
    detailed_exitcode: bool = False
    fail_on: tuple[FailOn, ...] = ()


def plan(options: PlanOptions, found: Found) -> Ending:
    """Make a plan and save it where ``--out`` says so."""
    if options.out is not None:
        from reconciler.core.planfile import PLAN_FORMAT

        require_place(options.out, what="plan", begins=PLAN_FORMAT.begins)
    require_metrics_place(options)
    configuration = load_told(options.files, options.output, found)
    base = load_base(options.files, options.base) if options.base is not None else None
    made = _made(options, options.live, configuration, base=base)
    found.plan, found.diagnostics = made, made.warnings
    reason, told = _judged(made, plan_exit_reason(made, detailed=options.detailed_exitcode), options.fail_on)
    if options.out is not None:
        _save(made, options.out, reason, options)
    save_metrics(options, made, command="plan")
    return plan_ending(made, options, found, reason, errors=told)


def _judged(
    made: Plan, reason: ExitReason, asked: Iterable[FailOn], *, looked_for_drift: bool = False
) -> tuple[ExitReason, tuple[str, ...]]:
    """Return what to exit with where ``--fail-on`` has these conditions, and a sentence for each that holds."""
    met = conditions_met(made, asked, looked_for_drift=looked_for_drift)
    if met and reason in (ExitReason.OK, ExitReason.CHANGES):
        reason = ExitReason.ERROR
    why = {FailOn.UNMANAGED: _why_unknown(made)}
    return reason, tuple(f"--fail-on {one.value}: {one.sentence}{why.get(one, '')}" for one in met)


def _made(
    options: PlanningOptions, live: tuple[str, ...], configuration: Configuration, *, base: Declared | None
) -> Plan:
    """Return the plan of what live files hold, or of what is read now where none is named."""
    warn_of_journal(options.service, configuration, options.output)
    if live:
        return plan_offline(options, live, configuration, base=base)

    async def work() -> Plan:
        async with open_service(
            options.service, configuration.paths, configuration.desired.values(), expect=configuration.expect
        ) as service:
            return await make_plan(options, configuration, service, base=base)

    return run_async(work)


def _save(made: Plan, out: str, reason: ExitReason, options: Options) -> None:
    from reconciler.core.planfile import PLAN_FORMAT, format_plan

    save(out, format_plan(made, reason), what="plan", begins=PLAN_FORMAT.begins, largest=PLAN_FORMAT.largest)
    options.output.note(f"Saved to {out}; run it with: reconciler apply {out}")


def _why_unknown(made: Plan) -> str:
    """Return why nobody can tell what is unmanaged, in brackets; ``""`` if it is known."""
    match made.listing:
        case Listing.COMPLETE:
            return ""
        case Listing.INCOMPLETE:
            return " (the list of v2 portfolios could not be read as a whole)"
        case Listing.NONE if not made.selection.everything:
            return " (only some portfolios are selected)"
        case Listing.NONE if made.as_of_ms is not None:
            return " (no portfolio is declared with `api: v2`, or the live files hold no list of them)"
        case Listing.NONE:
            return " (no portfolio is declared with `api: v2`, and v1 lists none)"
        case _:
            assert_never(made.listing)


def plan_ending(
    made: Plan, options: Options, found: Found, reason: ExitReason, *, errors: tuple[str, ...] = ()
) -> Ending:
    """Return the ending that shows a plan, and after it what is blocked, over a guard, or advised against."""
    from reconciler.core.advice import OF_PLANS
    from reconciler.core.halt import is_of_halt
    from reconciler.core.planfile import plan_document

    def page() -> Page:
        from reconciler.render.plan import plan_page  # JSON needs none of it

        return plan_page(made)

    blocked = blocked_text(made)
    told = (f"{blocked} blocked, for the reasons that the plan shows",) if blocked else ()
    return Ending(
        reason=reason,
        found=found,
        view=View(page=page, body=lambda: plan_document(made)),
        errors=(*told, *errors),
        warnings=() if options.output.is_json else tuple(f"over a guard: {excess}" for excess in made.over),
        advice=tuple(one for one in made.warnings if one.rule in OF_PLANS or is_of_halt(one)),
    )


class DriftOptions(PlanningOptions, frozen=True, kw_only=True):
    """The options of ``drift``. ``live`` are live files; without any, live is read."""

    live: tuple[str, ...] = ()
    fail_on: tuple[FailOn, ...] = ()


def drift(options: DriftOptions, found: Found) -> Ending:
    """Make a plan, and show it as drift: what moved, instead of what apply would do."""
    from reconciler.core.halt import is_of_halt
    from reconciler.core.planfile import plan_document
    from reconciler.render.compare import drift_page

    require_metrics_place(options)
    configuration = load_told(options.files, options.output, found)
    # The files serve as their own base: then no difference counts as a change of a branch, and the journal tells
    # drift from pending.
    made = _made(options, options.live, configuration, base=configuration)
    found.plan, found.diagnostics = made, made.warnings
    save_metrics(options, made, command="drift")
    blocked = blocked_text(made)
    reason, told = _judged(made, drift_exit_reason(made), options.fail_on, looked_for_drift=True)
    return Ending(
        reason=reason,
        found=found,
        view=View(page=lambda: drift_page(made), body=lambda: plan_document(made)),
        errors=(*((f"{blocked} blocked, for the reasons shown",) if blocked else ()), *told),
        advice=tuple(filter(is_of_halt, made.warnings)),
    )


class ShowOptions(Options, frozen=True, kw_only=True):
    """The options of ``show``: the file of a plan, and that of an earlier one to compare it with."""

    file: str
    against: str | None = None


def show(options: ShowOptions, found: Found) -> Ending:
    """Show a saved plan, or its difference from an earlier one."""
    from reconciler.core.diff import compare_plans
    from reconciler.render.compare import comparison_document, comparison_page

    later = load_plan(options.file)
    if options.against is None:
        return plan_ending(later, options, found, ExitReason.OK)
    earlier = load_plan(options.against)
    if later.base_url != earlier.base_url:
        options.output.warn(f"the plans are of two services: {earlier.base_url} and {later.base_url}")
    compared = compare_plans(earlier=earlier, later=later)
    view = View(
        page=lambda: comparison_page(compared),
        body=lambda: comparison_document(compared, earlier=earlier, later=later),
    )
    return Ending(reason=ExitReason.OK, found=found, view=view)


def load_plan(file: str) -> Plan:
    """Read a saved plan. Raises :class:`~reconciler.core.errors.PlanInvalid`."""
    from reconciler.config.files import load_saved
    from reconciler.core.planfile import PLAN_FORMAT, parse_plan

    return load_saved(file, PLAN_FORMAT, parse_plan)
