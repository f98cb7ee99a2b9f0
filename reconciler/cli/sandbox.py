"""``reconciler sandbox``: fill, serve, reset and move on the embedded Glider."""

from __future__ import annotations

import sys
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING

from reconciler.cli.flags import DEFAULT_SANDBOX
from reconciler.cli.options import Options, duration_of
from reconciler.cli.output import write
from reconciler.core.errors import ExitReason
from reconciler.render.ending import Ending, View

if TYPE_CHECKING:
    from contextlib import closing

    from reconciler.render.ending import Found
    from reconciler.sandbox import Seed, Store


class SandboxOptions(Options, frozen=True, kw_only=True):
    """The options that every command here has: the sandbox's file."""

    file: str = DEFAULT_SANDBOX


class SeedOptions(SandboxOptions, frozen=True, kw_only=True):
    """The options of ``sandbox load``: a YAML file of portfolios."""

    seed: str


class AdvanceOptions(SandboxOptions, frozen=True, kw_only=True):
    """The options of ``sandbox advance``: how far, as in ``3d``."""

    duration: str


class ServeOptions(SandboxOptions, frozen=True, kw_only=True):
    """The options of ``sandbox serve``."""

    host: str
    port: int


def load_seed(options: SeedOptions, found: Found) -> Ending:
    """Read a seed and make the sandbox's file."""
    from reconciler.cli.journalplace import make_folder
    from reconciler.core.text import plural
    from reconciler.sandbox import Store

    planted = _read_seed(options.seed)
    make_folder(Path(options.file))
    Store.load(Path(options.file), planted, now_ms=time_ns() // 1_000_000).close()
    return _said(found, f"Loaded {plural(len(planted.portfolios), 'portfolio')} into {options.file}.")


def reset(options: SandboxOptions, found: Found) -> Ending:
    """Start over."""
    with _open(options.file) as store:
        store.reset(now_ms=time_ns() // 1_000_000)
    return _said(found, f"Reset {options.file} to its seed.")


def advance(options: AdvanceOptions, found: Found) -> Ending:
    """Move the clock on."""
    from reconciler.core.text import format_duration

    text = options.duration
    is_bare = text.isascii() and text.isdigit() and len(text) < 16  # milliseconds
    ms = int(text) if is_bare else duration_of("DURATION", text, such_as="3d")
    with _open(options.file) as store:
        store.advance(ms)
        ahead = store.clock_offset_ms
    return _said(found, f"{options.file} is {format_duration(ahead)} ahead of the clock.")


def serve(options: ServeOptions, found: Found) -> Ending:
    """Listen and answer, until interrupted."""
    from reconciler.sandbox import create_app, serve_app

    def ready(url: str) -> None:
        told = f"Serving {options.file} at {url}; stop with Ctrl-C. Use it with:\n"
        write(sys.stderr, f"{told}  GLIDER_API_KEY=any GLIDER_BASE_URL={url} reconciler plan\n")

    with _open(options.file) as store:
        app = create_app(store, now_ms=lambda: time_ns() // 1_000_000)
        serve_app(app, host=options.host, port=options.port, ready=ready)
    return Ending(reason=ExitReason.OK, found=found)


def _said(found: Found, sentence: str) -> Ending:
    return Ending(reason=ExitReason.OK, found=found, view=View(shown=f"{sentence}\n"))


def _open(file: str) -> closing[Store]:
    from contextlib import closing

    from reconciler.sandbox import Store

    return closing(Store.open(Path(file)))


def _read_seed(name: str) -> Seed:
    """Read a seed by the same YAML rules as the files."""
    from reconciler.config.files import MAX_FILE_BYTES, read_file
    from reconciler.config.load import load_as
    from reconciler.core.errors import SandboxError
    from reconciler.sandbox import SEED_FIELDS, examine

    try:
        content = read_file(Path(name), most=MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise SandboxError(f"can't read the seed {name}: {why}", "Name a YAML file of portfolios.") from error
    if len(content) > MAX_FILE_BYTES:
        raise SandboxError(f"the seed {name} is larger than 8 MiB", "Name a YAML file of portfolios.")
    return load_as(name, content, SEED_FIELDS, examine)
