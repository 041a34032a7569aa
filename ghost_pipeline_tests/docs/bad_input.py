"""Every kind of bad input and what happens to it: the page `docs/bad_input.md` and the tests are written from it."""

import gzip
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ghost_pipeline.contracts.source import NULL_MARKERS

Row = dict[str, Any]

GOOD: dict[str, Row] = {
    "users": {"user_id": "u1", "created_at": "2025-03-01T00:00:00Z"},
    "cohorts": {"cohort_id": "c1"},
    "user_progress": {
        "progress_id": "p1",
        "user_id": "u1",
        "task_type": "reading",
        "completed_at": "2025-03-12T10:30:00Z",
        "time_spent_minutes": 5,
    },
    "keyboards": {"keyboard_id": "k1", "user_id": "u1", "target_ms_per_keystroke": 200},
    "practice_sessions": {
        "session_id": "s1",
        "user_id": "u1",
        "keyboard_id": "k1",
        "start_time": "2025-03-12T10:00:00Z",
        "end_time": "2025-03-12T10:05:00Z",
    },
    "session_keystrokes": {
        "session_id": "s1",
        "key_index": 0,
        "keystroke_time": "2025-03-12T10:00:00Z",
        "keystroke_char": "a",
        "expected_char": "a",
        "text_index": 0,
    },
    "session_ngram_speed": {
        "session_id": "s1",
        "ngram_text": "th",
        "ngram_size": 2,
        "ngram_time_ms": 200.0,
        "ms_per_keystroke": 100.0,
    },
    "session_ngram_errors": {"session_id": "s1", "ngram_text": "th", "ngram_size": 2},
}
"""A good row of every table; a bad one is this with some values changed."""


@dataclass(frozen=True)
class BadInput:
    """One fault of a row."""

    kind: str
    table: str
    change: Row
    reason: str


_TYPES = "speaking, writing, reading, listening, vocabulary, grammar, mock_test"

BAD_INPUTS: tuple[BadInput, ...] = (
    BadInput("an id that is null", "user_progress", {"progress_id": None}, "progress_id is missing"),
    BadInput("an id that is empty", "users", {"user_id": ""}, "user_id is missing"),
    BadInput("an unknown task type", "user_progress", {"task_type": "podcast"}, f"task_type is not one of {_TYPES}"),
    BadInput("no task type", "user_progress", {"task_type": None}, "task_type is missing"),
    BadInput("no time", "user_progress", {"completed_at": None}, "completed_at is missing"),
    BadInput("a text that is not a time", "user_progress", {"completed_at": "yesterday"}, "completed_at is not a time"),
    BadInput(
        "a date out of the calendar", "user_progress", {"completed_at": "2025-02-30"}, "completed_at is not a time"
    ),
    BadInput("a bare number as a time", "users", {"created_at": 1741773600}, "created_at is not a time"),
    BadInput("a time in another century", "users", {"created_at": "1900-01-01"}, "created_at is outside 1970 to 2199"),
    BadInput("negative minutes", "user_progress", {"time_spent_minutes": -5}, "time_spent_minutes is below 0"),
    BadInput(
        "more minutes than a day has",
        "user_progress",
        {"time_spent_minutes": 1441},
        "time_spent_minutes is above 1440",
    ),
    BadInput(
        "minutes that are not a number",
        "user_progress",
        {"time_spent_minutes": "five"},
        "time_spent_minutes is not a number",
    ),
    BadInput("infinite minutes", "user_progress", {"time_spent_minutes": "inf"}, "time_spent_minutes is not finite"),
    BadInput("a user that does not exist", "user_progress", {"user_id": "nobody"}, "user_id names no user"),
    BadInput("a score above 9", "users", {"final_band_score": 9.5}, "final_band_score is outside 0 to 9"),
    BadInput("a score below 0", "users", {"diagnostic_score": -1}, "diagnostic_score is outside 0 to 9"),
    BadInput(
        "a malformed flag",
        "users",
        {"cohort_excluded": "maybe"},
        "cohort_excluded is neither true nor false",
    ),
    BadInput("the reserved cohort", "users", {"cohort_id": "global"}, "cohort_id global is reserved"),
    BadInput("the reserved cohort", "cohorts", {"cohort_id": "global"}, "cohort_id global is reserved"),
    BadInput(
        "a target of 20 ms",
        "keyboards",
        {"target_ms_per_keystroke": 20},
        "target_ms_per_keystroke is outside 50 to 5000",
    ),
    BadInput("a keyboard of an unknown user", "keyboards", {"user_id": "nobody"}, "user_id names no user"),
    BadInput("a session of an unknown user", "practice_sessions", {"user_id": "nobody"}, "user_id names no user"),
    BadInput("a session without an end", "practice_sessions", {"end_time": None}, "end_time is missing"),
    BadInput(
        "keys of an unknown session", "session_keystrokes", {"session_id": "s9"}, "session_id names no practice session"
    ),
    BadInput("a key index of 1.5", "session_keystrokes", {"key_index": 1.5}, "key_index is not a whole number"),
    BadInput("a negative position", "session_keystrokes", {"text_index": -1}, "text_index is below 0"),
    BadInput("a key without a character", "session_keystrokes", {"keystroke_char": None}, "keystroke_char is missing"),
    BadInput("an n-gram of size 0", "session_ngram_speed", {"ngram_size": 0}, "ngram_size is outside 1 to 20"),
    BadInput("an n-gram of size 21", "session_ngram_errors", {"ngram_size": 21}, "ngram_size is outside 1 to 20"),
    BadInput("an n-gram without a text", "session_ngram_speed", {"ngram_text": ""}, "ngram_text is missing"),
    BadInput(
        "an n-gram of 51 characters",
        "session_ngram_speed",
        {"ngram_text": "a" * 51},
        "ngram_text is longer than 50 characters",
    ),
    BadInput("a speed of 0", "session_ngram_speed", {"ms_per_keystroke": 0}, "ms_per_keystroke is not above 0"),
    BadInput("a negative speed", "session_ngram_speed", {"ms_per_keystroke": -9}, "ms_per_keystroke is not above 0"),
    BadInput(
        "a speed of 1e+16",
        "session_ngram_speed",
        {"ms_per_keystroke": 1e16},
        "ms_per_keystroke is above 1e+15",
    ),
    BadInput(
        "a speed that is not a number",
        "session_ngram_speed",
        {"ms_per_keystroke": "nan"},
        "ms_per_keystroke is missing",
    ),
    BadInput(
        "several faults at once",
        "user_progress",
        {"progress_id": None, "time_spent_minutes": -5},
        "progress_id is missing; time_spent_minutes is below 0",
    ),
)


@dataclass(frozen=True)
class BadFile:
    """One fault of a file, and the error after the file's path."""

    kind: str
    file: str
    content: bytes
    says: str


BAD_FILES: tuple[BadFile, ...] = (
    BadFile(
        "a required column is missing", "cohorts.csv", b"cohort_key\nx\n", "table cohorts lacks the column cohort_id"
    ),
    BadFile("a CSV file without a header", "cohorts.csv", b"c1,x\nc2,y\n", "table cohorts lacks the column cohort_id"),
    BadFile(
        "CSV lines that end with carriage returns alone",
        "cohorts.csv",
        b"name,cohort_id\rx,c1\ry,c2\r",
        "table cohorts lacks the column cohort_id: its lines end with carriage returns alone",
    ),
    BadFile(
        "a column twice in a CSV header",
        "cohorts.csv",
        b"cohort_id,cohort_id\nc1,c2\n",
        "table cohorts has the column cohort_id more than once",
    ),
    BadFile("a truncated Parquet file", "cohorts.parquet", b"PAR1\x15\x04", "table cohorts cannot be read"),
    BadFile(
        "a truncated .gz file",
        "cohorts.csv.gz",
        gzip.compress(b"cohort_id\nc1\n", mtime=0)[:-9],
        "table cohorts cannot be read (it cannot be unpacked, EOFError)",
    ),
    BadFile("an empty file", "cohorts.csv", b"", "table cohorts cannot be read (the file is empty)"),
    BadFile(
        "a JSON file that ends in the middle of a line",
        "cohorts.ndjson",
        b'{"cohort_id": "c1"}\n{"cohort_id": "c',
        "table cohorts, line 2 is not valid JSON",
    ),
    BadFile(
        "a JSON array that ends in the middle",
        "cohorts.ndjson",
        b'[{"cohort_id": "c1"},\n{"cohort_id": "c',
        "table cohorts, the array is not valid JSON from line 2 on",
    ),
    BadFile(
        "no JSON at all", "cohorts.ndjson", b"cohort_id\nc1\n", "table cohorts cannot be read (none of its 2 lines is"
    ),
    BadFile("not UTF-16", "cohorts.csv", "cohort_id\nc1\n".encode("utf-16")[:-1], "table cohorts cannot be read"),
)


@dataclass(frozen=True)
class BadLine:
    """One line of a text file that holds no row: it is rejected with its number, its neighbours are read."""

    kind: str
    form: str
    """Ending of the file."""
    line: bytes
    reason: str


BAD_LINES: tuple[BadLine, ...] = (
    BadLine("too few fields", "csv", b"c9", "the line has too few fields"),
    BadLine("too many fields", "csv", b"c9,k,x", "the line has too many fields"),
    BadLine("a quote that is not closed", "csv", b'c9,"k', "the line has a quote or a carriage return out of place"),
    BadLine("text behind a closed quote", "csv", b'c9,"k"x', "the line has a quote or a carriage return out of place"),
    BadLine("not UTF-8", "csv", b"c9,\xff", "the line is not valid text in the file's encoding"),
    BadLine("not UTF-8", "ndjson", b'{"cohort_id": "\xff"}', "the line is not valid text in the file's encoding"),
    BadLine("not JSON", "ndjson", b'{"cohort_id": c9}', "the line is not valid JSON"),
    BadLine("a number of 5,000 digits", "ndjson", b'{"cohort_id": ' + b"9" * 5000 + b"}", "the line is not valid JSON"),
    BadLine("no object", "ndjson", b'["c9"]', "the line is not a JSON object"),
    BadLine("nested 100,000 deep", "ndjson", b"[" * 100_000, "the line is nested too deeply"),
)


def parquet(**columns: object) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@dataclass(frozen=True)
class Spelling:
    """One way to write an id in `cohorts`, and the id that it is, or the reason why its row is rejected."""

    kind: str
    file: str
    content: bytes
    id: str | None = None
    reason: str | None = None
    mapping: str = ""


_ID = b"cohort_id\n"
SPELLINGS: tuple[Spelling, ...] = (
    *(
        Spelling(
            f"`{marker}` without quotes", "cohorts.csv", _ID + f"{marker}\n".encode(), reason="cohort_id is missing"
        )
        for marker in NULL_MARKERS
    ),
    Spelling("`NA` in quotes", "cohorts.csv", _ID + b'"NA"\n', "NA"),
    Spelling("`NA`, with `null_markers: []`", "cohorts.csv", _ID + b"NA\n", "NA", None, "{null_markers: []}"),
    Spelling("`NaN` without quotes", "cohorts.ndjson", b'{"cohort_id": NaN}\n', reason="cohort_id is missing"),
    Spelling("`true`", "cohorts.ndjson", b'{"cohort_id": true}\n', reason="cohort_id holds true or false"),
    Spelling("`7.0`", "cohorts.csv", _ID + b"7.0\n", "7"),
    Spelling("`7.0`", "cohorts.ndjson", b'{"cohort_id": 7.0}\n', "7"),
    Spelling("`7e0`", "cohorts.ndjson", b'{"cohort_id": 7e0}\n', "7"),
    Spelling("`Infinity`", "cohorts.ndjson", b'{"cohort_id": Infinity}\n', reason="cohort_id holds an infinite number"),
    Spelling("after a line `sep=;`", "cohorts.csv", b"sep=;\ncohort_id;x\n7;y\n", "7"),
    Spelling("the number 7.0", "cohorts.parquet", parquet(cohort_id=[7.0]), "7"),
    Spelling("20 digits", "cohorts.ndjson", b'{"cohort_id": 12345678901234567890}\n', "12345678901234567890"),
    Spelling("text stored as bytes", "cohorts.parquet", parquet(cohort_id=[b"c1"]), "c1"),
    Spelling(
        "16 bytes that are no text",
        "cohorts.parquet",
        parquet(cohort_id=[bytes(range(240, 256))]),
        "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff",
    ),
    Spelling(
        "16 bytes that are text, whatever the other rows hold",
        "cohorts.parquet",
        parquet(cohort_id=[b"user-00000000001"]),
        "user-00000000001",
    ),
    Spelling(
        "fixed 16 bytes",
        "cohorts.parquet",
        parquet(cohort_id=pa.array([b"A" * 16], pa.binary(16))),
        "41414141-4141-4141-4141-414141414141",
    ),
    Spelling("other bytes", "cohorts.parquet", parquet(cohort_id=[b"\xff"]), reason="cohort_id holds bytes, not text"),
    Spelling("UTF-8 with a byte order mark", "cohorts.csv", _ID.join([b"\xef\xbb\xbf", b"c1\n"]), "c1"),
    Spelling("UTF-16", "cohorts.csv", "cohort_id\nc1\n".encode("utf-16"), "c1"),
    Spelling("Latin-1, with `encoding: latin-1`", "cohorts.csv", _ID + b"\xe9\n", "é", None, "{encoding: latin-1}"),
    Spelling("beside columns that are not listed", "cohorts.csv", b"cohort_id,password\nc1,x\n", "c1"),
)


@dataclass(frozen=True)
class OptionalValue:
    """A way to write that a value of `users` is missing, or something close to it, and what it becomes."""

    kind: str
    file: str
    content: bytes
    column: str
    value: object = None
    reason: str | None = None


_BEFORE = b"user_id,created_at,"
_BEFORE_JSON = b'{"user_id": "u1", "created_at": "2025-03-01", '


def _users(**columns: object) -> bytes:
    return parquet(user_id=["u1"], created_at=["2025-03-01"], **columns)


OPTIONAL_VALUES: tuple[OptionalValue, ...] = (
    *(
        OptionalValue(
            f"`{marker}` without quotes",
            "users.csv",
            _BEFORE + f"{column}\nu1,2025-03-01,{marker}\n".encode(),
            column,
        )
        for marker in ("\\N", "NaN")
        for column in ("cohort_id", "timezone", "diagnostic_score", "final_band_at")
    ),
    OptionalValue("`NA` in quotes", "users.csv", _BEFORE + b'cohort_id\nu1,2025-03-01,"NA"\n', "cohort_id", "NA"),
    OptionalValue(
        "`NA` in quotes", "users.csv", _BEFORE + b'diagnostic_score\nu1,2025-03-01,"NA"\n', "diagnostic_score"
    ),
    OptionalValue("a bare `NaN`", "users.ndjson", _BEFORE_JSON + b'"cohort_id": NaN}\n', "cohort_id"),
    OptionalValue("a bare `NaN`", "users.ndjson", _BEFORE_JSON + b'"diagnostic_score": NaN}\n', "diagnostic_score"),
    OptionalValue("the text `NULL`", "users.ndjson", _BEFORE_JSON + b'"cohort_id": "NULL"}\n', "cohort_id", "NULL"),
    OptionalValue("the text `NULL`", "users.ndjson", _BEFORE_JSON + b'"final_band_at": "NULL"}\n', "final_band_at"),
    OptionalValue("NaN", "users.parquet", _users(cohort_id=[float("nan")]), "cohort_id"),
    OptionalValue("NaN", "users.parquet", _users(diagnostic_score=[float("nan")]), "diagnostic_score"),
    OptionalValue("NaN", "users.parquet", _users(final_band_at=[float("nan")]), "final_band_at"),
    OptionalValue("the text `NA`", "users.parquet", _users(diagnostic_score=["NA"]), "diagnostic_score"),
    OptionalValue("the text `NA`", "users.parquet", _users(cohort_id=["NA"]), "cohort_id", "NA"),
    OptionalValue(
        "an infinite time",
        "users.parquet",
        _users(final_band_at=pa.array([2**63 - 1], pa.timestamp("us"))),
        "final_band_at",
        reason="final_band_at is outside 1970 to 2199",
    ),
    OptionalValue(
        "a float from 2^53 on",
        "users.parquet",
        _users(cohort_id=[2.0**53]),
        "cohort_id",
        reason="cohort_id holds a float too large to be exact",
    ),
    *(
        OptionalValue(
            f"a time in the zone `{zone}`",
            "users.parquet",
            _users(final_band_at=pa.array([datetime(2025, 3, 2, tzinfo=UTC)], pa.timestamp("us", zone))),
            "final_band_at",
            datetime(2025, 3, 2, tzinfo=UTC),
        )
        for zone in ("localtime", "Factory")
    ),
    *(
        OptionalValue(
            f"the zone `{zone}`: as UTC, a finding",
            "users.csv",
            _BEFORE + f"timezone\nu1,2025-03-01,{zone}\n".encode(),
            "timezone",
            zone,
        )
        for zone in ("localtime", "Factory")
    ),
)


@dataclass(frozen=True)
class BadFolder:
    """What is wrong about a folder or a mapping, and the error after its path, or the files that are read."""

    kind: str
    files: dict[str, bytes]
    """By their paths below the source; one whose content is empty leads out of it."""
    says: str
    mapping: str = ""


_C1 = parquet(cohort_id=["c1"])
BAD_FOLDERS: tuple[BadFolder, ...] = (
    BadFolder(
        "nothing but files below names that begin with `_` or `.`",
        {"cohorts/_temporary/0/part.parquet": _C1, "cohorts/.part.parquet": _C1},
        "cohorts: table cohorts is a folder without a Parquet, CSV or NDJSON file (files skipped: 2 with a name",
    ),
    BadFolder(
        "a symbolic link that leads out",
        {"cohorts/part.parquet": b""},
        "cohorts/part.parquet: is a symbolic link that leads out of the source folder",
    ),
    BadFolder(
        "a file that contradicts the name of its folder",
        {"cohorts/cohort_key=k1/part.parquet": parquet(cohort_id=["c1"], cohort_key=["k2"])},
        "cohorts/cohort_key=…/part.parquet: table cohorts: the column cohort_key in the file contradicts the name",
    ),
    BadFolder(
        "folders that contradict each other",
        {"cohorts/cohort_key=k1/cohort_key=k2/part.parquet": _C1},
        "cohorts/cohort_key=…/cohort_key=…/part.parquet: two of its folders give the column cohort_key different",
    ),
    BadFolder(
        "one part of a folder without a header",
        {"cohorts/0.csv": b"cohort_id\nc1\n", "cohorts/1.csv": b"c2\nc3\n"},
        "cohorts/1.csv: table cohorts lacks the column cohort_id (known of its only column: none)",
    ),
    BadFolder(
        "one part of a folder with another header",
        {"cohorts/0.csv": b"cohort_id\nc1\n", "cohorts/1.csv": b"id,cohort_key\nc2,k\n"},
        "cohorts/1.csv: table cohorts lacks the column cohort_id (known of its 2 columns: cohort_key)",
    ),
    BadFolder(
        "a file with the ending of another form",
        {"cohorts.csv": _C1},
        "cohorts.csv: table cohorts cannot be read (its content is Parquet)",
    ),
    BadFolder(
        "a listed column of a type that holds no single value",
        {"cohorts.parquet": parquet(cohort_id=[["c1"]])},
        "table cohorts: the column cohort_id has the type List, which holds no single value",
    ),
    BadFolder(
        "a listed column of a type that is no text, number or time",
        {"cohorts.parquet": parquet(cohort_id=pa.array([1], pa.duration("s")))},
        "table cohorts: the column cohort_id has the type Duration, which cannot be read",
    ),
    BadFolder(
        "a listed column of a type of an extension",
        {"cohorts.parquet": parquet(cohort_id=pa.array(["c1"], pa.json_()))},
        "table cohorts: the column cohort_id has the type Extension, which cannot be read",
    ),
    BadFolder(
        "a table that the mapping names twice",
        {"cohorts.parquet": _C1},
        "is not valid YAML (line 2: the key cohorts is given a second time, after line 1: join both)",
        "cohorts: {table: a}\ncohorts: {table: b}\n",
    ),
    BadFolder(
        "a mapping that is nested 5,000 deep",
        {"cohorts.parquet": _C1},
        "is not valid YAML (line 1: is nested more than 10 levels deep)",
        "[" * 5000,
    ),
)
