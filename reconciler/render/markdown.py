"""A plan as Markdown, for a comment or a summary page.

In: a :class:`~reconciler.core.plan.Plan`. Out: Markdown that ends in a line break. Data never becomes markup: every
cell is escaped, so no name or reason can form a link, a mention, HTML or a new row.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from reconciler.core.plan import Risk
from reconciler.core.planfile import fingerprint
from reconciler.core.verb import Verb
from reconciler.render.effects import BLOCKED_SYMBOL, HELD_SYMBOL, SYMBOLS, by_cause, effect, held_text, net_effect
from reconciler.render.style import safe
from reconciler.render.text import summary_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.plan import Change, Plan

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]|~])")
"""What Markdown reads as markup inside a table's cell; a backslash makes it literal."""
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "#": "&#35;"}
"""What a backslash does not stop: HTML, mentions, references to issues."""
_LINK: Final = re.compile(r":(?=\S)|(?<=\bwww)\.", re.IGNORECASE)
"""What makes a bare address a link."""
OPEN_ROWS: Final = 30
"""A longer list of changes of one verb is folded."""


def plan_markdown(plan: Plan) -> str:
    """Return headline, what needs a look, and a table a verb; long tables are folded."""
    lines = [f"### {summary_line(plan.summary)}", ""]
    risky = [c for c in plan.changes if {Risk.RUNS_AT_ONCE, Risk.HOLD_OVERRIDDEN, Risk.MORE_RUNS} & set(c.risks)]
    if risky:
        lines += [f"**{len(risky)} of them trade at once, more often, or override a hold.**", ""]
    for title, group in by_cause(plan.changes):
        lines += [f"#### {title} ({len(group)})", ""] if title else []
        for verb in Verb:
            changes = [change for change in group if change.verb is verb]
            lines += section(f"{SYMBOLS[verb]} {verb.value}", [_row(change) for change in changes])
    if any(change.cause for change in plan.changes) and (plan.held or plan.blocked):
        lines += [f"#### Not changed ({len(plan.held) + len(plan.blocked)})", ""]
    lines += section(
        f"{HELD_SYMBOL} held",
        [(h.id, h.name, held_text(h)) for h in plan.held],
    )
    lines += section(f"{BLOCKED_SYMBOL} blocked", [(b.id, b.name, safe(b.detail)) for b in plan.blocked])
    if net := net_effect(plan):
        lines += [net, ""]
    lines.append(f"<sub>{cell(plan.base_url)}, fingerprint `{fingerprint(plan)[:12]}`</sub>")
    return "\n".join(lines) + "\n"


def section(title: str, rows: Sequence[tuple[str, str | None, str]]) -> list[str]:
    """Return a table of portfolio, name and effect under its title, folded when long; nothing without rows."""
    if not rows:
        return []
    table = ["| Portfolio | Name | Effect |", "| --- | --- | --- |"]
    table += [f"| `{portfolio}` | {cell(name or '')} | {cell(text)} |" for portfolio, name, text in rows]
    if len(rows) <= OPEN_ROWS:
        return [f"**`{title}`** ({len(rows)})", "", *table, ""]
    summary = f"<details><summary><b><code>{escape(title)}</code></b> ({len(rows)})</summary>"
    return [summary, "", *table, "", "</details>", ""]


def _row(change: Change) -> tuple[str, str | None, str]:
    return change.id, change.name, effect(change).text


def cell(text: str) -> str:
    """Return text with every character that Markdown could read as markup made literal."""
    literal = "".join(_ENTITIES.get(c, c) for c in safe(text, longest=300))
    return _LINK.sub(lambda found: f"&#{ord(found[0])};", _MARKUP.sub(r"\\\1", literal))
