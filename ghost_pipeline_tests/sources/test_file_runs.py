"""Whole runs from files that cannot be read: one line, and no value of a row in it or in what Dagster records."""

import gzip
from pathlib import Path

import pytest

from ghost_pipeline_tests import running
from ghost_pipeline_tests.running import found_in

MATERIALIZE = ("materialize", "--as-of", "2025-03-12T12:00Z")
PERSON = "ada.lovelace"
ROW = f"{PERSON}@example.org,Ada,2025-03-01T08:00:00Z"
HEADER = "user_id,cohort_id,created_at"
OTHERS = {
    "cohorts.csv": "cohort_id\nc1\n",
    "user_progress.csv": "progress_id,user_id,task_type,completed_at\n",
}
FAILING: tuple[tuple[str, str, bytes], ...] = (
    ("without a header", "users.csv", f"{ROW}\n{ROW}\n".encode()),
    ("carriage returns", "users.csv", f"user_id,name,created_at\r{ROW}\r{ROW}\r".encode()),
    ("a cut-off archive", "users.csv.gz", gzip.compress(f"{HEADER}\n{ROW}\n".encode(), mtime=0)[:-9]),
    ("no archive", "users.csv.gz", f"{ROW}\n".encode()),
    ("cut-off UTF-16", "users.csv", f"{HEADER}\n{ROW}\n".encode("utf-16")[:-1]),
    ("a cut-off line of JSON", "users.ndjson", f'{{"user_id": "{PERSON}'.encode()),
    ("names as keys", "users.ndjson", f'{{"{PERSON}": 1}}\n'.encode()),
    ("a cut-off array", "users.ndjson", f'[{{"user_id": "{PERSON}"}}, {{"user_id": "'.encode()),
    ("no Parquet", "users.parquet", f"PAR1{ROW}PAR1".encode()),
)


@pytest.mark.long
@pytest.mark.parametrize(("name", "content"), [one[1:] for one in FAILING], ids=[one[0] for one in FAILING])
def test_a_run_that_fails_says_and_records_no_value(name: str, content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / name).write_bytes(content)
    for other, text in OTHERS.items():
        (source / other).write_text(text, encoding="utf-8")
    data = tmp_path / "data"
    for command in (MATERIALIZE, ("doctor",)):
        done = running.run(command, data, None, GHOST_SOURCE=str(source))
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert f"{source / name}: table users" in said
        assert PERSON not in said
        assert "Traceback" not in said
    assert found_in(data, (PERSON,)) == []
