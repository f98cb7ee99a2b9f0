"""A plan as Markdown, for a comment or a summary page.

In: a :class:`~reconciler.core.plan.Plan`. Out: Markdown that ends in a line break. Data never becomes markup: every
cell is escaped, so no name or reason can form a link, a mention, HTML or a new row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.core.plan import Risk, Verb
from reconciler.core.planfile import fingerprint
from reconciler.render.effects import BLOCKED_SYMBOL, HELD_SYMBOL, SYMBOLS, effect, net_effect
from reconciler.render.style import safe
from reconciler.render.text import summary_line

if TYPE_CHECKING:
    from reconciler.core.plan import Change, Plan

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()<>#+!|~&@:-])")
OPEN_ROWS: Final = 30
"""A longer list of changes of one verb is folded."""


def plan_markdown(plan: Plan) -> str:
    """Return headline, what needs a look, and a table a verb; long tables are folded."""
    lines = [f"### {summary_line(plan.summary)}", ""]
    risky = [c for c in plan.changes if {Risk.RUNS_AT_ONCE, Risk.HOLD_OVERRIDDEN, Risk.MORE_RUNS} & set(c.risks)]
    if risky:
        lines += [f"**{len(risky)} of them trade at once, more often, or override a hold.**", ""]
    for verb in Verb:
        changes = [change for change in plan.changes if change.verb is verb]
        lines += _section(f"{SYMBOLS[verb]} {verb.value}", [_row(change) for change in changes])
    lines += _section(
        f"{HELD_SYMBOL} held",
        [
            (h.id, h.name, f"paused by somebody else: {safe(h.pause_reason or 'no reason given', longest=80)}")
            for h in plan.held
        ],
    )
    lines += _section(f"{BLOCKED_SYMBOL} blocked", [(b.id, b.name, safe(b.detail)) for b in plan.blocked])
    if net := net_effect(plan):
        lines += [net, ""]
    lines.append(f"<sub>{_cell(plan.base_url)}, fingerprint `{fingerprint(plan)[:12]}`</sub>")
    return "\n".join(lines) + "\n"


def _section(title: str, rows: list[tuple[str, str | None, str]]) -> list[str]:
    if not rows:
        return []
    table = ["| Portfolio | Name | Effect |", "| --- | --- | --- |"]
    table += [f"| `{portfolio}` | {_cell(name or '')} | {_cell(text)} |" for portfolio, name, text in rows]
    if len(rows) <= OPEN_ROWS:
        return [f"**`{title}`** ({len(rows)})", "", *table, ""]
    summary = f"<details><summary><b><code>{title}</code></b> ({len(rows)})</summary>"
    return [summary, "", *table, "", "</details>", ""]


def _row(change: Change) -> tuple[str, str | None, str]:
    return change.id, change.name, effect(change).text


def _cell(text: str) -> str:
    """Return text with every character that Markdown could read as markup made literal."""
    escaped = _SPECIAL.sub(r"\\\1", safe(text, longest=300))
    # A backslash does not stop GitHub from reading @name or a bare address; a zero-width joiner would be invisible
    # and is what we refuse elsewhere, so the characters become entities.
    return escaped.replace(r"\@", "&#64;").replace(r"\:", "&#58;").replace(r"\<", "&lt;").replace(r"\&", "&amp;")
