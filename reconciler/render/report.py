"""The report: one HTML page of a fleet that needs nothing beside itself, from a disk or as an artifact of a pipeline.

In: :class:`FleetReport`. Out: HTML. The page loads nothing: its style and its script stand in it, its policy allows
these two by their hashes and forbids everything else. Every text is escaped by the template engine; the rows of the
table go in as JSON, in which ``<`` and ``&`` are escaped, and the script only ever sets text.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from reconciler import __version__
from reconciler.core.cost import plan_cost, usd
from reconciler.core.load import by_word, live_runs, load_of, runs_after, runs_day_of
from reconciler.core.model import PortfolioId
from reconciler.core.needs import Need, counts_of, needs_of
from reconciler.core.text import HOUR_MS, plural
from reconciler.render.effects import effect, frozen_line, halted_line, needs_effect, number, summary_line
from reconciler.render.page import FOLD_ABOVE, FOLD_FROM, FOLDED_NAMES, moment, utc
from reconciler.render.status import Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.change import Change
    from reconciler.core.load import Timed
    from reconciler.core.model import Address, Desired, Live, Record
    from reconciler.core.needs import Needed
    from reconciler.core.plan import Load, Plan
    from reconciler.core.rebalance import KeptRebalance

REPORT_BEGINS: Final = rb"<!doctype html>\s*<!-- glider-reconciler report -->"
"""How a report begins: only such a file is replaced by a new one."""
STRIP_RUNS: Final = 14
"""So many of a portfolio's last results are shown."""
_MOST_PARTS: Final = 40
"""So many groups, or values of a label, have a row of their own; the rest share one."""
_MOST_KEYS: Final = 8
_MOST_ROWS: Final = 200
"""So many rows stand in the page itself; all portfolios are in the table below them."""
_NEEDS: Final = tuple(need.text for need in Need)
_SIGNS: Final = {"completed": "c", "failed": "f", "cancelled": "x", "running": "r"}
_WIDE: Final = 960
_HIGH: Final = 180


class FleetReport(Struct, frozen=True, kw_only=True):
    """What the page tells of: what is declared, what is live, what a plan would do, and earlier results.

    ``records`` are those that are believed; ``results`` are newest first. ``now_ms`` is the service's time at the look,
    UTC epoch milliseconds.
    """

    plan: Plan
    desired: Mapping[PortfolioId, Desired]
    live: Mapping[PortfolioId, Live]
    records: Mapping[PortfolioId, Record]
    results: Mapping[PortfolioId, Sequence[KeptRebalance]]
    now_ms: int

    @property
    def needs(self) -> dict[Address, tuple[Needed, ...]]:
        """What needs a person, by portfolio or ``strategies/ID``, the most urgent first."""
        return needs_of(self.plan, self.desired, self.live, self.results, now_ms=self.now_ms)


def report_html(report: FleetReport) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reconciler", "render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    environment.filters |= {"moment": moment, "number": number, "usd": usd, "plural": plural}
    text = {kind: files("reconciler.render").joinpath(f"report.{kind}").read_text("utf-8") for kind in ("css", "js")}
    return environment.get_template("report.html").render(
        **text,
        style_hash=_hash(text["css"]),
        script_hash=_hash(text["js"]),
        version=__version__,
        plan=report.plan,
        now_ms=report.now_ms,
        **_values(report),
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _values(report: FleetReport) -> dict[str, Any]:
    """Return what the template shows, by name."""
    plan, needs = report.plan, report.needs
    problems = _problems(report, needs)
    before = live_runs(report.live, report.records)
    after = runs_after(plan, before, report.live, now_ms=report.now_ms) if plan.changes else before
    loads = [load_of(runs.values(), from_ms=report.now_ms) for runs in (before, after)]
    keys = ["group", *_labels(report.desired)]
    rows = [_row(report, one, needs.get(one.id, ()), keys) for one in _in_order(report, needs)]
    return {
        "data": {"keys": keys, "needs": _NEEDS, "rows": rows},
        "problems": problems[:_MOST_ROWS],
        "problems_left": sum(len(one["ids"]) for one in problems[_MOST_ROWS:]),
        "named": FOLDED_NAMES,
        "needing": len(needs),
        "counts": [(need.text, count) for need, count in counts_of(needs.values()).items()],
        "states": Counter(one.status.value.replace("_", " ") for one in report.live.values()),
        "changes": [(c.id, c.name or "", c.verb.value, _what_for(c)) for c in plan.changes[:_MOST_ROWS]],
        "plan_line": " ".join(filter(None, (halted_line(plan), frozen_line(plan), summary_line(plan.summary)))),
        "before": loads[0],
        "after": loads[1] if plan.changes else None,
        "chart": _chart(loads if plan.changes else loads[:1]),
        "timelines": [_timeline(report, before, key) for key in keys],
        "groups": _groups(report, before, after),
    }


def _what_for(change: Change) -> str:
    """Return what a change would do, after the freeze that it waits for."""
    return f"{change.frozen}: {effect(change).text}" if change.frozen is not None else effect(change).text


def _in_order(report: FleetReport, needs: Mapping[Address, object]) -> list[Desired]:
    """Return the portfolios that need a person in the order of need, then the others by id."""
    first = [one for address in needs if (one := report.desired.get(PortfolioId(address))) is not None]
    return [*first, *(one for i, one in report.desired.items() if i not in needs)]


def _labels(desired: Mapping[PortfolioId, Desired]) -> list[str]:
    """Return the labels that most portfolios have, the most frequent first."""
    counts = Counter(key for one in desired.values() for key in one.labels if key != "group")
    return sorted(counts, key=lambda key: (-counts[key], key))[:_MOST_KEYS]


def _row(report: FleetReport, one: Desired, needs: Sequence[Needed], keys: list[str]) -> list[Any]:
    seen = Seen(live=report.live[one.id], record=report.records.get(one.id), now_ms=report.now_ms)
    return [
        one.id,
        one.name or "",
        one.owner or "",
        seen.live.status.value.replace("_", " "),
        seen.schedule,
        f"{utc(seen.due_ms):%d %b %H:%M}" if seen.due_ms is not None else "",
        _strip(report, one.id),
        _NEEDS.index(needs[0].need.text) if needs else -1,
        needs_effect(needs).text,
        *((one.group if key == "group" else one.labels.get(key)) or "" for key in keys),
    ]


def _strip(report: FleetReport, portfolio: PortfolioId) -> str:
    """Return a letter for each of the last results, the newest last."""
    known = list(report.results.get(portfolio, ()))[:STRIP_RUNS]
    return "".join(_SIGNS.get(one.rebalance.status.value, "u") for one in reversed(known))


def _problems(report: FleetReport, needs: Mapping[Address, Sequence[Needed]]) -> list[dict[str, Any]]:
    """Return a row for each problem, the most urgent first; in a long table, those that are alike share one."""
    alike: dict[tuple[str, str], dict[str, str]] = {}
    for address, found in needs.items():
        why = needs_effect(found)
        alike.setdefault((found[0].need.text, why.shared), {})[address] = why.text
    rows: list[dict[str, Any]] = []
    for (word, shared), those in alike.items():
        whole = len(needs) > FOLD_ABOVE and len(those) >= FOLD_FROM
        told = [(list(those), shared)] if whole else [([one], why) for one, why in those.items()]
        rows += [_problem(report, some) | {"word": word, "why": why} for some, why in told]
    return rows


def _problem(report: FleetReport, addresses: list[str]) -> dict[str, Any]:
    """Return the cells of a row that say whom it is about; one about many has what all of them share."""
    those = [one for address in addresses if (one := report.desired.get(PortfolioId(address))) is not None]

    def shared(name: str) -> str:
        found = {getattr(one, name) or "" for one in those}
        return found.pop() if len(found) == 1 else ""

    return {"ids": addresses, **{name: shared(name) for name in ("name", "owner", "group")}}


def _chart(loads: Sequence[Load]) -> dict[str, Any]:
    """Return the bars of each hour, as places in a picture of :data:`_WIDE` by :data:`_HIGH`."""
    most = max((count for load in loads for count in load.hours), default=0) or 1
    hours = len(loads[0].hours)
    wide = _WIDE / hours
    thick = (wide - 4) / len(loads)
    bars = [
        (
            kind,
            round(hour * wide + 2 + side * thick, 1),
            round(_HIGH * (1 - count / most), 1),
            round(_HIGH * count / most, 1),
        )
        for side, (kind, load) in enumerate(zip(("now", "then"), loads, strict=False))
        for hour, count in enumerate(load.hours)
        if count
    ]
    names = _hours(loads[0])
    ticks = [(round(hour * wide + wide / 2, 1), name) for hour, name in enumerate(names) if hour % 3 == 0]
    table = [(name, *(load.hours[hour] for load in loads)) for hour, name in enumerate(names)]
    return {"bars": bars, "thick": round(thick - 1, 1), "ticks": ticks, "most": most, "table": table}


def _hours(load: Load) -> list[str]:
    first = load.from_ms // HOUR_MS
    return [f"{utc((first + hour) * HOUR_MS):%H:%M}" for hour in range(len(load.hours))]


def _timeline(report: FleetReport, runs: Mapping[PortfolioId, Timed], key: str) -> dict[str, Any]:
    """Return the runs of each group or value by hour, each with its share of the most as a step of 0 to 6."""
    found = by_word(runs, report.desired, key, from_ms=report.now_ms)
    shown = sorted(found, key=lambda word: (-sum(found[word].hours), word))
    rows: list[tuple[str | None, tuple[int, ...]]] = [(word, found[word].hours) for word in shown[:_MOST_PARTS]]
    if others := shown[_MOST_PARTS:]:
        rows.append((None, tuple(map(sum, zip(*(found[word].hours for word in others), strict=True)))))
    most = max((count for _, hours in rows for count in hours), default=0) or 1
    return {
        "key": key,
        "hours": _hours(load_of((), from_ms=report.now_ms)),
        "others": len(others),
        "rows": [(word, sum(hours), [(count, -(-count * 6 // most)) for count in hours]) for word, hours in rows],
    }


def _groups(
    report: FleetReport, before: Mapping[PortfolioId, Timed], after: Mapping[PortfolioId, Timed]
) -> list[dict[str, Any]]:
    """Return portfolios, runs a day and costs of each group, the largest first; the smallest share one row."""
    parts: dict[str | None, dict[PortfolioId, Desired]] = {}
    sizes = Counter(one.group or "" for one in report.desired.values())
    own = {word for word, _ in sizes.most_common(_MOST_PARTS)}
    for portfolio, one in report.desired.items():
        word = one.group or ""
        parts.setdefault(word if word in own else None, {})[portfolio] = one
    return [
        {
            "word": word,
            "others": len(sizes) - len(own),
            "portfolios": len(part),
            "active": sum(i in before for i in part),
            "runs": [runs_day_of(runs[i] for i in part if i in runs) for runs in (before, after)],
            "cost": plan_cost(report.plan, part, report.live, report.records),
        }
        for word, part in sorted(parts.items(), key=lambda one: (one[0] is None, -len(one[1]), one[0] or ""))
    ]
