"""Whole texts for people, kept in one file a command: `pytest --renew` writes them anew.

A file of ``tests/golden`` holds what one command said in several tests, each text under a line ``==== name``. Whoever
changes a text renews the files and reads the difference, as a reviewer does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "golden"
HEADING = re.compile(r"^==== (.+)\n", re.MULTILINE)
CHANGING = re.compile(
    r"sandbox://(?P<instance>[0-9a-f]+)|\[glider-reconciler (?P<token>[0-9a-f]{6})\]"
    r"|\b(?P<fingerprint>[0-9a-f]{64}|[0-9a-f]{12})\b"
    r"|(?P<date>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d(:\d\d)?) UTC|process (?P<process>\d+ on \S+)"
    r"|glider-reconciler (?P<version>\d+\.\d+\.\d+)"
)
"""What differs from run to run, or from release to release."""


def settled(text: str) -> str:
    """Return a text without what differs from run to run: its letters and digits become 0, so that columns stay."""
    return CHANGING.sub(_zeros, text)


def _zeros(found: re.Match[str]) -> str:
    if found["process"]:
        return "process 0"
    whole = found[0]
    for part in filter(None, found.groupdict().values()):
        whole = whole.replace(part, re.sub(r"[0-9a-f]", "0", part))
    return whole


def parse(text: str) -> dict[str, str]:
    """Return the texts of a file by name."""
    _, *parts = HEADING.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def show(texts: Mapping[str, str]) -> str:
    """Return the file that holds these texts, by name."""
    return "".join(f"==== {name}\n{text}" for name, text in sorted(texts.items()))


class Golden:
    """Compares texts with the files, or keeps them until the end of the run to renew the files by."""

    def __init__(self, folder: Path = FOLDER, *, renews: bool = False) -> None:
        self._folder = folder
        self._renews = renews
        self._new: dict[str, dict[str, str]] = {}

    def __call__(self, command: str, name: str, text: str) -> None:
        """Assert that what a command says under this name is as it was. A text ends with its last line's end."""
        found = settled(text)
        assert found.endswith("\n")
        assert not HEADING.search(found)
        if self._renews:
            assert name not in self._new.setdefault(command, {}), "two texts of one name"
            self._new[command][name] = found
            return
        expected = self.read(command).get(name)
        assert expected is not None, f"tests/golden/{command}.txt has no text '{name}': write it with `pytest --renew`"
        assert found == expected, "if it is meant to be so: `pytest --renew`"

    def read(self, command: str) -> dict[str, str]:
        """Return the texts of a command, none where it has no file."""
        path = self._folder / f"{command}.txt"
        return parse(path.read_text(encoding="utf-8")) if path.exists() else {}

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Write what is new; texts of tests that did not run stay."""
        for command, texts in self._new.items():
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{command}.txt"
            path.write_text(show(self.read(command) | texts), encoding="utf-8", newline="\n")
