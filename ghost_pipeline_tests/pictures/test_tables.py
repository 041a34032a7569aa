"""What the pictures of tables count and say, from a few rows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import (
    COHORT_GHOST_RELEASE,
    GHOST_CONTRACTS,
    GHOST_MESSAGES,
    USER_RELEASED_RANKS,
)
from ghost_pipeline.contracts.ngrams import NGRAM_CONTRACTS, NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.rank_metrics import RANK_BASES, RANK_METRICS
from ghost_pipeline.pictures.charts import BLOCKS
from ghost_pipeline.pictures.tables import PICTURES, counted
from ghost_pipeline.privacy.personal_columns import PERSONAL_COLUMNS

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
CONTRACTS = {**GHOST_CONTRACTS, **NGRAM_CONTRACTS}


def pictures(contract: Contract, rows: Sequence[Mapping[str, object]]) -> list[pl.DataFrame]:
    """The pictures of a table that has only these columns."""
    schema = {name: dtype for name, dtype in contract.polars_schema.items() if not rows or name in rows[0]}
    frame = pl.LazyFrame(rows, schema)
    return [picture.draw(picture.count(frame).collect()) for picture in PICTURES[contract.name]]


def drawn(contract: Contract, rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """The only picture of a table."""
    (picture,) = pictures(contract, rows)
    return picture


def release(hours: int | None, reason: str | None = None) -> Mapping[str, object]:
    since = None if hours is None else NOON - timedelta(hours=hours)
    return {"as_of": NOON, "released": hours is not None, "suppressed_reason": reason, "released_as_of": since}


def numbers(picture: pl.DataFrame) -> dict[str, object]:
    """Labels with the second column, of those that are not 0."""
    return {label: number for label, number, *_ in picture.iter_rows() if number}


def test_cohorts_are_released_at_an_age_or_suppressed_for_a_reason() -> None:
    reasons = ("dominated", "too_few_members", "too_few_members")
    rows = [*map(release, (0, 0, 0, 1, 5, 6, 24, 48)), *(release(None, reason) for reason in reasons)]
    picture = drawn(COHORT_GHOST_RELEASE, rows)
    assert picture.columns == ["figures", "cohorts", "0 to 5"]
    assert numbers(picture) == {
        "released this hour": 3,
        "released 1 to 5 h old": 2,
        "released 6 to 23 h old": 1,
        "released 24 h and older": 2,
        "suppressed, dominated": 1,
        "suppressed, too few members": 2,
    }


def test_a_reason_that_stays_beside_a_release_is_no_suppression() -> None:
    assert numbers(drawn(COHORT_GHOST_RELEASE, [release(2, "dominated")])) == {"released 1 to 5 h old": 1}


def test_every_rank_has_its_distribution_without_those_who_have_none() -> None:
    columns = [metric.column_name(base) for metric in RANK_METRICS.values() for base in RANK_BASES]
    rows = [dict.fromkeys(columns, value) for value in (0, 9, 10, 99)]
    for picture in pictures(USER_RELEASED_RANKS, [*rows, dict.fromkeys(columns)]):
        names = [f"{name}, 0 to 2" for name in ("tasks completed", "streak", "practice time")]
        assert picture.columns == ["users by percentile rank", *names]
        assert picture.to_series().to_list() == [f"{start} to {start + 9}" for start in range(0, 100, 10)]
        for name in names:
            assert picture[name].to_list() == ["██████ 2", "███ 1", *["0"] * 7, "███ 1"]


def test_ranks_in_the_cohort_are_not_those_among_all() -> None:
    rows = [
        {
            metric.column_name(base): value
            for metric in RANK_METRICS.values()
            for base, value in (("cohort", 5), ("global", 95))
        }
    ]
    cohort, everyone = pictures(USER_RELEASED_RANKS, rows)
    assert [cohort.row(0)[1], cohort.row(9)[1]] == ["██████ 1", "0"]
    assert [everyone.row(0)[1], everyone.row(9)[1]] == ["0", "██████ 1"]


@pytest.mark.parametrize(
    ("ms", "step"), [(100, "120 to 135"), (100.1, "105 to 120"), (80, "150 and more"), (5, "150 and more")]
)
def test_a_speed_is_counted_in_words_of_five_keys(ms: float, step: str) -> None:
    picture = drawn(NGRAM_SPEED_SUMMARIES, [{"decaying_average_ms": ms}])
    assert picture.columns == ["words per minute", "summaries", "0 to 1"]
    assert numbers(picture) == {step: 1}


def test_messages_without_a_position_are_not_among_the_shares() -> None:
    rows = [{"type": "cohort_average", "position": one} for one in ("behind", "behind", "close", "ahead", None)]
    picture = drawn(GHOST_MESSAGES, [*rows, {"type": "streak", "position": None}])
    assert picture.columns == ["percent of a type", "behind, 0 to 100", "close, 0 to 100", "ahead, 0 to 100"]
    assert picture.rows() == [("cohort average", "███ 50", "█▌ 25", "█▌ 25")]


def test_counts_of_a_check_are_drawn_the_most_frequent_first() -> None:
    assert [*numbers(counted({"b": 1, "c": 7, "a": 1, "none": 0}))] == ["c", "a", "b"]


@pytest.mark.parametrize("table", PICTURES)
def test_no_picture_reads_a_column_that_names_a_person(table: str) -> None:
    rows = CONTRACTS[table].empty().drop(PERSONAL_COLUMNS, strict=False).lazy()
    for picture in PICTURES[table]:
        assert picture.draw(picture.count(rows).collect()).width > 2


@pytest.mark.parametrize("table", PICTURES)
def test_an_empty_table_has_no_bars(table: str) -> None:
    for picture in pictures(CONTRACTS[table], []):
        assert not any(block in str(picture.rows()) for block in BLOCKS.strip())
