"""Rows of groups in a temporary file come back as they were."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.spill import Groups

ROWS = pl.DataFrame(
    {
        "id": ["a", "b", None],
        "code": pl.Series(["x", "y", "x"], dtype=pl.Enum(["x", "y"])),
        "took": [timedelta(seconds=1), None, timedelta(0)],
        "price": [Decimal("1.50"), None, Decimal("0.01")],
        "row": [{"raw": "1", "none": None}, {"raw": None, "none": None}, {"raw": "3", "none": None}],
    }
)


def test_frames_come_back_by_group_in_their_order_with_their_types() -> None:
    with Groups() as groups:
        for group, rows in ((0, ROWS), (1, ROWS.head(1)), (0, ROWS.tail(2))):
            groups.add(group, rows)
        assert [one.equals(other) for one, other in zip(groups.read(0), (ROWS, ROWS.tail(2)), strict=True)] == [
            True
        ] * 2
        assert groups.read(0)[0].schema == ROWS.schema
        assert groups.read(1)[0].equals(ROWS.head(1))
        assert groups.read("none") == []


def test_a_temporary_folder_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(SourceError, match=r"^/nowhere: rows of the source cannot be kept there .* set TMPDIR"):
        Groups()
