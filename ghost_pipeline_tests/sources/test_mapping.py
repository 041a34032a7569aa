"""The mapping file: what it may say, and that a mistake is named by file, table and key."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.contracts.raw import SOURCE_TABLES
from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.mapping import load_mapping
from ghost_pipeline.sources.opening import open_source

DOCS = Path(__file__).parent.parent.parent / "docs"
COHORTS, USERS = SOURCE_TABLES["cohorts"], SOURCE_TABLES["users"]


def written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("people: {table: p}", "table people: is not a canonical table; those are users, cohorts, "),
        ("users: {columns: {id: x}}", "table users, columns.id: is not a canonical column; those are user_id, "),
        ("users: {tabel: people}", "table users, tabel: Extra inputs are not permitted"),
        ("users: {table: 7}", "table users, table: Input should be a valid string"),
        ("users: {table: ''}", "table users, table: String should have at least 1 character"),
        ('users: {table: "a\\0b"}', "table users, table: String should match pattern"),
        ("users: {columns: {user_id: }}", "table users, columns.user_id: Input should be a valid string"),
        ("users: people", "table users: Input should be a valid dictionary"),
        ("users: {table: " + "a" * 201 + "}", "table users, table: String should have at most 200 characters"),
        ("users: {}", "table users: says nothing: name a table, columns, a format, keys or a query"),
        ("users: {table: people, query: SELECT 1}", "table users: has a query, whose columns have the canonical names"),
        ("users: {format: {delimiter: '\"'}}", "table users, format: delimiter and quote are two characters"),
        ("users: {format: {delimiter: ',', quote: ','}}", "table users, format: delimiter and quote are two char"),
        (
            'users: {format: {delimiter: "\\n"}}',
            "table users, format: delimiter and quote are two characters, and none",
        ),
        ("users: {format: {escape: '!'}}", "table users, format: escape is a backslash or the quote itself"),
        ("users: {query: \"SELECT '{start}'\"}", "table users: {start} and {end} are values, not text"),
        ("- users", "Input should be a valid dictionary"),
        ("users: [", "is not valid YAML (line 1: "),
        ("users: !!python/object:os.system {}", "is not valid YAML (line 1: could not determine a constructor"),
    ],
)
def test_a_mistake_is_named_by_file_table_and_key(text: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SourceError) as raised:
        load_mapping(path)
    message = str(raised.value)
    assert message.startswith(f"mapping {path}: {says}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "users: {table: a}\ncohorts: {table: b}\nusers: {table: c}",
            "line 3: the key users is given a second time, after line 1",
        ),
        ("users: {table: a}\n'users': {table: c}", "line 2: the key users is given a second time"),
        ("users:\n  table: a\n  table: b", "line 3: the key table is given a second time, after line 2"),
        ("users:\n  columns:\n    user_id: a\n    user_id: a", "line 4: the key user_id is given a second time"),
        ("users: {columns: {user_id: a, user_id: b}}", "line 1: the key user_id is given a second time"),
        ("a: " + "[" * 2000 + "]" * 2000, "line 1: is nested more than 10 levels deep"),
        ("\n".join("  " * n + "a:" for n in range(2000)), "line 11: is nested more than 10 levels deep"),
        ("- " * 2000, "line 1: is nested more than 10 levels deep"),
        ("users: &a {table: a}\ncohorts: *a", "line 2: an alias (*name) is not read"),
        ("users: &a {columns: *a}", "line 1: an alias (*name) is not read"),
        ("users: {<<: {table: a}}", "line 1: a merge (<<) is not read"),
        ("1: {table: a}", "line 1: a key is not text: put it in quotes"),
        ("users: {columns: {no: a}}", "line 1: a key is not text"),
        ("? [users]\n: {table: a}", "line 1: a key is not text"),
        ("? {a: b}\n: {table: a}", "line 1: a key is not text"),
        ("~: {table: a}", "line 1: a key is not text"),
        ("2025-03-12: {table: a}", "line 1: a key is not text"),
        ("users:\n  table: 2025-13-45", "line 2: a value is not what it looks like"),
        ("users: {table: " + "9" * 5000 + "}", "line 1: a value is not what it looks like"),
        ("users: {table: !!timestamp soon}", "line 1: a value is not what it looks like"),
        ("users: {table: !!bool soon}", "line 1: a value is not what it looks like"),
        ("users:\n\ttable: a", "line 2: found character '\\t' that cannot start any token"),
        ("users:\n  table: a\x07\n", "line 2: a character U+0007 is not allowed"),
        ("users: {table: a}\n---\ncohorts: {table: b}", "line 2: but found another document"),
        ("users: {table: a", "line 1: expected ',' or '}', but got '<stream end>'"),
        ("%YAML 9.9\n---\nusers: {}", "line 1: found incompatible YAML document"),
    ],
)
def test_what_a_mapping_does_not_need_is_one_line_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SourceError) as raised:
        load_mapping(path)
    message = str(raised.value)
    assert message.startswith(f"mapping {path}: is not valid YAML ({says}")
    assert message.endswith("). Correct it there")
    assert "\n" not in message


TEXTS = st.one_of(
    st.text(alphabet="users: table{}[]&*<>!|?-'\"\n\t\x00#%,\u2028é1", max_size=40),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.text(max_size=5)),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["users", "table", "columns", 1]), inner)
        ),
    ).map(yaml.safe_dump),
)


@given(text=TEXTS)
@settings(deadline=None)
def test_any_text_is_a_mapping_or_one_line(text: str) -> None:
    with TemporaryDirectory() as folder:
        try:
            load_mapping(written(Path(folder), text))
        except SourceError as error:
            assert str(error).startswith(f"mapping {folder}/own.yaml: ")  # noqa: PT017 - most texts are none
            assert len(str(error).splitlines()) == 1  # noqa: PT017


def test_a_mark_for_the_order_of_bytes_is_no_text(tmp_path: Path) -> None:
    assert set(load_mapping(written(tmp_path, "\ufeffusers: {table: people}")).tables) == {"users"}


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"table users, x: .*; table cohorts, y: "):
        load_mapping(written(tmp_path, "users: {x: 1, table: a}\ncohorts: {y: 1, table: b}"))


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read_is_named_with_its_setting(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    if content:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"mapping {path}: cannot be read \(.*\). Correct GHOST_SOURCE_MAPPING"):
        load_mapping(path)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_a_mapping_may_say_nothing(text: str, tmp_path: Path) -> None:
    assert load_mapping(written(tmp_path, text)).tables == {}


# --- files ---


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "v1.groups.csv").write_text("id,cohort_id,cohort_key,note\nc1,not this,k1,n\n", encoding="utf-8")
    return folder


def scanned(tmp_path: Path, text: str) -> pl.DataFrame:
    source = open_source(str(folder_of(tmp_path)), written(tmp_path, text))
    return source.scan(COHORTS).collect()


def test_files_and_columns_may_have_own_names(tmp_path: Path) -> None:
    rows = scanned(tmp_path, "cohorts: {table: v1.groups, columns: {cohort_id: id}}")
    assert rows.to_dicts() == [{"cohort_id": "c1", "cohort_key": "k1"}]


def test_columns_of_a_file_may_change_places(tmp_path: Path) -> None:
    rows = scanned(tmp_path, "cohorts: {table: v1.groups, columns: {cohort_id: cohort_key, cohort_key: cohort_id}}")
    assert rows.select("cohort_id", "cohort_key").rows() == [("k1", "not this")]


def test_a_mapped_column_that_a_file_lacks_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"own\.yaml: table cohorts, columns\.cohort_id: .*v1\.groups\.csv has no column"
    ):
        scanned(tmp_path, "cohorts: {table: v1.groups, columns: {cohort_id: group_id}}")


def test_a_column_of_a_file_is_mapped_once(tmp_path: Path) -> None:
    mapping = load_mapping(written(tmp_path, "cohorts: {columns: {cohort_id: course, cohort_key: course}}"))
    with pytest.raises(SourceError, match=r"table cohorts, columns\.cohort_key: course is cohort_id already"):
        FileSource(tmp_path, mapping)


def test_a_mapped_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = open_source(str(folder_of(tmp_path)), written(tmp_path, "users: {table: people}"))
    with pytest.raises(SourceError, match=r"table users is missing. Add people\.parquet, \.csv or \.ndjson"):
        source.scan(USERS)


def test_a_folder_answers_no_queries(tmp_path: Path) -> None:
    mapping = load_mapping(written(tmp_path, "users: {query: SELECT 1}"))
    with pytest.raises(SourceError, match=r"own\.yaml: table users, query: files answer no queries\. Name a file"):
        FileSource(tmp_path, mapping)


EXAMPLES = re.findall(r"```yaml\n(.*?)```", (DOCS / "source.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_mapping_of_the_documentation_is_one(example: str, tmp_path: Path) -> None:
    assert set(load_mapping(written(tmp_path, example)).tables) <= {"users", "user_progress", "session_keystrokes"}


def test_keys_that_are_sent_by_name_are_translated(tmp_path: Path) -> None:
    table, text = SOURCE_TABLES["session_keystrokes"], 'session_keystrokes: {key_names: {Backspace: "\\b", Space: " "}}'
    columns = {column.name: ["x", "x"] for column in table.columns}
    characters = {"keystroke_char": ["Backspace", "a"], "expected_char": ["Space", None]}
    pl.DataFrame(columns | characters).write_parquet(tmp_path / "session_keystrokes.parquet")
    found = FileSource(tmp_path, load_mapping(written(tmp_path, text))).scan(table).collect()
    assert found.select("keystroke_char", "expected_char").rows() == [("\b", " "), ("a", None)]
