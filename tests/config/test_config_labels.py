"""``labels`` in the files: their layers, and where each comes from."""

from __future__ import annotations

from pathlib import Path

from reconciler.config.explain import trace
from reconciler.core.model import PortfolioId
from tests.config.support import TODAY, load_text

TEXT = """\
version: 1
defaults:
  labels: {team: treasury, region: eu}
groups:
  fx:
    labels: {team: fx, "desk/1": London}
portfolios:
  aaa:
    state: active
    group: fx
    labels:
      region: us
      tier: "1"
  bbb: {state: paused}
"""


def test_labels_are_merged_key_by_key() -> None:
    """A nearer layer wins one key, and the others stay; they are sorted by key."""
    desired = load_text(TEXT).desired
    assert [*desired[PortfolioId("aaa")].labels.items()] == [
        *(("desk/1", "London"), ("region", "us"), ("team", "fx"), ("tier", "1"))
    ]
    assert [*desired[PortfolioId("bbb")].labels.items()] == [("region", "eu"), ("team", "treasury")]


def test_without_any_there_are_none() -> None:
    """Labels of one portfolio are nobody else's."""
    text = "version: 1\nportfolios:\n  aaa: {state: active, labels: {team: fx}}\n  bbb: {state: active}\n"
    desired = load_text(text).desired
    assert (desired[PortfolioId("aaa")].labels, desired[PortfolioId("bbb")].labels) == ({"team": "fx"}, {})


def test_each_label_is_explained() -> None:
    """Each key has the layer and the place that it comes from."""
    found = trace("aaa", ["-"], stdin=TEXT.encode, today=TODAY, cwd=Path("/"))
    rows = [(one.field, one.value, one.layer, str(one.span)) for one in found if one.field.startswith("labels")]
    assert rows == [
        ("labels.desk/1", "London", "group fx", "<stdin>:6:24"),
        ("labels.region", "us", "portfolio", "<stdin>:12:7"),
        ("labels.team", "fx", "group fx", "<stdin>:6:14"),
        ("labels.tier", "1", "portfolio", "<stdin>:13:7"),
    ]
