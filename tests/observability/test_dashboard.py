# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The dashboard as a document: what Grafana needs is there, and nothing in it refers to what is not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.observability.prometheus import DASHBOARD

DOCUMENT: dict[str, Any] = json.loads(DASHBOARD.read_text())
PANELS = DOCUMENT["panels"]
# Grafana's own; docs: Global variables.
GLOBAL = {"__rate_interval", "__range", "__interval"}

each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def nodes(node: Any) -> list[dict[str, Any]]:
    """Every mapping in it."""
    if isinstance(node, list):
        return [found for one in node for found in nodes(one)]
    if isinstance(node, dict):
        return [node, *(found for one in node.values() for found in nodes(one))]
    return []


def test_it_is_a_dashboard_of_a_known_kind() -> None:
    assert DOCUMENT["schemaVersion"] == 36 and DOCUMENT["uid"] == "muster-agents"
    # With an id of its own it could not be imported where another dashboard has that one.
    assert DOCUMENT.get("id") is None and DOCUMENT["title"]


def test_panels_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids) and all(isinstance(one, int) for one in ids)


def test_all_data_comes_from_the_source_that_is_chosen() -> None:
    (source,) = [one for one in DOCUMENT["templating"]["list"] if one["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    sources = [node["datasource"] for node in nodes(DOCUMENT) if "datasource" in node]
    assert len(sources) > 40
    assert all(one == {"type": "prometheus", "uid": "${datasource}"} for one in sources)


def test_every_variable_that_is_used_is_there() -> None:
    there = {one["name"] for one in DOCUMENT["templating"]["list"]}
    used = set(
        re.findall(r"\$\{?(\w+)", json.dumps([PANELS, DOCUMENT["templating"], DOCUMENT["annotations"]]))
    )
    assert used - GLOBAL - {"__all"} == there


def test_no_two_panels_lie_on_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


@each_panel
def test_what_a_panel_refers_to_is_in_it(panel: dict[str, Any]) -> None:
    if panel["type"] == "row":
        return
    letters = [target["refId"] for target in panel["targets"]]
    assert letters and len(set(letters)) == len(letters)
    columns = {"Time", "Value"} | {f"Value #{letter}" for letter in letters}
    columns |= {
        name.strip()
        for target in panel["targets"]
        for names in re.findall(r"\bby \(([^)]*)\)", target["expr"])
        for name in names.split(",")
    }
    if "ALERTS" in panel["targets"][0]["expr"]:
        columns |= {"__name__", "alertname", "alertstate", "severity", "host", "agent", "instance", "job"}
    shown = set(columns)
    for step in panel.get("transformations", ()):
        if step["id"] == "organize":
            named = step["options"]["renameByName"]
            asked = {*step["options"]["excludeByName"], *step["options"]["indexByName"], *named}
            assert asked <= columns, asked - columns
            shown = (columns - set(named)) | set(named.values())
    overridden = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    assert overridden <= shown, overridden - shown
