"""Ids given as bytes, in files that come, change and go: the lake of one run over what is left."""

from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import NAMESPACE_OID, UUID, uuid5

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.ingest import read_policy
from ghost_pipeline_tests.examples import examples
from ghost_pipeline_tests.ingest.test_part_ledger import OTHERS, Exports, Row

FORMS = ("text", "bytes of text", "16 bytes", "fixed 16 bytes")
Content = list[tuple[int, int, str, bool]]
"""Rows of a file: number of the event, hour, user, and whether it is bad."""


def uuid(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, name)


class BytesExports(Exports):
    """Exports whose ids are UUIDs, spelled in another way in each file."""

    def __init__(self, folder: Path, table: str) -> None:
        super().__init__(folder, table)
        self.users = [str(uuid(one)) for one in ("u0", "u1")]
        self.contents: dict[str, tuple[str, Content]] = {}
        self.put("first", "16 bytes", [(0, 0, "u0", False)])

    def put(self, file: str, form: str, content: Content | None) -> None:
        if content is None:
            self.contents.pop(file, None)
            self.export(file, None)
            return
        self.contents[file] = form, content
        beside = self.source / "beside"
        pq.write_table(self._arrow(form, content), beside, row_group_size=2)
        beside.replace(self.folder / f"{file}.parquet")

    def _arrow(self, form: str, content: Content) -> pa.Table:
        rows: list[Row] = [self.row(f"e{name}", hour, user=user, bad=bad) for name, hour, user, bad in content]
        frame = pl.DataFrame(rows, schema=dict.fromkeys((one.name for one in self.table.columns), pl.String))
        time = str(self.table.time)
        table = frame.with_columns(pl.col(time).str.to_datetime(time_zone="UTC")).to_arrow()
        for name in (self.table.key[0], "user_id"):
            ids = [uuid(str(row[name])) for row in rows]
            table = table.set_column(table.column_names.index(name), name, _spelled(ids, form))
        return table


def _spelled(ids: list[UUID], form: str) -> pa.Array:
    if form == "text":
        return pa.array([str(one) for one in ids], pa.string())
    if form == "bytes of text":
        return pa.array([str(one).encode() for one in ids], pa.binary())
    return pa.array([one.bytes for one in ids], pa.binary() if form == "16 bytes" else pa.binary(16))


_rows = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(0, 70),
        st.sampled_from(["u0", "u1", "u2"]),
        st.sampled_from([False, False, True]),
    ),
    max_size=5,
)
_changes = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(FORMS), st.one_of(st.none(), _rows, _rows)), max_size=4
)
_rounds = st.lists(st.tuples(_changes, st.integers(-3, 12)), min_size=2, max_size=6)


@pytest.mark.parametrize("table", OTHERS)
@given(rounds=_rounds, memory=st.sampled_from(["enough", "for one hour"]), third=st.integers(0, 6))
@examples(3, 100)
def test_files_with_ids_as_bytes_in_any_order_end_as_from_scratch(
    table: str, rounds: list[tuple[list[tuple[str, str, Content | None]], int]], memory: str, third: int
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other, pytest.MonkeyPatch.context() as patch:
        if memory == "for one hour":
            patch.setattr(read_policy, "BYTES_OF_ROW", 2**40)
        exports, scratch = BytesExports(Path(one), table), BytesExports(Path(other), table)
        newest = hours = 30
        for number, (changes, later) in enumerate(rounds):
            if number == third:
                exports.users.append(str(uuid("u2")))
            for file, form, content in changes:
                exports.put(file, form, content)
            hours = max(hours + later, 1)
            newest = max(newest, hours)
            exports.run(hours)
        exports.run(newest)
        scratch.users = exports.users
        for file, (form, content) in exports.contents.items():
            scratch.put(file, form, content)
        scratch.run(newest)
        assert exports.content() == scratch.content()


@pytest.mark.parametrize("table", OTHERS)
@pytest.mark.parametrize("form", FORMS)
def test_an_id_is_the_same_however_its_file_spells_it(form: str, table: str, tmp_path: Path) -> None:
    exports = BytesExports(tmp_path, table)
    exports.put("one", form, [(1, 3, "u0", False), (2, 4, "u1", False)])
    exports.put("again", "text", [(1, 3, "u0", False)])
    exports.run(30)
    found = exports.lake.scan(exports.table.contract).collect()
    assert sorted(found[exports.table.key[0]]) == sorted(str(uuid(one)) for one in ("e0", "e1", "e2"))
    assert set(found["user_id"]) == set(exports.users)
