"""Right answers made wrong in one place: another id, another word.

In: a reply in JSON of either version. Out: the reply with its ``data`` changed; one without data, such as a refusal,
stays as it is. Knows where v1 and v2 put ids and words (API facts §1.2, §1.4), and not why they are to be wrong.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.sandbox.requests import json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.sandbox.requests import Reply

OTHER_ID: Final = "zz0zz0zz"


def naming_another(reply: Reply) -> Reply:
    """Return an answer that names another portfolio, or another strategy; on a page, in its first row."""
    return _changed(reply, _name_another)


def saying(reply: Reply, word: str) -> Reply:
    """Return an answer with this status word: of the portfolio, of every row of a page, of an operation, a cadence."""
    return _changed(reply, lambda data: _say(data, word))


def _changed(reply: Reply, change: Callable[[dict[str, Any]], None]) -> Reply:
    payload = json.loads(reply.body)
    if not isinstance(payload.get("data"), dict):
        return reply
    change(payload["data"])
    return replace(reply, body=json_reply(reply.status, payload).body)


def _name_another(data: dict[str, Any]) -> None:
    rows = data.get("portfolios", data.get("strategies"))
    named = rows[0] if rows else data
    named["strategyId" if "strategyId" in named and "portfolioId" not in named else "portfolioId"] = OTHER_ID


def _say(data: dict[str, Any], word: str) -> None:
    schedule = data.get("schedule")
    if "portfolios" in data:
        for row in data["portfolios"]:
            _say(row, word)
    elif isinstance(schedule, dict):
        schedule["status" if "status" in schedule else "frequency"] = word
    else:
        data[next((key for key in ("state", "frequency") if key in data), "status")] = word
