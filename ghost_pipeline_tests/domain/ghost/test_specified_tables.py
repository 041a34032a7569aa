"""From published rows to those of the specification: which of them, and in which form."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.specified import (
    OWN_TABLES,
    SPECIFIED_COHORT_GHOST_DATA,
    SPECIFIED_GHOST_BENCHMARKS,
    SPECIFIED_NGRAM_SPEED_SUMMARIES,
    SPECIFIED_TABLES,
    SpecifiedTable,
)
from ghost_pipeline.domain.ghost.specified_tables import (
    specified_cohort_ghost_data,
    specified_ghost_benchmarks,
    specified_ngram_speed_summaries,
    storable,
)
from ghost_pipeline_tests.reference.months import LIMITS
from ghost_pipeline_tests.samples import sample

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def release(**values: object) -> pl.LazyFrame:
    """A row of the ledger at noon, released at noon unless something else is said."""
    row = {
        "cohort_id": "c1",
        "snapshot_date": date(2025, 3, 12),
        "snapshot_hour": 11,
        "as_of": NOON,
        "released": True,
        "released_as_of": NOON,
        "active_member_count": 24,
    }
    rows = pl.DataFrame([{**row, **values}], schema_overrides={"as_of": pl.Datetime("us", "UTC")})
    return pl.concat([COHORT_GHOST_RELEASE.empty(), rows], how="diagonal_relaxed").lazy()


def cohorts(ledger: pl.LazyFrame, as_of: datetime = NOON) -> pl.DataFrame:
    return specified_cohort_ghost_data(ledger, as_of, LIMITS).collect()


def test_a_release_is_a_row_of_the_hour_from_which_it_is_shown() -> None:
    (row,) = cohorts(release(released_as_of=NOON - 3 * HOUR)).iter_rows(named=True)
    assert (row["snapshot_date"], row["snapshot_hour"]) == (date(2025, 3, 12), 11)
    assert row["updated_at"] == datetime(2025, 3, 12, 9)  # noqa: DTZ001 - a TIMESTAMP of PostgreSQL


def test_a_suppressed_cohort_has_no_row() -> None:
    assert cohorts(release(released=False, released_as_of=None)).is_empty()


@pytest.mark.parametrize(("hours", "rows"), [(48, 1), (49, 0)])
def test_a_release_that_is_too_old_for_answers_has_no_row(hours: int, rows: int) -> None:
    assert cohorts(release(released_as_of=NOON - hours * HOUR)).height == rows


def test_a_ledger_that_is_newer_than_the_users_has_no_rows() -> None:
    assert cohorts(release(), NOON - HOUR).is_empty()


def test_the_id_of_a_cohorts_row_follows_from_its_key() -> None:
    first, again = (cohorts(release())["id"].item() for _ in range(2))
    assert first == again
    assert {first} != {cohorts(release(snapshot_hour=10))["id"].item()}
    assert {first} != {cohorts(release(cohort_id="c2"))["id"].item()}


def test_benchmarks_are_those_of_the_interval() -> None:
    rows = sample(GHOST_BENCHMARKS, 200, seed=7)
    found = specified_ghost_benchmarks(rows.lazy()).collect()
    assert 0 < found.height < rows.height
    assert set(found["id"]) == set(rows.filter(population="interval")["id"])


def test_instants_of_benchmarks_are_utc_without_saying_so() -> None:
    row = sample(GHOST_BENCHMARKS, 1, seed=7).with_columns(population=pl.lit("interval"), created_at=pl.lit(NOON))
    found = specified_ghost_benchmarks(row.lazy()).collect()["created_at"]
    assert found.dtype == pl.Datetime("us")
    assert found.item() == datetime(2025, 3, 12, 12)  # noqa: DTZ001 - a TIMESTAMP of PostgreSQL


def test_instants_of_summaries_are_text() -> None:
    row = sample(NGRAM_SPEED_SUMMARIES, 1, seed=7).with_columns(last_updated=pl.lit(NOON), created_at=pl.lit(NOON))
    found = specified_ngram_speed_summaries(row.lazy()).collect()
    assert found.select("last_updated", "created_at").row(0) == ("2025-03-12T12:00:00Z",) * 2


FORMS = [
    (SPECIFIED_GHOST_BENCHMARKS, GHOST_BENCHMARKS, specified_ghost_benchmarks),
    (
        SPECIFIED_COHORT_GHOST_DATA,
        COHORT_GHOST_RELEASE,
        lambda rows: specified_cohort_ghost_data(rows, datetime(2200, 1, 1, tzinfo=UTC), LIMITS),
    ),
    (SPECIFIED_NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARIES, specified_ngram_speed_summaries),
]


@pytest.mark.parametrize(("table", "contract", "form"), FORMS, ids=SPECIFIED_TABLES)
def test_rows_have_the_columns_and_types_of_their_table(
    table: SpecifiedTable, contract: Contract, form: object
) -> None:
    assert callable(form)
    assert form(contract.empty().lazy()).collect_schema() == pl.Schema(table.polars_schema)


def test_a_row_with_nul_in_an_id_cannot_be_stored() -> None:
    rows = pl.DataFrame({"user_id": ["u1", "u\0", None], "ngram_text": ["a", "b", "c"], "ngram_size": [1, 1, 1]})
    assert rows.filter(storable())["ngram_text"].to_list() == ["a", "c"]


def test_every_column_says_what_it_means() -> None:
    for table in (*SPECIFIED_TABLES.values(), *OWN_TABLES):
        described = table.contract.column_descriptions
        assert [one.name for one in table.columns if not (one.description or described[one.name])] == []


def test_a_difference_has_a_reason() -> None:
    differences = [one for table in SPECIFIED_TABLES.values() for one in table.differences]
    assert len(differences) == 11
    assert all(why for _, _, _, why in differences)
