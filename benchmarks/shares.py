"""A fleet that is read in shares, against one that is read alone; and a million portfolios, planned from live files.

In: a :class:`~benchmarks.rows.Size`. Out: rows. As a program: ``python -m benchmarks.shares write FOLDER COUNT SHARES``
writes the live files of a fleet, and ``plan FOLDER`` plans from them; its last line is a JSON object with the counts of
the plan, ``peak_kib`` and ``cpu_s``.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.fleet import NOW_MS, SEED, members, status_answer, write_files
from benchmarks.processes import ROOT, Server, from_address, output_of, program
from benchmarks.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.rows import Size
    from reconciler.core.model import Live

RATE: Final = 25
"""Requests a second that each address is served."""
LEAST: Final = 0.7
"""N runners must be at least this part of N times as fast as one."""
RUNNERS: Final = (4, 8)
PARTS: Final = 8
MOST_GIB: Final = 3.0


def speed_up(size: Size, folder: Path) -> Iterator[Row]:
    """Compare a plan that reads for itself with shares that are read from as many addresses, joined and planned."""
    count = size.shared
    write_files(folder / "files", count, SEED)
    here = [from_address(folder, f"127.0.1.{number}") for number in range(1, max(RUNNERS) + 1)]
    if not all(here):
        print("no C compiler, so nothing has an address of its own", file=sys.stderr)
        return
    plan = [*program(), "plan", "-f", "files", "-o", "json"]
    with Server(count, SEED, 5, RATE, RATE // 2) as server:
        alone = _took([plan], [here[0]], folder, server.environment)
        for runners in RUNNERS:
            status = [*program(), "status", "-f", "files", "-q", "--round", "r"]
            commands = [
                [*status, "--shard", f"{number}/{runners}", "--out", f"live-{runners}-{number}.json.gz"]
                for number in range(1, runners + 1)
            ]
            took = _took(commands, here, folder, server.environment)
            took += _took([[*plan, "--live", f"live-{runners}-*.json.gz"]], [{}], folder, {})
            what = f"{runners} shares and a plan, {count:,} portfolios, {RATE} a second and address"
            said = f"{took:.1f} s, {alone / took:.1f} times as fast"
            yield Row(what, said, f"{alone:.1f} s alone", runners * took / alone, 1 / LEAST)


def _took(commands: list[list[str]], here: list[dict[str, str]], folder: Path, environment: Mapping[str, str]) -> float:
    """Return the seconds until all of these commands, which run at the same time, have ended."""
    began = time.perf_counter()
    with ThreadPoolExecutor(len(commands)) as pool:
        list(pool.map(lambda one, env: output_of(one, cwd=folder, env={**environment, **env}), commands, here))
    return time.perf_counter() - began


def from_live_files(size: Size, folder: Path) -> Iterator[Row]:
    """Plan from live files, and say how long it took and how much memory."""
    count = size.live
    write_files(folder / "files", count, SEED)
    command = [sys.executable, "-m", "benchmarks.shares"]
    output_of([*command, "write", str(folder), str(count), str(PARTS)], cwd=ROOT)
    began = time.perf_counter()
    found = json.loads(output_of([*command, "plan", str(folder)], cwd=ROOT).splitlines()[-1])
    took, gib, cpu_s = time.perf_counter() - began, found["peak_kib"] / 1024**2, found["cpu_s"]
    planned = sum(found[kind] for kind in ("start", "resume", "pause", "update", "no_op", "held", "blocked"))
    if planned != count:
        raise SystemExit(f"{planned} of {count} portfolios were planned")
    what = f"plan from {PARTS} live files, {count:,} portfolios"
    yield Row(what, f"{took:.0f} s ({cpu_s:.0f} s CPU), {gib:.2f} GiB", f"{MOST_GIB:g} GiB", gib, MOST_GIB)


def _write(folder: Path, count: int, shares: int) -> None:
    """Write the live files of a fleet, as so many machines would."""
    from reconciler.api.envelope import success_of
    from reconciler.api.v1 import live_of
    from reconciler.cli.savefile import save
    from reconciler.core.livefile import LIVE_FORMAT, LiveFile, format_live
    from reconciler.core.model import ApiVersion, PortfolioId
    from reconciler.core.shares import Shard, share_of

    read: dict[int, dict[PortfolioId, Live]] = {number: {} for number in range(1, shares + 1)}
    for member in members(count, SEED):
        portfolio, body = PortfolioId(member.id), status_answer(member)
        live = live_of(portfolio, success_of(200, [], body, operation="read", now_ms=NOW_MS))
        read[share_of(portfolio, ApiVersion.V1, of=shares)][portfolio] = live
    for number, share in read.items():
        found = LiveFile(
            base_url="https://api.glider.fi",
            as_of_ms=NOW_MS,
            shard=Shard(number, shares),
            round="r",
            live=share,
            versions=dict.fromkeys(share, ApiVersion.V1),
        )
        name = str(folder / f"live-{number}.json.gz")
        save(name, format_live(found), what="live file", begins=LIVE_FORMAT.begins)


def _plan(folder: Path) -> None:
    """Plan from live files as the command line does, save the plan, and print what came of it."""
    from benchmarks.stages import peak_kib
    from reconciler.cli.main import run
    from reconciler.cli.plan import load_plan
    from reconciler.core.codec import dump

    files, saved = ["-f", str(folder / "files")], str(folder / "plan.json.gz")
    code = run(["plan", *files, "--live", str(folder / "live-*.json.gz"), "--out", saved, "-q"])
    peak, cpu_s = peak_kib(), time.process_time()
    if code:
        sys.exit(code)
    sys.stdout.write(json.dumps({"peak_kib": peak, "cpu_s": cpu_s, **dump(load_plan(saved).summary)}) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", _folder, _count, _shares]:
            _write(Path(_folder), int(_count), int(_shares))
        case ["plan", _folder]:
            _plan(Path(_folder))
        case _:
            sys.exit(__doc__)
