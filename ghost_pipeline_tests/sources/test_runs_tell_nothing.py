"""Whole runs from every kind of bad input and source: no value of a row in what is said, nor in Dagster's records.

Names of files and of their folders are said, and so are those of the tables and columns of a database.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from ghost_pipeline_tests import running
from ghost_pipeline_tests.sources.mariadb import MariaDb
from ghost_pipeline_tests.sources.servers import Database, fill_duckdb, fill_sqlite

MATERIALIZE = ("materialize", "--as-of", "2025-03-12T12:00Z")
NAME, PHONE = "ada.lovelace", "4915123456789"
PERSON = (NAME, PHONE)
CREATED, DONE = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 12, 11, tzinfo=UTC)
USER: dict[str, object] = {"user_id": "u1", "cohort_id": "c1", "timezone": None, "created_at": CREATED}


def parquet(file: Path, *rows: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)


def columns(file: Path, **values: pa.Array) -> None:
    pq.write_table(pa.table(values), file)


def text(file: Path, *lines: str) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


# --- bad files, by what is bad; each takes the folder of the source and returns a mapping ---


def contradicts_its_folder(folder: Path) -> None:
    parquet(folder / "users" / "cohort_id=c1" / "part.parquet", {**USER, "cohort_id": NAME})


def markers_and_other_texts_in_numbers(folder: Path) -> None:
    text(
        folder / "users.csv",
        "user_id,timezone,created_at,diagnostic_score",
        f"\\N,{PHONE},2025-03-01,7",
        f"u1,{NAME},{NAME},{PHONE}",
        f"{NAME},{NAME},2025-03-01,NA",
    )


def bytes_that_are_no_text(folder: Path) -> None:
    columns(
        folder / "users.parquet",
        user_id=pa.array([b"\xff" + NAME.encode(), b"u1"], pa.binary()),
        created_at=pa.array([NAME.encode(), b"2025-03-01"], pa.binary()),
        timezone=pa.array([NAME.encode(), PHONE.encode()], pa.binary()),
    )


def objects_and_fractions_as_ids(folder: Path) -> None:
    text(
        folder / "users.ndjson",
        f'{{"user_id": {PHONE}.5, "created_at": "2025-03-01"}}',
        f'{{"user_id": {{"name": "{NAME}"}}, "created_at": "2025-03-01"}}',
        f'{{"user_id": "u1", "created_at": ["{NAME}"]}}',
    )


def an_id_in_two_spellings(folder: Path) -> None:
    times = '"created_at": "2025-03-01"'
    text(folder / "users.ndjson", f'{{"user_id": {PHONE}, {times}}}', f'{{"user_id": "{PHONE}.0", {times}}}')


def names_in_the_header(folder: Path) -> None:
    text(folder / "users.csv", f"{NAME},{NAME},user_id,created_at", f"{NAME},{NAME},{PHONE},soon")


def bad_lines(folder: Path) -> None:
    lines = (NAME, f'"{NAME}" {PHONE},x', f"{NAME},{PHONE},{NAME}", "u1,2025-03-01", f'"{NAME}')
    text(folder / "users.csv", "user_id,created_at", *lines)


def nothing_but_bad_lines(folder: Path) -> None:
    text(folder / "users.csv", "user_id,created_at", f'"{NAME}" {PHONE},x')


def no_archive(folder: Path) -> None:
    text(folder / "users.csv.zst", "user_id,created_at", f"{NAME},{PHONE}")


def a_nested_column(folder: Path) -> None:
    columns(folder / "users.parquet", user_id=pa.array([{"name": NAME}]), created_at=pa.array([CREATED]))


def a_type_that_cannot_be_read(folder: Path) -> None:
    wide = pa.array([Decimal(PHONE)], pa.decimal256(60, 2))
    columns(folder / "users.parquet", user_id=pa.array([NAME]), created_at=pa.array([CREATED]), target_band=wide)


def a_mapped_column_that_is_missing(folder: Path) -> str:
    text(folder / "people.csv", f"{NAME},{PHONE}", f"{NAME},{PHONE}")
    return "users: {table: people, columns: {user_id: id}}"


def a_mapped_key_that_is_missing(folder: Path) -> str:
    text(folder / "people.ndjson", f'{{"{NAME}": "{PHONE}"}}')
    return "users: {table: people, columns: {user_id: id}}"


def unknown_zones(folder: Path) -> None:
    zones = (f"{NAME}/{PHONE}", "localtime", "Factory")
    people: list[dict[str, object]] = [{**USER, "user_id": zone, "timezone": zone} for zone in zones]
    parquet(folder / "users.parquet", USER, *people)


def keys_by_name(folder: Path) -> None:
    parquet(folder / "users.parquet", USER)
    parquet(folder / "keyboards.parquet", {"keyboard_id": NAME, "user_id": "u1", "target_ms_per_keystroke": 200})
    session = {"session_id": PHONE, "user_id": "u1", "keyboard_id": NAME, "start_time": DONE, "end_time": DONE}
    parquet(folder / "practice_sessions.parquet", session)
    keys = [
        {"session_id": PHONE, "key_index": at, "keystroke_time": DONE, "keystroke_char": key, "expected_char": "a"}
        for at, key in enumerate(["a", NAME, "Backspace"])
    ]
    parquet(folder / "session_keystrokes.parquet", *({**key, "text_index": 0} for key in keys))
    speed = {"session_id": PHONE, "ngram_text": NAME * 9, "ngram_size": 3, "ngram_time_ms": 1.0}
    parquet(folder / "session_ngram_speed.parquet", {**speed, "ms_per_keystroke": float(PHONE) * 1e6})


def bad_tasks(folder: Path) -> None:
    parquet(folder / "users.parquet", USER)
    task = {"progress_id": NAME, "user_id": NAME, "task_type": NAME, "completed_at": NAME, "time_spent_minutes": PHONE}
    late = {**task, "progress_id": "p9", "task_type": "reading", "completed_at": str(DONE)}
    parquet(folder / "user_progress.parquet", task, late)


def parts_of_different_types(folder: Path) -> None:
    parquet(folder / "users" / "a.parquet", USER)
    parquet(folder / "users" / "b.parquet", {**USER, "user_id": NAME, "created_at": NAME})


def a_damaged_page(folder: Path) -> None:
    file = folder / "users.parquet"
    parquet(file, *({**USER, "user_id": f"{NAME}{number}"} for number in range(1000)))
    content = bytearray(file.read_bytes())
    content[60:200] = bytes(number % 251 for number in range(140))
    file.write_bytes(content)


FAILING: tuple[Callable[[Path], str | None], ...] = (
    contradicts_its_folder,
    no_archive,
    a_nested_column,
    a_type_that_cannot_be_read,
    a_mapped_column_that_is_missing,
    a_mapped_key_that_is_missing,
    a_damaged_page,
)
REJECTED: tuple[Callable[[Path], str | None], ...] = (
    markers_and_other_texts_in_numbers,
    bytes_that_are_no_text,
    objects_and_fractions_as_ids,
    an_id_in_two_spellings,
    names_in_the_header,
    bad_lines,
    nothing_but_bad_lines,
    unknown_zones,
    keys_by_name,
    bad_tasks,
    parts_of_different_types,
)


def assert_nothing_is_told(folder: Path, address: str, mapping: str | None, code: int) -> None:
    variables = {"GHOST_SOURCE": address}
    if mapping:
        (folder / "own.yaml").write_text(mapping, encoding="utf-8")
        variables["GHOST_SOURCE_MAPPING"] = str(folder / "own.yaml")
    data = folder / "data"
    done = running.run(MATERIALIZE, data, None, **variables)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert [one for one in PERSON if one in said] == []
    records = [file for file in (data / "dagster_home").rglob("*") if file.is_file()]
    # A source that lacks a column is refused before Dagster begins.
    assert code == 1 or any(file.suffix == ".db" for file in records)
    assert [(file, one) for file in records for one in PERSON if one.encode() in file.read_bytes()] == []
    doctor = running.run(("doctor", "--json"), data, None, **variables)
    assert doctor.returncode == code, doctor.stdout
    # It shows some rows to the person at the terminal: what is wrong is told without any.
    wrong = [one["says"] for one in json.loads(doctor.stdout) if one["verdict"] == "wrong"]
    assert [one for one in PERSON if one in doctor.stderr or any(one in says for says in wrong)] == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("bad", "code"),
    [pytest.param(one, code, id=one.__name__) for code, some in ((1, FAILING), (0, REJECTED)) for one in some],
)
def test_files_tell_no_value(bad: Callable[[Path], str | None], code: int, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    text(source / "cohorts.csv", "cohort_id", "c1")
    task = {"progress_id": "p1", "user_id": "u1", "task_type": "reading", "completed_at": DONE}
    parquet(source / "user_progress.parquet", {**task, "time_spent_minutes": 5.0})
    assert_nothing_is_told(tmp_path, str(source), bad(source), code)


# --- databases ---

TABLES = tuple(
    statement.replace("NAME", NAME).replace("PHONE", PHONE)
    for statement in (
        "CREATE TABLE people (mail varchar(99), phone bigint)",
        "INSERT INTO people VALUES ('NAME', PHONE)",
        """CREATE TABLE users (user_id varchar(99), timezone varchar(99), diagnostic_score varchar(99),
            created_at varchar(99))""",
        """INSERT INTO users VALUES ('u1', 'NAME', 'PHONE', 'NAME'), ('NAME', 'PHONE', NULL, '2025-03-01'),
            (NULL, 'NAME', NULL, '2025-03-01'), ('u2', NULL, NULL, '2025-03-01')""",
        "CREATE TABLE cohorts (cohort_id varchar(99))",
        """CREATE TABLE user_progress (progress_id varchar(99), user_id varchar(99), task_type varchar(99),
            completed_at varchar(99), time_spent_minutes varchar(99))""",
        """INSERT INTO user_progress VALUES ('NAME', 'NAME', 'NAME', 'NAME', 'PHONE'),
            ('p1', 'u2', 'reading', '2025-03-12T10:00Z', 'NAME')""",
    )
)
MISSING = "users: {columns: {user_id: id}}"


def query(expression: str) -> str:
    return f'cohorts: {{query: "SELECT {expression} AS cohort_id FROM people"}}'  # noqa: S608 - our own text


@pytest.mark.long
@pytest.mark.parametrize(
    ("mapping", "code"), [(None, 0), (MISSING, 1), (query("json_extract('{}', mail)"), 1), (query("phone FROM x"), 1)]
)
def test_sqlite_tells_no_value(mapping: str | None, code: int, tmp_path: Path) -> None:
    assert_nothing_is_told(tmp_path, f"sqlite:///{fill_sqlite(tmp_path / 'app.db', TABLES)}", mapping, code)


@pytest.mark.long
@pytest.mark.parametrize(
    ("mapping", "code"), [(None, 0), (MISSING, 1), (query("phone::SMALLINT"), 1), (query("error(mail)"), 1)]
)
def test_duckdb_tells_no_value(mapping: str | None, code: int, tmp_path: Path) -> None:
    fill_duckdb(tmp_path / "app.duckdb", *TABLES)
    assert_nothing_is_told(tmp_path, f"duckdb:///{tmp_path / 'app.duckdb'}", mapping, code)


@pytest.mark.long
@pytest.mark.parametrize(
    ("mapping", "code"), [(None, 0), (MISSING, 1), (query("mail::regclass::text"), 1), (query("mail::int"), 1)]
)
def test_postgresql_tells_no_value(mapping: str | None, code: int, database: Database, tmp_path: Path) -> None:
    database.execute(*TABLES)
    assert_nothing_is_told(tmp_path, database.address, mapping, code)


@pytest.mark.long
@pytest.mark.parametrize(
    ("mapping", "code"),
    [(None, 0), (MISSING, 1), (query("phone * 10000000"), 1), (query("extractvalue(mail, mail)"), 1)],
)
def test_mariadb_tells_no_value(mapping: str | None, code: int, mariadb: MariaDb, tmp_path: Path) -> None:
    mariadb.execute(*TABLES)
    assert_nothing_is_told(tmp_path, mariadb.address, mapping, code)
