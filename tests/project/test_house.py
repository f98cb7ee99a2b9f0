"""How large the house is: modules and lines a package, lone importers, circles, long functions. Printed, and held.

The limits stand in docs/architecture.md, so that a page that no longer tells the truth fails here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import reconciler
from tests.project.test_layering import PACKAGE, product

if TYPE_CHECKING:
    import pytest

PAGE = Path(reconciler.__file__).parents[1] / "docs" / "architecture.md"
LIMIT = re.compile(r"^\| `(?P<package>\w+)` \| (?P<modules>\d+) \| (?P<lines>[\d,]+) \|", re.MULTILINE)
TOTAL = re.compile(r"^\| all \| (?P<modules>\d+) \| (?P<lines>[\d,]+) \|", re.MULTILINE)
SLACK = 0.9
"""A limit that is more than a tenth too high tells nobody anything."""
LONGEST_P95 = 30
MOST_LONE = 32
MOST_VERSION_QUESTIONS = 3


def sources() -> dict[str, str]:
    """Return the text of every module of the product, keyed by its path below the package."""
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))
    }


def sizes() -> dict[str, tuple[int, int]]:
    """Return modules and lines of each package, keyed by its name."""
    found: dict[str, tuple[int, int]] = {}
    for name, text in sources().items():
        package = name.partition("/")[0] if "/" in name else ""
        modules, lines = found.get(package, (0, 0))
        found[package] = modules + 1, lines + len(text.splitlines())
    return found


def test_the_page_tells_how_large_each_package_is(capsys: pytest.CaptureFixture[str]) -> None:
    """No package is larger than the page says, nor much smaller; the sum is what the last row says."""
    page = PAGE.read_text(encoding="utf-8")
    limits = {row["package"]: (int(row["modules"]), _number(row["lines"])) for row in LIMIT.finditer(page)}
    found = sizes()
    with capsys.disabled():
        print()
        for package, (modules, lines) in found.items():
            print(f"{package or 'reconciler':12}{modules:5}{lines:8,}")
    assert limits.keys() == found.keys() - {""}
    for package, (modules, lines) in limits.items():
        assert found[package][0] == modules, f"{package} has {found[package][0]} modules"
        assert SLACK * lines <= found[package][1] <= lines, f"{package} has {found[package][1]:,} lines"
    total = TOTAL.search(page)
    assert total is not None
    assert int(total["modules"]) == sum(modules for modules, _ in found.values())
    assert SLACK * _number(total["lines"]) <= sum(lines for _, lines in found.values()) <= _number(total["lines"])


def test_few_modules_have_one_importer() -> None:
    """A module that a single other one imports is mostly that one's private half."""
    importers: dict[str, set[str]] = {}
    for reader in product():
        for found in reader.imports:
            if found.ours and found.target and found.target != reader.module:
                importers.setdefault(found.target, set()).add(reader.module)
    lone = sorted(module for module, users in importers.items() if len(users) == 1)
    assert len(lone) <= MOST_LONE, lone


def test_no_circle_of_types() -> None:
    """Modules don't import each other in a circle, for types neither."""
    graph: dict[str, set[str]] = {}
    for reader in product():
        # A package's own page imports nothing, so `cli` is no node of its own.
        graph[reader.module] = {f.target for f in reader.imports if f.ours and f.target and f.target != reader.module}
    while leaves := [module for module, targets in graph.items() if not targets & graph.keys()]:
        for module in leaves:
            del graph[module]
    while roots := [module for module in graph if not any(module in targets for targets in graph.values())]:
        for module in roots:
            del graph[module]
    assert sorted(graph) == []


def test_functions_are_short() -> None:
    """Nineteen of twenty functions have at most :data:`LONGEST_P95` lines."""
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for text in sources().values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[int(len(lengths) * 0.95)] <= LONGEST_P95


def test_a_public_name_exists_once() -> None:
    """Whoever looks for a function, a type or a constant finds one; single letters stand for types and mean nothing."""
    places: dict[str, list[str]] = {}
    for module, text in sources().items():
        for node in ast.parse(text).body:
            for name in _named(node):
                if len(name) > 1 and not name.startswith("_"):
                    places.setdefault(name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_options_are_typed() -> None:
    """No command hands its options on as a mapping, or indexes them by a string."""
    found = [
        f"{name}: {line.strip()}"
        for name, text in sources().items()
        if name.startswith("cli/")
        for line in text.splitlines()
        if re.search(r"""options\[["']|options: Mapping\[str""", line)
    ]
    assert found == []


def test_only_the_api_asks_for_a_version() -> None:
    """The rest asks for a capability, so a third version of the API is a module and a line."""
    found = [
        f"{name}: {line.strip()}"
        for name, text in sources().items()
        if not name.startswith(("api/", "sandbox/"))
        for line in text.splitlines()
        if re.search(r"(?:is|is not|==|!=) ApiVersion\.\w+", line)
    ]
    assert len(found) <= MOST_VERSION_QUESTIONS, found


def _named(node: ast.stmt) -> list[str]:
    """Return the names that a statement gives to something."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _number(text: str) -> int:
    return int(text.replace(",", ""))
