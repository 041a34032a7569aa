"""The rules of both specifications: pure functions from LazyFrame to LazyFrame, one module per subject.

No reading or writing, no clock, no Dagster; the caller passes the frames and the instant.
"""
