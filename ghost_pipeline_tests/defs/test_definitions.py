"""The code location as Dagster sees it, and runs through it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ghost_pipeline.cli.run import selection
from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, USER_GHOST_STATS
from ghost_pipeline.contracts.raw import SESSION_KEYSTROKES, USER_PROGRESS, USERS
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs import ghost
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.defs.metadata import preview
from ghost_pipeline.defs.partitions import Partitions
from ghost_pipeline.defs.resources import RunContext, build_resources
from ghost_pipeline.defs.table_asset import TableAsset
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.errors import ContractError, LakeError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.personal_columns import PERSONAL_COLUMNS
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.running import DEMO_WORLD, environment, lake_digest
from ghost_pipeline_tests.samples import sample

HOURS = ["2025-03-12-09:00", "2025-03-12-10:00", "2025-03-12-11:00"]
MORNING = ["2025-03-12-06:00", "2025-03-12-07:00", "2025-03-12-08:00"]
ROOT = Path(__file__).parent.parent.parent


def settings(data: Path) -> Settings:
    return Settings.load(source=str(DEMO_WORLD), data=data)


def execute(
    data: Path, job: str, instance: dg.DagsterInstance, *, raise_on_error: bool = True, **options: object
) -> dg.ExecuteInProcessResult:
    wanted = selection({Domain.GHOST}, monthly=job == MONTHLY)
    return (
        build_defs(settings(data))
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in wanted],
            raise_on_error=raise_on_error,
            **options,  # type: ignore[arg-type]
        )
    )


def events(result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(str(event) for event in result.all_events)


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dg.ExecuteInProcessResult]:
    """One hour of the demo world through Dagster."""
    data = tmp_path_factory.mktemp("data")
    with dg.DagsterInstance.ephemeral() as instance:
        return data, execute(data, HOURLY, instance, partition_key=HOURS[-1])


def test_every_table_of_the_lake_is_an_asset() -> None:
    graph = build_defs(Settings.load()).resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert keys == {*CONTRACTS, "published_database", "retention"}


@pytest.mark.parametrize("step", TABLE_ASSETS, ids=lambda step: step.contract.name)
def test_an_asset_shows_what_its_contract_says(step: object) -> None:
    contract = next(one.contract for one in TABLE_ASSETS if one is step)
    spec = build_defs(Settings.load()).resolve_assets_def(contract.name).get_asset_spec()
    assert contract.description in str(spec.description)
    assert spec.group_name == contract.layer.value
    assert spec.owners == ["team:data-platform"]
    assert spec.kinds
    assert [column.name for column in spec.metadata["dagster/column_schema"].columns] == list(contract.polars_schema)


def test_every_table_is_in_the_pool_of_its_kind() -> None:
    defs = build_defs(Settings.load())
    for job, pool in ((HOURLY, "hours"), (MONTHLY, "months")):
        names = selection({Domain.GHOST, Domain.NGRAMS}, monthly=job == MONTHLY)[:-1]
        assert {str(defs.resolve_assets_def(name).op.pool) for name in names} == {pool}
    assert defs.resolve_assets_def("published_database").op.pool is None


@pytest.mark.parametrize("step", TABLE_ASSETS, ids=lambda step: step.contract.name)
def test_every_asset_checks_its_structure_and_blocks(step: object) -> None:
    name = next(one.contract.name for one in TABLE_ASSETS if one is step)
    specs = {one.name: one for one in build_defs(Settings.load()).resolve_assets_def(name).check_specs}
    assert [one.name for one in specs.values() if one.blocking] == ["structure"]


@pytest.mark.parametrize("step", TABLE_ASSETS, ids=lambda step: step.contract.name)
def test_an_asset_with_counts_has_a_coverage_check_that_only_warns(step: TableAsset) -> None:
    specs = build_defs(Settings.load()).resolve_assets_def(step.contract.name).check_specs
    assert [one.blocking for one in specs if one.name == "coverage"] == ([False] if step.counts else [])


def test_findings_that_no_check_would_report_are_an_error(tmp_path: Path) -> None:
    def compute(_: RunContext, hours: Sequence[Hour]) -> Iterator[TableResult]:
        yield from (TableResult(rows=1, findings={"odd_rows": 0}) for _ in hours)

    of = settings(tmp_path)
    asset = TableAsset(USERS, (), compute).asset(Partitions.from_settings(of), 24)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(ValueError, match=r"^users: returns findings, and no check would report them"),
    ):
        dg.materialize([asset], resources=build_resources(of), partition_key=HOURS[0], instance=instance)


def test_partitions_are_utc_hours_and_months() -> None:
    defs = build_defs(Settings.load())
    for step in TABLE_ASSETS:
        partitions = defs.resolve_assets_def(step.contract.name).partitions_def
        assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
        assert partitions.timezone == "UTC"
        monthly = isinstance(partitions, dg.MonthlyPartitionsDefinition)
        assert monthly == (step.contract.name in selection({Domain.GHOST}, monthly=True))


@pytest.mark.parametrize(
    ("hour", "month"),
    [
        ("2025-03-12-11:00", "2025-02"),
        ("2025-03-31-23:00", "2025-02"),
        ("2025-04-01-00:00", "2025-03"),
        ("2025-03-01-00:00", "2025-01"),
    ],
)
def test_an_hour_takes_a_month_that_was_over(hour: str, month: str) -> None:
    messages = build_defs(Settings.load()).resolve_assets_def("ghost_messages").get_asset_spec()
    mappings = {dep.asset_key.to_user_string(): dep.partition_mapping for dep in messages.deps}
    partitions = Partitions.from_settings(Settings.load())
    mapping = mappings["ghost_benchmarks"]
    assert mapping is not None
    assert mappings["user_ghost_stats"] is None
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        partitions.hourly.empty_subset().with_partition_keys([hour]), partitions.hourly, partitions.monthly
    )
    assert list(found.partitions_subset.get_partition_keys()) == [month]


def test_schedules_run_the_hour_and_the_month_just_closed() -> None:
    repository = build_defs(Settings.load()).get_repository_def()
    crons = {one.name: (one.cron_schedule, one.job_name) for one in repository.schedule_defs}
    assert crons == {
        "hourly_schedule": ("5 * * * *", "hourly"),
        "monthly_schedule": ("30 0 * * *", "monthly"),
        "reconcile_schedule": ("50 * * * *", "reconcile"),
        "run_records_schedule": ("40 3 * * *", "prune_run_records"),
    }


def test_it_loads_without_a_warning(tmp_path: Path) -> None:
    code = "import ghost_pipeline.definitions as d; [d.defs.resolve_job_def(n) for n in ('hourly', 'monthly')]"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path, PYTHONWARNINGS="default"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Warning" not in done.stderr, done.stderr


@pytest.mark.long  # `make check` does the same.
def test_dagster_validates_the_workspace(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        env=environment(tmp_path, DAGSTER_HOME=str(tmp_path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_run_tells_its_rows_and_passes_its_checks(hour: tuple[Path, dg.ExecuteInProcessResult]) -> None:
    _, result = hour
    (cohorts,) = result.asset_materializations_for_node("cohort_ghost_data")
    assert cohorts.metadata["dagster/partition_row_count"].value == 2
    checks = result.get_asset_check_evaluations()
    assert {one.check_name for one in checks} == {"structure", "coverage", "volume", "period_over_period", "freshness"}
    # The hour is one of 2025.
    assert {one.check_name for one in checks if not one.passed} == {"freshness"}


@pytest.mark.parametrize("table", ["users", "user_progress", "user_ghost_stats", "cohort_ghost_release"])
def test_a_run_tells_the_bytes_of_its_partition(table: str, hour: tuple[Path, dg.ExecuteInProcessResult]) -> None:
    data, result = hour
    (materialization,) = result.asset_materializations_for_node(table)
    file = Lake(data / "lake").path(CONTRACTS[table], Hour.from_key(HOURS[-1]))
    assert materialization.metadata["bytes"].value == file.stat().st_size


def data_versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    found = (event.materialization for event in result.get_asset_materialization_events())
    return {one.asset_key.to_user_string(): (one.tags or {})["dagster/data_version"] for one in found}


def test_an_hour_that_runs_again_without_news_has_the_same_data_versions(
    hour: tuple[Path, dg.ExecuteInProcessResult], tmp_path: Path
) -> None:
    # A copy, whose files have other times.
    shutil.copytree(hour[0], tmp_path, dirs_exist_ok=True, copy_function=shutil.copyfile)
    before = data_versions(hour[1])
    with dg.DagsterInstance.ephemeral() as instance:
        first, again = (data_versions(execute(tmp_path, HOURLY, instance, partition_key=HOURS[-1])) for _ in range(2))
        other = data_versions(execute(tmp_path, HOURLY, instance, partition_key=HOURS[0]))
    tables = ("users", "user_progress", "user_ghost_stats", "cohort_ghost_release", "published_database")
    for one in (first, again):
        assert {name: one[name] for name in tables} == {name: before[name] for name in tables}
    assert other["user_ghost_stats"] != first["user_ghost_stats"]


def test_nothing_that_names_a_person_reaches_dagsters_records(hour: tuple[Path, dg.ExecuteInProcessResult]) -> None:
    data, result = hour
    text = events(result)
    for user_id in Lake(data / "lake").scan(USER_GHOST_STATS).collect()["user_id"]:
        assert f"{user_id} " not in text
        assert f"'{user_id}'" not in text


@pytest.mark.parametrize(
    "table", ["user_ghost_stats", "cohort_ghost_data", "cohort_release_contributions", "ghost_messages"]
)
def test_exact_figures_of_people_and_cohorts_are_not_previewed(
    table: str, hour: tuple[Path, dg.ExecuteInProcessResult]
) -> None:
    _, result = hour
    (materialization,) = result.asset_materializations_for_node(table)
    assert "preview" not in materialization.metadata


def test_a_preview_leaves_out_what_names_a_person(hour: tuple[Path, dg.ExecuteInProcessResult]) -> None:
    data, _ = hour
    stats = Lake(data / "lake").scan(USER_GHOST_STATS).collect()
    shown = preview(stats)
    assert {"tasks_completed"} < shown.records[0].data.keys()
    assert not PERSONAL_COLUMNS & shown.records[0].data.keys()
    assert shown.schema is not None
    assert [column.name for column in shown.schema.columns] == list(shown.records[0].data)


def test_a_preview_of_keystrokes_has_neither_the_keys_nor_whose_they_are() -> None:
    shown = preview(sample(SESSION_KEYSTROKES, 2, 1))
    assert shown.records[0].data.keys() == {"key_index", "keystroke_time", "text_index"}


def test_a_frame_that_breaks_its_contract_fails_the_check_and_stops_what_follows(
    hour: tuple[Path, dg.ExecuteInProcessResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = hour
    before = lake_digest(data)

    def twice(*arguments: pl.LazyFrame, **_options: object) -> pl.LazyFrame:
        del arguments
        rows = Lake(data / "lake").scan(USER_GHOST_STATS)
        return pl.concat([rows, rows])

    monkeypatch.setattr(ghost, "completed_user_ghost_stats", twice)
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(data, HOURLY, instance, partition_key=HOURS[-1], raise_on_error=False)
    assert not result.success
    failed = [one for one in result.get_asset_check_evaluations() if not one.passed and one.check_name != "freshness"]
    assert [(one.check_name, one.blocking) for one in failed] == [("structure", True)]
    assert "user_ghost_stats, partition 2025-03-12-11:00: " in str(failed[0].metadata["fault"].value)
    assert not result.asset_materializations_for_node("cohort_ghost_data")
    assert not result.asset_materializations_for_node("published_database")
    # What is left says that a run has begun to build the hour.
    assert {name: text for name, text in lake_digest(data).items() if "stale_hours" not in name} == before


def test_a_contract_error_says_that_the_last_good_partition_stays(hour: tuple[Path, dg.ExecuteInProcessResult]) -> None:
    lake = Lake(hour[0] / "lake")
    rows = lake.scan(COHORT_GHOST_DATA).collect()
    with pytest.raises(ContractError, match="the last good partition stays"):
        lake.write(COHORT_GHOST_DATA, Hour.from_key(HOURS[-1]), pl.concat([rows, rows]))


def test_a_damaged_file_of_the_lake_is_named_with_its_remedy(
    hour: tuple[Path, dg.ExecuteInProcessResult], tmp_path: Path
) -> None:
    shutil.copytree(hour[0], tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        file = Lake(tmp_path / "lake").path(USER_PROGRESS, Hour.from_key("2025-02-12-09:00"))
        file.write_bytes(b"PAR1xx")
        with pytest.raises(LakeError, match=f"{file} is damaged. Delete it and run again"):
            execute(tmp_path, HOURLY, instance, partition_key=HOURS[-1])
        file.unlink()
        assert execute(tmp_path, HOURLY, instance, partition_key=HOURS[-1]).success


@pytest.mark.long
def test_a_run_over_a_range_equals_a_run_per_hour(tmp_path: Path) -> None:
    single, ranged = tmp_path / "single", tmp_path / "ranged"
    with dg.DagsterInstance.ephemeral() as instance:
        for key in MORNING:
            execute(single, HOURLY, instance, partition_key=key)
    tags = {"dagster/asset_partition_range_start": MORNING[0], "dagster/asset_partition_range_end": MORNING[-1]}
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(ranged, HOURLY, instance, tags=tags)
    told = {
        one.partition: one.metadata["dagster/partition_row_count"].value
        for one in result.asset_materializations_for_node("user_progress")
    }
    hours = [Hour.from_key(key) for key in MORNING]
    assert told == {hour.key: Lake(ranged / "lake").rows(USER_PROGRESS, hour) for hour in hours}
    assert len(set(told.values())) > 1
    tables = ("user_ghost_stats", "cohort_ghost_data", "user_progress")
    digests = [
        {path: digest for path, digest in lake_digest(data).items() if path.startswith(tables)}
        for data in (single, ranged)
    ]
    assert digests[0] == digests[1]
    assert Lake(ranged / "lake").hours(COHORT_GHOST_DATA) == [Hour.from_key(key) for key in MORNING]
