"""What nested streak shares tell about the one or two people between them."""

import pytest

from ghost_pipeline_tests.attacks import nested_shares
from ghost_pipeline_tests.attacks.nested_shares import WAYS, Publishing, shown_share, trials

TRIALS = 20
CLOSED = [one for one in WAYS if one.step > 1 and one.ends != "exact"]


@pytest.mark.parametrize("way", CLOSED)
def test_steps_of_five_without_exact_ends_tell_nothing(way: Publishing) -> None:
    told = trials(way, TRIALS)
    assert (told.trials, told.size, told.something) == (TRIALS, 0, 0)


@pytest.mark.parametrize("way", [one for one in WAYS if one not in CLOSED])
def test_whole_percentages_and_exact_ends_tell_most(way: Publishing) -> None:
    assert trials(way, TRIALS).something > TRIALS // 2


@pytest.mark.parametrize("way", CLOSED)
def test_exact_sizes_tell_in_spite_of_steps_of_five_percent(way: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested_shares, "SIZE_STEP", 1)
    told = trials(way, TRIALS)
    assert told.size == TRIALS
    assert told.something > TRIALS // 5


def test_shares_are_published_as_the_example_has_them() -> None:
    assert shown_share(10, 59, Publishing(1, "exact")) == (17, 9, 28)
    assert shown_share(10, 59, Publishing(5, "shown")) == (15, 8, 27)
