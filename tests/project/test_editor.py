"""What an editor shows of the files, as the YAML language server tells it: `make editor` fetches that."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SERVER = ROOT / ".venv/editor/node_modules/yaml-language-server/bin/yaml-language-server"
SCHEMA = (ROOT / "schemas/automation.schema.json").as_uri()
PORTFOLIO = "version: 1\nportfolios:\n  a1: "
STRATEGY = "version: 1\nstrategies:\n  S1: "

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SERVER.exists() or shutil.which("node") is None, reason="there is no language server: `make editor`"
    ),
]


class Editor:
    """Speaks to the language server, as an editor with our schema for every file does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._number = 0
        self.ask("initialize", processId=None, rootUri=None, capabilities={"workspace": {"configuration": True}})
        self._send(method="initialized", params={})

    def _send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._in.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._in.flush()

    def _next(self) -> dict[str, Any]:
        """Return the next message, after it was answered if it asks for our settings."""
        length = 0
        while line := self._out.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._out.read(length))
        if "id" in message and "method" in message:
            ours = {"validate": True, "schemas": {SCHEMA: "*.yaml"}, "schemaStore": {"enable": False}, "hover": True}
            items = message["params"].get("items", ())
            self._send(id=message["id"], result=[ours if one["section"] == "yaml" else {} for one in items])
        return message

    def ask(self, method: str, **params: Any) -> Any:
        """Return the answer to a request."""
        self._number += 1
        self._send(id=self._number, method=method, params=params)
        while True:
            found = self._next()
            if found.get("id") == self._number and "method" not in found:
                return found["result"]

    def open(self, text: str, uri: str = "") -> tuple[str, list[tuple[str, str]]]:
        """Open a file, somewhere or at this address; return that, and what is marked in it with what is said of it."""
        self._number += 1
        uri = uri or f"file:///editor/{self._number}.yaml"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        while True:
            found = self._next()
            if found.get("method") == "textDocument/publishDiagnostics" and found["params"]["uri"] == uri:
                return uri, [_marked(text, one) for one in found["params"]["diagnostics"]]

    def at_the_end(self, method: str, text: str) -> Any:
        """Return the answer to a request about the end of a file."""
        uri, _ = self.open(text)
        lines = text.split("\n")
        place = {"line": len(lines) - 1, "character": len(lines[-1])}
        return self.ask(method, textDocument={"uri": uri}, position=place)


def _marked(text: str, diagnostic: dict[str, Any]) -> tuple[str, str]:
    start, end = diagnostic["range"]["start"], diagnostic["range"]["end"]
    return text.split("\n")[start["line"]][start["character"] : end["character"]], diagnostic["message"]


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    """An editor that has just begun."""
    command = ["node", str(SERVER), "--stdio"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield Editor(process)
        finally:
            process.kill()


A_DURATION = "write a duration such as `90m`, `24h`, `1d` or `PT12H`; a bare number is milliseconds"
UNDER_A_PORTFOLIO = "indent its fields under it, at least `state: active` or `state: paused`"
OF_A_STRATEGY = "its cadence belongs to its strategy; remove the line, and declare the strategy's `schedule` under"


@pytest.mark.parametrize(
    ("text", "marked", "said"),
    [
        (PORTFOLIO + "{state: active, intervall: 24h}", "intervall", "Property intervall is not allowed."),
        (PORTFOLIO + "{interval: 24h}", "a1", 'Missing property "state".'),
        (PORTFOLIO + "active", "active", UNDER_A_PORTFOLIO),
        (PORTFOLIO + "{state: activ}", "activ", "write `active` or `paused`"),
        (PORTFOLIO + "{paused: true, state: paused}", "paused", "write `state: active` or `state: paused`"),
        (PORTFOLIO + "{state: active, every: 24h}", "every", "did you mean `interval`?"),
        (
            PORTFOLIO + "{state: active, interval: 24 hours}",
            "24 hours",
            "write a duration such as `90m`, `24h`, `1d` or `PT12H`",
        ),
        (PORTFOLIO + "{state: active, interval: 24}", "24", A_DURATION),
        (PORTFOLIO + "{state: active, interval: 99999999999}", "99999999999", A_DURATION),
        (
            "version: 1\nguards: {max_start: -1}",
            "-1",
            "write a number such as `5`, or a share of the managed portfolios such as `10%`",
        ),
        (
            PORTFOLIO + "{state: active, api: v2, interval: 24h}",
            "interval",
            f"a v2 portfolio has no interval of its own: {OF_A_STRATEGY} `strategies`",
        ),
        (
            PORTFOLIO + "{state: active, api: v1, strategy: S1}",
            "strategy",
            "only a v2 portfolio has a strategy, and this one is managed by v1; remove the line, or declare `api: v2`",
        ),
        ("version: 1\ndefaults: {state: active}", "state", "`state` is never inherited: write it at the portfolio"),
        ("version: 1\nportfolio: {}", "portfolio", "Property portfolio is not allowed."),
        ("version: 1\nportfolios: a1", "a1", "write `portfolios:` with one indented key for each portfolio id"),
        (
            "version: 1\nportfolios: {a b: {state: active}}",
            "a b",
            "copy the id from Glider: letters, digits, `_` and `-` only",
        ),
        (STRATEGY + "{name: x}", "S1", 'Missing property "schedule".'),
        (STRATEGY + "{schedule: 24h}", "24h", "write `hourly`, `daily`, `weekly` or `monthly`"),
        (
            STRATEGY + "{schedule: daily, state: active}",
            "state",
            "remove it; `state` belongs to portfolios, a strategy has a cadence only",
        ),
        ("version: 2", "2", "write `version: 1`"),
    ],
)
def test_each_kind_of_mistake_is_marked_with_its_own_sentence(
    editor: Editor, text: str, marked: str, said: str
) -> None:
    """The mark lies on what is wrong, and there is one."""
    assert editor.open(text + "\n")[1] == [(marked, said)]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "examples").rglob("automation*.y*ml")), ids=lambda file: file.parent.name
)
def test_examples_have_no_mark(editor: Editor, file: Path) -> None:
    """What `validate` accepts an editor accepts."""
    assert editor.open(file.read_text(encoding="utf-8"), file.as_uri())[1] == []


def test_completion(editor: Editor) -> None:
    """Fields and words are offered where they may stand, and nothing else."""
    fields = editor.at_the_end("textDocument/completion", PORTFOLIO + "\n    state: active\n    ")["items"]
    offered = {one["label"] for one in fields}
    assert {"interval", "chain", "costs", "name"} <= offered
    assert not {"paused", "every", "schedule", "portfolios", "state"} & offered
    words = editor.at_the_end("textDocument/completion", STRATEGY + "\n    schedule: ")["items"]
    assert {one["label"] for one in words} == {"hourly", "daily", "weekly", "monthly"}
    sections = editor.at_the_end("textDocument/completion", "version: 1\nport")["items"]
    assert [one["insertText"].split()[0] for one in sections if one["label"] == "portfolios"] == ["portfolios:"]


def test_hover(editor: Editor) -> None:
    """A field is described in the words of the docs."""
    shown = editor.at_the_end("textDocument/hover", PORTFOLIO + "\n    state: active\n    until: 2026-12-01")[
        "contents"
    ]["value"]
    assert "A date after which people are warned that a decision is due" in shown
