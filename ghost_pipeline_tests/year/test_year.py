"""The year in a few days: what the report is made from is there, and the product is the same every time."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from ghost_pipeline.windows import DAY, HOUR
from ghost_pipeline_tests.year.__main__ import main
from ghost_pipeline_tests.year.product import START, UNSETTLED, Product


@pytest.mark.long
def test_a_few_days_give_a_report(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--days", "2", "--hours", "2", "--folder", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "| 2025-01 |" in result.output
    assert "| user_ghost_stats |" in result.output
    assert "2025-01 / 2025-01: CPU 1.00, memory 1.00" in result.output


def shown(product: Product, source: Path, days: int, table: str) -> pl.DataFrame:
    product.write(source, START, START + days * DAY)
    return pl.read_parquet(sorted((source / table).glob("*.parquet")))


def test_the_same_seed_gives_the_same_year(tmp_path: Path) -> None:
    one, other = (shown(Product(3), tmp_path / name, 3, "session_keystrokes") for name in ("one", "other"))
    assert one.equals(other)


def test_some_events_arrive_late_and_some_are_deleted(tmp_path: Path) -> None:
    product, source = Product(6), tmp_path / "source"
    before = shown(product, source, 2, "user_progress")["progress_id"]
    product.write(source, START + 2 * DAY, START + 5 * DAY)
    rows = pl.read_parquet(sorted((source / "user_progress").glob("*.parquet")))
    after = rows.filter(pl.col("completed_at") < START + 2 * DAY)["progress_id"]
    assert set(after) - set(before), "late"
    assert set(before) - set(after), "deleted"


def test_a_day_is_settled_after_two_days(tmp_path: Path) -> None:
    product, source = Product(6), tmp_path / "source"
    first = source / "user_progress" / f"{START:%Y-%m-%d}.parquet"
    product.write(source, START, START + DAY + UNSETTLED)
    before = first.read_bytes()
    product.write(source, START, START + 6 * DAY)
    assert first.read_bytes() == before


def test_an_hour_of_the_day_has_as_many_events_all_year_round(tmp_path: Path) -> None:
    events = shown(Product(9), tmp_path / "source", 9, "user_progress")
    settled = events.filter(pl.col("completed_at") < START + 9 * DAY - timedelta(hours=48))
    counted = settled.group_by(pl.col("completed_at").dt.truncate("1h").alias("hour")).len()
    noon = counted.filter(pl.col("hour").dt.hour() == 12)["len"].to_list()
    assert min(noon) >= 0.9 * max(noon)
    assert counted.filter(pl.col("hour") == START + 3 * HOUR).is_empty(), "nights are quiet"
