"""The mappings of docs/mappings, each on a small database of the shape of its system."""

import gzip
import hashlib
import json
import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.ingest.validation import REASON, read_rows
from ghost_pipeline.settings import MAX_TASK_MINUTES
from ghost_pipeline.sources.opening import open_source
from ghost_pipeline.sources.source import Source, Window, domains

if TYPE_CHECKING:
    from ghost_pipeline_tests.sources.mariadb import MariaDb

MAPPINGS = Path(__file__).parent.parent.parent / "docs" / "mappings"
PROGRESS = SOURCE_TABLES["user_progress"]
NOON = 1_741_780_800
"""12 March 2025, 12:00 UTC."""
HOUR = Window(datetime.fromtimestamp(NOON, UTC), datetime.fromtimestamp(NOON + 3600, UTC))

# As the installer of Moodle 4 makes them, without indexes and the columns that no task needs.
MOODLE = (
    """CREATE TABLE mdl_user (id bigint PRIMARY KEY AUTO_INCREMENT, auth varchar(20) DEFAULT 'manual',
        deleted tinyint(1) DEFAULT 0, suspended tinyint(1) DEFAULT 0, username varchar(100), password varchar(255),
        email varchar(100), timezone varchar(100) DEFAULT '99', firstaccess bigint DEFAULT 0,
        timecreated bigint DEFAULT 0, timemodified bigint DEFAULT 0)""",
    """CREATE TABLE mdl_cohort (id bigint PRIMARY KEY AUTO_INCREMENT, contextid bigint, name varchar(254),
        idnumber varchar(100), timecreated bigint, timemodified bigint)""",
    """CREATE TABLE mdl_cohort_members (id bigint PRIMARY KEY AUTO_INCREMENT, cohortid bigint, userid bigint,
        timeadded bigint)""",
    """CREATE TABLE mdl_quiz_attempts (id bigint PRIMARY KEY AUTO_INCREMENT, quiz bigint, userid bigint,
        attempt mediumint, preview smallint DEFAULT 0, state varchar(16), timestart bigint, timefinish bigint,
        sumgrades decimal(10,5))""",
    """CREATE TABLE mdl_logstore_standard_log (id bigint PRIMARY KEY AUTO_INCREMENT, eventname varchar(255),
        component varchar(100), action varchar(100), target varchar(100), objecttable varchar(50), objectid bigint,
        crud varchar(1), contextinstanceid bigint, userid bigint, courseid bigint, relateduserid bigint, other longtext,
        timecreated bigint, origin varchar(10), ip varchar(45))""",
    "CREATE TABLE mdl_course (id bigint PRIMARY KEY, fullname text, shortname varchar(255), visible tinyint(1))",
    "CREATE TABLE mdl_course_modules (id bigint PRIMARY KEY, course bigint, module bigint, instance bigint)",
    "CREATE TABLE mdl_modules (id bigint PRIMARY KEY, name varchar(20))",
    f"""INSERT INTO mdl_user (id, username, email, timezone, suspended, deleted, timecreated, firstaccess, timemodified)
        VALUES (1, 'guest', '', '99', 0, 0, 0, 0, 0), (2, 'ada', 'ada@example.org', 'Europe/Berlin', 0, 0, {NOON - 900},
        0, {NOON - 800}), (3, 'bob', 'bob@example.org', '99', 1, 0, 0, {NOON - 700}, {NOON - 600}),
        (4, 'eve', 'eve@example.org', '99', 0, 1, {NOON}, 0, {NOON})""",  # noqa: S608 - literals
    f"INSERT INTO mdl_cohort VALUES (10, 1, 'Spring', 'spring', {NOON - 999}, 0), (11, 1, 'Summer', '', {NOON}, 0)",  # noqa: S608
    f"INSERT INTO mdl_cohort_members VALUES (1, 10, 2, {NOON - 500}), (2, 11, 2, {NOON - 400})",  # noqa: S608
    f"""INSERT INTO mdl_quiz_attempts VALUES (1, 1, 2, 1, 0, 'finished', {NOON}, {NOON + 90}, 8),
        (2, 1, 2, 2, 0, 'inprogress', {NOON}, 0, NULL), (3, 1, 2, 1, 1, 'finished', {NOON}, {NOON + 60}, 8),
        (4, 1, 3, 1, 0, 'finished', {NOON - 7200}, {NOON - 3600}, 8),
        (5, 1, 3, 1, 0, 'finished', {NOON - 86_401}, {NOON}, 8),
        (6, 1, 3, 1, 0, 'finished', {NOON - 86_399}, {NOON + 1}, 8)""",  # noqa: S608
    "INSERT INTO mdl_modules VALUES (1, 'assign'), (2, 'page'), (3, 'quiz'), (4, 'bigbluebuttonbn')",
    "INSERT INTO mdl_course VALUES (5, 'English', 'EN', 1), (6, 'Hidden', 'H', 0)",
    "INSERT INTO mdl_course_modules VALUES (50, 5, 1, 1), (51, 5, 2, 1), (52, 5, 3, 1), (53, 5, 4, 1), (60, 6, 2, 1)",
    "INSERT INTO mdl_logstore_standard_log (eventname, component, action, target, contextinstanceid, userid, "  # noqa: S608
    "relateduserid, other, timecreated) VALUES "
    + ", ".join(
        f"('\\\\core\\\\event\\\\course_module_completion_updated', 'core', 'updated', 'course_module_completion', "
        f"{module}, 2, {user}, '{other}', {NOON + seconds})"
        for module, user, other, seconds in (
            (50, 2, '{"relateduserid":"2","overrideby":null,"completionstate":1}', 100),
            (51, 3, 'a:1:{s:15:"completionstate";i:2;}', 200),
            (51, 2, '{"completionstate":0}', 300),
            (52, 2, '{"completionstate":1}', 300),
            (53, 2, '{"completionstate":1}', 300),
            (60, 2, '{"completionstate":1}', 300),
            (51, 2, '{"completionstate":"1"}', 4000),
        )
    ),
    f"""INSERT INTO mdl_logstore_standard_log (component, action, target, contextinstanceid, userid, timecreated)
        VALUES ('core', 'loggedin', 'user', 0, 2, {NOON})""",  # noqa: S608
)


def rows(source: Source, table: str, window: Window | None = None) -> pl.DataFrame:
    """The good rows of a table by their id; none is rejected."""
    contract = SOURCE_TABLES[table]
    read = read_rows(source.scan(contract, window), contract, MAX_TASK_MINUTES).sort(contract.key).collect()
    assert read[REASON].to_list() == [None] * read.height
    return read


def left_empty(page: str) -> dict[str, set[str]]:
    """The columns of which a page says that they stay empty, by table."""
    text = (MAPPINGS / page).read_text(encoding="utf-8").partition("cannot fill")[2]
    found = re.findall(r"^\| (\w[\w, ]*) \| ([^|]*) \|$", text, re.MULTILINE)
    assert found[0] == ("table", "columns")
    return {table: set(columns.split(", ")) for table, columns in found[1:]}


def assert_says_what_stays_empty(source: Source, page: str) -> None:
    said = left_empty(page)
    for name in source.tables():
        columns = {one.name for one in SOURCE_TABLES[name].columns} - source.inspect(SOURCE_TABLES[name]).columns.keys()
        assert columns == {one for one in said.get(name, set()) if " " not in one}, name


# --- Moodle ---


@pytest.fixture
def moodle(mariadb: "MariaDb") -> Source:
    mariadb.execute(*MOODLE)
    return open_source(mariadb.address, MAPPINGS / "moodle.yaml")


def test_moodle_gives_people_with_their_last_cohort(moodle: Source) -> None:
    with closing(moodle) as source:
        assert domains(source) == {Domain.GHOST}
        columns = ("user_id", "cohort_id", "timezone", "cohort_excluded")
        assert rows(source, "users").select(columns).rows() == [
            ("2", "11", "Europe/Berlin", False),
            ("3", None, None, True),
        ]
        times = rows(source, "users").select(pl.col("updated_at", "created_at").dt.epoch("s") - NOON).rows()
        assert times == [(-400, -900), (-600, -700)]
        assert rows(source, "cohorts").select("cohort_id", "cohort_key").rows() == [("10", "spring"), ("11", None)]


def test_moodle_gives_attempts_and_completions(moodle: Source) -> None:
    with closing(moodle) as source:
        columns = ("progress_id", "user_id", "task_type", "time_spent_ms")
        found = rows(source, "user_progress", HOUR).select(columns).rows()
        assert found == [
            ("log-1", "2", "writing", 0),
            ("log-2", "3", "reading", 0),
            ("quiz-1", "2", "mock_test", 90_000),
            ("quiz-5", "3", "mock_test", 0),
            ("quiz-6", "3", "mock_test", 86_400_000),
        ]
        assert rows(source, "user_progress")["progress_id"].to_list() == [
            *("log-1", "log-2", "log-7", "quiz-1", "quiz-4", "quiz-5", "quiz-6")
        ]


def test_the_page_of_moodle_says_what_stays_empty(moodle: Source) -> None:
    with closing(moodle) as source:
        assert_says_what_stays_empty(source, "moodle.md")


# --- Open edX ---


def tracked(name: str, seconds: float, user: object = 5, **more: object) -> str:
    """A line of a tracking log."""
    time = datetime.fromtimestamp(NOON + seconds, UTC).isoformat()
    context = {"user_id": user, "org_id": "edX", "course_id": more.pop("course", "course-v1:edX+En+2025"), "path": "/x"}
    event = {"username": "ada", "name": name, "event_type": name, "event_source": "server", "time": time, "ip": "::1"}
    return json.dumps({**event, "context": context, "event": {"attempts": 1}, **more})


LOG = [
    tracked("edx.course.enrollment.activated", -7200, course="course-v1:edX+Old+2024"),
    tracked("edx.course.enrollment.activated", -3600),
    tracked("problem_check", 10),
    tracked("problem_check", 10),
    tracked("problem_check", 11, event_source="browser", event="input_1=a"),
    tracked("stop_video", 20, event='{"id": "v", "currentTime": 1.5}'),
    tracked("edx.forum.thread.created", 30, user="6"),
    tracked("edx.forum.thread.created", 4000, user=6),
    tracked("problem_check", 40, user=""),
    tracked("problem_check", 40, user=None),
    tracked("page_close", 50),
    "a line that a crash cut off {",
]


@pytest.fixture
def openedx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "tracking.log").write_text("\n".join(LOG), encoding="utf-8")
    for _ in range(2):
        load()
    return open_source("duckdb:///openedx.duckdb", MAPPINGS / "openedx.yaml")


def load(system: str = "openedx") -> int:
    """Run the script of a system; returns the lines that it says it left out."""
    with duckdb.connect(f"{system}.duckdb") as connection:
        said = connection.sql((MAPPINGS / f"{system}.sql").read_text(encoding="utf-8"))
        ((left_out,),) = said.fetchall()
        return int(left_out)


def test_open_edx_counts_the_lines_that_are_no_json(openedx: Source, tmp_path: Path) -> None:
    openedx.close()
    (tmp_path / "tracking" / "tracking.log-2").write_text(
        "{\n" + tracked("page_close", 70) + "\n}{\n", encoding="utf-8"
    )
    assert load() == 3


def test_open_edx_gives_people_with_their_last_course(openedx: Source) -> None:
    with closing(openedx) as source:
        assert domains(source) == {Domain.GHOST}
        users = rows(source, "users").select("user_id", "cohort_id", pl.col("created_at").dt.epoch("s") - NOON).rows()
        assert users == [("5", "course-v1:edX+En+2025", -7200), ("6", None, 30)]
        assert rows(source, "cohorts")["cohort_id"].to_list() == ["course-v1:edX+En+2025", "course-v1:edX+Old+2024"]


def test_open_edx_gives_each_task_once(openedx: Source) -> None:
    with closing(openedx) as source:
        columns = ("user_id", "task_type", pl.col("completed_at").dt.epoch("s") - NOON)
        found = rows(source, "user_progress", HOUR).sort("completed_at").select(columns).rows()
        assert found == [("5", "grammar", 10), ("5", "listening", 20), ("6", "writing", 30)]
        assert rows(source, "user_progress").height == 4


def test_lines_that_are_added_are_read(openedx: Source, tmp_path: Path) -> None:
    with closing(openedx) as source:
        before = rows(source, "user_progress").height
    with (tmp_path / "tracking" / "tracking.log").open("a", encoding="utf-8") as log:
        log.write("\n" + tracked("stop_video", 60, user=7) + "\n")
    load()
    with closing(open_source("duckdb:///openedx.duckdb", MAPPINGS / "openedx.yaml")) as source:
        assert rows(source, "user_progress").height == before + 1


def test_the_page_of_open_edx_says_what_stays_empty(openedx: Source) -> None:
    with closing(openedx) as source:
        assert_says_what_stays_empty(source, "openedx.md")


# --- xAPI ---

VERBS, ACTIVITIES = "http://adlnet.gov/expapi/verbs/", "http://adlnet.gov/expapi/activities/"
ADA, BOB = {"account": {"homePage": "https://lms.example", "name": "ada"}}, {"mbox": "mailto:bob@example.org"}
BOB_HASH = hashlib.sha1(b"mailto:bob@example.org").hexdigest()  # noqa: S324 - as the standard says


def stated(number: int, verb: str, kind: str, seconds: float, actor: object = ADA, **more: object) -> str:
    """A statement, as a line."""
    time = datetime.fromtimestamp(NOON + seconds, UTC).isoformat()
    made = {"id": f"A{number:07}-0000-4000-8000-000000000000", "actor": actor, "timestamp": time, "stored": time}
    activity = {"id": f"https://lms.example/{kind}", "definition": {"type": ACTIVITIES + kind, "name": {"en": "A"}}}
    return json.dumps({**made, "verb": {"id": VERBS + verb}, "object": activity, **more})


STATEMENTS = [
    stated(1, "registered", "course", -7200),
    stated(2, "registered", "programme", -3600),
    stated(3, "completed", "lesson", 10, result={"duration": "PT1H2M30.5S", "completion": True}),
    stated(3, "completed", "lesson", 10, result={"duration": "PT1H2M30.5S", "completion": True}),
    stated(4, "completed", "assessment", 20, BOB, result={"duration": "P2DT5M"}),
    stated(5, "answered", "cmi.interaction", 30, {"mbox_sha1sum": BOB_HASH}, result={"duration": "PT45S"}),
    stated(6, "answered", "lesson", 40),
    stated(7, "completed", "profile", 50),
    stated(8, "completed", "lesson", 60, {"objectType": "Group", **ADA}),
    stated(9, "completed", "lesson", 70),
    stated(10, "voided", "x", 80, object={"objectType": "StatementRef", "id": "a0000009-0000-4000-8000-000000000000"}),
    stated(11, "completed", "media", 4000, timestamp=None),
    "a line that a crash cut off {",
]


@pytest.fixture
def xapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "statements").mkdir()
    lines = "\n".join(STATEMENTS)
    (tmp_path / "statements" / "old.ndjson").write_text(lines, encoding="utf-8")
    (tmp_path / "statements" / "new.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    assert load("xapi") == load("xapi") == 2
    return open_source("duckdb:///xapi.duckdb", MAPPINGS / "xapi.yaml")


def test_xapi_gives_people_with_what_they_registered_for_last(xapi: Source) -> None:
    with closing(xapi) as source:
        assert domains(source) == {Domain.GHOST}
        columns = ("user_id", "cohort_id", pl.col("created_at").dt.epoch("s") - NOON)
        users = rows(source, "users").sort("created_at").select(columns).rows()
        assert users == [("ada", "https://lms.example/programme", -7200), (BOB_HASH, None, 20)]
        assert rows(source, "cohorts")["cohort_id"].to_list() == [
            "https://lms.example/course",
            "https://lms.example/programme",
        ]


def test_xapi_gives_each_task_once_with_its_minutes(xapi: Source) -> None:
    with closing(xapi) as source:
        columns = ("user_id", "task_type", "time_spent_ms", pl.col("completed_at").dt.epoch("s") - NOON)
        found = rows(source, "user_progress", HOUR).sort("completed_at").select(columns).rows()
        assert found == [
            ("ada", "reading", 3_750_500, 10),
            (BOB_HASH, "mock_test", 0, 20),
            (BOB_HASH, "grammar", 45_000, 30),
        ]
        assert rows(source, "user_progress").height == 4


def test_the_page_of_xapi_says_what_stays_empty(xapi: Source) -> None:
    with closing(xapi) as source:
        assert_says_what_stays_empty(source, "xapi.md")
