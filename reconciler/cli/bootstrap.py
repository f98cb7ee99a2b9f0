"""Make an environment for this very commit, from locked and hashed packages: the first half of ``action.yml``.

In: RUNNER_TEMP and requirements/ of this checkout. Out: the environment's interpreter, as the output ``python``.
Runs on a bare Python 3.11 or newer, outside any environment, so it imports nothing but the standard library.

uv is fetched by pip, pinned and by hash, because it takes a second for what takes pip four; with it the locked packages
are installed, by hash again, wheels only. Nothing is built, and nothing is looked for outside these files. The code
itself is not copied: the environment gets the path of the checkout that this file is in.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent.parent
UV = HOME / "requirements" / "uv.txt"
PACKAGES = HOME / "requirements" / "run.txt"
PREPARED = "GLIDER_RECONCILER_PYTHON"
"""Names an interpreter whose packages somebody else has prepared, for runners that reach no package index."""
OLDEST = (3, 11)


def bootstrap() -> None:
    """Print nothing but errors; leave the interpreter's path in GITHUB_OUTPUT."""
    if sys.version_info < OLDEST:
        sys.exit(f"::error::glider-reconciler needs Python {OLDEST[0]}.{OLDEST[1]} or newer; set `python-version`")
    python = os.environ.get(PREPARED) or str(prepare(Path(os.environ.get("RUNNER_TEMP") or tempfile.gettempdir())))
    output = os.environ.get("GITHUB_OUTPUT")
    if output:
        with Path(output).open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"python={python}\n")
    else:
        sys.stdout.write(f"{python}\n")


def prepare(folder: Path) -> Path:
    """Return the interpreter of an environment below ``folder``; a second step of the same job finds it made.

    Exits with a sentence for the log when the packages can't be had.
    """
    key = hashlib.sha256(b"\0".join([UV.read_bytes(), PACKAGES.read_bytes(), str(HOME).encode(), sys.version.encode()]))
    home = folder / f"glider-reconciler-{key.hexdigest()[:16]}"
    windows = os.name == "nt"
    python = home / ("Scripts/python.exe" if windows else "bin/python")
    if (home / "ready").is_file():
        return python
    venv.create(home, clear=True, symlinks=not windows, with_pip=False)
    tool = home / "tool"
    pip = [sys.executable, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    pip += ["--root-user-action", "ignore"]
    locked = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    _run([*pip, *locked, "--no-compile", "--target", str(tool), "-r", str(UV)], "uv")
    uv = [str(tool / "bin" / ("uv.exe" if windows else "uv")), "--no-config", "--quiet", "pip", "install"]
    _run([*uv, "--python", str(python), *locked, "-r", str(PACKAGES)], "the packages")
    site = next(home.glob("Lib/site-packages" if windows else "lib/python*/site-packages"))
    (site / "glider-reconciler.pth").write_text(f"{HOME}\n", encoding="utf-8")
    (home / "ready").touch()
    return python


def _run(command: list[str], what: str) -> None:
    if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - our own interpreter and pinned tool
        sys.exit(f"::error::glider-reconciler could not install {what}; the lines above say why")


if __name__ == "__main__":
    bootstrap()
