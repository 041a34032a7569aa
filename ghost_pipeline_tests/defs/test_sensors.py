"""The sensor that sends alerts: what it finds in Dagster's own records."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from ghost_pipeline.cli.dagster_home import DAGSTER_YAML
from ghost_pipeline.contracts.raw import USER_PROGRESS
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.checks import COVERAGE, VOLUME
from ghost_pipeline.defs.run_history import failed_checks, finished_runs
from ghost_pipeline.errors import SourceError
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.monitoring.receivers import webhook


@dg.asset(
    name=USER_PROGRESS.name,
    check_specs=[dg.AssetCheckSpec(check.name, asset=USER_PROGRESS.name) for check in (VOLUME, COVERAGE)],
)
def with_warnings() -> Iterator[object]:
    for check in (VOLUME, COVERAGE):
        yield dg.AssetCheckResult(check_name=check.name, passed=False, description="fewer rows than usual")
    yield dg.MaterializeResult()


@dg.asset
def of_source() -> None:
    raise SourceError("source s3://bucket: cannot be reached")


@dg.asset
def defective() -> None:
    raise ValueError("user-17 is odd")


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> None:
    dg.materialize(assets, instance=instance, raise_on_error=False)


def instance_in(folder: Path) -> dg.DagsterInstance:
    (folder / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    return dg.DagsterInstance.from_config(str(folder))


def test_a_failed_run_has_the_line_of_our_own_error(tmp_path: Path) -> None:
    with instance_in(tmp_path) as instance:
        run(instance, with_warnings)
        run(instance, of_source)
        failed, succeeded = finished_runs(instance)
        assert (failed.succeeded, failed.error) == (False, "source s3://bucket: cannot be reached")
        assert (succeeded.succeeded, succeeded.error) == (True, "")


def test_of_an_error_that_may_cite_a_row_only_the_name_is_told(tmp_path: Path) -> None:
    with instance_in(tmp_path) as instance:
        run(instance, defective)
        (failed,) = finished_runs(instance)
        assert failed.error == "ValueError; the run's page in Dagster shows where"


def test_a_check_that_failed_is_found_but_not_coverage(tmp_path: Path) -> None:
    with instance_in(tmp_path) as instance:
        run(instance, with_warnings)
        (failed,) = failed_checks(instance, TABLE_ASSETS)
        assert (failed.table, failed.check, failed.description) == (
            "user_progress",
            "volume",
            "fewer rows than usual",
        )


def test_the_sensor_runs_only_if_there_are_addresses(tmp_path: Path) -> None:
    for urls, status in ((None, "STOPPED"), ("json://127.0.0.1:9/x", "RUNNING")):
        sensor = build_defs(Settings.load(data=tmp_path, alert_urls=urls)).resolve_sensor_def("alerts")
        assert sensor.default_status.value == status


def test_the_sensor_sends_what_it_finds_in_dagsters_records(tmp_path: Path) -> None:
    with webhook() as hook, instance_in(tmp_path) as instance:
        run(instance, of_source)
        settings = Settings.load(data=tmp_path / "data", alert_urls=hook.address)
        sensor = build_defs(settings).resolve_sensor_def("alerts")
        told = [sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).skip_message for _ in range(2)]
        assert told == ["1 incidents are open, 1 messages sent", "1 incidents are open, 0 messages sent"]
        (posted,) = hook.got
        assert "Error: source s3://bucket: cannot be reached" in posted["message"]
