"""An export of a journal: it survives its file, and a file that no journal can have made is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.journalcarry import EXPORT_FORMAT, Export, Remembered, format_export, parse_export
from reconciler.core.errors import ExportInvalid
from reconciler.core.intent import Call, LastWrite
from reconciler.core.model import Cadence, PortfolioId, Record, RunState, StrategyAddress
from tests.support import NOON_MS

if TYPE_CHECKING:
    from collections.abc import Callable

A, B, S = PortfolioId("aaa"), PortfolioId("bbb"), StrategyAddress("strategies/s1")
PAUSE = LastWrite(token="7f3a9c", call=Call.PAUSE, at_ms=NOON_MS, took_effect=True)
EXPORT = Export(
    base_url="https://api.glider.fi",
    account="Acme EU",
    exported_ms=NOON_MS + 7,
    remembered=(
        Remembered(
            id=A,
            record=Record(
                state=RunState.PAUSED,
                interval_ms=3_600_000,
                offset_ms=0,
                schedule_id="due 2026-11-22T12:00:00.000Z",
                confirmed_ms=NOON_MS + 1,
                marked=True,
                pause_reason="Paused via API: größer",
            ),
            since=LastWrite(token="0a1b2c", call=Call.UPDATE_SCHEDULE, at_ms=NOON_MS + 1, took_effect=True),
            pause=PAUSE,
        ),
        Remembered(
            id=B,
            record=None,
            since=LastWrite(token="old7", call=Call.START, at_ms=5, took_effect=False),
            pause=None,
        ),
        Remembered(
            id=S,
            record=None,
            since=LastWrite(token="ffffff", call=Call.SET_CADENCE, at_ms=6, took_effect=True, cadence=Cadence.DAILY),
            pause=None,
        ),
    ),
)


def test_an_export_survives_its_file() -> None:
    """All of it, as text and as bytes; the same knowledge gives the same text."""
    written = format_export(EXPORT)
    assert parse_export(written) == parse_export(written.encode()) == EXPORT
    assert format_export(parse_export(written)) == written
    document = json.loads(written)
    assert [document[key] for key in ("format_version", "base_url", "account", "exported_at")] == [
        *("1.0", "https://api.glider.fi", "Acme EU", "2026-11-22T12:00:00.007Z")
    ]
    assert [one["id"] for one in document["records"]] == ["aaa", "bbb", "strategies/s1"]


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(format_export(EXPORT))
    change(document)
    return json.dumps(document)


BAD: dict[str, Callable[[dict[str, Any]], object]] = {
    "another id": lambda d: d["records"][0].update(id="../x"),
    "an id twice": lambda d: d["records"][1].update(id="aaa"),
    "no list": lambda d: d.update(records=None),
    "no service": lambda d: d.update(base_url=""),
    "a service with an escape": lambda d: d.update(base_url="https://a\x1b[31m"),
    "an account with an escape": lambda d: d.update(account="\u202eAcme"),
    "no time": lambda d: d.update(exported_at="yesterday"),
    "another state": lambda d: d["records"][0]["confirmed"].update(state="halted"),
    "a time before time": lambda d: d["records"][0]["confirmed"].update(confirmed_ms=-1),
    "no interval": lambda d: d["records"][0]["confirmed"].update(interval_ms=0),
    "a word for a flag": lambda d: d["records"][0]["since"].update(took_effect="yes"),
    "a token that is none": lambda d: d["records"][0]["since"].update(token="7f3a9c] x"),
    "a rebalance": lambda d: d["records"][0]["since"].update(call="rebalance"),
    "a cadence of a portfolio": lambda d: d["records"][0]["since"].update(call="set-cadence", cadence="daily"),
    "a resume for a pause": lambda d: d["records"][0]["pause"].update(call="resume"),
    "a pause and no last write": lambda d: d["records"][0].update(since=None),
    "a confirmed strategy": lambda d: d["records"][2].update(confirmed=d["records"][0]["confirmed"]),
    "a paused strategy": lambda d: d["records"][2].update(pause=d["records"][0]["pause"]),
    "an unknown cadence": lambda d: d["records"][2]["since"].update(cadence="yearly"),
    "a pause of a strategy": lambda d: d["records"][2]["since"].update(call="pause"),
}


@pytest.mark.parametrize("content", [changed(change) for change in BAD.values()], ids=BAD)
def test_what_no_journal_holds_is_refused(content: str) -> None:
    """In one sentence, with the way out."""
    with pytest.raises(ExportInvalid, match=r"^the file is not an export of a journal$") as caught:
        parse_export(content)
    assert caught.value.detail.endswith("Make it again with `reconciler journal export FILE`.")
    assert caught.value.exit_reason.code == 3


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "[" * 100_000, b"\xff", '{"format_version": "1.0"}'])
def test_other_files_are_refused(content: str | bytes) -> None:
    """Whatever they are."""
    with pytest.raises(ExportInvalid):
        parse_export(content)


def test_a_key_twice_another_format_and_a_large_file() -> None:
    """Each with its own sentence."""
    twice = format_export(EXPORT).replace('"account": "Acme EU"', '"account": "Acme EU", "account": "Acme US"')
    with pytest.raises(ExportInvalid, match="not an export"):
        parse_export(twice)
    with pytest.raises(ExportInvalid, match=r"^the export has format version 2\.0$"):
        parse_export(changed(lambda d: d.update(format_version="2.0")))
    assert parse_export(changed(lambda d: d.update(format_version="1.9", more=1))) == EXPORT
    with pytest.raises(ExportInvalid, match=r"^the export is larger than 64 MiB$"):
        parse_export(b" " * (EXPORT_FORMAT.largest + 1))
