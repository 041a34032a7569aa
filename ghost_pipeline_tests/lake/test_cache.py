"""What steps keep: worth something or nothing, never something wrong."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.errors import LakeError
from ghost_pipeline.lake.cache import CACHE, Cache, clear_cache
from ghost_pipeline_tests.examples import examples

FRAME = pl.DataFrame({"name": ["a", None], "number": [1, 2]})
OTHERS = FRAME.rename({"number": "count"})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path, "things")


def file(folder: Path) -> Path:
    (found,) = (folder / CACHE).rglob("*.arrow")
    return found


def test_a_frame_comes_back_as_it_was(cache: Cache) -> None:
    cache.write({"one": FRAME, "of/many": FRAME.reverse()})
    assert cache.read("one", FRAME.schema).equals(FRAME)
    assert cache.read("of/many", FRAME.schema).equals(FRAME.reverse())


def test_another_frame_takes_its_place(cache: Cache) -> None:
    cache.write({"one": FRAME})
    cache.write({"one": FRAME.reverse()})
    assert cache.read("one", FRAME.schema).equals(FRAME.reverse())


def test_tables_do_not_share_frames(cache: Cache, tmp_path: Path) -> None:
    cache.write({"one": FRAME})
    assert Cache(tmp_path, "other things").read("one", FRAME.schema).is_empty()


def test_what_is_not_there_has_no_rows(cache: Cache) -> None:
    assert cache.read("one", FRAME.schema).equals(FRAME.clear())


def test_a_frame_of_another_shape_counts_as_none(cache: Cache) -> None:
    cache.write({"one": OTHERS})
    assert cache.read("one", FRAME.schema).equals(FRAME.clear())


@pytest.mark.parametrize("content", [b"", b"PAR1", bytes(500)])
def test_another_file_counts_as_none(cache: Cache, tmp_path: Path, content: bytes) -> None:
    cache.write({"one": FRAME})
    file(tmp_path).write_bytes(content)
    assert cache.read("one", FRAME.schema).equals(FRAME.clear())


@examples(10, 30)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_bit_that_was_altered_is_noticed(place: float, bit: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        Cache(folder, "things").write({"one": FRAME})
        content = bytearray(file(folder).read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        file(folder).write_bytes(content)
        assert Cache(folder, "things").read("one", FRAME.schema).is_empty()


def test_what_is_forgotten_is_gone(cache: Cache) -> None:
    cache.write({"one": FRAME, "two": FRAME})
    cache.remove("one")
    cache.remove("one")
    assert cache.read("one", FRAME.schema).is_empty()
    assert cache.read("two", FRAME.schema).equals(FRAME)


def test_everything_can_be_forgotten_at_once(cache: Cache, tmp_path: Path) -> None:
    clear_cache(tmp_path)
    cache.write({"one": FRAME})
    clear_cache(tmp_path)
    assert not (tmp_path / CACHE).exists()


def test_a_frame_that_cannot_be_written_is_one_clear_error(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / CACHE).write_text("in the way", encoding="utf-8")
    with pytest.raises(LakeError, match="cannot be written"):
        cache.write({"one": FRAME})
