"""Laws of loading: order means nothing, valid text loads, and no content whatever ends in a traceback."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.core.errors import ConfigInvalid
from tests.config.strategies import documents, mutated
from tests.config.support import load_files, load_text

if TYPE_CHECKING:
    from reconciler.config.load import Configuration
    from reconciler.core.diagnostics import Diagnostic

pytestmark = pytest.mark.slow

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "version: 1\n", "portfolios:\n", "groups:\n", "defaults:\n", "  a:\n", "    state: active\n", "  ", "\n",
            "    interval: ", "24h", "- ", "? ", ": ", "&a ", "*a", "!!int ", "<<: ", "{", "}", "[", "]", ",", "'", '"',
            "|\n", ">-\n", "#", "---\n", "...\n", "%YAML 1.2\n", "\t", "\r", "é", "\ufeff", "\x00", "\u202e", "\\u0000",
        ]
    ),
    max_size=30,
).map("".join)  # fmt: skip


def meaning(configuration: Configuration) -> tuple[object, ...]:
    """Return all of a configuration but files, digest and places."""
    desired = {name: replace(portfolio, origin=None) for name, portfolio in configuration.desired.items()}
    return list(desired), desired, configuration.guards, configuration.paths, configuration.expect


def turned(value: Any) -> Any:
    """Return the same data with the keys of every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(inner) for key, inner in reversed(value.items())}
    return value


@settings(deadline=None)  # it writes files, and how long that takes is the disk's affair
@given(documents())
def test_valid_documents_load_and_order_means_nothing(document: dict[str, Any]) -> None:
    """The order of keys, and how sections are spread over files, changes nothing but places."""
    once = load_text(json.dumps(document))
    other = load_text(json.dumps(turned(document), indent=2, ensure_ascii=False))
    spread = {f"{name}.yaml": json.dumps({"version": 1, name: part}) for name, part in document.items() if part != 1}
    assert meaning(once) == meaning(other) == meaning(load_files(spread)) == meaning(load_files(turned(spread)))
    assert set(once.desired) == set(document["portfolios"])


def diagnostics_of(text: str) -> tuple[Diagnostic, ...] | None:
    """Return what is wrong with a text, ``None`` when it loads."""
    try:
        load_text(text)
    except ConfigInvalid as invalid:
        return invalid.diagnostics
    return None


@settings(deadline=None)  # the first broken document imports jsonschema
@given(mutated())
def test_broken_documents_raise_config_invalid_or_load(document: Any) -> None:
    """Whatever is wrong with a document, it is said in diagnostics with a place."""
    found = diagnostics_of(json.dumps(document))
    assert found is None or found
    assert not any("bug" in diagnostic.problem for diagnostic in found or ())


@settings(deadline=None)
@given(st.one_of(FRAGMENTS, st.text(max_size=40)))
def test_no_text_ends_in_a_traceback(text: str) -> None:
    """Any text loads or raises ConfigInvalid."""
    with contextlib.suppress(ConfigInvalid):
        load_text(text.encode("utf-8", errors="surrogatepass"))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_end_in_a_traceback(data: bytes) -> None:
    """Any bytes load or raise ConfigInvalid."""
    with contextlib.suppress(ConfigInvalid):
        load_text(b"version: 1\n" + data)
