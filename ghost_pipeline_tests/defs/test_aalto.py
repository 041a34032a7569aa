"""What comes out of 100 people's keystrokes, through the steps: the figures that the page of the data gives."""

from datetime import UTC, datetime

import polars as pl
import pytest

from ghost_pipeline.cli.run import selection
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import (
    PRACTICE_SESSIONS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
)
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.domain.ngrams.ngram_queries import error_n, slowest_n
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.running import SHARED_DATA

HOUR = Hour.ending_at(datetime(2016, 9, 1, tzinfo=UTC))
P5 = ("kb-p5", "p5")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    source = SHARED_DATA / "aalto"
    if not source.is_dir():
        pytest.skip(f"no Aalto data in {source}; GHOST_SHARED_DATA names the folder that has it")
    settings = Settings.load(source=str(source), data=tmp_path_factory.mktemp("aalto"))
    resources = RunContext.of(settings)
    wanted = selection({Domain.NGRAMS}, monthly=False)
    for asset in TABLE_ASSETS:
        if asset.contract.name in wanted:
            compute_one(asset.compute, resources, HOUR)
    return resources.lake


def by_size(rows: pl.DataFrame, figure: pl.Expr) -> dict[int, float]:
    return dict(rows.group_by("ngram_size").agg(figure.alias("figure")).iter_rows())


def test_every_session_and_every_key_is_taken_in(lake: Lake) -> None:
    sessions, keys = lake.scan(PRACTICE_SESSIONS).collect(), lake.scan(SESSION_KEYSTROKES).collect()
    assert (sessions.height, keys.height, (keys["keystroke_char"] == "\b").sum()) == (1_500, 71_511, 4_642)


def test_speed_rows(lake: Lake) -> None:
    rows = lake.scan(SESSION_NGRAM_SPEED).collect()
    count, milliseconds = by_size(rows, pl.len()), by_size(rows, pl.col("ngram_time_ms").sum().round())
    assert (rows.height, round(rows["ngram_time_ms"].sum())) == (133_453, 126_427_140)
    assert [count[size] for size in (1, 2, 3, 4, 5, 10, 16)] == [41_560, 31_385, 22_088, 14_822, 9_491, 592, 2]
    assert 17 not in count
    assert [milliseconds[size] for size in (1, 2, 3)] == [13_491_514, 19_664_525, 21_182_798]


def test_error_rows(lake: Lake) -> None:
    rows = lake.scan(SESSION_NGRAM_ERRORS).collect()
    count, corrected = by_size(rows, pl.len()), by_size(rows, pl.col("was_corrected").sum())
    assert (rows.height, rows["was_corrected"].sum()) == (17_039, 7_002)
    assert [(count[size], corrected[size]) for size in (1, 2)] == [(11_619, 3_079), (1_943, 1_322)]


def test_summaries(lake: Lake) -> None:
    rows = lake.scan(NGRAM_SPEED_SUMMARIES, [HOUR]).collect()
    assert (rows.height, rows["meets_target"].sum()) == (74_168, 38_609)
    p5 = {row["ngram_text"]: row for row in rows.filter(user_id="p5").iter_rows(named=True)}
    assert len(p5) == 772
    averages = {"e": 138.9007553937, "th": 144.1966304485, "the": 115.4433208434}
    assert {text: p5[text]["decaying_average_ms"] for text in averages} == pytest.approx(averages, abs=1e-10)
    assert [p5[text]["sample_count"] for text in averages] == [46, 10, 6]
    assert p5["e"]["measurements_used"] == 20


def test_what_a_typist_is_slowest_at(lake: Lake) -> None:
    rows = slowest_n(lake.scan(NGRAM_SPEED_SUMMARIES, [HOUR]), 3, *P5).collect()
    found = dict(rows.select("ngram_text", "decaying_average_ms").iter_rows())
    assert list(found) == [".", "y", "d"]
    assert found == pytest.approx({".": 331.3300805055, "y": 289.2039439583, "d": 239.2351381182}, abs=1e-10)


def test_what_a_typist_mistypes_most(lake: Lake) -> None:
    rows = error_n(lake.scan(SESSION_NGRAM_ERRORS), lake.scan(PRACTICE_SESSIONS), 5, *P5).collect()
    assert rows.select("ngram_text", "error_count").rows() == [("t", 3), ("i", 2), ("n", 2), ("ns", 2), ("s", 2)]


def test_sessions_say_as_much_as_their_rows(lake: Lake) -> None:
    rows = lake.scan(SESSION_NGRAM_SUMMARY).collect()
    assert (rows["instance_count"].sum(), rows["error_count"].sum()) == (133_453 + 17_039, 17_039)
