"""The rules of the n-grams once more, slow and in plain Python, and small frames to try them on.

One key, one session, one measurement at a time, as the decisions read: what the vectorized functions are
compared with.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from unicodedata import normalize

import polars as pl
import pytest

from ghost_pipeline.domain.ngrams.keystroke_replay import KEYSTROKE_SCHEMA

INSTANT = pl.Datetime("us", "UTC")
MIDNIGHT = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SEPARATORS = set(" \t\n\r\0")

SESSION_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "user_id": pl.String(),
        "keyboard_id": pl.String(),
        "start_time": INSTANT,
        "end_time": INSTANT,
    }
)
SPEED_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "ngram_text": pl.String(),
        "ngram_size": pl.Int32(),
        "ngram_time_ms": pl.Float64(),
        "ms_per_keystroke": pl.Float64(),
    }
)
ERROR_SCHEMA = pl.Schema({"session_id": pl.String(), "ngram_text": pl.String(), "ngram_size": pl.Int32()})
KEYBOARD_SCHEMA = pl.Schema(
    {
        "keyboard_id": pl.String(),
        "user_id": pl.String(),
        "target_ms_per_keystroke": pl.Float64(),
        "target_valid_from": INSTANT,
    }
)


@dataclass(frozen=True)
class Key:
    """A key pressed, `ms` after midnight."""

    char: str
    expected: str | None
    text_index: int
    ms: float


@dataclass(frozen=True)
class Session:
    """A session of a typist, and what was measured: (text, size) -> values."""

    session_id: str
    start: datetime
    measured: Mapping[tuple[str, int], Sequence[float]]
    user_id: str = "u1"
    keyboard_id: str = "k1"


def keystrokes(sessions: Mapping[str, Sequence[Key]]) -> pl.LazyFrame:
    """`session_keystrokes` of sessions."""
    rows = [
        (session_id, index, MIDNIGHT + timedelta(milliseconds=key.ms), key.char, key.expected, key.text_index)
        for session_id, keys in sessions.items()
        for index, key in enumerate(keys)
    ]
    return pl.LazyFrame(rows, schema=KEYSTROKE_SCHEMA, orient="row")


def typed(text: str, *, every_ms: float = 100) -> list[Key]:
    """A text typed right, a key every so many ms."""
    return [Key(char, char, index, index * every_ms) for index, char in enumerate(text)]


def practice_sessions(sessions: Iterable[Session]) -> pl.LazyFrame:
    """`practice_sessions`."""
    rows = [(s.session_id, s.user_id, s.keyboard_id, s.start, s.start) for s in sessions]
    return pl.LazyFrame(rows, schema=SESSION_SCHEMA, orient="row")


def session_ngram_speed(sessions: Iterable[Session]) -> pl.LazyFrame:
    """`session_ngram_speed`."""
    rows = [
        (session.session_id, text, size, value * size, value)
        for session in sessions
        for (text, size), values in session.measured.items()
        for value in values
    ]
    return pl.LazyFrame(rows, schema=SPEED_SCHEMA, orient="row")


def session_ngram_errors(errors: Mapping[str, Iterable[str]]) -> pl.LazyFrame:
    """`session_ngram_errors`: session -> texts."""
    rows = [(session_id, text, len(text)) for session_id, texts in errors.items() for text in texts]
    return pl.LazyFrame(rows, schema=ERROR_SCHEMA, orient="row")


def keyboards(targets: Mapping[str, float | None], valid_from: datetime | None = None) -> pl.LazyFrame:
    """`keyboards` as valid at some time: keyboard -> target."""
    rows = [(keyboard_id, "u1", target, valid_from) for keyboard_id, target in targets.items()]
    return pl.LazyFrame(rows, schema=KEYBOARD_SCHEMA, orient="row")


def plain_replay(keys: Sequence[Key]) -> list[tuple[int, bool, int | None]]:
    """For each key: depth after it, whether its character is there in the end, the key under it (N5.1)."""
    stack: list[int] = []
    depths, below = [], []
    for index, key in enumerate(keys):
        below.append(None if key.char == "\b" or not stack else stack[-1])
        if key.char != "\b":
            stack.append(index)
        elif stack:
            stack.pop()
        depths.append(len(stack))
    return [(depth, index in stack, below[index]) for index, depth in enumerate(depths)]


def plain_speed_ngrams(keys: Sequence[Key], max_size: int = 20) -> list[tuple[str, int, float, int]]:
    """(text, size, ms, last key) of each speed n-gram (N5.2, N5.4)."""
    net = [index for index, (_, is_net, _) in enumerate(plain_replay(keys)) if is_net]
    found = []
    for end in range(len(net)):
        for size in range(1, max_size + 1):
            if end - size < 0:
                continue
            chain = [keys[index] for index in net[end - size : end + 1]]
            elapsed = round((chain[-1].ms - chain[0].ms) * 1000)
            text = normalize("NFC", "".join(key.expected or "" for key in chain[1:]))
            consecutive = all(b.text_index == a.text_index + 1 for a, b in pairwise(chain))
            if all(map(_is_right, chain[1:])) and consecutive and elapsed > 0 and len(text) <= 50:
                found.append((text, size, elapsed / 1000, net[end]))
    return found


def plain_error_ngrams(keys: Sequence[Key], max_size: int = 20) -> list[tuple[str, int, bool, int]]:
    """(text, size, corrected, wrong key) of each error n-gram (N5.3)."""
    replayed = plain_replay(keys)
    found = []
    for index, key in enumerate(keys):
        if key.char == "\b" or not _in_word(key) or _is_right(key):
            continue
        chain = [key]
        position: int | None = index
        for size in range(1, max_size + 1):
            text = normalize("NFC", "".join(link.expected or "" for link in chain))
            if len(text) <= 50:
                found.append((text, size, not replayed[index][1], index))
            position = None if position is None else replayed[position][2]
            if position is None:
                break
            before = keys[position]
            if not _is_right(before) or before.text_index + 1 != chain[0].text_index:
                break
            chain.insert(0, before)
    return found


def _in_word(key: Key) -> bool:
    return bool(key.expected) and not SEPARATORS & set(key.expected or "")


def _is_right(key: Key) -> bool:
    return _in_word(key) and normalize("NFC", key.char) == normalize("NFC", key.expected or "")


def plain_summaries(
    sessions: Sequence[Session],
    targets: Mapping[str, float | None],
    as_of: datetime,
    *,
    decay_factor: float = 0.9,
    max_measurements: int = 20,
    max_sessions: int = 100,
) -> dict[tuple[str, str, str, int], dict[str, object]]:
    """The summaries (N2, N3), without ids and the two times at which rows changed."""
    pairs = defaultdict(list)
    for session in sorted(sessions, key=lambda s: (s.start, s.session_id)):
        if session.start < as_of:
            pairs[session.user_id, session.keyboard_id].append(session)
    rows = {}
    for (user_id, keyboard_id), of_pair in pairs.items():
        window = of_pair[-max_sessions:][::-1]
        target = targets.get(keyboard_id) or 600.0
        for ngram in {ngram for session in window for ngram, values in session.measured.items() if values}:
            groups = [(s.start, s.measured[ngram]) for s in window if s.measured.get(ngram)]
            average, used = _plain_average(groups, decay_factor, max_measurements)
            rows[user_id, keyboard_id, *ngram] = {
                "decaying_average_ms": average,
                "target_speed_ms": target,
                "target_performance_pct": target / average * 100,
                "meets_target": average <= target,
                "sample_count": sum(len(values) for _, values in groups),
                "measurements_used": used,
                "last_measured": groups[0][0],
            }
    return rows


def _plain_average(
    groups: Sequence[tuple[datetime, Sequence[float]]], decay_factor: float, max_measurements: int
) -> tuple[float, int]:
    places = [
        (start, sum(values) / len(values)) if len(values) > max_measurements - before else (start, value)
        for before, (start, values) in zip(_before(groups), groups, strict=True)
        for value in list(values)[: max(max_measurements - before, 0)]
    ]
    weights = [decay_factor ** ((places[0][0] - start) / timedelta(days=1)) for start, _ in places]
    average = sum(weight * value for weight, (_, value) in zip(weights, places, strict=True)) / sum(weights)
    return average, len(places)


def _before(groups: Sequence[tuple[datetime, Sequence[float]]]) -> list[int]:
    return [sum(len(values) for _, values in groups[:position]) for position in range(len(groups))]


def aalto(table: str) -> pl.LazyFrame:
    """A table of the Aalto data; the test is skipped where that is not at hand."""
    root = Path(__file__).parents[2]
    path = Path(os.environ.get("GHOST_SHARED_DATA", root.parent / "shared" / "data")) / "aalto"
    if not path.is_dir():
        pytest.skip(f"no Aalto data in {path}; GHOST_SHARED_DATA names the folder that has it")
    return pl.scan_parquet(path / f"{table}.parquet")
