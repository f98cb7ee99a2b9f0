"""The door of the package: what it offers is there, and costs no more than what is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import reconciler.sandbox as door


@pytest.mark.parametrize("name", door.__all__)
def test_every_name_is_there(name: str) -> None:
    """Each name that the door promises is found behind it."""
    assert getattr(door, name) is not None


def test_another_name_is_not_there() -> None:
    """A name that nobody promised is an error that says so."""
    with pytest.raises(AttributeError, match="has no attribute 'nobody'"):
        door.nobody  # noqa: B018 - the look is the test


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "unused"), [("Store", "starlette"), ("create_app", "uvicorn"), ("__all__", "sqlite3")]
)
def test_what_is_not_used_is_not_loaded(name: str, unused: str) -> None:
    """A store needs no HTTP, an application in process no server."""
    program = f"import sys\nfrom reconciler.sandbox import {name}\nassert {unused!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
