"""Text of any script passes through the steps unharmed, or is set aside with its reason and harms nobody else."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY, SESSION_NGRAM_SUMMARY
from ghost_pipeline.contracts.raw import SESSION_NGRAM_ERRORS, SESSION_NGRAM_SPEED
from ghost_pipeline.errors import SourceError
from ghost_pipeline.windows import Hour
from ghost_pipeline_tests.defs.typists import Typist

NOON = "2025-03-12-11:00"
WRITTEN: dict[str, str] = {
    "composed": "\u00e9t\u00e9",
    "a mark that nothing composes with": "q\u0323\u0307",
    "Hangul": "\ud55c\uad6d",
    "Arabic and Hebrew": "\u0633\u0644\u0627\u0645\u05e9\u05dc\u05d5\u05dd",
    "marks of direction": "\u202ea\u202c",
    "Chinese": "\u6f22\u5b57",
    "beyond the first plane": "\U00020000\U0001d11e",
    "an emoji of four people": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "an emoji with a tone": "\U0001f44b\U0001f3fd",
    "a flag": "\U0001f1eb\U0001f1ee",
    "control characters": "\x01\x1f\x7f\x85",
    "no-break and ideographic space": "a\u00a0b\u3000c",
    "quotes and signs of formats": "\"',;\\{}%_",
    "what looks like nothing": "null",
    "what looks like a formula": "=1+1",
    "no character": "\ufffe\uffff",
    "50 characters": "\u00e9" * 50,
}
SEPARATED = ("a b", "a\tb", "a\nb", "a\r\nb", "a\0b", " ", "\0")
"""Stored n-grams that extraction never makes."""
COMPOSED = {
    "e\u0301": "\u00e9",
    "q\u0307\u0323": "q\u0323\u0307",
    "\u1112\u1161\u11ab": "\ud55c",
    "\u212b": "\u00c5",
    "e\u0301" * 50: "\u00e9" * 50,
}
REJECTED = {
    "": "ngram_text is missing",
    "\u00e9" * 51: "ngram_text is longer than 50 characters",
    "\U0001f468" * 51: "ngram_text is longer than 50 characters",
}


@pytest.fixture
def typist(tmp_path: Path) -> Typist:
    """A typist with a session that says nothing yet."""
    typist = Typist(tmp_path)
    typist.session("s1", "2025-03-12T11:10:00Z", text="")
    return typist


def texts(typist: Typist, contract: Contract) -> list[str]:
    """The texts of a table after the run."""
    return sorted(typist.lake.scan(contract, [Hour.from_key(NOON)]).collect()["ngram_text"])


def as_ndjson(folder: Path, table: str, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{table}.ndjson").write_text(text, encoding="utf-8")


def as_csv(folder: Path, table: str, rows: list[dict[str, object]]) -> None:
    pl.DataFrame(rows).write_csv(folder / f"{table}.csv", quote_style="always")


def as_parquet(folder: Path, table: str, rows: list[dict[str, object]]) -> None:
    pl.DataFrame(rows).write_parquet(folder / f"{table}.parquet")


def as_categories(folder: Path, table: str, rows: list[dict[str, object]]) -> None:
    pl.DataFrame(rows).with_columns(pl.col("ngram_text").cast(pl.Categorical)).write_parquet(
        folder / f"{table}.parquet"
    )


every_format = pytest.mark.parametrize("write", [as_ndjson, as_csv, as_parquet, as_categories])


def deliver(typist: Typist, write: Callable[[Path, str, list[dict[str, object]]], None], given: Iterable[str]) -> None:
    """Run the hour with n-grams of the application's own in some format."""
    speed = [{"session_id": "s1", "ngram_text": text, "ngram_size": 2, "ms_per_keystroke": 100.0} for text in given]
    errors = [{"session_id": "s1", "ngram_text": text, "ngram_size": 2} for text in given]
    typist.write()
    write(typist.folder, "session_ngram_speed", speed)
    write(typist.folder, "session_ngram_errors", errors)
    typist.run_steps(NOON)


@every_format
def test_text_of_any_script_passes_unharmed(
    typist: Typist, write: Callable[[Path, str, list[dict[str, object]]], None]
) -> None:
    expected = sorted([*WRITTEN.values(), *SEPARATED])
    deliver(typist, write, expected)
    assert typist.rejected() == []
    for contract in (
        SESSION_NGRAM_SPEED,
        SESSION_NGRAM_ERRORS,
        NGRAM_SPEED_SUMMARIES,
        NGRAM_SPEED_SUMMARY_HISTORY,
        SESSION_NGRAM_SUMMARY,
    ):
        assert texts(typist, contract) == expected


@every_format
def test_text_is_kept_composed(typist: Typist, write: Callable[[Path, str, list[dict[str, object]]], None]) -> None:
    deliver(typist, write, COMPOSED)
    assert texts(typist, SESSION_NGRAM_SPEED) == sorted(COMPOSED.values())
    assert texts(typist, SESSION_NGRAM_ERRORS) == sorted(COMPOSED.values())


@every_format
def test_text_that_is_none_is_set_aside_row_by_row(
    typist: Typist, write: Callable[[Path, str, list[dict[str, object]]], None]
) -> None:
    deliver(typist, write, [*REJECTED, "th"])
    expected = sorted(
        (table, reason) for table in ("session_ngram_errors", "session_ngram_speed") for reason in REJECTED.values()
    )
    assert sorted((table, reason) for table, _, reason in typist.rejected()) == expected
    assert texts(typist, NGRAM_SPEED_SUMMARIES) == texts(typist, SESSION_NGRAM_ERRORS) == ["th"]


def test_half_an_emoji_reads_as_the_sign_for_no_character(typist: Typist) -> None:
    typist.measured("s1", "a\ud83d", 100)
    typist.measured("s1", "\udc68b", 100)
    typist.run(NOON)
    assert texts(typist, NGRAM_SPEED_SUMMARIES) == ["a\ufffd", "\ufffdb"]
    assert typist.rejected() == []


def test_bytes_that_are_no_text_are_an_error_of_their_file(typist: Typist) -> None:
    domains = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"\xed\xa0\xbd"))
    rows = {"session_id": ["s1"], "ngram_text": domains, "ngram_size": [2], "ms_per_keystroke": [100.0]}
    typist.write()
    pq.write_table(pa.table(rows), typist.folder / "session_ngram_speed.parquet")
    with pytest.raises(SourceError, match="table session_ngram_speed cannot be read"):
        typist.run_steps(NOON)


@pytest.mark.parametrize(
    "text", [text for name, text in WRITTEN.items() if name != "50 characters"], ids=list(WRITTEN)[:-1]
)
def test_keys_of_any_script_make_ngrams(typist: Typist, text: str) -> None:
    typist.typed("s1", f"x{text}")
    typist.run(NOON)
    assert max(texts(typist, NGRAM_SPEED_SUMMARIES), key=len) == text
    assert typist.rejected() == []


def test_a_key_may_be_many_characters(typist: Typist) -> None:
    family = WRITTEN["an emoji of four people"]
    for index, char in enumerate(["x", family, "e\u0301", family]):
        typist.key("s1", index, char)
    typist.run(NOON)
    found = typist.lake.scan(SESSION_NGRAM_SPEED).collect()
    sizes = dict(found.select("ngram_text", "ngram_size").unique().iter_rows())
    assert sizes == {family: 1, "\u00e9": 1, f"{family}\u00e9": 2, f"\u00e9{family}": 2, f"{family}\u00e9{family}": 3}


def test_a_key_that_types_a_separator_ends_an_ngram(typist: Typist) -> None:
    typist.typed("s1", "a\0b\tc\rd")
    typist.run(NOON)
    assert texts(typist, NGRAM_SPEED_SUMMARIES) == ["b", "c", "d"]
