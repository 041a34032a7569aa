"""N-grams out of keystrokes: against what polars needs to write the same rows, and the memory of a run.

Generated: sessions of the same length over a vocabulary of random words, with wrong keys of which half are corrected at
once.
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import numpy.typing as npt
import polars as pl

from ghost_pipeline.contracts.raw import (
    PRACTICE_SESSIONS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
)
from ghost_pipeline.defs.ngrams import NGRAM_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.domain.ngrams.keystroke_replay import BACKSPACE, KEYSTROKE_SCHEMA
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour, hours
from ghost_pipeline_tests.bench.measuring import Measured, in_turn, prepared, working
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.reference.ngram_extraction import iterate_ngrams

BEGIN = datetime(2025, 3, 1, tzinfo=UTC)
HOURS = 240
"""The sessions spread over so many hours."""
CHARACTERS = 300
"""The length of a session's text."""
WORDS, LONGEST_WORD = 3_000, 24
WRONG = 0.06
"""Share of the keys that are wrong."""
KEYS_OF_A_SESSION = 318
"""So many on average, corrections included."""
SEED = 11


def keystrokes(sessions: int, begin: datetime, chance: np.random.Generator) -> pl.DataFrame:
    """So many sessions that begin at the same time, of which each has typed a text of its own."""
    count = sessions * CHARACTERS
    expected = _text(count, chance)
    wrong = chance.random(count) < WRONG
    corrected = wrong & (chance.random(count) < 1 / 2)
    # A corrected key is three: the wrong one, the backspace, the right one.
    keys = np.where(corrected, 3, 1)
    of = np.repeat(np.arange(count), keys)
    nth = np.arange(len(of)) - np.repeat(np.cumsum(keys) - keys, keys)
    typed = np.where(nth == 1, BACKSPACE, expected[of])
    typed = np.where((nth == 0) & wrong[of], "#", typed)
    session = of // CHARACTERS
    begins = np.flatnonzero(np.diff(session, prepend=-1))
    index = np.arange(len(of)) - np.repeat(begins, np.diff(begins, append=len(of)))
    elapsed = np.cumsum(chance.integers(60_000, 400_000, len(of)))
    start = int(begin.timestamp()) * 1_000_000
    return pl.DataFrame(
        {
            "session_id": f"{begin:%m%dT%H}-" + pl.Series(session).cast(pl.String).str.zfill(6),
            "key_index": index,
            "keystroke_time": pl.Series(start + elapsed - elapsed[begins][session]).cast(pl.Datetime("us", "UTC")),
            "keystroke_char": typed,
            "expected_char": expected[of],
            "text_index": of % CHARACTERS,
        }
    ).cast(KEYSTROKE_SCHEMA)


def _text(length: int, chance: np.random.Generator) -> npt.NDArray[np.str_]:
    """Words and spaces."""
    letters = np.array(list(ascii_lowercase))
    words = ["".join(chance.choice(letters, size)) + " " for size in chance.integers(1, LONGEST_WORD + 1, WORDS)]
    taken = "".join(words[word] for word in chance.integers(0, WORDS, length // 2))
    return np.array(list(taken[:length]))


def prepare_rows(folder: Path, keys: int, max_size: int) -> int:
    """Keystrokes, and the rows that come out of them; returns the number of rows."""
    folder.mkdir(parents=True)
    typed = keystrokes(keys // KEYS_OF_A_SESSION, BEGIN, np.random.default_rng(SEED))
    typed.write_ipc(folder / "keystrokes.arrow")
    parts = list(zip(*iterate_ngrams(typed, max_size), strict=True))
    for name, rows in zip(("speed", "errors"), parts, strict=True):
        pl.concat(rows).write_ipc(folder / f"{name}.arrow")
    return sum(rows.height for part in parts for rows in part)


def polars_writes_the_rows(folder: Path) -> None:
    """The rows, in memory, to Parquet."""
    speed, errors = (pl.read_ipc(folder / f"{name}.arrow") for name in ("speed", "errors"))
    with working():
        speed.write_parquet(folder / "speed.parquet")
        errors.write_parquet(folder / "errors.parquet")


def extract(folder: Path, max_size: int) -> None:
    """Keystrokes, in memory, to the rows."""
    typed = pl.read_ipc(folder / "keystrokes.arrow")
    with working():
        for _ in iterate_ngrams(typed, max_size):
            pass


def prepare_lake(folder: Path, keys: int) -> int:
    """A lake with so many keystrokes, and the source of their sessions; returns the number of keystrokes."""
    chance, lake, total, sessions = np.random.default_rng(SEED), Lake(folder / "lake"), 0, []
    for hour in hours(BEGIN, BEGIN + HOURS * HOUR):
        typed = keystrokes(keys // HOURS // KEYS_OF_A_SESSION, hour.start, chance)
        started = pl.lit(hour.start, pl.Datetime("us", "UTC"))
        sessions.append(
            typed.select(pl.col("session_id").unique(maintain_order=True)).with_columns(
                user_id=pl.lit("u1"), keyboard_id=pl.lit("k1"), start_time=started, end_time=started
            )
        )
        lake.write(SESSION_KEYSTROKES, hour, typed)
        lake.write(PRACTICE_SESSIONS, hour, sessions[-1])
        total += typed.height
    (folder / "source").mkdir()
    person = pl.DataFrame({"user_id": ["u1"], "keyboard_id": ["k1"], "created_at": [BEGIN]})
    for name, rows in {"users": person, "keyboards": person, "practice_sessions": pl.concat(sessions)}.items():
        rows.write_parquet(folder / "source" / f"{name}.parquet")
    return total


def step(folder: Path, table: str) -> None:
    """The step of a table as the first run does it: from the keystrokes of the lake to all hours of the table."""
    lake = Lake(folder / "lake")
    shutil.rmtree(lake.root / table, ignore_errors=True)
    (compute,) = (one.compute for one in NGRAM_ASSETS if one.contract.name == table)
    resources = RunContext.of(Settings.load(source=str(folder / "source"), data=folder), lake)
    with working():
        compute_one(compute, resources, Hour.ending_at(BEGIN + HOURS * HOUR))


def measure(folder: Path, keys: int, max_size: int, runs: int) -> tuple[str, list[Measured]]:
    """Extraction up to a size, against writing what comes out."""
    rows = prepared(__name__, folder, keys, max_size)
    title = f"n-grams of 1 to {max_size} keys out of {keys:,} keystrokes: {rows:,} rows"
    contenders = {"polars_writes_the_rows": [], "extraction": [str(max_size)]}
    return title, in_turn(__name__, contenders, folder, runs)


def measure_steps(folder: Path, keys: int, runs: int) -> tuple[str, list[Measured]]:
    """The two steps over so many keystrokes."""
    total = prepared(__name__, folder, keys)
    title = f"the steps of extraction: {total:,} keystrokes in one run"
    contenders = {table.name: [table.name] for table in (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS)}
    return title, in_turn(__name__, contenders, folder, runs)


if __name__ == "__main__":
    contender, where, *rest = sys.argv[1:]
    match contender, rest:
        case "prepare", [keys, max_size]:
            sys.stdout.write(f"{prepare_rows(Path(where), int(keys), int(max_size))}\n")
        case "prepare", [keys]:
            sys.stdout.write(f"{prepare_lake(Path(where), int(keys))}\n")
        case "polars_writes_the_rows", []:
            polars_writes_the_rows(Path(where))
        case "extraction", [max_size]:
            extract(Path(where), int(max_size))
        case _, [table]:
            step(Path(where), table)
