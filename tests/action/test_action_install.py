"""The action's own installation, from the locked packages into a fresh environment.

It needs a package index, which no other test does, so it runs where ``RECONCILER_INSTALL`` is set: in ``.ci/run``,
which installs packages anyway. The rest of the action's tests hand over the interpreter that runs them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.action.test_action import CHANGED, CHANGED_FILES
from tests.action.values import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout

INDEX = ("PIP_", "UV_", "SSL_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")
"""How a machine says which package index it reaches."""


@pytest.mark.skipif("RECONCILER_INSTALL" not in os.environ, reason="needs a package index: set RECONCILER_INSTALL=1")
def test_the_action_installs_itself(checkout: Callable[..., Checkout]) -> None:
    """Without a prepared interpreter the action makes an environment of its own and plans with it."""
    made = checkout(CHANGED, CHANGED_FILES)
    made.env |= {name: value for name, value in os.environ.items() if name.startswith(INDEX)}
    job = made("plan", prepared=False)
    assert job.status is Status.SUCCESS, job.log
    assert job.outputs["pause"] == "1"
    python = Path(job.step("setup").outputs["python"])
    assert python.is_relative_to(made.folder / "runner-1/temp")
