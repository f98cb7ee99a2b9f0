"""The image and the examples for Kubernetes: valid, and of command lines that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from reconciler.cli.commands import MAKERS
from reconciler.core.endpoint import journal_url
from reconciler.core.errors import ExitReason
from reconciler.core.shares import KUBERNETES_INDEX

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/kubernetes").glob("*.yaml"))
OLDEST = "1.31"
"""A version of 2024, in which every field that the examples use is there."""
COPIED = re.compile(r"^COPY (?!--from)(?P<source>\S+) (?P<target>\S+)$", re.MULTILINE)


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a Job or a CronJob."""
    spec = document["spec"]
    job = spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec
    found: list[dict[str, Any]] = job["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("version", [OLDEST, None])
def test_the_examples_are_what_kubernetes_takes(path: Path, version: str | None) -> None:
    """By the schemas of an old version and the newest known, with no key that Kubernetes would pass over."""
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(document, version or kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_command_lines_of_the_examples_are_ours(path: Path) -> None:
    """Each names a command and options that there are; and each pod may do no more than it needs."""
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        for container in containers(document):
            command, *arguments = container["args"]
            MAKERS[command]().make_context(command, arguments, resilient_parsing=False)
            variables = {one["name"] for one in container.get("env", ())}
            assert set(re.findall(r"\$\((\w+)\)", " ".join(arguments))) <= variables
            security = container["securityContext"]
            assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)


def test_every_index_of_the_job_is_a_share() -> None:
    """As many shares as completions, by the variable that Kubernetes sets, and each into a file of its own."""
    document = yaml.safe_load((ROOT / "examples/kubernetes/read.yaml").read_text(encoding="utf-8"))
    (container,) = containers(document)
    assert document["spec"]["completionMode"] == "Indexed"
    assert f"--shard=auto/{document['spec']['completions']}" in container["args"]
    assert any(f"$({KUBERNETES_INDEX})" in one for one in container["args"] if one.startswith("--out="))
    plan = yaml.safe_load((ROOT / "examples/kubernetes/plan.yaml").read_text(encoding="utf-8"))
    assert "--live=/data/live/ROUND-*.json.gz" in containers(plan)[0]["args"]


def test_the_pods_that_apply_together_do_the_same() -> None:
    """Each joins, as often as it is begun again, which it is where it may have lost its database alone."""
    document = yaml.safe_load((ROOT / "examples/kubernetes/apply-together.yaml").read_text(encoding="utf-8"))
    (container,) = containers(document)
    assert document["spec"]["completionMode"] == "Indexed"
    assert document["spec"]["completions"] == document["spec"]["parallelism"] > 1
    assert "--join" in container["args"]
    (place,) = [one.removeprefix("--journal=") for one in container["args"] if one.startswith("--journal=")]
    assert journal_url(place) is not None
    ends = document["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    for_good = {ExitReason.INVALID, ExitReason.STALE, ExitReason.GUARD, ExitReason.PERMISSION, ExitReason.USAGE}
    assert {reason.code for reason in for_good} == set(ends)


def containerfile() -> str:
    return (ROOT / "Containerfile").read_text(encoding="utf-8")


def test_what_the_image_copies_is_there_and_reaches_the_builder() -> None:
    """Each source exists, and the file of what is kept from a builder lets it through; nothing else."""
    sources = {found["source"] for found in COPIED.finditer(containerfile())}
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert sources == set(allowed)
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.slow
def test_what_the_image_copies_is_all_that_it_needs(tmp_path: Path) -> None:
    """The program runs from the copied folders alone, started as the image starts it, with the packages of the lock."""
    for found in COPIED.finditer(containerfile()):
        if (ROOT / found["source"]).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / found["source"], tmp_path / "image" / found["source"], ignore=ignored)
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", containerfile(), re.MULTILINE)
    _, *options = yaml.safe_load(entry)
    place = options.index("-m")
    # As the .pth of the image does, before this checkout's own.
    starts = f"import sys, runpy; sys.path.insert(0, {str(tmp_path / 'image')!r}); sys.argv[0] = 'reconciler'; "
    starts += f"runpy.run_module({options[place + 1]!r}, run_name='__main__')"
    command = [sys.executable, *options[:place], "-c", starts]
    (tmp_path / "seed.yaml").write_text("version: 1\nportfolios:\n  aaa: {status: active}\n", encoding="utf-8")
    (tmp_path / "automation.yaml").write_text("version: 1\nportfolios:\n  aaa: {state: paused}\n", encoding="utf-8")
    lines = ("--version", "schema", "sandbox load seed.yaml", "plan --sandbox", "report --sandbox --out fleet.html")
    for line in lines:
        ended = subprocess.run([*command, *line.split()], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr


def hadolint() -> str | None:
    return shutil.which("hadolint", path=os.pathsep.join([str(ROOT / ".venv/ci/bin"), os.environ.get("PATH", "")]))


@pytest.mark.slow
@pytest.mark.skipif(hadolint() is None, reason="hadolint is not there: `make lint-actions` installs it")
def test_the_image_is_linted() -> None:
    """Nobody builds it here, so at least its instructions and its shell are looked at."""
    program = hadolint()
    assert program is not None
    ended = subprocess.run([program, str(ROOT / "Containerfile")], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")
