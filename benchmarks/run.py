"""Measure the program against its targets: ``python -m benchmarks.run [--quick] [--only NAME] [--json FILE]``,
with ``--parallelism N`` and ``--latency MS`` for what mostly waits.

Out: one table in Markdown, as it stands in docs/performance.md: what was measured, the baseline of the same run, the
ratio or figure, its limit, and ``over`` where it is not kept.
Times are wall-clock seconds of whole processes, medians of several runs, unless a row says otherwise. Seconds of
another machine mean nothing, so every target is a ratio or a figure for each portfolio.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks import network, shares
from benchmarks.fleet import SEED, write_files
from benchmarks.processes import ROOT, Server, in_turns, output_of, program
from benchmarks.rows import Row, Size, Waiting
from benchmarks.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL: Final = Size(
    starts=15,
    repeats=5,
    plans=(Waiting(1_000, 10, 50, 1.15, 1.6), Waiting(10_000, 50, 50, 1.5, 1.6), Waiting(100_000, 100, 5, 9.0)),
    apply=Waiting(1_000, 50, 50, 1.25, 1.5, 1.5),
    checked=10_000,
    small=10_000,
    large=100_000,
    limited=2_000,
    listed=100_000,
    requests=2_000,
    shared=4_000,
    live=1_000_000,
    joined=1_000,
)
QUICK: Final = Size(
    starts=5,
    repeats=1,
    plans=(Waiting(1_000, 10, 50, 1.15, 1.6),),
    apply=Waiting(200, 50, 50, 1.25, 1.5, 1.5),
    checked=2_000,
    small=2_000,
    large=20_000,
    limited=1_000,
    listed=10_000,
    requests=1_000,
    shared=1_000,
    live=20_000,
    joined=400,
)


def startup(size: Size, folder: Path) -> Iterator[Row]:
    """Compare the lightest commands, and a plan that waits for nothing, with an interpreter that does nothing."""
    write_files(folder, 10, SEED)
    files = ["-f", str(folder)]
    commands = {
        "--version": (["--version"], 5.0),
        "--help": (["--help"], 5.0),
        **{f"{name} --help": ([name, "--help"], 5.0) for name in ("plan", "apply", "drift", "status")},
        "validate, 10 portfolios": (["validate", *files], 8.0),
        "plan, 10 portfolios, 0 ms": (["plan", *files, "-o", "json", "--journal", str(folder / "journal.db")], 13.0),
    }
    lines = {what: [*program(), *arguments] for what, (arguments, _) in commands.items()}
    with Server(10, SEED, 0) as server:
        nothing = {"pass": [sys.executable, "-c", "pass"]}
        took = in_turns({**nothing, **lines}, repeats=size.starts, cwd=folder, env=server.environment)
    for what, (_, target) in commands.items():
        ratio = took[what] / took["pass"]
        yield Row(what, _ms(took[what]), f"{_ms(took['pass'])} python -c pass", ratio, target)


def validate(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``validate`` of a large fleet with SafeLoader and jsonschema over the same files."""
    files = write_files(folder, size.checked, SEED)
    schema = ROOT / "schemas/automation.schema.json"
    ours = {"ours": [*program(), "validate", "-f", str(folder)]}
    naive = {"naive": [sys.executable, "-m", "benchmarks.naive", str(schema), *map(str, files)]}
    took = in_turns(ours, repeats=size.repeats, cwd=ROOT)["ours"]
    base = in_turns(naive, repeats=1, cwd=ROOT)["naive"]
    baseline = f"{base:.2f} s SafeLoader + jsonschema"
    yield Row(f"validate, {size.checked:,} portfolios", f"{took:.2f} s", baseline, took / base, 0.10)


def stages(size: Size, folder: Path) -> Iterator[Row]:
    """Measure the program's own work for each portfolio, and how it grows with the fleet."""
    pairs = _pairs(folder, size)
    small, large = ({key: median(pair[i][key] for pair in pairs) for key in pairs[0][0]} for i in (0, 1))
    each = {stage: small[stage] / size.small * 1e6 for stage in STAGES}
    ours = [stage for stage in STAGES if stage not in ("decode", "text")]  # a plan is shown in one form
    parts = ", ".join(f"{stage} {each[stage]:.1f}" for stage in ours)
    parts += f"; besides, with the HTTP client: decode {each['decode']:.1f}"
    total = sum(each[stage] for stage in ours)
    yield Row("CPU for each portfolio", f"{total:.1f} us ({parts})", "60 us", total, 60.0)
    grown = (large["peak_kib"] - small["peak_kib"]) / (size.large - size.small)
    measured = f"{grown:.2f} KiB, peak {large['peak_kib'] / 1024:.0f} MiB"
    yield Row("memory for each portfolio", measured, f"peak of {size.small:,} portfolios", grown, 3.0)
    for stage in STAGES:
        # The least of each: a run that was disturbed only ever takes longer, and the large one is hit more often.
        ratio = min(big[stage] for _, big in pairs) / min(little[stage] for little, _ in pairs)
        baseline = f"{small[stage]:.3f} s for {size.small:,}"
        yield Row(f"{stage}, {size.large:,} portfolios, CPU", f"{large[stage]:.3f} s", baseline, ratio, 11.0)


def _pairs(folder: Path, size: Size) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Measure the small and the large fleet in turns: a machine that changes its speed does so for both."""
    commands = []
    for count in (size.small, size.large):
        write_files(folder / str(count), count, SEED)
        commands.append([sys.executable, "-m", "benchmarks.stages", str(folder / str(count)), str(count), str(SEED)])
    return [
        (json.loads(output_of(commands[0], cwd=ROOT)), json.loads(output_of(commands[1], cwd=ROOT)))
        for _ in range(size.repeats)
    ]


MEASURES: Final[dict[str, Callable[[Size, Path], Iterator[Row]]]] = {
    "startup": startup,
    "validate": validate,
    "plan": network.plan,
    "apply": network.apply,
    "halt": network.halt,
    "joined": network.joined,
    "limited": network.limited,
    "listing": network.listing,
    "requests": network.requests,
    "status": network.status,
    "shares": shares.speed_up,
    "live": shares.from_live_files,
    "stages": stages,
}


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms"


def _print(rows: list[Row]) -> None:
    head = ("what", "measured", "baseline", "ratio or figure", "limit", "")
    for line in (head, ("---",) * len(head), *(row.cells() for row in rows)):
        print(f"| {' | '.join(line)} |")


def _asked(size: Size, parallelism: int | None, latency_ms: int | None) -> Size:
    """Return the size with other numbers for what mostly waits, where they are given."""

    def changed(work: Waiting) -> Waiting:
        return replace(
            work,
            parallelism=parallelism or work.parallelism,
            latency_ms=work.latency_ms if latency_ms is None else latency_ms,
        )

    return replace(size, plans=tuple(map(changed, size.plans)), apply=changed(size.apply))


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure speed and memory.")
    parser.add_argument("--quick", action="store_true", help="smaller fleets and fewer repeats")
    parser.add_argument("--only", choices=MEASURES, action="append", help="this measure alone; repeatable")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there as well")
    parser.add_argument("--parallelism", metavar="N", type=int, help="requests in flight of every plan and apply")
    parser.add_argument("--latency", metavar="MS", type=int, help="after how long each of their requests is answered")
    arguments = parser.parse_args()
    size = _asked(QUICK if arguments.quick else FULL, arguments.parallelism, arguments.latency)
    print(f"the machine's load over the last minute: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="glider-bench-") as folder:
        for name in arguments.only or MEASURES:
            print(f"measuring {name} ...", file=sys.stderr)
            rows += MEASURES[name](size, Path(folder) / name)
    _print(rows)
    if arguments.json:
        document = [{**asdict(row), "ok": row.ok} for row in rows]
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
