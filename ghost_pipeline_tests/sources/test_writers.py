"""Whole tables as other programs write them: every row comes back equal, or is rejected with the stated reason."""

import csv
import json
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pyarrow.dataset as pa_dataset  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.contracts.raw import SOURCE_USERS
from ghost_pipeline.contracts.source import NULL_MARKERS
from ghost_pipeline.ingest.validation import REASON, read_rows
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline_tests.examples import examples

NOT_A_TIME = "created_at is not a time"
BACKSLASH = "users: {format: {escape: '\\'}}"


class Person(NamedTuple):
    """A row of `users`; the fields are its columns."""

    user_id: str
    cohort_id: str | None
    diagnostic_score: float | None
    target_band: Decimal | None
    cohort_excluded: bool
    created_at: datetime


People = Sequence[Person]
COLUMNS = Person._fields
ARROW = pa.schema(
    [
        ("user_id", pa.string()),
        ("cohort_id", pa.string()),
        ("diagnostic_score", pa.float64()),
        ("target_band", pa.decimal128(3, 1)),
        ("cohort_excluded", pa.bool_()),
        ("created_at", pa.timestamp("us", "UTC")),
    ]
)
TEXTS = (
    st.text(st.sampled_from("abN7,;|\t\"'\\ é語👍_-=:%/\n"), min_size=1, max_size=6)
    .map(str.strip)
    .filter(lambda text: text and text not in NULL_MARKERS)
)
TENTHS = st.none() | st.integers(0, 90)
PEOPLE = st.lists(
    st.builds(
        Person,
        TEXTS,
        st.none() | TEXTS,
        TENTHS.map(lambda tenths: None if tenths is None else tenths / 10),
        TENTHS.map(lambda tenths: None if tenths is None else Decimal(tenths).scaleb(-1)),
        st.booleans(),
        st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - one is given
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda person: person.user_id,
)


def arrow(people: People) -> pa.Table:
    return pa.Table.from_pylist([person._asdict() for person in people], ARROW)


def frame(people: People) -> pd.DataFrame:
    """The rows as pandas holds what it was given: objects, floats and nanoseconds or microseconds."""
    made = pd.DataFrame([person._asdict() for person in people], columns=COLUMNS)
    return made.assign(created_at=pd.to_datetime(made["created_at"], utc=True))


# --- programs; each writes `users` into a folder ---


def python_csv(folder: Path, people: People) -> None:
    with (folder / "users.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, *people])


def python_json(folder: Path, people: People) -> None:
    lines = [json.dumps(person._asdict(), default=str) + "\n" for person in people]
    (folder / "users.ndjson").write_text("".join(lines), encoding="utf-8")


def pandas_csv(folder: Path, people: People, **options: Any) -> None:  # noqa: ANN401 - those of pandas
    frame(people).to_csv(folder / "users.csv", **{"index": False, **options})


def pandas_csv_with_index(folder: Path, people: People) -> None:
    pandas_csv(folder, people, index=True)


def pandas_csv_of_excel(folder: Path, people: People) -> None:
    pandas_csv(folder, people, sep=";", encoding="utf-8-sig", quoting=csv.QUOTE_ALL)


def pandas_csv_packed(folder: Path, people: People) -> None:
    frame(people).to_csv(folder / "users.csv.gz", index=False, sep="\t", na_rep="NaN")


def pandas_lines(folder: Path, people: People) -> None:
    frame(people).to_json(folder / "users.ndjson", orient="records", lines=True, date_format="iso", date_unit="us")


def pandas_array(folder: Path, people: People) -> None:
    frame(people).to_json(folder / "users.json", orient="records", date_format="iso", date_unit="us", indent=2)


def pandas_lines_of_numbers(folder: Path, people: People) -> None:
    # The default for years: a time is a number, whose unit the file does not say.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        frame(people).to_json(folder / "users.ndjson", orient="records", lines=True, date_format="epoch")


def pandas_parquet(folder: Path, people: People) -> None:
    frame(people).to_parquet(folder / "users.parquet")


def pandas_parquet_of_objects(folder: Path, people: People) -> None:
    made = frame(people).astype({"user_id": object, "cohort_id": "category", "diagnostic_score": "Float64"})
    made.set_index("user_id").to_parquet(folder / "users.parquet", compression="gzip")


def pandas_partitions(folder: Path, people: People) -> None:
    frame(people).to_parquet(folder / "users.parquet", partition_cols=["cohort_id"])


def pandas_sqlite(folder: Path, people: People) -> None:
    made = frame(people).astype({"target_band": float, "created_at": str})
    with closing(sqlite3.connect(folder / "users.db")) as connection:
        made.to_sql("users", connection, index=False)
        connection.commit()


def polars_csv(folder: Path, people: People) -> None:
    pl.DataFrame(arrow(people)).write_csv(folder / "users.csv", quote_style="non_numeric")


def polars_lines(folder: Path, people: People) -> None:
    pl.DataFrame(arrow(people)).write_ndjson(folder / "users.ndjson")


def polars_parquet(folder: Path, people: People) -> None:
    pl.DataFrame(arrow(people)).write_parquet(folder / "users.parquet", compression="lz4")


def pyarrow_csv(folder: Path, people: People) -> None:
    pa_csv.write_csv(arrow(people), folder / "users.csv")


def pyarrow_parquet(folder: Path, people: People) -> None:
    pq.write_table(arrow(people), folder / "users.parquet", version="1.0", compression="brotli")


def pyarrow_parquet_of_pages(folder: Path, people: People) -> None:
    made = arrow(people).cast(ARROW.set(0, pa.field("user_id", pa.large_binary())))
    pq.write_table(
        made,
        folder / "users.parquet",
        data_page_version="2.0",
        compression="zstd",
        use_dictionary=False,
        store_decimal_as_integer=True,
        row_group_size=2,
    )


def pyarrow_dataset(folder: Path, people: People) -> None:
    flavour = pa_dataset.partitioning(pa.schema([ARROW.field("cohort_id")]), flavor="hive")
    pa_dataset.write_dataset(arrow(people), folder / "users", format="parquet", partitioning=flavour)


def duckdb_copied(folder: Path, people: People, name: str, options: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("people", arrow(people))
        connection.execute(f"COPY people TO '{folder / name}' ({options})")


def duckdb_csv(folder: Path, people: People) -> None:
    duckdb_copied(folder, people, "users.csv", "HEADER, DELIMITER '|'")


def duckdb_lines(folder: Path, people: People) -> None:
    duckdb_copied(folder, people, "users.ndjson", "FORMAT json")


def duckdb_array(folder: Path, people: People) -> None:
    duckdb_copied(folder, people, "users.json", "FORMAT json, ARRAY true")


def duckdb_parquet(folder: Path, people: People) -> None:
    duckdb_copied(folder, people, "users.parquet", "FORMAT parquet, PARQUET_VERSION v2")


def duckdb_partitions(folder: Path, people: People) -> None:
    duckdb_copied(folder, people, "users", "FORMAT parquet, PARTITION_BY (cohort_id)")


# --- Spark's conventions: a folder of parts, a mark of success, its own CSV ---

PART = "part-0000{}-2f1c5a3e-9d1b-4c55-8f0e-3c1c9a6f7b11-c000"


def spark_folder(folder: Path) -> Path:
    made = folder / "users"
    made.mkdir()
    (made / "_SUCCESS").touch()
    (made / "._SUCCESS.crc").write_bytes(b"crc\x00")
    return made


def spark_parquet(folder: Path, people: People) -> None:
    made = spark_folder(folder)
    for number in range(2):
        pq.write_table(
            arrow(people[number::2]),
            made / f"{PART.format(number)}.snappy.parquet",
            compression="snappy",
            flavor="spark",
            use_deprecated_int96_timestamps=True,
        )


def spark_partitions(folder: Path, people: People) -> None:
    made = spark_folder(folder)
    # Spark escapes what a path may not hold.
    escaped = {character: f"%{ord(character):02X}" for character in "\"#%'*/:=?\\{[]^\n\t"}
    for number, person in enumerate(people):
        value = person.cohort_id
        name = "__HIVE_DEFAULT_PARTITION__" if value is None else "".join(escaped.get(one, one) for one in value)
        (made / f"cohort_id={name}").mkdir(exist_ok=True)
        pq.write_table(
            arrow([person]).drop_columns("cohort_id"),
            made / f"cohort_id={name}" / f"{PART.format(number)}.snappy.parquet",
            flavor="spark",
            use_deprecated_int96_timestamps=True,
        )


def spark_lines(folder: Path, people: People) -> None:
    made = spark_folder(folder)
    for number in range(2):
        # Fields without a value are left out.
        rows = [
            {name: spark_text(value) for name, value in one._asdict().items() if value is not None} for one in people
        ]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows[number::2]]
        (made / f"{PART.format(number)}.json").write_text("".join(lines), encoding="utf-8")


def spark_csv(folder: Path, people: People, null: str = "") -> None:
    made = spark_folder(folder)
    for number in range(2):
        lines = [
            COLUMNS,
            *([null if one is None else spark_text(one) for one in person] for person in people[number::2]),
        ]
        text = "".join(",".join(map(spark_field, line)) + "\n" for line in lines)
        (made / f"{PART.format(number)}.csv").write_text(text, encoding="utf-8", newline="")


def spark_csv_of_hive(folder: Path, people: People) -> None:
    spark_csv(folder, people, null="\\N")


def spark_text(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value if isinstance(value, str) else float(str(value))


def spark_field(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not any(one in text for one in ',"\n\r') and text == text.strip():
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


Writer = Callable[[Path, People], None]
EQUAL: dict[Writer, str] = {
    **dict.fromkeys([python_csv, python_json], ""),
    **dict.fromkeys([pandas_csv, pandas_csv_with_index, pandas_csv_of_excel, pandas_csv_packed], ""),
    **dict.fromkeys([pandas_lines, pandas_array, pandas_parquet, pandas_parquet_of_objects, pandas_sqlite], ""),
    **dict.fromkeys([pandas_partitions, pyarrow_dataset, duckdb_partitions, spark_partitions], ""),
    **dict.fromkeys([polars_csv, polars_lines, polars_parquet], ""),
    **dict.fromkeys([pyarrow_csv, pyarrow_parquet, pyarrow_parquet_of_pages], ""),
    **dict.fromkeys([duckdb_csv, duckdb_lines, duckdb_array, duckdb_parquet], ""),
    **dict.fromkeys([spark_parquet, spark_lines], ""),
    **dict.fromkeys([spark_csv, spark_csv_of_hive], BACKSLASH),
}
"""Programs whose files come back equal, each with what the mapping has to say of them."""
REJECTED: dict[Writer, str] = {pandas_lines_of_numbers: NOT_A_TIME}
"""Programs that leave out what a value means, each with the reason of every row."""


def written_and_read(write: Writer, people: People, mapping: str = "") -> pl.DataFrame:
    with TemporaryDirectory() as name:
        folder = Path(name, "source")
        folder.mkdir()
        write(folder, people)
        own = Path(name, "own.yaml")
        own.write_text(mapping, encoding="utf-8")
        database = folder / "users.db"
        address = f"sqlite:///{database}" if database.exists() else str(folder)
        with closing(open_source(address, own)) as source:
            return read_rows(source.scan(SOURCE_USERS), SOURCE_USERS).collect()


@pytest.mark.parametrize("write", EQUAL, ids=lambda write: write.__name__)
@examples(6, 60)
@given(PEOPLE)
def test_what_a_program_writes_comes_back_equal(write: Writer, people: People) -> None:
    found = written_and_read(write, people, EQUAL[write])
    assert found[REASON].to_list() == [None] * len(people)
    bands = [None if one.target_band is None else float(one.target_band) for one in people]
    expected = [(*one[:3], band, *one[4:]) for one, band in zip(people, bands, strict=True)]
    assert sorted(found.select(COLUMNS).rows(), key=lambda row: row[0]) == sorted(expected, key=lambda row: row[0])


@pytest.mark.parametrize("write", REJECTED, ids=lambda write: write.__name__)
@examples(6, 60)
@given(PEOPLE)
def test_what_leaves_the_meaning_out_is_rejected_with_the_reason(write: Writer, people: People) -> None:
    assert written_and_read(write, people)[REASON].to_list() == [REJECTED[write]] * len(people)
