"""The numbers of a fleet for a monitoring system: OpenMetrics text, as ``--metrics`` saves it.

In: a :class:`~reconciler.core.plan.Plan`, and what an apply made of it. Out: text that ends in ``# EOF``. All metrics
are gauges, which the textfile collector of Prometheus's node exporter reads as well. Every sample has the labels
``command`` and ``url``, and ``account``, ``files`` and ``selection`` if there are any, because the collector drops
samples of two jobs on one machine that are labelled alike, or fails at them. Their values come from outside; they are
escaped as the format demands, and cut where they are long.

Source: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from posixpath import commonpath
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from reconciler.core.cost import runs_of
from reconciler.core.fleet import Listing
from reconciler.core.model import Status, Verb
from reconciler.core.report import ACHIEVED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.plan import Plan
    from reconciler.core.report import ApplyReport

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_ALL: Final = ""
_LONGEST: Final = 200
"""Characters of a label's value; a selection may hold thousands of ids, and every sample would have them all."""


class _Family(NamedTuple):
    """One metric: its samples by the value of a label, or a single one under ``""``."""

    name: str
    help: str
    samples: Mapping[str, float]
    label: str = ""


def metrics_text(plan: Plan, *, command: str, report: ApplyReport | None = None, failed: int | None = None) -> str:
    """Return the numbers of a plan; with a ``report``, those of what an apply left of it.

    ``failed`` is the number of portfolios whose last run failed, ``None`` if nobody asked. What is not known has no
    sample.
    """
    common = {
        "command": command,
        "url": plan.base_url,
        "account": plan.account or "",
        "files": _short(_files(plan)),
        "selection": _short(_selection(plan)),
    }
    lines = []
    for family in _families(plan, report, failed):
        lines += [f"# TYPE {family.name} gauge", f"# HELP {family.name} {family.help}"]
        for value, number in family.samples.items():
            labels = {**common, family.label: value} if family.label else common
            told = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items() if text)
            lines.append(f"{family.name}{{{told}}} {number}")
    return "\n".join([*lines, "# EOF", ""])


def _short(text: str) -> str:
    """Return a text as it is, or cut; two different ones stay different."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… {sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}"


def _files(plan: Plan) -> str:
    """Return the name of the file that was read, the folder that all of them are in, or else all names."""
    try:
        shared = commonpath(plan.config_files)
    except ValueError:  # none, or some by their whole path
        shared = ""
    return shared or " ".join(plan.config_files)


def _selection(plan: Plan) -> str:
    """Return what was selected as a person would type it; ``""`` for everything."""
    chosen = plan.selection
    selects = (*(f"group={name}" for name in chosen.groups), *chosen.terms)
    given = (("--target", chosen.targets), ("--exclude", chosen.excludes), ("--select", selects))
    return " ".join(f"{option} {value}" for option, values in given for value in values)


def _families(plan: Plan, report: ApplyReport | None, failed: int | None) -> Iterator[_Family]:
    left = report.left if report is not None else plan
    achieved = [one.change for one in report.results if one.outcome in ACHIEVED] if report is not None else []
    if plan.live is not None:
        states = Counter(plan.live.states)
        for change in achieved:
            if change.before.state is not None and change.after.state is not None:
                states[change.before.state] -= 1
                states[change.after.state] += 1
        told = {status.value: states[status] for status in Status}
        yield _Family("reconciler_portfolios", "Selected portfolios by their live state.", told, "state")
        moved = runs_of(replace(plan, changes=tuple(achieved)))
        more = moved.after_runs_day - moved.before_runs_day if moved is not None else 0.0
        runs = {_ALL: round(plan.live.runs_day + more, 4)}
        yield _Family("reconciler_runs_per_day", "Runs a day of portfolios whose interval is known.", runs)
    yield from _counts(left)
    if failed is not None:
        yield _Family("reconciler_failed", "Portfolios whose last run failed.", {_ALL: failed})
    if report is not None:
        outcomes = {outcome.value: report.count(outcome) for outcome in Outcome}
        yield _Family("reconciler_apply_results", "Changes of the last apply by their outcome.", outcomes, "outcome")
    if plan.cost is not None and (not achieved or not left.changes):
        usd = plan.cost.after_usd_month if achieved else plan.cost.before_usd_month
        yield _Family("reconciler_cost_usd_month", "US dollars in 30 days, as the files declare costs.", {_ALL: usd})
    checked_ms = plan.as_of_ms if plan.as_of_ms is not None else plan.created_ms
    checked_ms = report.finished_ms if report is not None else checked_ms
    when = {_ALL: checked_ms / 1000}
    yield _Family("reconciler_checked_timestamp_seconds", "When live automation was read, in Unix time.", when)


def _counts(plan: Plan) -> Iterator[_Family]:
    """Yield how many portfolios and strategies there are of each kind of finding."""
    verbs = {verb.value: sum(change.verb is verb for change in plan.portfolios) for verb in Verb}
    yield _Family("reconciler_changes", "Changes of portfolios that are pending, by verb.", verbs, "verb")
    strategies, listed = plan.summary.strategies, plan.listing is Listing.COMPLETE
    if strategies.update or strategies.no_op or strategies.blocked:  # a plan without any may not have read them
        text = "Changes of strategies' schedules that are pending."
        yield _Family("reconciler_cadence_changes", text, {_ALL: strategies.update})
    for name, text, count in (
        ("overdue", "Active portfolios that did not run when they were due.", len(plan.overdue)),
        ("held", "Portfolios that somebody else paused and that are declared active.", len(plan.held)),
        ("halted", "Portfolios that a halt paused.", len(plan.halted)),
        (
            "frozen",
            "Pending changes that wait for the end of a freeze.",
            sum(c.frozen is not None for c in plan.changes),
        ),
        ("blocked", "Portfolios and strategies about which nothing can be done.", len(plan.blocked)),
        ("moved", "Portfolios that follow another strategy than declared.", len(plan.moved)),
        ("unverified", "Portfolios with a schedule that can't be known.", plan.unverified),
        *((("unmanaged", "Listed portfolios that no file declares.", len(plan.unmanaged)),) if listed else ()),
        ("guards_exceeded", "Guards that the plan exceeds.", len(plan.over)),
    ):
        yield _Family(f"reconciler_{name}", text, {_ALL: count})
