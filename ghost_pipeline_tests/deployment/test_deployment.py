"""The files of `deploy/` at work: their services, on a real PostgreSQL, run hours and months through the queue."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import pytest

from ghost_pipeline.contracts.contract import Partitioning
from ghost_pipeline.definitions import TABLE_ASSETS, build_defs
from ghost_pipeline.defs.jobs import HOURLY, MONTHLY
from ghost_pipeline.incremental.stale_ledger import stale_hours
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.deployment.conftest import DAGSTER_PASSWORD, last_tick
from ghost_pipeline_tests.deployment.services import Machine, children, eventually
from ghost_pipeline_tests.running import lake_digest, published_rows
from ghost_pipeline_tests.sources.servers import PASSWORD, Database

pytestmark = pytest.mark.long

MONTHLY_TABLES = {step.contract.name for step in TABLE_ASSETS if step.contract.partitioning is Partitioning.MONTH}
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), "s3cr3t", DAGSTER_PASSWORD, quote(DAGSTER_PASSWORD), "d4gster")
PARTITION, SCHEDULE = "dagster/partition", "dagster/schedule_name"
WORKSPACE = "/opt/ghost-pipeline/deploy/workspace.yaml"
LAUNCH = """mutation ($job: String!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "ghost_pipeline", repositoryName: "__repository__", jobName: $job},
    runConfigData: {}, executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
RUNS = """{ runsOrError { ... on Runs { results {
  runId parentRunId jobName status creationTime startTime endTime tags { key value } } } } }"""
DAEMONS = "{ instance { info daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"


@dataclass(frozen=True)
class Run:
    """What the webserver tells of a run."""

    run_id: str
    parent: str | None
    job: str
    status: str
    started: float
    ended: float
    tags: dict[str, str]

    @classmethod
    def all(cls, machine: Machine) -> list["Run"]:
        """The runs, in the order in which they were asked for."""
        told = machine.ask(RUNS)["runsOrError"]["results"]
        return [
            cls(
                one["runId"],
                one["parentRunId"],
                one["jobName"],
                one["status"],
                one["startTime"],
                one["endTime"],
                {tag["key"]: tag["value"] for tag in one["tags"]},
            )
            for one in sorted(told, key=lambda one: one["creationTime"])
        ]


def launch(machine: Machine, job: str, partition: str) -> str:
    tags = [{"key": PARTITION, "value": partition}]
    launched = machine.ask(LAUNCH, job=job, tags=tags)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def ended(machine: Machine, what: str, wanted: Callable[[Run], bool]) -> Run:
    """The first run of a kind, once it has ended."""
    over = {"SUCCESS", "FAILURE", "CANCELED"}
    return eventually(what, lambda: next((run for run in Run.all(machine) if wanted(run) and run.status in over), None))


@contextmanager
def instance_of(machine: Machine) -> Iterator[dg.DagsterInstance]:
    """Dagster's records, opened in this process by the shipped `dagster.yaml`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.variables.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(machine.variables["DAGSTER_HOME"]) as instance:
            yield instance


def turn_on(machine: Machine, schedule: str) -> datetime:
    """Turn a schedule on, as if that had been done shortly before it was last due; returns when that was."""
    tick = last_tick()
    done = machine.run("dagster", "schedule", "start", schedule, "-w", WORKSPACE)
    assert done.returncode == 0, done.stderr
    with instance_of(machine) as instance:
        (state,) = instance.all_instigator_state()
        since = (tick - timedelta(minutes=1)).timestamp()
        data: Any = state.instigator_data
        instance.update_instigator_state(state.with_data(data._replace(start_timestamp=since)))
    return tick


def turn_off(machine: Machine, schedule: str) -> None:
    """Turn a schedule off: otherwise it asks for one more hour if it becomes due before the story ends."""
    done = machine.run("dagster", "schedule", "stop", schedule, "-w", WORKSPACE)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Story:
    """What happened on the machine."""

    machine: Machine
    records: Database
    tick: datetime
    runs: dict[str, Run]
    """By what became of them."""
    told: dict[str, Any]
    """What the webserver told of the instance."""
    arguments: str
    """The command lines of all services."""

    @property
    def hour(self) -> Hour:
        return Hour.ending_at(self.tick.replace(minute=0))

    @property
    def month(self) -> Month:
        return Month.newest_complete(self.hour.as_of)


@pytest.fixture(scope="module")
def story(machine: Machine, databases: tuple[Database, Database]) -> Iterator[Story]:
    """The schedule asks for an hour, whose run is killed while another run of it waits; later, a month is launched."""
    with machine.service("ghost-code") as code:
        eventually("the code server", lambda: listening(machine))
        tick = turn_on(machine, "hourly_schedule")
        with machine.service("ghost-daemon") as daemon, machine.service("ghost-webserver") as webserver:
            eventually("the webserver", lambda: answering(machine))
            process = eventually("the scheduled hour's process", lambda: only_process(machine, code.pid))
            (scheduled,) = Run.all(machine)
            waiting = launch(machine, HOURLY, scheduled.tags[PARTITION])
            os.kill(process, signal.SIGKILL)
            turn_off(machine, "hourly_schedule")
            runs = {
                "killed": ended(machine, "the killed run", lambda run: run.run_id == scheduled.run_id),
                "waiting": ended(machine, "the waiting run", lambda run: run.run_id == waiting),
            }
            month = Month.newest_complete(Hour.from_key(scheduled.tags[PARTITION]).as_of)
            monthly = launch(machine, MONTHLY, month.key)
            runs |= {
                "again": ended(machine, "the killed run, again", lambda run: run.parent == scheduled.run_id),
                "monthly": ended(machine, "the month", lambda run: run.run_id == monthly),
            }
            told = eventually("healthy daemons", lambda: healthy(machine))
            arguments = "\n".join(command_line(process.pid) for process in (code, daemon, webserver))
            yield Story(machine, databases[1], tick, runs, told, arguments)


def stale_tables(data: Path) -> set[str]:
    """The tables of which hours are stale."""
    return set(stale_hours(Lake(data / "lake"))["table"])


def listening(machine: Machine) -> bool | None:
    with socket.socket() as probe:
        address = (machine.variables["CODE_HOST"], int(machine.variables["CODE_PORT"]))
        return probe.connect_ex(address) == 0 or None


def answering(machine: Machine) -> bool | None:
    try:
        machine.ask("{ version }")
    except OSError:
        return None
    return True


def only_process(machine: Machine, code: int) -> int | None:
    """The process of the only run that has begun: what the code server has started for it."""
    found = [pid for pid in children(code) if "spawn_main" in command_line(pid)]
    begun = [run for run in Run.all(machine) if run.status == "STARTED"]
    return found[0] if len(found) == len(begun) == 1 else None


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ")


def healthy(machine: Machine) -> dict[str, Any] | None:
    told: dict[str, Any] = machine.ask(DAEMONS)["instance"]
    statuses = told["daemonHealth"]["allDaemonStatuses"]
    return told if all(one["healthy"] for one in statuses if one["required"]) else None


@pytest.fixture(scope="module")
def undisturbed(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the same hour and month, run once each in this process."""
    data = tmp_path_factory.mktemp("undisturbed")
    defs = build_defs(Settings.load(source=story.machine.variables["GHOST_SOURCE"], data=data, min_sample=1))
    with dg.DagsterInstance.ephemeral() as instance:
        for job, partition in ((HOURLY, story.hour.key), (MONTHLY, story.month.key)):
            defs.resolve_job_def(job).execute_in_process(partition_key=partition, instance=instance)
    return data


def test_the_schedule_asked_for_the_hour_just_closed(story: Story) -> None:
    scheduled = story.runs["killed"]
    assert (scheduled.job, scheduled.tags[SCHEDULE]) == (HOURLY, "hourly_schedule")
    assert scheduled.tags[PARTITION] == story.runs["again"].tags[PARTITION] == story.hour.key


def test_lake_and_published_rows_are_those_of_an_undisturbed_run(story: Story, undisturbed: Path) -> None:
    found, expected = lake_digest(story.machine.data), lake_digest(undisturbed)
    # What a message says of the month depends on which of the two was there first, and so does whether it is stale.
    of_messages = ("ghost_messages/", "stale_hours/")
    assert any(path.startswith("ghost_messages/") for path in found)
    assert {path: found[path] for path in found if not path.startswith(of_messages)} == {
        path: expected[path] for path in expected if not path.startswith(of_messages)
    }
    assert stale_tables(story.machine.data) <= {"ghost_messages"}
    rows = published_rows(story.machine.data)
    filled = {"user_ghost_stats", "ghost_benchmarks", "ngram_speed_summaries"}
    assert all(rows[table] for table in filled)
    assert [table for table, of_table in rows.items() if of_table != published_rows(undisturbed)[table]] == []


def test_a_run_whose_process_is_killed_is_noticed_and_run_again_from_its_first_step(story: Story) -> None:
    killed, again = story.runs["killed"], story.runs["again"]
    assert (killed.status, again.status, again.tags["dagster/retry_number"]) == ("FAILURE", "SUCCESS", "1")
    hourly = {step.contract.name for step in TABLE_ASSETS} - MONTHLY_TABLES
    assert materialized(story.records, again) == {*hourly, "retention", "published_database"}


def test_hours_follow_one_another_and_a_month_runs_beside_them(story: Story) -> None:
    hours = [story.runs[name] for name in ("killed", "waiting", "again")]
    assert all(before.ended <= after.started for before, after in pairwise(hours))
    monthly = story.runs["monthly"]
    assert monthly.status == "SUCCESS"
    assert any(monthly.started < run.ended and run.started < monthly.ended for run in hours)


def test_records_are_in_postgresql(story: Story) -> None:
    statuses = dict(story.records.rows("SELECT run_id, status FROM runs"))
    assert statuses == {run.run_id: run.status for run in story.runs.values()}
    tags = f"SELECT value FROM run_tags WHERE run_id = '{story.runs['monthly'].run_id}' AND key = '{PARTITION}'"  # noqa: S608 - our own
    assert story.records.rows(tags) == [(story.month.key,)]
    assert materialized(story.records, story.runs["monthly"]) == {*MONTHLY_TABLES, "published_database"}
    ticks = story.records.rows("SELECT type, status FROM job_ticks")
    assert [status for kind, status in ticks if kind == "SCHEDULE"] == ["SUCCESS"]
    assert {status for _, status in ticks} <= {"STARTED", "SUCCESS", "SKIPPED"}
    assert not list(Path(story.machine.variables["DAGSTER_HOME"]).rglob("*.db"))


def test_every_daemon_is_healthy_and_the_page_tells_the_storage(story: Story) -> None:
    required = {one["daemonType"] for one in story.told["daemonHealth"]["allDaemonStatuses"] if one["required"]}
    assert {"SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING", "EVENT_LOG_CONSUMER", "BACKFILL"} <= required
    assert "PostgresRunStorage" in story.told["info"], story.told["info"]
    assert "WatchedRunLauncher" in story.told["info"]


def test_an_operator_sees_the_same_through_the_shipped_environment(story: Story) -> None:
    done = story.machine.run("ghost-pipeline", "status", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    # The killed run was run again.
    assert told["last_failed_run"] is None
    newest = {row["table"]: row["newest"] for row in told["tables"]}
    assert (newest["cohort_ghost_data"], newest["ghost_benchmarks"]) == (story.hour.key, story.month.key)


def test_no_password_is_in_a_record_a_file_a_log_a_page_or_a_command_line(story: Story) -> None:
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    kept = [
        str(row)
        for (table,) in story.records.rows(tables)
        for row in story.records.rows(f'SELECT t::text FROM "{table}" t')  # noqa: S608 - our own names
    ]
    assert len(kept) > 500
    files = [path for path in story.machine.folder.rglob("*") if path.is_file() and path.parent.name != "environment"]
    assert {"ghost-code.log", "ghost-daemon.log", "ghost-webserver.log"} <= {path.name for path in files}
    texts = {str(path): path.read_bytes().decode("utf-8", "replace") for path in files}
    texts |= {"records": "\n".join(kept), "page": json.dumps(story.told), "command lines": story.arguments}
    assert [(name, secret) for name, text in texts.items() for secret in SECRETS if secret in text] == []


def materialized(records: Database, run: Run) -> set[str]:
    """The tables that a run has materialized."""
    query = "SELECT asset_key FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND run_id = "
    return {json.loads(key)[0] for (key,) in records.rows(f"{query}'{run.run_id}'")}
