"""Derived contracts of the n-gram domain: summaries of typing speed, their history, and summaries of sessions."""

import dataframely as dy

from ghost_pipeline.contracts.columns import (
    Characters,
    as_of_column,
    computed_from,
    identifier,
    instant,
    row_id,
    row_written,
    small,
)
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.source import MAX_NGRAM_LENGTH
from ghost_pipeline.settings import MAX_NGRAM_SIZE

_MEASURED, _STARTED = "session_ngram_speed.ms_per_keystroke", "practice_sessions.start_time"
_AGAINST_TARGET = ("target_speed_ms", "decaying_average_ms")
_NGRAMS = tuple(f"session_ngram_{kind}.ngram_text" for kind in ("speed", "errors"))
_SIZES = tuple(f"session_ngram_{kind}.ngram_size" for kind in ("speed", "errors"))


class NgramSpeedSummaries(dy.Schema):
    """Current speed of a typist on an n-gram: the decaying average over the newest measurements."""

    summary_id = row_id("user_id, keyboard_id, ngram_text, ngram_size")
    user_id = identifier("The typist", primary_key=True)
    keyboard_id = identifier("The keyboard", primary_key=True)
    ngram_text = Characters(primary_key=True, min_length=1, max_length=MAX_NGRAM_LENGTH, description="The n-gram, NFC")
    ngram_size = dy.Int32(primary_key=True, min=1, max=MAX_NGRAM_SIZE, description="Number of keys")
    decaying_average_ms = computed_from(
        dy.Float64(min_exclusive=0, description="Weighted mean of ms per keystroke; older measurements weigh less"),
        _MEASURED,
        _STARTED,
    )
    target_speed_ms = computed_from(
        dy.Float64(min_exclusive=0, description="The keyboard's target, otherwise the default"),
        "keyboards.target_ms_per_keystroke",
    )
    target_performance_pct = computed_from(
        dy.Float64(min_exclusive=0, description="target / average x 100, without an upper limit"), *_AGAINST_TARGET
    )
    meets_target = computed_from(dy.Bool(description="Whether the average is at most the target"), *_AGAINST_TARGET)
    sample_count = computed_from(small("Measurements in the newest sessions that the summary covers", low=1), _MEASURED)
    measurements_used = computed_from(small("Newest measurements that enter the average", low=1), _MEASURED)
    last_measured = computed_from(instant("Start of the newest session with the n-gram"), _STARTED)
    last_updated = row_written("as_of at which the row last changed")
    created_at = row_written("as_of at which the n-gram was first summarised")
    as_of = as_of_column()


class NgramSpeedSummaryHistory(NgramSpeedSummaries):
    """History of the summaries: every summary that differs from the hour before, by hour."""

    as_of = computed_from(instant("End of the hour in which the summary changed", primary_key=True))


class SessionNgramSummary(dy.Schema):
    """Speed and errors of a session for each n-gram typed or mistyped in it."""

    session_id = identifier("The practice session", primary_key=True)
    user_id = identifier("The typist")
    keyboard_id = identifier("The keyboard")
    ngram_text = computed_from(
        Characters(primary_key=True, min_length=1, max_length=MAX_NGRAM_LENGTH, description="The n-gram, NFC"), *_NGRAMS
    )
    ngram_size = computed_from(
        dy.Int32(primary_key=True, min=1, max=MAX_NGRAM_SIZE, description="Number of keys"), *_SIZES
    )
    avg_ms_per_keystroke = computed_from(
        dy.Float64(
            nullable=True, min_exclusive=0, description="Mean of its measurements; null if there are only errors"
        ),
        _MEASURED,
    )
    instance_count = computed_from(small("Number of measurements and errors", low=1), *_NGRAMS)
    error_count = computed_from(small("Number of errors"), "session_ngram_errors.ngram_text")
    start_time = instant("When the session started")


NGRAM_SPEED_SUMMARIES = Contract(
    name="ngram_speed_summaries",
    schema=NgramSpeedSummaries,
    layer=Layer.NGRAMS,
    partitioning=Partitioning.SNAPSHOT_HOUR,
    grain="one n-gram of a typist on a keyboard at the end of an hour",
    published=True,
    indexes=(("user_id", "keyboard_id"), ("target_performance_pct", "meets_target")),
)

NGRAM_SPEED_SUMMARY_HISTORY = Contract(
    name="ngram_speed_summary_history",
    schema=NgramSpeedSummaryHistory,
    layer=Layer.NGRAMS,
    partitioning=Partitioning.CHANGE_HOUR,
    grain="one n-gram of a typist on a keyboard whose summary changed in an hour",
    published=True,
    append_only=True,
)
SESSION_NGRAM_SUMMARY = Contract(
    name="session_ngram_summary",
    schema=SessionNgramSummary,
    layer=Layer.NGRAMS,
    partitioning=Partitioning.EVENT_HOUR,
    grain="one n-gram of a practice session, in the hour in which the session started",
    published=True,
    sorted_by=("user_id", "keyboard_id", "session_id"),
    append_only=True,
)

NGRAM_CONTRACTS = {
    contract.name: contract for contract in (SESSION_NGRAM_SUMMARY, NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY)
}
