"""Guesses at what somebody meant who wrote something else; words only, nothing is ever read differently for them.

In: a refused key or value. Out: a repair, ``""`` where there is no guess. No guess suggests ``active``: that is for the
author to decide. Knows no file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.config.silence import COST_FIELDS
from reconciler.core.advice import Rule
from reconciler.core.text import HOUR_MS, MINUTE_MS, format_duration, harmless, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.config.document import Value

TEXTS: Final = frozenset({"name", "owner", "reason", "account", *Rule})
"""Fields that take free text; below `silence` they are called like the rules."""

_LONGEST_SHOWN: Final = 60
_SECRET: Final = re.compile(r"gldr_|://[^\s/]*@", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(r"(api|access|secret|auth).?(key|token)|token|secret|password", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(base.?)?url|host|endpoint|server", re.IGNORECASE)
_EXPECTED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("url", "baseurl", "host", "endpoint", "server"), "url"),
    **dict.fromkeys(("account", "tenant", "tenantname"), "account"),
}
"""What belongs under `service.expect`."""
_OF_PORTFOLIOS: Final = frozenset({"state", "name", "group", "strategy"})
_OF_LAYERS: Final = frozenset(
    {"api", "interval", "offset", "chain", "reason", "owner", "until", "hold", "run_on_start", "costs", "silence"}
)
_OTHER_WORDS: Final[Mapping[str, str]] = {
    "every": "interval",
    "cadence": "interval",
    "frequency": "interval",
    "schedule": "interval",
    "intervalms": "interval",
    "status": "state",
    "paused": "state",
    "active": "state",
    "enabled": "state",
    "cost": "costs",
    "ignore": "silence",
    "strategyid": "strategy",
    "label": "name",
    "title": "name",
    "comment": "reason",
    "note": "reason",
    "network": "chain",
    "version": "api",
    "apiversion": "api",
    "runonstart": "run_on_start",
    "runrebalanceimmediately": "run_on_start",
}
_CLOCK: Final = re.compile(r"([0-9]{1,4}):([0-5][0-9])(?::00)?")
_DECIMAL_HOURS: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,3})\s*h")
_UNIT_WORDS: Final = (
    (re.compile(r"(?:weeks|week|wks|wk)"), "w"),
    (re.compile(r"(?:days|day)"), "d"),
    (re.compile(r"(?:hours|hour|hrs|hr)"), "h"),
    (re.compile(r"(?:minutes|minute|mins|min)"), "m"),
    (re.compile(r"(?:seconds|second|secs|sec)"), "s"),
    (re.compile(r"[\s,]|and"), ""),
)
_CADENCES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("1h", "60m", "pt1h", "3600000"), "write `hourly`"),
    **dict.fromkeys(("1d", "24h", "p1d", "pt24h", "86400000"), "write `daily`"),
    **dict.fromkeys(("biweekly", "2w", "14d"), "strategies have no such cadence; write `weekly` or `monthly`"),
    **dict.fromkeys(("1w", "7d", "p1w", "p7d", "168h", "604800000"), "write `weekly`"),
}
"""Durations that are one of the cadences; a month is none, it has no fixed length."""
_YES: Final = frozenset({"yes", "on", "y", "true", "1"})
_NO: Final = frozenset({"no", "off", "n", "false", "0"})


def shown(value: object) -> str:
    """Return a value as YAML would write it, harmless and short; never one that looks like a key."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return kind(value)
        case _:
            text = str(value)
            return "…" if _SECRET.search(text) else harmless(text, longest=_LONGEST_SHOWN)


def kind(value: object) -> str:
    """Return the kind of a value with its article."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return "text"


def misplaced(key: str, value: Value, parents: Sequence[str]) -> str:
    """Return where an unknown key belongs, or what it is called here."""
    if _CREDENTIAL.search(key):
        return "remove it; the key is read from GLIDER_API_KEY only, and one that stood in a file should be replaced"
    if parents[:1] == ["service"] and (word := _EXPECTED.get(key.lower().replace("_", ""))):
        if len(parents) > 1:
            return f"did you mean `{word}`?"
        where = "files never say where the key goes, GLIDER_BASE_URL does; " if word == "url" else ""
        return f"{where}write `expect: {{{word}: …}}` to have it compared"
    if _ADDRESS.fullmatch(key):
        return "remove it; files never say where the key goes, GLIDER_BASE_URL does"
    top, layer = not parents, parents[:1] in (["defaults"], ["groups"])
    if key in _OF_PORTFOLIOS and (top or layer):
        why = "is never inherited" if key == "state" else "belongs to one portfolio"
        return f"`{key}` {why}: write it at the portfolio"
    if top and key in _OF_LAYERS:
        return "indent it under `defaults`, a group or a portfolio"
    if top and isinstance(value, dict) and "state" in value:
        return "indent it under `portfolios`"
    if parents[:1] == ["strategies"]:
        return _of_a_strategy(key)
    word = _OTHER_WORDS.get(key.lower().replace("_", "").replace("-", ""), "")
    if not word or top or (layer and word in _OF_PORTFOLIOS):
        return ""
    return f"did you mean `{word}`?"


def _of_a_strategy(key: str) -> str:
    word = _OTHER_WORDS.get(key.lower().replace("_", "").replace("-", ""), key)
    if word == "interval":
        return "did you mean `schedule`? A strategy's cadence is `hourly`, `daily`, `weekly` or `monthly`"
    if word in _OF_PORTFOLIOS | _OF_LAYERS and word != "name":
        return f"remove it; `{word}` belongs to portfolios, a strategy has a cadence only"
    return f"did you mean `{word}`?" if word == "name" else ""


def better(field: str, value: Value) -> str:
    """Return a repair that fits this very value of ``field``."""
    if field in ("interval", "offset") and isinstance(value, (str, float)):
        return _duration(str(value).strip().lower())
    if field == "run_on_start":
        word = str(value).lower()
        return "write `true`" if word in _YES else "write `false`" if word in _NO else ""
    if field == "api" and not isinstance(value, (dict, list)):
        word = str(value).lower().removeprefix("v")
        return f"write `v{word}`" if word in ("1", "2") else ""
    if field == "version" and isinstance(value, str) and value.strip() == "1":
        return "remove the quotes"
    if field == "schedule" and isinstance(value, (str, int)):
        return _CADENCES.get(str(value).strip().lower().replace(" ", ""), "")
    if field in COST_FIELDS and isinstance(value, str) and value.replace(".", "", 1).isdecimal():
        return "remove the quotes"
    if field in ("chain", "group") and isinstance(value, (int, float)):
        return f'put it in quotes: "{shown(value)}"'
    if field == "chain" and isinstance(value, str) and value.lower() != value:
        return f"write `{shown(value.lower())}`"
    return ""


def _duration(text: str) -> str:
    if clock := _CLOCK.fullmatch(text):
        hours, minutes = int(clock[1]), int(clock[2])
        return f"write {hours}h{minutes}m" if minutes else f"write {hours}h"
    if decimal := _DECIMAL_HOURS.fullmatch(text):
        ms = int(decimal[1] + decimal[2]) * HOUR_MS
        scale = 10 ** len(decimal[2])
        return f"write {format_duration(ms // scale)}" if ms % (scale * MINUTE_MS) == 0 else ""
    if text.isdecimal() and text.isascii():
        return f"write it with a unit, such as {int(text[:9]) or 24}h; milliseconds stand bare, without a leading 0"
    if "month" in text or "year" in text:
        return "write days, such as 30d: months and years have no fixed length"
    for pattern, unit in _UNIT_WORDS:
        text = pattern.sub(unit, text)
    try:
        parse_duration(text)
    except ValueError:
        return ""
    return f"write {text}"
