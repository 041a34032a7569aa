"""The domain: pure functions from LazyFrame to LazyFrame, one module per subject.

No I/O, no clock, no Dagster. Every rule of the two specifications is here and nowhere else.
"""
