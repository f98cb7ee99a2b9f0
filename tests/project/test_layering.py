"""The layers, held by a check over the imports instead of by good intentions.

Every import counts, also one inside a function or under ``TYPE_CHECKING``; only inside the core may a name that is
needed for types alone point upwards. The rules are tables, and the last tests break each of them on purpose.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reconciler

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(reconciler.__file__).parent

LAYERS = {"cli": 2, "config": 1, "api": 1, "apply": 1, "render": 1, "sandbox": 1, "github": 1, "core": 0}
"""Imports go down only, so packages of one number don't know each other."""

CORE = (
    ("adoption", "planner"),
    ("sections",),
    ("fields",),
    ("advice", "decide", "freeze", "livefile", "planfile", "ports"),
    ("halt", "report"),
    ("cost", "diff", "doctor", "intent", "load", "needs"),
    ("evidence", "guards", "rebalance"),
    ("plan",),
    ("change",),
    ("fleet", "shares"),
    ("model",),
    ("codec", "endpoint", "tables"),
    ("errors", "forms"),
    ("diagnostics", "text"),
)
"""The lines of the core, from the top; a module imports from lines below its own only."""

DOORS = ("sandbox",)
"""Packages that others may import by their own name alone."""

MAY_IMPORT = {
    "msgspec": tuple(LAYERS),  # values are its structs; what is read and written of them goes through core.codec
    "click": ("cli",),
    "uvicorn": ("sandbox.serve",),
    "starlette": ("sandbox",),
    "jsonschema": ("config.check",),
    "jsonschema_rs": ("config.check",),
    "yaml": ("config.source",),
    "h11": ("api.connection",),
    "truststore": ("api.connection",),
    "jinja2": ("render.report",),
    "httpx2": ("github.wire",),
    "deepdiff": ("core.diff",),
    "sqlite3": ("apply.journalfile", "sandbox.store"),
    "psycopg": ("apply.journalserver",),
    "subprocess": ("config.git", "cli.bootstrap"),
}
"""Who may import what from outside; a package that is not named here needs a decision first."""

IMPURE = frozenset(
    {"asyncio", "glob", "http", "io", "logging", "os", "pathlib", "random", "shutil", "signal", "socket"}
    | {"sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib"}
)
"""What the core must do without: files, sockets, the clock, chance, the environment and logs."""

PROCESS = frozenset({"os.environ", "os.getenv", "sys.argv", "sys.exit", "sys.stdin", "sys.stdout", "sys.stderr"})
PROCESS_CALLS = frozenset({"print", "input", "exit", "quit", "SystemExit"})
"""What belongs to the process, and so to ``cli`` alone."""


WRITES = frozenset({"send", "post", "put"})
"""The methods by which a service is written to."""
MAY_WRITE = ("api", "apply.announce")
"""Who may await one: the adapters that are the methods, and the one place that announces every write."""


@dataclass(frozen=True)
class Import:
    """One import: who, what (dotted, ours without the leading package name), where, and whether only for types."""

    module: str
    target: str
    ours: bool
    line: int
    types_only: bool


class Reader(ast.NodeVisitor):
    """Collects the imports of one module, and its uses of what belongs to the process."""

    def __init__(self, module: str, known: frozenset[str]) -> None:
        self.module, self.known = module, known
        self.imports: list[Import] = []
        self.process: list[tuple[str, int]] = []
        self.writes: list[tuple[str, int]] = []
        self._types_only = False

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.generic_visit(node)
            return
        self._types_only = True
        for inner in node.body:
            self.visit(inner)
        self._types_only = False
        for inner in node.orelse:
            self.visit(inner)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = [*PACKAGE_NAME, *self.module.split(".")][: -node.level] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            self._add(f"{source}.{alias.name}", node.lineno)
            if f"{source}.{alias.name}" in PROCESS:
                self.process.append((f"{source}.{alias.name}", node.lineno))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if ast.unparse(node) in PROCESS:
            self.process.append((ast.unparse(node), node.lineno))
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in WRITES:
            self.writes.append((called.attr, node.lineno))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id in PROCESS_CALLS:
            self.process.append((node.id, node.lineno))

    def _add(self, dotted: str, line: int) -> None:
        top, _, rest = dotted.partition(".")
        if top != PACKAGE_NAME[0]:
            self.imports.append(Import(self.module, top, False, line, self._types_only))
            return
        while rest and rest not in self.known:  # the last part may be a name inside a module
            rest = rest.rpartition(".")[0]
        self.imports.append(Import(self.module, rest, True, line, self._types_only))


PACKAGE_NAME = ["reconciler"]


def read(package: Path) -> list[Reader]:
    """Read every module of the package, sorted by name; ``cli/__init__.py`` is the module ``cli``."""
    paths = sorted(package.rglob("*.py"))
    names = [".".join(path.relative_to(package).with_suffix("").parts).removesuffix("__init__") for path in paths]
    known = frozenset(name.rstrip(".") for name in names)
    readers = [Reader(name.rstrip("."), known) for name in names]
    for path, reader in zip(paths, readers, strict=True):
        reader.visit(ast.parse(path.read_text(encoding="utf-8")))
    return readers


@cache
def product() -> list[Reader]:
    """Read the product once, for all who look at it; only a folder that no test changes may be remembered."""
    return read(PACKAGE)


def violations(readers: list[Reader]) -> list[str]:
    """Return every broken rule as ``module:line: what is wrong``."""
    found = [problem for reader in readers for problem in _of_module(reader)]
    return sorted([*found, *_cycles(readers)])


def _of_module(reader: Reader) -> Iterator[str]:
    module = reader.module
    package = module.partition(".")[0]
    entry = module == "__main__"
    if module and not entry and package not in LAYERS:
        yield f"{module}:1: belongs to no layer"
        return
    for found in reader.imports:
        wrong = _ours(found) if found.ours else _theirs(found)
        if wrong and not (entry and found.target.startswith("cli")):
            yield f"{module}:{found.line}: {wrong}"
    if package != "cli":
        for what, line in reader.process:
            yield f"{module}:{line}: {what} belongs to cli"
    if not any(module == place or module.startswith(f"{place}.") for place in (*MAY_WRITE, "github")):
        for what, line in reader.writes:
            yield f"{module}:{line}: calls {what}, a write of the service, which only apply.announce may"
    if package == "core" and "." in module and _rank(module) is None:
        yield f"{module}:1: has no place in the order of the core"


def _ours(found: Import) -> str | None:
    source, target = found.module.partition(".")[0], found.target.partition(".")[0]
    if not target:
        return None  # the version
    if source != target:
        if target in DOORS and found.target != target:
            return f"imports {found.target}, but only {target} itself may be imported"
        above = LAYERS.get(source, -1) <= LAYERS.get(target, 99)
        return f"imports {found.target}, which is not below it" if above else None
    if source == "core" and not found.types_only:
        mine, other = _rank(found.module), _rank(found.target)
        if mine is not None and other is not None and other <= mine:
            return f"imports {found.target}, which is not below it in the core"
    return None


def _theirs(found: Import) -> str | None:
    allowed = MAY_IMPORT.get(found.target)
    if allowed is not None:
        fits = any(found.module == place or found.module.startswith(f"{place}.") for place in allowed)
        return None if fits else f"imports {found.target}, which only {' and '.join(allowed)} may"
    if found.target not in sys.stdlib_module_names:
        return f"imports {found.target}, which nobody may"
    if found.module.startswith("core") and found.target in IMPURE:
        return f"imports {found.target}, but the core is pure"
    return None


def _rank(module: str) -> int | None:
    return next((rank for rank, line in enumerate(CORE) if module.removeprefix("core.") in line), None)


def _cycles(readers: list[Reader]) -> Iterator[str]:
    """Yield one line for each module that is part of a cycle of imports, types left aside."""
    graph = {r.module: {i.target for i in r.imports if i.ours and not i.types_only and i.target} for r in readers}
    while leaves := [module for module, targets in graph.items() if not targets & graph.keys()]:
        for module in leaves:
            del graph[module]
    while roots := [module for module in graph if not any(module in targets for targets in graph.values())]:
        for module in roots:
            del graph[module]
    for module in sorted(graph):
        yield f"{module}:1: is part of a cycle of imports"


def test_every_import_follows_the_layers() -> None:
    """No module of the package breaks a rule."""
    assert violations(product()) == []


def test_tests_use_the_doors_too() -> None:
    """Only a package's own tests look behind its door."""
    tests = Path(__file__).parents[1]
    for path in sorted(tests.rglob("*.py")):
        for door in DOORS:
            inside = re.search(
                rf"^\s*(from|import) reconciler\.{door}\.\w+", path.read_text(encoding="utf-8"), re.MULTILINE
            )
            assert inside is None or path.is_relative_to(tests / door), f"{path}: {inside}"


BROKEN = {
    "down only": ("core/errors.py", "def f():\n    from reconciler.api import codec", "which is not below it"),
    "siblings": ("config/load.py", "from reconciler.render import page", "which is not below it"),
    "types count between layers": (
        "apply/run.py",
        "if TYPE_CHECKING:\n    from reconciler.api.v1 import live_of",
        "which is not below it",
    ),
    "relative imports": ("apply/run.py", "from ..api import codec", "which is not below it"),
    "sandbox is for cli": ("api/v1.py", "import reconciler.sandbox", "which is not below it"),
    "a door": ("cli/more.py", "from reconciler.sandbox.store import Store", "only sandbox itself may be imported"),
    "a door, by its package": ("cli/more.py", "from reconciler.sandbox import store", "only sandbox itself"),
    "order of the core": ("core/errors.py", "from reconciler.core.model import Desired", "not below it in the core"),
    "a place in the core": ("core/misc.py", "", "has no place in the order of the core"),
    "a layer": ("utils/misc.py", "", "belongs to no layer"),
    "pure core": ("core/plan.py", "def f():\n    import time", "but the core is pure"),
    "yaml": ("config/load.py", "import yaml", "which only config.source may"),
    "h11": ("sandbox/app.py", "import h11", "which only api.connection may"),
    "httpx2": ("api/client.py", "import httpx2", "which only github.wire may"),
    "deepdiff": ("core/plan.py", "from deepdiff import DeepDiff", "which only core.diff may"),
    "sqlite3": (
        "apply/run.py",
        "import sqlite3",
        "which only apply.journalfile and sandbox.store may",
    ),
    "click": ("render/text.py", "import click", "which only cli may"),
    "unknown dependency": ("cli/main.py", "import requests", "which nobody may"),
    "print": ("render/text.py", "print('x')", "print belongs to cli"),
    "environment": ("api/v1.py", "import os\nos.environ['X']", "os.environ belongs to cli"),
    "exit": ("config/load.py", "from sys import exit", "sys.exit belongs to cli"),
    "a write": ("apply/run.py", "async def f(api):\n    await api.send('a')", "only apply.announce may"),
    "raised exit": ("config/load.py", "raise SystemExit(1)", "SystemExit belongs to cli"),
}


@pytest.mark.parametrize(("path", "text", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_found(tmp_path: Path, path: str, text: str, expected: str) -> None:
    """Each rule fails when it is broken, and only it."""
    _sound_tree(tmp_path)
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text, encoding="utf-8")
    found = violations(read(tmp_path))
    assert len(found) == 1
    assert expected in found[0]


def test_a_cycle_is_found(tmp_path: Path) -> None:
    """Two modules of one package that import each other are both named, and nobody else."""
    _sound_tree(tmp_path)
    (tmp_path / "api/v1.py").write_text("from reconciler.api.codec import a", encoding="utf-8")
    (tmp_path / "api/codec.py").write_text("def a():\n    from reconciler.api import v1", encoding="utf-8")
    found = violations(read(tmp_path))
    assert found == [f"api.{name}:1: is part of a cycle of imports" for name in ("codec", "v1")]


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    """A tree that follows the rules has no violations."""
    _sound_tree(tmp_path)
    assert violations(read(tmp_path)) == []


def _sound_tree(root: Path) -> None:
    files = {
        "__init__.py": "__version__ = '0'",
        "__main__.py": "from reconciler.cli.main import main\nmain()",
        "cli/__init__.py": "",
        "cli/main.py": "import os, sys, click\nfrom reconciler.sandbox import Store\n"
        "from reconciler import __version__\nfrom reconciler.api.v1 import live_of\nprint(os.environ)\nsys.exit(0)",
        "core/__init__.py": "",
        "core/model.py": "if TYPE_CHECKING:\n    from reconciler.core.plan import Plan",
        "core/plan.py": "from reconciler.core.model import Desired",
        "sandbox/__init__.py": "",
        "sandbox/store.py": "import sqlite3",
        "api/__init__.py": "",
        "api/codec.py": "from reconciler.core.model import Desired",
        "api/connection.py": "import h11",
        "config/__init__.py": "",
        "render/__init__.py": "",
        "render/text.py": "",
        "apply/__init__.py": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
