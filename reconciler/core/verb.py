"""The four things that can be done to a portfolio's automation. A module of its own, because limits need no plan."""

from __future__ import annotations

from enum import StrEnum


class Verb(StrEnum):
    """The action of a change, in the order in which people should read them: what makes trades comes first."""

    START = "start"
    RESUME = "resume"
    UPDATE = "update"
    PAUSE = "pause"
