"""The check `freshness`: only the newest partition of the lake counts, and a change is reported once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.defs.freshness import FRESHNESS, freshness, report_freshness
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import HOUR, Hour, Month

NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
TABLES = (COHORT_GHOST_DATA, GHOST_BENCHMARKS)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    write(lake, NOON)
    return lake


def write(lake: Lake, end: datetime) -> None:
    lake.write(COHORT_GHOST_DATA, Hour.ending_at(end), COHORT_GHOST_DATA.empty())


def test_the_newest_partition_may_be_as_old_as_the_contract_says(lake: Lake) -> None:
    limit = NOON + COHORT_GHOST_DATA.max_age
    assert freshness(lake, COHORT_GHOST_DATA, limit).passed
    late = freshness(lake, COHORT_GHOST_DATA, limit + timedelta(seconds=1))
    assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert late.description == "newest partition 2025-03-12-11:00, 2 h old; may be 2 h"


def test_an_older_hour_turns_no_late_table_green(lake: Lake) -> None:
    now = NOON + 100 * HOUR
    write(lake, NOON - 24 * HOUR)
    assert not freshness(lake, COHORT_GHOST_DATA, now).passed


def test_a_month_has_the_limit_of_months(lake: Lake) -> None:
    lake.write(GHOST_BENCHMARKS, Month.from_key("2025-02"), GHOST_BENCHMARKS.empty())
    assert freshness(lake, GHOST_BENCHMARKS, NOON).passed
    assert not freshness(lake, GHOST_BENCHMARKS, NOON + timedelta(days=35)).passed


def test_a_table_without_partitions_passes(tmp_path: Path) -> None:
    result = freshness(Lake(tmp_path), COHORT_GHOST_DATA, NOON)
    assert (result.passed, result.description) == (True, "no partition yet")


def test_a_change_is_reported_once(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert report_freshness(instance, lake, TABLES, NOON) == ([], [one.name for one in TABLES])
        assert report_freshness(instance, lake, TABLES, NOON + HOUR) == ([], [])
        later = NOON + 3 * HOUR
        assert report_freshness(instance, lake, TABLES, later) == (["cohort_ghost_data"], ["cohort_ghost_data"])
        assert report_freshness(instance, lake, TABLES, later) == (["cohort_ghost_data"], [])
        key = dg.AssetCheckKey(dg.AssetKey("cohort_ghost_data"), FRESHNESS.name)
        (last,) = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
        assert last.evaluation is not None
        assert not last.evaluation.passed
        write(lake, later)
        assert report_freshness(instance, lake, TABLES, later) == ([], ["cohort_ghost_data"])
