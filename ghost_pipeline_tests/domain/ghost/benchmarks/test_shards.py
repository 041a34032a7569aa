import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.domain.ghost.benchmarks.shards import numbered

IDS = st.lists(st.text(min_size=1), unique=True, max_size=50)


def members(ids: list[str], number: int, count: int) -> list[str]:
    users = numbered(pl.Series(ids, dtype=pl.String), count)
    return users.filter(pl.col("shard") == number)["user_id"].to_list()


@given(IDS, st.integers(1, 20))
def test_every_user_is_in_exactly_one_part(ids: list[str], count: int) -> None:
    parts = [members(ids, number, count) for number in range(count)]
    assert sorted(one for part in parts for one in part) == sorted(ids)


def test_the_part_of_a_user_never_changes() -> None:
    assert [n for n in range(16) if members(["learner-00042"], n, 16)] == [1]


@given(IDS, st.integers(1, 20))
def test_numbers_have_the_order_of_the_ids_whatever_the_shards(ids: list[str], count: int) -> None:
    users = numbered(pl.Series(ids, dtype=pl.String), count)
    assert users["user_id"].to_list() == sorted(ids, key=str.encode)
    assert users["number"].to_list() == list(range(len(ids)))
