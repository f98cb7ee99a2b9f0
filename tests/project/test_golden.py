"""The golden files hold what tests say, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.golden import FOLDER, Golden, parse, settled, show

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_text_is_one_of_a_test(path: Path) -> None:
    """A text whose test has gone goes, too."""
    tests = "".join(one.read_text(encoding="utf-8") for one in FOLDER.parent.rglob("test_*.py"))
    texts = parse(path.read_text(encoding="utf-8"))
    # The mistakes are cases by their being here; other names may be made of a kind and a case.
    named = [name for name in texts if f'"{name}"' in tests or f'"{name.rpartition(": ")[2]}"' in tests]
    assert path.stem == "mistakes" or named == [*texts]
    assert show(texts) == path.read_text(encoding="utf-8")


def test_a_text_is_compared_and_renewed(tmp_path: Path) -> None:
    """Another text fails until the files are renewed; the texts of tests that did not run stay."""
    renews = Golden(tmp_path, renews=True)
    renews("plan", "first", "a\n")
    renews("plan", "second", "b\n")
    renews.pytest_sessionfinish()
    compares = Golden(tmp_path)
    compares("plan", "first", "a\n")
    with pytest.raises(AssertionError, match="--renew"):
        compares("plan", "first", "c\n")
    with pytest.raises(AssertionError, match="has no text 'third'"):
        compares("plan", "third", "c\n")
    again = Golden(tmp_path, renews=True)
    again("plan", "first", "c\n")
    again.pytest_sessionfinish()
    assert Golden(tmp_path).read("plan") == {"first": "c\n", "second": "b\n"}


def test_what_differs_from_run_to_run_is_left_out() -> None:
    """Names of sandboxes, tokens, moments."""
    text = "sandbox://0a1b, 2026-11-22 12:00 UTC, by [glider-reconciler 00002a]"
    assert settled(text) == "sandbox://0000, 0000-00-00 00:00 UTC, by [glider-reconciler 000000]"
