"""Nothing that another client does to `ghost.duckdb` reaches the next reader, nor the next publication."""

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ghost_pipeline.cli.doctor import diagnose
from ghost_pipeline.cli.findings import Finding, Verdict
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.json_files import DICTIONARY_FILE, DICTIONARY_FILES
from ghost_pipeline.publish.publication_parts import file_differences, published_name
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.crashes.meddling import (
    LIES,
    MEDDLING,
    kill_a_client,
    leave_files,
    open_client,
    replace_by_a_folder,
)
from ghost_pipeline_tests.crashes.numbered import (
    LATER,
    USER,
    number_of_response,
    publish_number,
    query_number,
    read_number,
)
from ghost_pipeline_tests.samples import MONTH
from ghost_pipeline_tests.serving.worlds import served


@pytest.fixture
def of(tmp_path: Path) -> Settings:
    """A data folder with publication 1."""
    settings = Settings.load(data=tmp_path / "data")
    publish_number(settings, 1)
    return settings


def beside(database: Path) -> list[str]:
    """The files that begin with the name of the database."""
    return sorted(file.name for file in database.parent.iterdir() if file.name.startswith(database.name))


BESIDE = (kill_a_client, leave_files)
"""Leave files beside the database, which change nothing for our readers."""


def worst_of(findings: Sequence[Finding]) -> Verdict:
    """The weightiest verdict."""
    return max((one.verdict for one in findings), key=[*Verdict].index)


@pytest.mark.parametrize("meddle", MEDDLING, ids=lambda one: one.__name__)
def test_readers_answer_from_the_last_publication_until_the_next_repairs(
    meddle: Callable[[Path], None], of: Settings
) -> None:
    database, open_before = of.local / "ghost.duckdb", GhostReader(of)
    assert read_number(open_before) == 1
    meddle(database)
    for reader in (open_before, GhostReader(of)):
        assert read_number(reader) == 1
    assert query_number(of) == 1
    told = [one for one in diagnose(of) if one.about == "published"]
    assert all("\n" not in one.description for one in told)
    assert worst_of(told) == (Verdict.LOOK if meddle in BESIDE else Verdict.WRONG)
    if meddle is replace_by_a_folder:
        with pytest.raises(LakeError, match=r"ghost\.duckdb: cannot be written \(it is a folder\)\. Move it away"):
            publish_number(of, 2)
        database.rmdir()
    publish_number(of, 2)
    for reader in (open_before, GhostReader(of)):
        assert read_number(reader) == 2
        assert reader.fault == ""
    assert query_number(of) == 2
    assert beside(database) == [database.name]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o440), (0o077, 0o400)])
def test_a_copy_is_for_reading_by_those_whom_the_umask_leaves(umask: int, mode: int, of: Settings) -> None:
    before = os.umask(umask)
    try:
        publish_number(of, 2)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(copy.stat().st_mode) for copy in (of.local / ".published").iterdir()] == [mode]


def test_a_client_that_stays_blocks_neither_readers_nor_publications(of: Settings) -> None:
    database = of.local / "ghost.duckdb"
    with open_client(database, *LIES):
        assert (read_number(GhostReader(of)), query_number(of)) == (1, 1)
        assert "wrong" not in {one.verdict.value for one in diagnose(of) if one.about == "published"}
        publish_number(of, 2)
        assert (read_number(GhostReader(of)), query_number(of)) == (2, 2)
    assert (read_number(GhostReader(of)), query_number(of)) == (2, 2)
    assert beside(database) == [database.name]


def test_a_server_goes_on_and_says_that_it_is_stale(of: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ghost_pipeline.serving.app.POLL_SECONDS", 0.02)
    path = f"/cohort/{USER}/ghost-data"
    with served(of, LATER) as client:

        def stale() -> str:
            answer = client.get(path)
            assert answer.status_code == 200
            assert number_of_response(answer.json()) == 1
            return answer.headers["Ghost-Stale"]

        assert stale() == "false"
        (of.local / "ghost.duckdb").unlink()
        _until(lambda: stale() == "true")
        told = client.get("/health").json()
        assert (told["status"], told["publication"]["kept"]) == ("stale", True)
        # The file that the server has open goes, too.
        for copy in (of.local / ".published").iterdir():
            copy.unlink()
        assert stale() == "true"
        publish_number(of, 2)
        _until(lambda: number_of_response(client.get(path).json()) == 2)
        _until(lambda: client.get(path).headers["Ghost-Stale"] == "false")
        assert not client.get("/health").json()["publication"]["kept"]


def test_a_server_that_starts_over_a_damaged_file_answers_from_the_copy(of: Settings) -> None:
    (of.local / "ghost.duckdb").write_bytes(b"no database")
    with served(of, LATER) as client:
        answer = client.get(f"/cohort/{USER}/ghost-data")
        assert (answer.status_code, number_of_response(answer.json())) == (200, 1)


def test_a_part_of_another_publication_is_told_and_the_same_lake_has_the_same_name(of: Settings) -> None:
    before = published_name(of.database)
    dictionary = of.local / DICTIONARY_FILE
    content = dictionary.read_bytes()
    assert list(file_differences(of)) == []
    dictionary.write_text("{}", encoding="utf-8")
    (told,) = file_differences(of)
    assert told.startswith(f"{dictionary}: is missing or belongs to another publication. Run `ghost-pipeline publish`")
    publish_number(of, 1)
    assert dictionary.read_bytes() == content
    assert list(file_differences(of)) == []
    assert published_name(of.database) == before
    publish_number(of, 2)
    assert published_name(of.database) != before


def test_a_file_of_a_month_that_records_no_contents_is_not_to_be_published_again(of: Settings) -> None:
    lake = Lake(of.lake)
    lake.write(GHOST_BENCHMARKS, MONTH, lake.scan(GHOST_BENCHMARKS, [MONTH]).collect())
    publish(lake, of.database)
    for file, told in zip(DICTIONARY_FILES, file_differences(of), strict=True):
        assert told.startswith(f"{of.local / file}: belongs to no publication. Run `ghost-pipeline backfill --stale`")


def test_the_file_of_a_month_goes_with_the_last_month(of: Settings) -> None:
    lake = Lake(of.lake)
    lake.remove(GHOST_BENCHMARKS, MONTH)
    publish(lake, of.database)
    assert not any((of.local / file).exists() for file in DICTIONARY_FILES)
    assert list(file_differences(of)) == []


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)
