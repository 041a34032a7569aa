"""A small product over a year, as its source shows it at any instant. It is two months old when the year begins.

Learners and typists join, learners move between cohorts; nights are quiet; every hour of the day has the same number of
events all year round. Some events arrive up to 40 hours late, some are deleted up to 30 hours after they happened.
The same seed gives the same year.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from ghost_pipeline.windows import DAY
from ghost_pipeline_tests.bench.month import DAY_US, SHARES, TYPES
from ghost_pipeline_tests.bench.sources import Numbers, instants, uuids

START = datetime(2025, 1, 1, tzinfo=UTC)
FIRST_DAY = int(START.timestamp()) // 86_400
HISTORY = 60
"""Days of events before the year: figures of a product in its first days double from day to day, and checks say so."""
LEARNERS, LEARNERS_A_DAY = 400, 1
TYPISTS, DAYS_TO_A_TYPIST = 6, 60
COHORTS = 12
MOVES_A_DAY = 1
SESSIONS_A_DAY, KEYS = 17, 40
EVENTS_OF_HOUR = (6, 0, 0, 0, 0, 8, 16, 24, 32, 40, 40, 40, 48, 48, 40, 40, 48, 60, 80, 96, 96, 64, 32, 16)
"""Completed tasks by hour of the day: quiet between one and five."""
LATE, DELETED = 0.005, 0.002
LONGEST_LATE, LONGEST_KEPT = 40, 30
"""Hours. Both are within what every hour reads again (`GHOST_LOOKBACK_HOURS`)."""
UNSETTLED = timedelta(hours=48)
"""How long after a day its file may still change."""
LETTERS = tuple("etaoinshrdlu ")
TEXTS = 12
"""Texts that typists practise: with new letters every time, they would never meet an n-gram again."""
HOUR_US, SECOND_US = 3_600_000_000, 1_000_000


class Product:
    """Everything that the product knows of a year; `write` shows the part that is there at an instant."""

    def __init__(self, days: int, seed: int = 14) -> None:
        """Draw people and their moves."""
        chance = np.random.default_rng(seed)
        self.days, self.seed = days, seed
        learners = LEARNERS + LEARNERS_A_DAY * days
        typists = TYPISTS + days // DAYS_TO_A_TYPIST
        joined = FIRST_DAY * DAY_US + np.concatenate(
            [
                -((HISTORY + chance.random(LEARNERS) * 120) * DAY_US).astype(np.int64),
                np.sort((chance.random(learners - LEARNERS) * days * DAY_US).astype(np.int64)),
            ]
        )
        self.joined = joined
        self.learners, self.typists = uuids(chance, learners), uuids(chance, typists)
        self.typist_joined = FIRST_DAY * DAY_US + np.concatenate(
            [np.full(TYPISTS, -(HISTORY + 1) * DAY_US), np.arange(typists - TYPISTS) * DAYS_TO_A_TYPIST * DAY_US]
        ).astype(np.int64)
        self.texts = np.random.default_rng((seed, TEXTS)).integers(0, len(LETTERS), (TEXTS, KEYS))
        self.keyboards, self.cohort_ids = uuids(chance, typists), uuids(chance, COHORTS)
        self.cohort = chance.integers(0, COHORTS, learners)
        self.start_score = chance.integers(50, 70, learners) / 10
        self.final_score = np.where(chance.random(learners) < 0.3, chance.integers(70, 85, learners) / 10, np.nan)
        self.weight = np.cumsum(chance.pareto(1.6, learners) + 0.05)
        moves = MOVES_A_DAY * days
        self.move_time = FIRST_DAY * DAY_US + np.sort((chance.random(moves) * days * DAY_US).astype(np.int64))
        self.mover, self.new_cohort = chance.integers(0, LEARNERS, moves), chance.integers(0, COHORTS, moves)

    def write(self, source: Path, begin: datetime, end: datetime) -> None:
        """Bring a source that showed the product at `begin` to what it shows at `end`."""
        moment = int(end.timestamp()) * SECOND_US
        _replace(source / "users.parquet", self._users(moment))
        _replace(source / "cohorts.parquet", pl.DataFrame({"cohort_id": self.cohort_ids}))
        there = int(np.searchsorted(self.typist_joined, moment))
        keyboards = {"keyboard_id": self.keyboards.head(there), "user_id": self.typists.head(there)}
        boards = pl.DataFrame(keyboards).with_columns(
            updated_at=instants(self.typist_joined[:there]), target_ms_per_keystroke=pl.lit(250.0)
        )
        _replace(source / "keyboards.parquet", boards)
        day = max(int((begin - UNSETTLED).timestamp()) // 86_400, FIRST_DAY - HISTORY)
        for number in range(day, int((end - timedelta(microseconds=1)).timestamp()) // 86_400 + 1):
            name = f"{START + (number - FIRST_DAY) * DAY:%Y-%m-%d}.parquet"
            _replace(source / "user_progress" / name, self._shown(number, moment))
            sessions, keystrokes = self._typed(number)
            ended = sessions.filter(pl.col("end_time") < end)
            _replace(source / "practice_sessions" / name, ended)
            _replace(
                source / "session_keystrokes" / name,
                keystrokes.join(ended.select("session_id"), on="session_id", how="semi", maintain_order="left"),
            )

    def _users(self, moment: int) -> pl.DataFrame:
        there = int((self.joined < moment).sum())
        cohort, updated = self.cohort.copy(), self.joined.copy()
        moved = int(np.searchsorted(self.move_time, moment))
        cohort[self.mover[:moved]] = self.new_cohort[:moved]
        updated[self.mover[:moved]] = self.move_time[:moved]
        learners = pl.DataFrame(
            {
                "user_id": self.learners,
                "updated_at": instants(updated),
                "cohort_id": self.cohort_ids.gather(cohort),
                "diagnostic_score": self.start_score,
                "final_band_score": self.final_score,
                "created_at": instants(self.joined),
            }
        ).with_columns(pl.col("final_band_score").fill_nan(None))
        typing = int(np.searchsorted(self.typist_joined, moment))
        created = instants(self.typist_joined[:typing])
        typists = pl.DataFrame({"user_id": self.typists.head(typing), "updated_at": created, "created_at": created})
        return pl.concat([learners.head(there), typists], how="diagonal")

    def _shown(self, day: int, moment: int) -> pl.DataFrame:
        """The completed tasks of a day that had arrived by then and were not deleted yet."""
        return (
            self._events(day).filter(pl.col("arrived") < moment, pl.col("deleted") >= moment).drop("arrived", "deleted")
        )

    @lru_cache(maxsize=8)  # noqa: B019 - there is one product
    def _events(self, day: int) -> pl.DataFrame:
        chance = np.random.default_rng((self.seed, day))
        hour = np.repeat(np.arange(24), EVENTS_OF_HOUR)
        count = len(hour)
        there = int(np.searchsorted(self.joined[LEARNERS:], day * DAY_US)) + LEARNERS
        who = np.searchsorted(self.weight, chance.random(count) * self.weight[there - 1])
        completed = day * DAY_US + hour * HOUR_US + np.floor(chance.random(count) * HOUR_US).astype(np.int64)
        late = chance.random(count) < LATE
        deleted = chance.random(count) < DELETED
        arrived = completed + np.where(late, chance.random(count) * LONGEST_LATE * HOUR_US, 0).astype(np.int64)
        gone = completed + (chance.random(count) * LONGEST_KEPT * HOUR_US).astype(np.int64)
        never = np.iinfo(np.int64).max
        return pl.DataFrame(
            {
                "progress_id": uuids(chance, count),
                "user_id": self.learners.gather(who),
                "task_type": pl.Series(TYPES).gather(chance.choice(len(TYPES), count, p=SHARES)),
                "completed_at": instants(completed),
                "time_spent_minutes": chance.integers(50, 6_000, count) / 100,
                "arrived": arrived,
                "deleted": np.where(deleted, gone, never),
            }
        )

    @lru_cache(maxsize=8)  # noqa: B019 - there is one product
    def _typed(self, day: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The practice sessions that begin on a day, and their keystrokes: the same number in the same hours."""
        chance = np.random.default_rng((self.seed, day, 1))
        there = int(np.searchsorted(self.typist_joined, day * DAY_US, side="right"))
        typist = chance.integers(0, there, SESSIONS_A_DAY)
        # From six o'clock on, in equal distances.
        begin = day * DAY_US + 6 * HOUR_US + np.arange(SESSIONS_A_DAY) * (17 * HOUR_US // SESSIONS_A_DAY)
        took = chance.lognormal(np.log(260_000), 0.3, (SESSIONS_A_DAY, KEYS)).astype(np.int64)
        pressed = begin[:, None] + np.cumsum(took, axis=1)
        ids = uuids(chance, SESSIONS_A_DAY)
        sessions = pl.DataFrame(
            {
                "session_id": ids,
                "user_id": self.typists.gather(typist),
                "keyboard_id": self.keyboards.gather(typist),
                "start_time": instants(begin),
                "end_time": instants(pressed[:, -1] + SECOND_US),
            }
        )
        wanted = self.texts[chance.integers(0, TEXTS, SESSIONS_A_DAY)].reshape(-1)
        wrong = chance.random(SESSIONS_A_DAY * KEYS) < 0.03
        typed: Numbers = np.where(wrong, (wanted + 1) % len(LETTERS), wanted)
        letters = pl.Series(LETTERS)
        index = np.tile(np.arange(KEYS), SESSIONS_A_DAY)
        keystrokes = pl.DataFrame(
            {
                "session_id": ids.gather(np.repeat(np.arange(SESSIONS_A_DAY), KEYS)),
                "key_index": index,
                "keystroke_time": instants(pressed.reshape(-1)),
                "keystroke_char": letters.gather(typed),
                "expected_char": letters.gather(wanted),
                "text_index": index,
            }
        )
        return sessions, keystrokes


def _replace(file: Path, rows: pl.DataFrame) -> None:
    """Write a file beside and rename it, as an application should; a file with the same rows is left alone."""
    if file.exists() and pl.read_parquet(file).equals(rows):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".tmp")
    rows.write_parquet(beside)
    beside.replace(file)
