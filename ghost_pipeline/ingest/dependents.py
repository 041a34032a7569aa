"""Tables that show what a raw table holds, and therefore go stale or are recomputed when it changes."""

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.contracts.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    USER_PROGRESS,
    USERS,
)

GHOST_SNAPSHOTS = (USER_GHOST_STATS, COHORT_GHOST_DATA, GHOST_MESSAGES)
NGRAM_SNAPSHOTS = (NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY)
SNAPSHOTS = {
    USER_PROGRESS.name: GHOST_SNAPSHOTS,
    PRACTICE_SESSIONS.name: NGRAM_SNAPSHOTS,
    SESSION_KEYSTROKES.name: NGRAM_SNAPSHOTS,
    SESSION_NGRAM_SPEED.name: NGRAM_SNAPSHOTS,
}
"""Tables that show everything before the end of their hour: stale from the first change on (G1.8)."""

EXTRACTED = {
    PRACTICE_SESSIONS.name: (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS),
    SESSION_KEYSTROKES.name: (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS),
}
"""Tables that are computed hour by hour from a raw table, and recomputed from the hour of a late row on."""

VERSION_COLUMNS = {
    USERS.name: (
        ("cohort_id", "cohort_excluded", "timezone", "created_at", "diagnostic_score", "target_band"),
        GHOST_SNAPSHOTS,
    ),
    KEYBOARDS.name: (("target_ms_per_keystroke",), NGRAM_SNAPSHOTS),
}
"""The columns of a version that snapshots show, and those snapshots."""
