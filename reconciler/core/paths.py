"""Which of Glider's two documented path families to call; files and flags may name one."""

from __future__ import annotations

from enum import StrEnum


class Paths(StrEnum):
    """Which v1 path family to call (API facts §4.1); ``auto`` begins with the reference and may fall back once."""

    AUTO = "auto"
    REFERENCE = "reference"
    GUIDE = "guide"
