"""The cache that is bounded by bytes."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from ghost_pipeline.serving.bounded_cache import ENTRY_BYTES, BoundedCache

MOST = 10 * ENTRY_BYTES


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12 * ENTRY_BYTES))))
def test_it_never_takes_more_than_its_bound(asked: list[tuple[int, int]]) -> None:
    cache, sizes = BoundedCache(MOST), dict[int, int]()
    for key, size in asked:
        expected = sizes.setdefault(key, size)
        assert len(cache.get(key, partial(bytes, expected), len)) == expected
        assert 0 <= cache.held_bytes <= MOST


def test_what_was_used_last_stays_and_is_made_once() -> None:
    cache, made = BoundedCache(3 * ENTRY_BYTES), list[str]()

    def make(key: str) -> str:
        made.append(key)
        return ""

    for key in ("a", "b", "c", "a", "d", "a", "b"):
        cache.get(key, partial(make, key), len)
    assert made == ["a", "b", "c", "d", "b"]


def test_a_value_larger_than_all_is_not_kept() -> None:
    cache = BoundedCache(MOST)
    assert cache.get("small", lambda: b"x", len) == b"x"
    assert len(cache.get("large", lambda: b"x" * MOST, len)) == MOST
    assert cache.get("small", lambda: b"another", len) == b"x"


def test_after_clearing_everything_is_made_again() -> None:
    cache = BoundedCache(MOST)
    cache.get("key", lambda: "before", len)
    cache.clear()
    assert cache.held_bytes == 0
    assert cache.get("key", lambda: "after", len) == "after"
