"""The action's own installation, from the locked packages into a fresh environment.

All of it needs a package index, which no other test does, so that runs where ``RECONCILER_INSTALL`` is set: in
``.ci/run``, which installs packages anyway. The rest of the action's tests hand over the interpreter that runs them.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.cli import bootstrap
from tests.action.test_action import CHANGED, CHANGED_FILES
from tests.action.values import Status
from tests.loopback import Reply, Request, loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout

INDEX = ("PIP_", "UV_", "SSL_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")
"""How a machine says which package index it reaches."""
UPSTREAM = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
PROGRAM = Path(bootstrap.__file__)
MIRROR = "https://mirror.example/simple"


@pytest.mark.slow
@pytest.mark.skipif("RECONCILER_INSTALL" not in os.environ, reason="needs a package index: set RECONCILER_INSTALL=1")
def test_the_action_installs_itself(checkout: Callable[..., Checkout]) -> None:
    """Without a prepared interpreter it makes an environment of its own, from the mirror that pip.conf names."""
    asked: list[str] = []

    def mirror(request: Request) -> Reply:
        asked.append(request.path.strip("/"))
        with urllib.request.urlopen(f"{UPSTREAM.rstrip('/')}/{asked[-1]}/") as page:
            return Reply(page.read().decode(), headers={"Content-Type": "text/html"})

    made = checkout(CHANGED, CHANGED_FILES)
    made.env |= {name: value for name, value in os.environ.items() if name.startswith(INDEX)}
    made.env.pop("PIP_INDEX_URL", None)
    with loopback(mirror) as url:
        made.write("../pip.conf", f"[global]\nindex-url = {url}\n")
        made.env["PIP_CONFIG_FILE"] = str(made.folder / "pip.conf")
        job = made("plan", prepared=False)
    assert job.status is Status.SUCCESS, job.log
    assert job.outputs["pause"] == "1"
    python = Path(job.step("setup").outputs["python"])
    assert python.is_relative_to(made.folder / "runner-1/temp")
    assert {"uv", "click", "pyyaml"} <= set(asked)


@pytest.mark.parametrize(
    ("environ", "pip", "expected"),
    [
        ({}, {}, {}),
        ({"PIP_INDEX_URL": MIRROR}, {"index-url": MIRROR}, {"UV_DEFAULT_INDEX": MIRROR}),
        ({}, {"index-url": MIRROR}, {"UV_DEFAULT_INDEX": MIRROR}),
        ({"UV_DEFAULT_INDEX": MIRROR}, {}, {"PIP_INDEX_URL": MIRROR}),
        ({"UV_DEFAULT_INDEX": f"our-mirror={MIRROR}"}, {}, {"PIP_INDEX_URL": MIRROR}),
        ({"UV_INDEX_URL": f"{MIRROR}?a=b"}, {}, {"PIP_INDEX_URL": f"{MIRROR}?a=b"}),
        ({"UV_INDEX_URL": MIRROR, "PIP_INDEX_URL": "https://b/simple"}, {"index-url": "https://b/simple"}, {}),
        ({"UV_DEFAULT_INDEX": MIRROR}, {"index-url": "https://b/simple"}, {}),
        ({"UV_DEFAULT_INDEX": ""}, {"index-url": MIRROR}, {"UV_DEFAULT_INDEX": MIRROR}),
        ({}, {"extra-index-url": "\nhttps://a\nhttps://b"}, {"UV_INDEX": "https://a https://b"}),
        ({}, {"find-links": "/one /two"}, {"UV_FIND_LINKS": "/one,/two"}),
        (
            {},
            {"cert": "/ca.pem", "trusted-host": "m.example"},
            {"SSL_CERT_FILE": "/ca.pem", "UV_INSECURE_HOST": "m.example"},
        ),
        ({"SSL_CERT_FILE": "/own.pem"}, {"cert": "/ca.pem"}, {}),
        ({}, {"proxy": "http://p:3128"}, {"ALL_PROXY": "http://p:3128"}),
    ],
)
def test_one_index_for_both(environ: dict[str, str], pip: dict[str, str], expected: dict[str, str]) -> None:
    """What one of pip and uv is told of an index, the other one uses, too; what both are told stays."""
    added = {"UV_INDEX_STRATEGY": "unsafe-best-match", **expected}
    assert bootstrap.with_index(environ, pip) == {**environ, **added}


def test_what_pip_is_told_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's setting for `install` wins over the one for all commands, and a variable over both."""
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://a\ncert = /ca\n[install]\nindex-url = https://b\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    assert bootstrap.pip_settings()["index-url"] == "https://b"
    monkeypatch.setenv("PIP_INDEX_URL", "https://c")
    assert bootstrap.pip_settings()["index-url"] == "https://c"


def test_an_old_python_can_read_it() -> None:
    """Python 3.6 parses it, and evaluates no type on the way to the sentence that it is too old."""
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "__future__" not in imported  # annotations are none of 3.6's
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    types = [one.annotation for node in functions for one in node.args.args] + [node.returns for node in functions]
    assert all(isinstance(one, (ast.Name, ast.Constant)) for one in types), [ast.dump(one) for one in types if one]
    assert not any(isinstance(node, ast.AnnAssign) for node in ast.walk(tree))


@pytest.mark.slow
@pytest.mark.parametrize("minor", range(6, 11))
def test_an_old_python_is_told(minor: int) -> None:
    """An interpreter that is too old ends with one sentence; where there is none of its age, this one plays it."""
    python = shutil.which(f"python3.{minor}")
    old = python is not None and subprocess.run([python, "-V"], capture_output=True, check=False).returncode == 0
    plays = (
        f"import runpy, sys; sys.version_info = (3, {minor}, 0); runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    )
    command = [str(python), "-I", str(PROGRAM)] if old else [sys.executable, "-I", "-c", plays]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "::error::glider-reconciler needs Python 3.11 or newer; set `python-version`\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", said)
