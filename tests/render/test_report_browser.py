"""The report in a real browser: `make browser` fetches what drives it; Chromium has to be there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.render.report import report_html
from tests.render.test_render_report import HOSTILE, fleet

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".venv/browser/node_modules"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(
    not MODULES.exists() or shutil.which("node") is None or BROWSER is None,
    reason="needs Chromium, and what drives it: `make browser`",
)
def test_in_a_browser(tmp_path: Path) -> None:
    """Nothing is said, asked for or found by axe and the validator; filters and keys do what they say.

    All of that whatever owners and labels hold.
    """
    page = tmp_path / "fleet.html"
    whole = fleet(250)
    desired = {
        i: replace(one, owner=HOSTILE, labels={**one.labels, "zone": HOSTILE}) for i, one in whole.desired.items()
    }
    page.write_text(report_html(replace(whole, desired=desired)), encoding="utf-8")
    command = ["node", str(Path(__file__).with_name("browse.mjs")), str(MODULES), str(BROWSER), str(page)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["said"] == []
    assert set(found["requests"]) == {page.as_uri()}
    assert found["axe"] == []
    assert found["html"] == []
    assert max(found["overflow"]) <= 0
    steps = found["steps"]
    assert steps["all"] == "1 to 100 of 250."
    assert steps["focused"] == "search"
    assert steps["searched"] == "1 to 100 of 111 that fit the filters, of 250 in all."
    assert steps["needing"] == "1 to 12 of 12 that fit the filters, of 250 in all."
    assert steps["labelled"] == ["1 to 100 of 125 that fit the filters, of 250 in all.", 3, 3]
    assert steps["timeline"] == 1
    assert steps["paged"] == "101 to 200 of 250."
    assert steps["opened"] is True
    assert steps["printed"] == [0, "rgb(255, 255, 255)"]
    assert steps["scriptless"] == 12
