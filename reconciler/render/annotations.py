"""Annotations: problems, risks and failures, each with the line of the file that it comes from.

In: an :class:`~reconciler.render.ending.Ending`. Out: :class:`Annotation` values. :mod:`reconciler.render.github`
writes them as GitHub wants them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.core.diagnostics import Severity
from reconciler.core.needs import Need, left_alone
from reconciler.core.report import ACHIEVED, Outcome
from reconciler.render.effects import called, effect, left_effect
from reconciler.render.plan import DANGERS, GRAVE, danger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.change import Change
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.model import Origin
    from reconciler.core.plan import Plan
    from reconciler.core.report import Result
    from reconciler.render.ending import Ending


class Level(StrEnum):
    """How grave an annotation is; the words are the runner's."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Annotation(Struct, frozen=True, kw_only=True):
    """A remark on a line of a file, or on the step where ``file`` is ``None``. Lines and columns count from 1.

    ``file`` is as the configuration names it; GitHub wants it relative to the root of the repository.
    """

    level: Level
    title: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    end_column: int | None = None


def remarks(ending: Ending, *, passes: bool = False) -> Iterator[Annotation]:
    """Yield all annotations: first the error, then the files, then what was done or would be done.

    In a step that ``passes``, what is blocked is a warning, because readers take an error for the reason of a failure.
    """
    found = ending.found
    blocked = Level.WARNING if passes else Level.ERROR
    problems = found.problems
    if found.error is not None and not any(problem.severity is Severity.ERROR for problem in problems):
        message = f"{str(found.error).removesuffix('.')}. {found.error.detail}".rstrip()
        yield Annotation(level=Level.ERROR, title=f"{found.command} failed", message=message)
    yield from map(_of_problem, problems)
    if found.report is not None:
        # A change that is done is not a risk any more.
        yield from (remark for result in found.report.results for remark in _of_result(result))
        yield from _of_plan(found.report.plan, blocked)
    elif found.plan is not None:
        yield from _of_changes(found.plan)
        yield from _of_plan(found.plan, blocked)


def _of_problem(problem: Diagnostic) -> Annotation:
    level = Level.ERROR if problem.severity is Severity.ERROR else Level.WARNING
    told = f"{problem.problem}; {problem.repair}" if problem.repair else problem.problem
    told += f" [{problem.rule}]" if problem.rule else ""
    span = problem.span
    if span is None:
        return Annotation(level=level, title=problem.address or "The files", message=told)
    return Annotation(
        level=level,
        title=problem.address or "The file",
        message=told,
        file=span.file,
        line=span.line,
        column=span.column,
        end_column=span.column + span.width,
    )


def _of_plan(plan: Plan, blocked: Level) -> Iterator[Annotation]:
    for excess in plan.over:
        yield Annotation(level=Level.WARNING, title="Over a guard", message=str(excess))
    levels = {Need.BLOCKED: blocked, Need.HALTED: Level.NOTICE}
    for need, one in left_alone(plan):
        what = "moved to another strategy" if need is Need.MOVED else f"is {need.value}"
        yield _at(one.source, levels.get(need, Level.WARNING), f"{called(one.id)} {what}", left_effect(one).text)


def _of_changes(plan: Plan) -> Iterator[Annotation]:
    """Yield the risky changes: first the cadences, which reach many portfolios, then the rest, the gravest first."""
    for cadence in plan.cadences:
        yield _at(cadence.source, Level.WARNING, f"{called(cadence.id)} changes", effect(cadence).text)
    order = list(DANGERS)
    risky: list[tuple[int, Change]] = [
        (order.index(found), change) for change in plan.portfolios if (found := danger(change)) is not None
    ]
    for rank, change in sorted(risky, key=lambda pair: pair[0]):
        level = Level.WARNING if order[rank] in GRAVE else Level.NOTICE
        title = f"{change.verb.value} {change.id}: {DANGERS[order[rank]]}"
        yield _at(change.source, level, title, effect(change).text)


def _of_result(result: Result) -> Iterator[Annotation]:
    outcome = result.outcome
    if outcome in ACHIEVED:
        return
    level = Level.ERROR if outcome in (Outcome.FAILED, Outcome.UNKNOWN) else Level.WARNING
    message = "; ".join([*([result.detail] if result.detail else []), *result.notes]) or outcome.text
    what = f"{result.change.verb.value} {called(result.change.id)}"
    yield _at(result.change.source, level, f"{what}: {outcome.text}", message)


def _at(source: Origin | None, level: Level, title: str, message: str) -> Annotation:
    if source is None:
        return Annotation(level=level, title=title, message=message)
    return Annotation(level=level, title=title, message=message, file=source.file, line=source.line)
