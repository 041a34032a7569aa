"""A lake of an older release gets the names of today, whole at any moment; one of a newer release is left alone."""

import json
import random
import shutil
from pathlib import Path

import pytest

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.layout import LAYOUT, LAYOUT_FILE
from ghost_pipeline.lake.upgrading import upgrade
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.built_once import built_once
from ghost_pipeline_tests.crashes.faults import DiedError, Fault, Faults
from ghost_pipeline_tests.running import run
from ghost_pipeline_tests.serving.worlds import served
from ghost_pipeline_tests.upgrades.record import unpack

FIRST = "0.1.0"
TRIES = 4
SEED = 20250312
READERS = (
    ("query", "SELECT 1"),
    ("status",),
    ("doctor",),
    ("stale",),
    ("ghost", "u01", "--as-of", "2025-03-12T11:00Z"),
    ("erase", "u01", "--yes"),
)
SERVE = ("serve", "--port", "0")
RUNS = (
    ("materialize", "--as-of", "2025-03-12T12:00Z"),
    ("backfill", "--from", "2025-03-12T11:00Z", "--to", "2025-03-12T12:00Z"),
    ("backfill", "--stale"),
    ("demo",),
    ("upgrade",),
)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first release has written, whose layout is older; tests take copies."""
    return built_once(tmp_path_factory, f"recorded-{FIRST}", lambda folder: unpack(FIRST, folder))


@pytest.fixture
def data(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded / "data", tmp_path / "data"))


def contents(lake: Path) -> dict[str, list[bytes]]:
    """The bytes of the files of each table, in the order of their names."""
    return {
        name: [file.read_bytes() for file in sorted((lake / name).rglob("*.parquet")) if file.is_file()]
        for name in CONTRACTS
    }


def told(lake: Path) -> list[str]:
    lines: list[str] = []
    upgrade(lake, lines.append)
    return lines


def test_files_get_other_names_and_keep_their_bytes(data: Path) -> None:
    before = contents(data / "lake")
    told(data / "lake")
    assert contents(data / "lake") == before
    folders = {
        part.partition("=")[0] for file in (data / "lake").rglob("*.parquet") for part in file.parts if "=" in part
    }
    assert folders == {"partition_date", "partition_hour", "partition_month", "partition_table"}
    lake = Lake(data / "lake")
    assert [len(lake.files(contract)) for contract in CONTRACTS.values()] == [len(one) for one in before.values()]


def test_no_folder_of_before_and_no_cache_is_left(data: Path) -> None:
    told(data / "lake")
    assert not (data / "lake" / CACHE).exists()
    assert [one for one in (data / "lake").rglob("*=*") if one.is_dir() and not any(one.iterdir())] == []


def test_what_is_done_is_told(data: Path) -> None:
    first, *tables = told(data / "lake")
    assert first == f"upgrading {data / 'lake'} from layout 1 to {LAYOUT['version']}"
    files = len(list((data / "lake" / "user_progress").rglob("*.parquet")))
    assert f"user_progress: {files} of {files} files" in tables


def test_an_upgraded_lake_and_an_empty_one_are_left_alone(data: Path, tmp_path: Path) -> None:
    told(data / "lake")
    assert told(data / "lake") == []
    assert told(tmp_path / "empty") == []
    assert not (tmp_path / "empty").exists()


def test_no_command_reads_a_lake_that_is_half_upgraded(data: Path) -> None:
    with pytest.raises(DiedError), Faults(data, 40, Fault.KILL).installed():
        told(data / "lake")
    with pytest.raises(LakeError, match=r"older release \(layout 1; .*`ghost-pipeline upgrade`"):
        Lake(data / "lake").hours(CONTRACTS["users"])


def died_and_went_on(data: Path, at: int, fault: Fault) -> None:
    before = contents(data / "lake")
    with pytest.raises(DiedError), Faults(data, at, fault).installed():
        told(data / "lake")
    told(data / "lake")
    assert contents(data / "lake") == before
    assert json.loads((data / "lake" / LAYOUT_FILE).read_bytes()) == LAYOUT
    lake = Lake(data / "lake")
    assert [len(lake.files(contract)) for contract in CONTRACTS.values()] == [len(one) for one in before.values()]
    assert [one for one in (data / "lake").rglob("*=*") if one.is_dir() and not any(one.iterdir())] == []


@pytest.fixture(scope="session")
def operations(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many operations an undisturbed upgrade has."""
    data = Path(shutil.copytree(recorded / "data", tmp_path_factory.mktemp("undisturbed") / "data"))
    faults = Faults(data)
    with faults.installed():
        told(data / "lake")
    return len(faults.operations)


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.TORN, Fault.POWER], ids=lambda one: one.value)
def test_killed_at_an_operation_it_goes_on(fault: Fault, recorded: Path, operations: int, tmp_path: Path) -> None:
    tried = random.Random(f"{SEED} {fault.value}").sample(range(operations), TRIES)
    for at in [*tried, operations - 1]:
        died_and_went_on(Path(shutil.copytree(recorded / "data", tmp_path / f"{at}")), at, fault)


@pytest.mark.long
def test_killed_at_any_operation_it_goes_on(recorded: Path, operations: int, tmp_path: Path) -> None:
    for at in range(operations):
        died_and_went_on(Path(shutil.copytree(recorded / "data", tmp_path / f"{at}")), at, Fault.KILL)
        shutil.rmtree(tmp_path / f"{at}")


# --- which lakes are taken ---


@pytest.mark.parametrize("command", READERS, ids=lambda one: one[0])
def test_who_only_reads_an_older_lake_is_told_the_command(command: tuple[str, ...], data: Path) -> None:
    done = run(command, data, GHOST_ERASURE_KEY="k" * 32)
    assert done.returncode == 1
    # The doctor goes on, and says so of everything that needs the lake.
    lines = [one for one in (done.stdout + done.stderr).splitlines() if "older release" in one]
    assert lines
    assert all("`ghost-pipeline upgrade`" in one for one in lines)
    assert len(lines) == 1 or command == ("doctor",)


def test_a_server_goes_on_from_what_an_older_release_has_published(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without_waiting:
        without_waiting.setattr("uvicorn.Server.run", lambda *_, **__: None)
        done = run(SERVE, data)
    assert done.returncode == 0
    assert "`ghost-pipeline upgrade`" in done.stderr
    with served(Settings.load(data=data)) as client:
        answer = client.get("/cohort/u01/ghost-data")
        assert answer.status_code == 200
        assert answer.json()["user_stats"]["tasks_completed"] > 0


@pytest.mark.parametrize("command", [*READERS, *RUNS, SERVE], ids=" ".join)
def test_every_command_refuses_the_lake_of_a_newer_release(command: tuple[str, ...], data: Path) -> None:
    (data / "lake" / LAYOUT_FILE).write_text('{"version": 3, "shards": 8}')
    done = run(command, data, data.parent / "source", GHOST_ERASURE_KEY="k" * 32)
    assert done.returncode == 1
    lines = [one for one in (done.stdout + done.stderr).splitlines() if "newer release" in one]
    assert lines
    assert all("layout 3 with 8 shards" in one for one in lines)
    assert len(lines) == 1 or command == ("doctor",)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": "2", "shards": 1}'])
def test_a_damaged_layout_has_a_remedy_that_works(content: str, data: Path) -> None:
    told(data / "lake")
    layout = data / "lake" / LAYOUT_FILE
    layout.write_text(content)
    with pytest.raises(LakeError, match=r"layout.json: is damaged. Delete it and run `ghost-pipeline upgrade`"):
        Lake(data / "lake").hours(CONTRACTS["users"])
    layout.unlink()
    told(data / "lake")
    assert json.loads(layout.read_bytes()) == LAYOUT


def test_the_command_upgrades_and_says_so(data: Path) -> None:
    assert json.loads(run(["upgrade", "--json"], data).stdout)["done"]
    assert json.loads(run(["upgrade", "--json"], data).stdout)["done"] == []
    assert run(["query", "SELECT count(*) FROM lake.users"], data).returncode == 0
