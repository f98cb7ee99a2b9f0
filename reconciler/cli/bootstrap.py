"""Make an environment for this very commit, from locked and hashed packages: the first half of ``action.yml``.

In: RUNNER_TEMP and requirements/ of this checkout. Out: the environment's interpreter, as the output ``python``.
Runs on a bare Python 3.11 or newer, outside any environment, so it imports nothing but the standard library. Python 3.6
and what came after it can still read it, and is told that it is too old: types that they do not know stand in quotes.

uv is fetched by pip, pinned and by hash, because it takes a second for what takes pip four; with it the locked packages
are installed, by hash again, wheels only. Nothing is built, and nothing is looked for outside these files. The code
itself is not copied: the environment gets the path of the checkout that this file is in.
"""

import ast
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
SAME = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
"""What pip calls a setting of the package index, in its files and as ``PIP_…``, and the variable that uv has for it."""


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
    settings = pip_settings()
    environment = with_index(dict(os.environ), settings)
    _run([*pip, *locked, "--no-compile", "--target", str(tool), "-r", str(UV)], "uv", environment)
    uv = [str(tool / "bin" / ("uv.exe" if windows else "uv")), "--no-config", "--quiet", "pip", "install"]
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        uv.append("--no-index")  # uv has no variable for it
    _run([*uv, "--python", str(python), *locked, "-r", str(PACKAGES)], "the packages", environment)
    site = next(home.glob("Lib/site-packages" if windows else "lib/python*/site-packages"))
    (site / "glider-reconciler.pth").write_text(f"{HOME}\n", encoding="utf-8")
    (home / "ready").touch()
    return python


def with_index(environ: "dict[str, str]", pip: "dict[str, str]") -> "dict[str, str]":
    """Return the environment in which pip and uv look for packages in the same places.

    ``pip`` holds pip's own settings by name, from wherever it has them. What uv is told by its own variables stays as
    it is; an index that only uv was told of is pip's, too.
    """
    both = dict(environ)
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    if index and "index-url" not in pip:
        # uv allows a name before the address, as in `mirror=https://…`.
        name, _, address = index.partition("=")
        both["PIP_INDEX_URL"] = address if name.replace("-", "").replace("_", "").isalnum() else index
    for setting, variable in SAME.items():
        told = environ.get(variable) or (variable == "UV_DEFAULT_INDEX" and index)
        if setting in pip and not told:
            both[variable] = (",".join if variable == "UV_FIND_LINKS" else " ".join)(pip[setting].split())
    # Whichever index a package comes from, it must have the hash of the lock.
    both.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return both


def pip_settings() -> "dict[str, str]":
    """Return what pip is told by its files and by ``PIP_…``, which win; nothing where it can't be asked."""
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
    found = {"global": {}, "install": {}, ":env:": {}}  # type: dict[str, dict[str, str]]
    for line in listed.stdout.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.partition(".")
        if section in found and value[:1] in ("'", '"'):
            found[section][setting] = ast.literal_eval(value)
    return {**found["global"], **found["install"], **found[":env:"]}


def _run(command: "list[str]", what: str, environ: "dict[str, str]") -> None:
    if subprocess.run(command, check=False, env=environ).returncode != 0:  # noqa: S603 - our interpreter, pinned tool
        sys.exit(f"::error::glider-reconciler could not install {what}; the lines above say why")


if __name__ == "__main__":
    bootstrap()
