import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ghost_pipeline.domain.shared import id_join
from ghost_pipeline.domain.shared.id_join import joined_by_id

ids = st.sampled_from(["a", "b", "c", "aa", "bb", "", "a long id, kept outside of the column"])
rows = st.lists(ids | st.none(), max_size=12)


def by_length(on: str) -> pl.Expr:
    """A hash that many ids share."""
    return pl.col(on).str.len_bytes().cast(pl.UInt64).alias("_id_hash")


@pytest.fixture(params=["as it is", "many ids share one"], scope="module")
def _hashes(request: pytest.FixtureRequest) -> object:
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "as it is":
            patch.setattr(id_join, "_hash_of", by_length)
        yield


@pytest.mark.usefixtures("_hashes")
@given(rows, st.lists(ids | st.none(), max_size=12))
def test_the_join_by_hashes_is_the_inner_join_of_the_ids(left: list[str | None], right: list[str | None]) -> None:
    one = pl.LazyFrame({"id": left, "row": range(len(left))}, schema={"id": pl.String, "row": pl.Int64})
    other = pl.LazyFrame({"id": right, "place": range(len(right))}, schema={"id": pl.String, "place": pl.Int64})
    expected = one.join(other, on="id").sort("row", "place")
    assert_frame_equal(joined_by_id(one, other, "id").sort("row", "place").collect(), expected.collect())
