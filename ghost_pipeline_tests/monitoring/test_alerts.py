"""Messages that arrive at a real webhook and in a real mailbox: one when an incident begins, one when it ends."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from ghost_pipeline.errors import SettingsError
from ghost_pipeline.lake.locking import table_lock
from ghost_pipeline.monitoring.alerts import MOST_TOLD, alert
from ghost_pipeline.monitoring.incident_record import NAME, IncidentRecord
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.monitoring.receivers import Mailbox, Webhook, mailbox, webhook
from ghost_pipeline_tests.monitoring.test_incidents import NOON, healthy, run
from ghost_pipeline_tests.running import run as command

LATER = NOON + timedelta(minutes=5)
FAILED = replace(healthy(), runs=(run("hourly", "2025-03-12-11:00", succeeded=False),))


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as served:
        yield served


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as served:
        yield served


def settings(folder: Path, *addresses: str, **more: object) -> Settings:
    return Settings.load(data=folder, alert_urls=" ".join(addresses), **more)


def test_a_webhook_and_a_mailbox_get_what_since_when_why_and_what_helps(
    tmp_path: Path, hook: Webhook, box: Mailbox
) -> None:
    alert(settings(tmp_path, hook.address, box.address), FAILED, NOON + timedelta(hours=3))
    (posted,), (mail,) = hook.got, box.got
    assert posted["title"] == mail["Subject"] == "ghost_pipeline: run failed (1 new)"
    assert posted["message"] == (
        "The run of hourly of 2025-03-12-11:00 failed (run-0).\n"
        "Since: 2025-03-12 12:00 UTC (3 h)\n"
        "Error: source s3://bucket: cannot be reached\n"
        "Try: ghost-pipeline materialize --as-of 2025-03-12T12:00Z"
    )
    assert mail["To"] == "operator@example.com"
    text = mail.get_body(("plain",))
    assert text is not None
    assert text.get_content().split() == posted["message"].split()


def test_an_incident_is_told_once_and_its_end_once_whatever_is_restarted(tmp_path: Path, hook: Webhook) -> None:
    chosen = settings(tmp_path, hook.address, alert_pause_minutes=0)
    for minute, found in enumerate([healthy(), FAILED, FAILED, FAILED, healthy(), healthy()]):
        alert(chosen, found, NOON + timedelta(minutes=minute))
    assert [posted["title"] for posted in hook.got] == [
        "ghost_pipeline: run failed (1 new)",
        "ghost_pipeline: run failed (1 over)",
    ]
    assert hook.got[1]["message"] == (
        "Over since 2025-03-12 12:04 UTC: the run of hourly of 2025-03-12-11:00 failed (run-0) "
        "(since 2025-03-12 12:00 UTC)"
    )
    assert [posted["type"] for posted in hook.got] == ["failure", "success"]


def test_what_comes_and_goes_within_the_pause_is_not_told_again(tmp_path: Path, hook: Webhook) -> None:
    chosen = settings(tmp_path, hook.address)
    for minute in range(10):
        alert(chosen, healthy() if minute % 2 else FAILED, NOON + timedelta(minutes=minute))
    assert len(hook.got) == 1
    alert(chosen, healthy(), NOON + timedelta(minutes=10))
    assert [posted["title"] for posted in hook.got[1:]] == ["ghost_pipeline: run failed (1 over)"]


def test_incidents_of_one_kind_are_one_message(tmp_path: Path, hook: Webhook) -> None:
    now = NOON + timedelta(hours=5)
    alert(settings(tmp_path, hook.address), healthy(now), now)
    assert [posted["title"] for posted in hook.got] == ["ghost_pipeline: table late (2 new)"]


def test_a_message_tells_of_a_bounded_number_and_counts_the_others(tmp_path: Path, hook: Webhook) -> None:
    many = tuple(run(f"job_{number}", "", succeeded=False) for number in range(MOST_TOLD + 3))
    alert(settings(tmp_path, hook.address), replace(healthy(), runs=many), NOON)
    assert hook.got[0]["message"].endswith("… and 3 more: ghost-pipeline alert --dry-run")


def test_a_message_that_no_address_takes_is_sent_with_the_next_look(tmp_path: Path, hook: Webhook) -> None:
    chosen, hook.failing = settings(tmp_path, hook.address), True
    done = alert(chosen, FAILED, NOON)
    assert done is not None
    assert (done.sent, done.undelivered) == ((), ("address 1 (JSON)",))
    hook.failing = False
    alert(chosen, FAILED, LATER)
    assert len(hook.got) == 1


def test_an_address_that_fails_does_not_repeat_the_message_at_the_others(
    tmp_path: Path, hook: Webhook, box: Mailbox
) -> None:
    chosen, hook.failing = settings(tmp_path, hook.address, box.address), True
    done = alert(chosen, FAILED, NOON)
    alert(chosen, FAILED, NOON + timedelta(hours=1))
    assert done is not None
    assert (len(box.got), done.undelivered) == (1, ("address 1 (JSON)",))


def test_while_the_lake_is_unreadable_that_is_told_and_nothing_else_ends(tmp_path: Path, hook: Webhook) -> None:
    chosen = settings(tmp_path, hook.address, alert_pause_minutes=0)
    alert(chosen, FAILED, NOON)
    alert(chosen, "data/lake: cannot be read", LATER)
    assert [posted["title"] for posted in hook.got] == [
        "ghost_pipeline: run failed (1 new)",
        "ghost_pipeline: unreadable (1 new)",
    ]
    assert "Error: data/lake: cannot be read" in hook.got[1]["message"]


def test_rejected_rows_are_compared_with_the_fewest_of_the_last_day(tmp_path: Path, hook: Webhook) -> None:
    chosen = settings(tmp_path, hook.address, alert_pause_minutes=0)
    counts = {0: 12, 10: 60, 20: 112, 46: 112}
    for hour, rejected in counts.items():
        alert(chosen, replace(healthy(), rejected_rows=rejected), NOON + timedelta(hours=hour))
    told = [posted for posted in hook.got if "rejected" in posted["title"]]
    assert [posted["title"] for posted in told] == [
        "ghost_pipeline: rejected rows jumped (1 new)",
        "ghost_pipeline: rejected rows jumped (1 over)",
    ]
    assert "112 rows are rejected, 12 a day ago" in told[0]["message"]


def test_a_damaged_record_repeats_a_message_and_hides_none(tmp_path: Path, hook: Webhook) -> None:
    (tmp_path / f"{NAME}.json").write_text("{", encoding="utf-8")
    alert(settings(tmp_path, hook.address), FAILED, NOON)
    assert len(hook.got) == 1
    assert IncidentRecord.load(tmp_path).known[0].told


def test_a_look_beside_another_one_does_nothing(tmp_path: Path, hook: Webhook) -> None:
    with table_lock(tmp_path, NAME):
        assert alert(settings(tmp_path, hook.address), FAILED, NOON) is None
    assert hook.got == []


def test_a_wrong_address_is_named_by_its_position(tmp_path: Path, hook: Webhook) -> None:
    with pytest.raises(SettingsError, match="address 2 is not one of Apprise") as caught:
        alert(settings(tmp_path, hook.address, "jsn://ops:hunter2@host"), FAILED, NOON)
    assert "hunter2" not in str(caught.value)


def test_the_command_tests_addresses_and_shows_no_secret(tmp_path: Path, hook: Webhook) -> None:
    addresses = f"{hook.address} json://operator:swordfish@127.0.0.1:9/closed"
    done = command(["alert", "--test"], tmp_path, GHOST_ALERT_URLS=addresses)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "1 message sent",
        "ghost-pipeline: alert: not taken by address 2 (JSON). Check GHOST_ALERT_URLS and whether it answers",
    ]
    assert [posted["title"] for posted in hook.got] == ["ghost_pipeline: test"]


def test_no_command_shows_an_address(tmp_path: Path, hook: Webhook) -> None:
    for arguments in (["settings"], ["settings", "--json"], ["doctor"], ["status"]):
        done = command(arguments, tmp_path, GHOST_ALERT_URLS=hook.address)
        assert "swordfish" not in done.stdout + done.stderr


def test_the_command_sends_and_remembers(tmp_path: Path, demo_run: Path, hook: Webhook) -> None:
    look = partial(command, ["alert"], demo_run, GHOST_ALERT_URLS=hook.address, GHOST_WORK=str(tmp_path))
    first = look()
    assert first.returncode == 0, first.stderr
    assert "table late: cohort_ghost_data is late" in first.stdout
    assert first.stderr == "1 message sent\n"
    assert look().stderr == "0 messages sent\n"
    assert len(hook.got) == 1
    assert json.loads((tmp_path / f"{NAME}.json").read_bytes())["sent"].keys() == {"table late"}


def test_without_addresses_incidents_are_printed(demo_run: Path) -> None:
    done = command(["alert"], demo_run)
    assert done.returncode == 0
    assert "table late: user_ghost_stats is late" in done.stdout
    assert done.stderr == "GHOST_ALERT_URLS is not set: nothing is sent.\n"
    assert not (demo_run / f"{NAME}.json").exists()


def test_the_exit_code_of_status_is_1_if_a_table_is_late(demo_run: Path) -> None:
    done = command(["status", "--exit-code"], demo_run)
    assert done.returncode == 1
    assert done.stderr.startswith("ghost-pipeline: status: ")
    assert "is late: its newest partition 2025-03-12-11:00" in done.stderr
    assert len(done.stderr.splitlines()) == 1
