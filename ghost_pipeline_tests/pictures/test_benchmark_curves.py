from decimal import Decimal

import polars as pl
import pytest
from matplotlib.image import imread

from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.pictures.benchmark_curves import benchmark_curves


def months(*cells: tuple[str, str]) -> pl.DataFrame:
    rows = [
        {"population": "interval", "target_band": Decimal(band), "starting_skill": Decimal(start), "day_number": day}
        | {"success_percentile": p, "avg_tasks_completed": day * (60 - p) // 10, "avg_practice_minutes": day * (60 - p)}
        for band, start in cells
        for day in range(1, 91)
        for p in (10, 25, 50)
    ]
    schema = GHOST_BENCHMARKS.polars_schema
    return pl.DataFrame(rows, schema={name: dtype for name, dtype in schema.items() if rows and name in rows[0]})


def curves(
    month: pl.DataFrame, bands: tuple[str, ...] = ("7.0", "7.5"), starts: tuple[str, ...] = ("5.0", "5.5")
) -> bytes:
    return benchmark_curves(month, "interval", [Decimal(one) for one in bands], [Decimal(one) for one in starts])


def pixels(png: bytes, tmp_path_factory: pytest.TempPathFactory) -> int:
    file = tmp_path_factory.mktemp("png") / "chart.png"
    file.write_bytes(png)
    return int((imread(file)[..., :3].mean(axis=2) < 0.6).sum())


def test_the_same_month_gives_the_same_picture() -> None:
    month = months(("7.0", "5.0"), ("7.5", "5.5"))
    assert curves(month) == curves(month)


def test_a_cell_without_rows_has_an_empty_chart(tmp_path_factory: pytest.TempPathFactory) -> None:
    full = months(("7.0", "5.0"), ("7.0", "5.5"), ("7.5", "5.0"), ("7.5", "5.5"))
    holed = months(("7.0", "5.0"), ("7.0", "5.5"), ("7.5", "5.5"))
    drawn = [pixels(curves(month), tmp_path_factory) for month in (full, holed)]
    assert drawn[0] > drawn[1] > drawn[0] / 2


def test_every_line_reaches_its_last_day(tmp_path_factory: pytest.TempPathFactory) -> None:
    # A scale frozen at the first chart cuts the others off; then the second cell would draw fewer pixels.
    low, high = months(("7.0", "5.0")), months(("7.0", "5.5")).with_columns(pl.col("avg_tasks_completed") * 3)
    both = curves(pl.concat([low, high]), bands=("7.0",))
    alone = curves(high, bands=("7.0",), starts=("5.5",))
    assert pixels(both, tmp_path_factory) > 1.5 * pixels(alone, tmp_path_factory)


def test_a_month_without_benchmarks_says_so() -> None:
    empty = GHOST_BENCHMARKS.empty()
    assert curves(empty).startswith(b"\x89PNG")
