"""Figures of the pipeline for Prometheus, and the dashboard that asks for them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ghost_pipeline.errors import LakeError
from ghost_pipeline.monitoring.incidents import incidents
from ghost_pipeline.monitoring.metrics import StepTime, as_text, figures, write_figures
from ghost_pipeline.serving.app import build_app
from ghost_pipeline.serving.metrics import RequestFigures
from ghost_pipeline.serving.service import Service
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.monitoring.test_incidents import NOON, healthy, run
from ghost_pipeline_tests.running import run as command

DASHBOARD = Path(__file__).parent.parent.parent / "deploy" / "grafana" / "ghost_pipeline.json"
FAILED = replace(healthy(), runs=(run("hourly", "2025-03-12-11:00", succeeded=False),))
STEPS = [StepTime("hourly", "user_progress", 1.5)]


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_they_are_those_of_the_status_and_the_incidents() -> None:
    found = samples(as_text(figures(FAILED, incidents(FAILED, NOON, None, 100), STEPS, NOON)))
    assert found["ghost_table_age_seconds", "ghost_benchmarks"] == 11.5 * 24 * 3600
    assert found["ghost_table_rows", "user_progress"] == 1
    assert found["ghost_incidents", "run failed"] == found["ghost_run_failed", "hourly"] == 1
    assert found["ghost_incidents", "table late"] == 0
    assert found["ghost_step_seconds", "hourly", "user_progress"] == 1.5
    assert found[("ghost_rejected_rows",)] == 12
    assert found[("ghost_release_suppressed_ratio",)] == 0.1
    assert found[("ghost_release_age_seconds",)] == 0


def test_an_unreadable_lake_is_a_figure() -> None:
    found = samples(as_text(figures(None, [], [], NOON)))
    assert found[("ghost_lake_readable",)] == 0
    assert ("ghost_rejected_rows",) not in found


def test_the_file_is_replaced_and_one_that_cannot_be_is_named(tmp_path: Path) -> None:
    for _ in range(2):
        write_figures(figures(healthy(), [], [], NOON), tmp_path / "ghost.prom")
    assert [path.name for path in tmp_path.iterdir()] == ["ghost.prom"]
    with pytest.raises(LakeError, match=r"GHOST_METRICS_FILE: .*cannot be written"):
        write_figures(figures(healthy(), [], [], NOON), tmp_path / "missing" / "ghost.prom")


def test_the_command_writes_the_file_or_prints(demo_run: Path, tmp_path: Path) -> None:
    printed = samples(command(["metrics"], demo_run).stdout)
    assert printed["ghost_table_late", "user_ghost_stats"] == 1
    assert printed["ghost_step_seconds", "hourly", "user_ghost_stats"] > 0
    file = tmp_path / "ghost.prom"
    assert command(["metrics"], demo_run, GHOST_METRICS_FILE=str(file)).stdout == ""
    assert samples(file.read_text(encoding="utf-8")).keys() == printed.keys()


def test_the_dashboard_asks_for_figures_that_there_are(tmp_path: Path) -> None:
    settings = Settings.load(data=tmp_path)
    pipeline = as_text(figures(FAILED, incidents(FAILED, NOON, None, 100), STEPS, NOON))
    server = RequestFigures(Service(settings, lambda: NOON))
    server.add("GET", "/health", 200, 0.001)
    names = {name for name, *_ in samples(pipeline + as_text(server.registry))}
    # Figures of tables have no sample before the first publication.
    names |= {family.name for family in text_string_to_metric_families(as_text(server.registry))}
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = {name for one in panels for target in one["targets"] for name in re.findall(r"ghost_\w+", target["expr"])}
    assert asked <= names
    assert len(asked) > 15
    assert "/metrics" in build_app(settings).openapi()["paths"]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    cells = [
        (x, y)
        for one in panels
        for x in range(one["gridPos"]["x"], one["gridPos"]["x"] + one["gridPos"]["w"])
        for y in range(one["gridPos"]["y"], one["gridPos"]["y"] + one["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
