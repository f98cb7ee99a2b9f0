"""The repository itself: locked dependencies, links that lead somewhere, nothing of anybody's machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from reconciler.cli.main import run

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements/run.txt", "requirements/dev.txt")
TOOLS = ("requirements/ci.txt", "requirements/lowest.txt", "requirements/uv.txt")
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
HOMES = re.compile(rb"(?<![\w.:/-])/(?:home|Users|root|work)/[A-Za-z]|[A-Z]:\\Users\\")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")


def _files() -> list[Path]:
    """Return every file that is or would be committed."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file of the repository; skips where the source came without git."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return _files()


@pytest.mark.slow
def test_no_path_of_a_machine(files: list[Path]) -> None:
    """No file names a home directory or the folder that this checkout happens to lie in."""
    here = str(ROOT).encode()
    named = [
        path.relative_to(ROOT).as_posix()
        for path in files
        if HOMES.search(text := path.read_bytes()) or (len(ROOT.parts) > 2 and here in text)
    ]
    assert named == []


@pytest.mark.parametrize("lock", [*LOCKS, *TOOLS])
def test_lock_is_complete(lock: str) -> None:
    """A lock file holds pins with hashes and nothing else: no index, no link, no option."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = re.sub(r" \\\n", " ", text).splitlines()
    pins = [line for line in entries if line and not line.lstrip().startswith("#")]
    assert pins
    assert [
        line for line in pins if not re.match(r"[a-z0-9-]+==\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+$", line)
    ] == []
    assert "://" not in text


def test_locks_agree_and_cover_what_is_declared() -> None:
    """Every declared dependency is pinned, and run time is pinned alike in both files."""
    run, dev = (dict(PINNED.findall((ROOT / lock).read_text(encoding="utf-8"))) for lock in LOCKS)
    assert run.items() <= dev.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert _names(project["project"]["dependencies"]) <= run.keys()
    assert all(_names(extra) <= run.keys() for extra in project["project"]["optional-dependencies"].values())
    assert _names(project["dependency-groups"]["dev"]) <= dev.keys()
    assert _names(project["build-system"]["requires"]) <= dev.keys()
    linters = dict(PINNED.findall((ROOT / "requirements/ci.txt").read_text(encoding="utf-8")))
    assert _names(project["dependency-groups"]["ci"]) <= linters.keys()


def test_the_lowest_versions_are_those_declared() -> None:
    """What `make test-lowest` installs is the lower bound of every declared dependency."""
    pins = dict(PINNED.findall((ROOT / "requirements/lowest.txt").read_text(encoding="utf-8")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [one for extra in project["project"]["optional-dependencies"].values() for one in extra]
    for requirement in [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]:
        name, bound = re.findall(r"^([\w-]+)[^>]*>=([\w.]+)", requirement)[0]
        assert re.fullmatch(rf"{re.escape(bound)}(\.\d+)*", pins[name]), requirement


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[; ]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.slow
def test_links_lead_somewhere(files: list[Path]) -> None:
    """Every relative link of every Markdown file names a file of the repository."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in files
        if page.suffix == ".md"
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.slow
def test_actions_are_pinned(files: list[Path]) -> None:
    """Every action of every workflow is pinned to a full commit, and no checkout leaves its token behind."""
    for path in files:
        if path.suffix not in {".yml", ".yaml"} or "uses:" not in (text := path.read_text(encoding="utf-8")):
            continue
        used = re.findall(r"uses: (\S+)", text)
        assert [u for u in used if not (u.startswith(("./", "$/")) or re.search(r"@[0-9a-f]{40}$", u))] == [], path
        assert text.count("actions/checkout@") == text.count("persist-credentials: false"), path


def test_the_hook_for_pre_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts for the files that are looked for by default and for no others, and then checks all of them."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    names = ["automation.yaml", "automation/fx/a.yml", "src/automation.yaml", "automation.json", "automations/a.yaml"]
    assert [bool(re.search(hook["files"], name)) for name in names] == [True, True, False, False, False]
    assert not hook["pass_filenames"]
    program, *arguments = hook["entry"].split()
    assert program == "reconciler"
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "automation.yaml"
    file.write_text("version: 1\nportfolios:\n  aaa: {state: paused}\n", encoding="utf-8")
    assert run(arguments) == 0
    file.write_text("version: 2\n", encoding="utf-8")
    assert run(arguments) == 3
