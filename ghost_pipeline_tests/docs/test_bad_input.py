import json
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.contracts.raw import RAW_CONTRACTS, REJECTED_ROWS, SOURCE_TABLES
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.errors import SourceError
from ghost_pipeline.ingest.validation import good_rows, read_rows, rejected_rows
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.mapping import load_mapping
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.docs.bad_input import (
    BAD_FILES,
    BAD_FOLDERS,
    BAD_INPUTS,
    BAD_LINES,
    GOOD,
    OPTIONAL_VALUES,
    SPELLINGS,
    BadFile,
    BadFolder,
    BadInput,
    BadLine,
    OptionalValue,
    Spelling,
)

HOUR = Hour.from_key("2025-03-12-11:00")


def take_in(folder: Path, *bad: BadInput) -> Lake:
    source = folder / "source"
    source.mkdir(parents=True)
    for name, good in GOOD.items():
        rows = [good, *({**good, **_other_id(name, number), **one.change} for number, one in _of(name, bad))]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (source / f"{name}.ndjson").write_text(text, encoding="utf-8")
    return materialized(source, folder / "data")


def materialized(source: Path, data: Path) -> Lake:
    resources = RunContext.of(Settings.load(source=str(source), data=data))
    for asset in TABLE_ASSETS:
        if asset.contract.partitioning is not Partitioning.MONTH:
            compute_one(asset.compute, resources, HOUR)
    return resources.lake


def _of(table: str, bad: tuple[BadInput, ...]) -> list[tuple[int, BadInput]]:
    return [(number, one) for number, one in enumerate(bad) if one.table == table]


def _other_id(table: str, number: int) -> dict[str, object]:
    key = SOURCE_TABLES[table].key
    if table == "session_keystrokes":
        return {"key_index": number + 1}
    return {key[0]: f"{key[0]}-{number}"} if key else {}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return take_in(tmp_path_factory.mktemp("bad"), *BAD_INPUTS)


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: f"{bad.table}-{bad.kind}")
def test_a_bad_row_is_set_aside_with_its_reason(bad: BadInput, lake: Lake) -> None:
    alike = [one for one in BAD_INPUTS if (one.table, one.reason) == (bad.table, bad.reason)]
    rejected = lake.scan(REJECTED_ROWS).filter(source_table=bad.table, reason=bad.reason).collect()
    rows = [json.loads(row) for row in rejected["row"]]
    assert len(rows) == len(alike)
    texts = {name: value for name, value in bad.change.items() if isinstance(value, str)}
    assert any(texts.items() <= row.items() for row in rows)


def test_nothing_else_is_set_aside(lake: Lake) -> None:
    assert lake.scan(REJECTED_ROWS).select(pl.len()).collect().item() == len(BAD_INPUTS)


def test_the_good_rows_of_the_same_files_go_on(lake: Lake, tmp_path: Path) -> None:
    good = take_in(tmp_path)
    for contract in RAW_CONTRACTS.values():
        assert lake.scan(contract).collect().equals(good.scan(contract).collect()), contract.name
        assert good.scan(contract).collect().height > 0


@pytest.mark.parametrize("bad", BAD_FILES, ids=lambda bad: bad.kind)
def test_a_bad_file_is_one_clear_error(bad: BadFile, tmp_path: Path) -> None:
    (tmp_path / bad.file).write_bytes(bad.content)
    with pytest.raises(SourceError) as raised:
        FileSource(tmp_path).scan(SOURCE_TABLES["cohorts"]).collect()
    assert str(raised.value).startswith(f"{tmp_path / bad.file}: {bad.says}")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda bad: f"{bad.form}-{bad.kind}")
def test_a_bad_line_is_rejected_with_its_number_and_costs_no_other(bad: BadLine, end: bytes, tmp_path: Path) -> None:
    first, second = (b"c1,k1", b"c2,k2") if bad.form == "csv" else (b'{"cohort_id": "c1"}', b'{"cohort_id": "c2"}')
    header = [b"cohort_id,cohort_key"] if bad.form == "csv" else [b""]
    lines = [*header, first, b"", bad.line, second, b""]
    (tmp_path / f"cohorts.{bad.form}").write_bytes(end.join(lines))
    cohorts = SOURCE_TABLES["cohorts"]
    rows = read_rows(FileSource(tmp_path).scan(cohorts), cohorts)
    rejected = rejected_rows(rows, cohorts, pl.lit(None, pl.Datetime("us", "UTC"))).collect()
    assert rejected.select("reason", "row").rows() == [(bad.reason, '{"line":4}')]
    assert good_rows(rows).collect()["cohort_id"].to_list() == ["c1", "c2"]


def test_a_run_keeps_bad_lines_and_the_good_rows_around_them(tmp_path: Path) -> None:
    take_in(tmp_path / "first")
    source = tmp_path / "first" / "source"
    (source / "user_progress.ndjson").unlink()
    good = "p1,u1,reading,2025-03-12T10:30:00Z,5\n"
    header = "progress_id,user_id,task_type,completed_at,time_spent_minutes\n"
    text = f'{header}{good}p2,u1\n"p3" x,u1,reading,2025-03-12T10:30:00Z,5\n{good.replace("p1", "p4")}'
    (source / "user_progress.csv").write_text(text, encoding="utf-8")
    lake = materialized(source, tmp_path / "data")
    rejected = lake.scan(REJECTED_ROWS).filter(source_table="user_progress").sort("row").collect()
    assert rejected.select("hour", "row").rows() == [(None, '{"line":3}'), (None, '{"line":4}')]
    assert lake.scan(RAW_CONTRACTS["user_progress"]).collect()["progress_id"].to_list() == ["p1", "p4"]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda one: f"{one.file}-{one.kind}")
def test_an_id_is_read_as_the_page_says(spelling: Spelling, tmp_path: Path) -> None:
    (tmp_path / spelling.file).write_bytes(spelling.content)
    mapping = tmp_path / "own.yaml"
    mapping.write_text(f"cohorts: {{format: {spelling.mapping}}}" if spelling.mapping else "", encoding="utf-8")
    cohorts = SOURCE_TABLES["cohorts"]
    rows = read_rows(FileSource(tmp_path, load_mapping(mapping)).scan(cohorts), cohorts).collect()
    assert rows.select("_reason").rows() == [(spelling.reason,)]
    assert spelling.id is None or rows["cohort_id"].to_list() == [spelling.id]


@pytest.mark.parametrize("one", OPTIONAL_VALUES, ids=lambda one: f"{one.file}-{one.column}-{one.kind}")
def test_an_optional_value_is_read_as_the_page_says(one: OptionalValue, tmp_path: Path) -> None:
    (tmp_path / one.file).write_bytes(one.content)
    users = SOURCE_TABLES["users"]
    rows = read_rows(FileSource(tmp_path).scan(users), users).collect()
    assert rows["_reason"].to_list() == [one.reason]
    assert one.reason or rows[one.column].to_list() == [one.value]


@pytest.mark.parametrize("bad", BAD_FOLDERS, ids=lambda bad: bad.kind)
def test_a_bad_folder_or_mapping_is_one_clear_error(bad: BadFolder, tmp_path: Path) -> None:
    source, mapping = tmp_path / "source", tmp_path / "own.yaml"
    mapping.write_text(bad.mapping, encoding="utf-8")
    for name, content in bad.files.items():
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if content:
            file.write_bytes(content)
        else:
            (tmp_path / "elsewhere.parquet").touch()
            file.symlink_to(tmp_path / "elsewhere.parquet")
    cohorts = SOURCE_TABLES["cohorts"]
    with pytest.raises(SourceError) as raised:
        read_rows(FileSource(source, load_mapping(mapping)).scan(cohorts), cohorts).collect()
    said = str(raised.value).removeprefix(f"{source}/").removeprefix(f"mapping {mapping}: ")
    assert said.startswith(bad.says)
    assert "\n" not in said
