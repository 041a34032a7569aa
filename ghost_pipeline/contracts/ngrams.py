"""Contracts of the n-gram half that are derived: summaries of typing speed, their history, and of sessions."""

import dataframely as dy

from ghost_pipeline.contracts.columns import Characters, as_of_column, identifier, instant, row_id, small
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.raw import MAX_NGRAM_SIZE
from ghost_pipeline.contracts.source import MAX_NGRAM_LENGTH


class NgramSpeedSummaries(dy.Schema):
    """Current speed of a typist on an n-gram: the decaying average over the newest measurements (N2, N3)."""

    summary_id = row_id("user_id, keyboard_id, ngram_text, ngram_size")
    user_id = identifier("The typist", primary_key=True)
    keyboard_id = identifier("The keyboard", primary_key=True)
    ngram_text = Characters(
        primary_key=True, min_length=1, max_length=MAX_NGRAM_LENGTH, description="The n-gram, NFC (N5.1)"
    )
    ngram_size = dy.Int32(primary_key=True, min=1, max=MAX_NGRAM_SIZE, description="Number of keys")
    decaying_average_ms = dy.Float64(min_exclusive=0, description="Weighted mean of ms per keystroke (N2.1)")
    target_speed_ms = dy.Float64(min_exclusive=0, description="The keyboard's target, else the default (N3.2)")
    target_performance_pct = dy.Float64(min_exclusive=0, description="target / average x 100, not clamped (N3.2)")
    meets_target = dy.Bool(description="average <= target (N3.2)")
    sample_count = small("Measurements in the window of sessions (N3.1)", low=1)
    measurements_used = small("Those of them in the average (N3.1)", low=1)
    last_measured = instant("Start of the newest session with the n-gram")
    last_updated = instant("as_of at which the row last changed (G1.10)")
    created_at = instant("as_of at which the n-gram was first summarised (G1.10)")
    as_of = as_of_column()


class NgramSpeedSummaryHistory(NgramSpeedSummaries):
    """How the summaries became what they are: those that differ from an hour before, by that hour (N3.5)."""

    as_of = instant("End of the hour in which the summary changed (G1.1)", primary_key=True)


class SessionNgramSummary(dy.Schema):
    """What a session says about each n-gram that was typed or mistyped in it (N3.6)."""

    session_id = identifier("The practice session", primary_key=True)
    user_id = identifier("The typist")
    keyboard_id = identifier("The keyboard")
    ngram_text = Characters(
        primary_key=True, min_length=1, max_length=MAX_NGRAM_LENGTH, description="The n-gram, NFC (N5.1)"
    )
    ngram_size = dy.Int32(primary_key=True, min=1, max=MAX_NGRAM_SIZE, description="Number of keys")
    avg_ms_per_keystroke = dy.Float64(
        nullable=True, min_exclusive=0, description="Mean of its measurements; null where there are only errors"
    )
    instance_count = small("Measurements and errors", low=1)
    error_count = small("Errors")
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
    grain="one n-gram of a practice session, in the hour in which that started",
    published=True,
    append_only=True,
)

NGRAM_CONTRACTS = {
    contract.name: contract for contract in (SESSION_NGRAM_SUMMARY, NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY)
}
