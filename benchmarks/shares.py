"""A fleet that is read in shares, against one that is read alone; and a million portfolios, planned from live files.

In: a :class:`~benchmarks.rows.Size`. Out: rows. As a program: ``python -m benchmarks.shares from ADDRESS ARGUMENTS...``
runs the command line with every connection from this address of the loopback, as if it were another machine; ``files
FOLDER COUNT SHARES`` writes the live files of a fleet; ``peak ARGUMENTS...`` runs the command line and says on the last
line of stderr how much memory it took at most, in KiB.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.fleet import NOW_MS, SEED, members, status_answer, write_files
from benchmarks.processes import ROOT, Server, clean, output_of, program
from benchmarks.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.rows import Size
    from reconciler.core.model import Live

RATE: Final = 25
"""Requests a second that each address is served."""
LEAST: Final = 0.7
"""At least this part of its number makes several runners faster than one."""
RUNNERS: Final = (4, 8)
PARTS: Final = 8
MOST_GIB: Final = 3.0


def speed_up(size: Size, folder: Path) -> Iterator[Row]:
    """Compare a plan that reads for itself with shares that are read from as many addresses, joined and planned."""
    count = size.shared
    write_files(folder / "files", count, SEED)
    with Server(count, SEED, 5, RATE, RATE // 2) as server:
        alone = _timed([_from(0, "plan", "-f", "files", "-o", "json")], folder, server.environment)
        for runners in RUNNERS:
            commands = [
                _from(number, "status", "-f", "files", "-q", "--round", "r", "--shard", share, "--out", file)
                for number in range(1, runners + 1)
                for share, file in [(f"{number}/{runners}", f"live-{runners}-{number}.json.gz")]
            ]
            took = _timed(commands, folder, server.environment)
            plan = [*program(), "plan", "-f", "files", "-o", "json", "--live", f"live-{runners}-*.json.gz"]
            took += _timed([plan], folder, {})
            what = f"{runners} shares and a plan, {count:,} portfolios, {RATE} a second and address"
            said = f"{took:.1f} s, {alone / took:.1f} times as fast"
            yield Row(what, said, f"{alone:.1f} s alone", runners * took / alone, 1 / LEAST)


def joined(size: Size, folder: Path) -> Iterator[Row]:
    """Plan from live files, and say how long it took and how much memory."""
    count = size.joined
    write_files(folder / "files", count, SEED)
    output_of([sys.executable, "-m", "benchmarks.shares", "files", str(folder), str(count), str(PARTS)], cwd=ROOT)
    plan = ["plan", "-f", str(folder / "files"), "-o", "json", "-q", "--live", str(folder / "live-*.json.gz")]
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.shares", "peak", *plan]
    ended = subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    summary = json.loads(ended.stdout)["summary"]
    planned = sum(summary[kind] for kind in ("start", "resume", "pause", "update", "no_op", "held", "blocked"))
    gib = int(ended.stderr.split()[-1]) / 1024**2
    what = f"plan from {PARTS} live files, {planned:,} portfolios"
    yield Row(what, f"{took:.0f} s, {gib:.2f} GiB", f"{MOST_GIB:g} GiB", gib if planned == count else 99.0, MOST_GIB)


def _from(number: int, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.shares", "from", f"127.0.1.{number + 1}", *arguments]


def _timed(commands: list[list[str]], folder: Path, environment: Mapping[str, str]) -> float:
    """Return the seconds until all of these commands, which run at the same time, have ended well."""
    where = {**clean(), **environment, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    pipe = subprocess.PIPE
    running = [subprocess.Popen(one, cwd=folder, env=where, stdout=pipe, stderr=pipe, text=True) for one in commands]
    said = [one.communicate() for one in running]
    took = time.perf_counter() - began
    for one, (out, err) in zip(running, said, strict=True):
        if one.returncode:
            raise SystemExit(f"ended in {one.returncode}:\n{out[-2_000:]}{err[-2_000:]}")
    return took


def _run_from(address: str, arguments: list[str]) -> int:
    """Run the command line with every connection from this address."""
    from reconciler.cli.main import run

    plain = asyncio.BaseEventLoop.create_connection

    def bound(loop: asyncio.BaseEventLoop, *args: Any, **more: Any) -> Any:
        return plain(loop, *args, local_addr=(address, 0), **more)

    setattr(asyncio.BaseEventLoop, plain.__name__, bound)  # of this process alone
    return run(arguments)


def _write(folder: Path, count: int, shares: int) -> None:
    """Write the live files of a fleet as so many machines would, one after the other."""
    from reconciler.api.envelope import success_of
    from reconciler.api.v1 import live_of
    from reconciler.cli.savefile import save
    from reconciler.core.livefile import LiveFile, format_live
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
        save(str(folder / f"live-{number}.json.gz"), format_live(found), what="live file")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["from", _address, *_arguments]:
            sys.exit(_run_from(_address, _arguments))
        case ["files", _folder, _count, _shares]:
            _write(Path(_folder), int(_count), int(_shares))
        case ["peak", *_arguments]:
            from benchmarks.stages import peak_kib
            from reconciler.cli.main import run

            _code = run(_arguments)
            sys.stderr.write(f"\n{peak_kib():.0f}\n")
            sys.exit(_code)
        case _:
            sys.exit(__doc__)
