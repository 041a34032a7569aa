"""Summaries of typing speed: all of them from scratch, and one hour in which 1 % of the typists practised.

Generated: typists who practise once a day, each at an hour of their own, and measure the same n-grams every time. The
rows lie in the lake as the pipeline keeps them, a file an hour.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import ascii_lowercase
from uuid import UUID

import numpy as np
import numpy.typing as npt
import polars as pl

from ghost_pipeline.storage.lake import Lake
from ghost_pipeline.tables.raw import KEYBOARDS, PRACTICE_SESSIONS, SESSION_NGRAM_SPEED
from ghost_pipeline.windows import Hour, hours

AS_OF = datetime(2025, 3, 12, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SEED = 7
SIZES = (2, 3, 4, 5)
HOUR_US = 3_600_000_000

Ids = npt.NDArray[np.str_]


def prepare(folder: Path, typists: int, sessions: int, ngrams: int) -> int:
    """Write the lake of so many typists; returns the number of measurements."""
    chance = np.random.default_rng(SEED)
    lake = Lake(folder / "lake")
    users, keyboards = _ids(chance, typists), _ids(chance, typists)
    nothing = pl.Series([None] * typists)
    first_seen = [AS_OF - sessions * DAY] * typists
    versions = pl.DataFrame(
        {
            "keyboard_id": keyboards,
            "updated_at": nothing,
            "user_id": users,
            "keyboard_name": nothing,
            "target_ms_per_keystroke": chance.integers(150, 400, typists),
            "valid_from": first_seen,
            "seen_at": first_seen,
        }
    )
    lake.write(KEYBOARDS, Hour.ending_at(AS_OF), versions.sort("keyboard_id").cast(pl.Schema(KEYBOARDS.polars_schema)))
    habit = chance.integers(0, 24, typists)
    for day in range(sessions, 0, -1):
        begin = AS_OF - day * DAY
        _write_sessions(lake, begin, begin + DAY, users, keyboards, habit, ngrams, chance)
    return typists * sessions * ngrams


def practise(folder: Path, touched: int, ngrams: int) -> None:
    """Write an hour more, in which the first so many typists practise."""
    lake = Lake(folder / "lake")
    keyboards = lake.scan(KEYBOARDS).sort("keyboard_id").head(touched).collect()
    chance = np.random.default_rng(SEED + 1)
    hour = timedelta(hours=1)
    _write_sessions(
        lake,
        AS_OF,
        AS_OF + hour,
        keyboards["user_id"].to_numpy(),
        keyboards["keyboard_id"].to_numpy(),
        np.zeros(touched, np.int64),
        ngrams,
        chance,
    )


def _write_sessions(
    lake: Lake,
    begin: datetime,
    end: datetime,
    users: Ids,
    keyboards: Ids,
    hour: npt.NDArray[np.int64],
    ngrams: int,
    chance: np.random.Generator,
) -> None:
    """A session of each of the typists, so many hours after `begin` and a random part of one."""
    count = len(users)
    start = int(begin.timestamp()) * 1_000_000 + hour * HOUR_US + chance.integers(0, HOUR_US, count)
    sessions = pl.DataFrame(
        {
            "session_id": _ids(chance, count),
            "user_id": users,
            "keyboard_id": keyboards,
            "start_time": pl.Series(start).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "end_time": pl.Series(start + HOUR_US // 4).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        }
    ).sort("start_time", "session_id")
    placed = sessions["start_time"].dt.truncate("1h")
    window = list(hours(begin, end))
    lake.write_hours(PRACTICE_SESSIONS, window, sessions, placed)
    value = chance.integers(60_000, 500_000, count * ngrams) / 1_000
    texts = vocabulary(ngrams)
    measured = (
        sessions.select("session_id", _hour=placed)
        .join(texts, how="cross", maintain_order="left_right")
        .with_columns(
            ngram_time_ms=pl.Series(value) * pl.col("ngram_size"),
            ms_per_keystroke=pl.Series(value),
            key_index=pl.lit(None, pl.Int32),
        )
    )
    lake.write_hours(
        SESSION_NGRAM_SPEED,
        window,
        measured.select(*SESSION_NGRAM_SPEED.polars_schema),
        measured["_hour"],
    )


def vocabulary(ngrams: int) -> pl.DataFrame:
    """So many different n-grams of 2 to 5 keys, in the order of their texts."""
    texts = []
    for number in range(ngrams):
        rest, size = divmod(number, len(SIZES))
        letters = (ascii_lowercase[rest // len(ascii_lowercase) ** place % len(ascii_lowercase)] for place in range(5))
        texts.append(("".join(letters)[: SIZES[size]], SIZES[size]))
    return pl.DataFrame(texts, schema={"ngram_text": pl.String, "ngram_size": pl.Int32}, orient="row").sort(pl.all())


def _ids(chance: np.random.Generator, count: int) -> Ids:
    return np.array([str(UUID(bytes=chance.bytes(16), version=4)) for _ in range(count)])
