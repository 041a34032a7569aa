from collections.abc import Callable

import pytest

from ghost_pipeline_tests.docs.pages import DOCS, PAGES


@pytest.mark.parametrize(("name", "page"), PAGES.items(), ids=PAGES)
def test_page_is_as_the_code_says(name: str, page: Callable[[], str]) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == page(), "run `make docs`"
