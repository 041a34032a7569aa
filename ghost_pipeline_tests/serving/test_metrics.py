"""Figures for Prometheus and the log of requests: routes, never ids."""

import logging

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.serving.worlds import AS_OF, served


def samples(client: httpx.Client) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(published: Settings) -> None:
    with served(published) as client:
        for path in ("/cohort/me/ghost-data", "/cohort/me/ghost-data?extended=true", "/cohort/mee/ghost-data"):
            client.get(path)
        found = samples(client)
    route = "/cohort/{user_id}/ghost-data"
    assert found["ghost_http_requests_total", "GET", route, "200"] == 2
    assert found["ghost_http_requests_total", "GET", route, "404"] == 1
    assert found["ghost_http_request_seconds_count", "GET", route] == 3


def test_the_age_of_every_published_table_is_told_and_no_row_is_counted(published: Settings) -> None:
    with served(published, AS_OF.replace(hour=15)) as client:
        found = samples(client)
    assert found["ghost_published_age_seconds", "user_ghost_stats"] == 3 * 3600
    assert found["ghost_published_stale", "user_ghost_stats"] == 1
    assert found["ghost_published_stale", "ghost_benchmarks"] == 0
    assert found[("ghost_published_readable",)] == 1
    assert not [name for name, *_ in found if "rows" in name]


def test_before_the_first_publication_it_is_not_readable(tmp_path_factory: pytest.TempPathFactory) -> None:
    with served(Settings.load(data=tmp_path_factory.mktemp("empty"))) as client:
        assert samples(client)[("ghost_published_readable",)] == 0


def test_neither_figures_nor_the_log_tell_an_id(published: Settings, caplog: pytest.LogCaptureFixture) -> None:
    paths = ("/cohort/m01/ghost-data", "/users/m01/keyboards", "/ngrams/m01/k1/heatmap", "/m01", "/?user=m01")
    with caplog.at_level(logging.INFO, "ghost_pipeline.requests"), served(published) as client:
        for path in paths:
            client.get(path)
        text = client.get("/metrics").text
    told = [record.getMessage() for record in caplog.records if record.name == "ghost_pipeline.requests"]
    assert len(told) == len(paths) + 1
    assert told[0].startswith("GET /cohort/{user_id}/ghost-data 200 ")
    assert "m01" not in (text + "".join(told)).lower()
