"""Dashboards are what Grafana's schema allows, in the types that Grafana publishes of it, and what the code makes."""

import json
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from pydantic import ConfigDict, TypeAdapter, ValidationError

from charts.dashboards import __main__ as dashboards
from charts.dashboards import serving
from tests.deploy import ROOT

FOLDER = ROOT / "charts/stagecoach/files/dashboards"
FILES = sorted(FOLDER.glob("*.json"))


def faults(value: Any, place: str = "") -> Iterator[str]:
    """Yield what is of another type than the schema says, at every level."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in items:
            yield from faults(each, f"{place}[{key}]")
    elif hasattr(value, "to_json"):
        for name, hint in get_type_hints(type(value)).items():
            try:
                TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(getattr(value, name))
            except ValidationError as error:
                yield f"{place}.{name}: {error}"
            yield from faults(getattr(value, name), f"{place}.{name}")


def test_what_is_written_is_what_the_code_makes() -> None:
    assert dashboards.main(["--check", str(FOLDER)]) == 0
    assert {file.name for file in FILES} == set(dashboards.DASHBOARDS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_schema_knows_all_of_it(file: Any) -> None:
    document = json.loads(file.read_text())
    read = Dashboard.from_json(document)
    assert json.loads(JSONEncoder().encode(read)) == document
    assert list(faults(read)) == []


def test_the_check_finds_faults() -> None:
    page = serving.dashboard()
    assert page.panels
    page.panels[0].title = 5  # type: ignore[assignment]
    page.time.from_val = None  # type: ignore[union-attr]
    assert [each.partition(":")[0] for each in faults(page)] == [".time.from_val", ".panels[0].title"]


def test_every_panel_has_a_place_of_its_own_and_words() -> None:
    page = json.loads((FOLDER / "serving.json").read_text())
    cells: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells
        assert place["x"] + place["w"] <= 24
        cells |= own
        assert panel["type"] == "row" or panel["description"]
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
    rows = [panel["title"] for panel in page["panels"] if panel["type"] == "row"]
    assert rows == ["Rollout", "Quality", "Latency", "Errors", "Tokens and cost"]
    shown = (FOLDER.parents[3] / "docs/observability.md").read_text()
    assert [row for row in rows if f"| {row} |" not in shown] == []
