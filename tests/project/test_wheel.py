"""What a user installs: the wheel, made from the source distribution, runs without the checkout.

Nothing is downloaded: the build uses the installed backend, and the new environment sees the dependencies of this one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*command: str | Path, cwd: Path) -> str:
    run = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{command} ended in {run.returncode}\n{run.stdout}\n{run.stderr}"
    return run.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the source distribution, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment that holds the wheel, and borrows the dependencies."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, with_pip=False)
    (wheel,) = built.glob("*.whl")
    python = home / "bin" / "python"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    (packages,) = home.glob("lib/python*/site-packages")
    # A folder named in a .pth file is searched last, and .pth files inside it (the editable install) do nothing.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin"


@pytest.mark.slow
def test_archives_hold_what_belongs_there(built: Path) -> None:
    """Both archives carry the schema, the licence and the typed marker, and no tests get installed."""
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    page = {f"reconciler/render/report.{kind}" for kind in ("html", "css", "js")}
    assert {"reconciler/py.typed", "reconciler/schemas/automation.schema.json", *page} <= set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"reconciler", "glider_reconciler"}
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "schemas/automation.schema.json", "tests/project/test_wheel.py"} <= inside


@pytest.mark.slow
def test_installed_command_runs_anywhere(installed: Path, tmp_path: Path) -> None:
    """From an empty folder the command knows its version and schema, and validates a file."""
    where = _run(installed / "python", "-c", "import reconciler; print(reconciler.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    version = _run(installed / "python", "-c", "import reconciler; print(reconciler.__version__)", cwd=tmp_path).strip()
    assert version in _run(installed / "reconciler", "--version", cwd=tmp_path)
    schema = json.loads(_run(installed / "reconciler", "schema", cwd=tmp_path))
    assert schema == json.loads((ROOT / "schemas/automation.schema.json").read_text(encoding="utf-8"))
    _run(installed / "reconciler", "validate", "-f", ROOT / "examples/quickstart/automation.yaml", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
