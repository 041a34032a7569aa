"""From a source's rows to raw tables: validation, versions, events, rejected rows, and how far a run reads back.

How a file or a database is opened is in `sources/`; what is computed from raw tables is in `domain/` and `defs/`.
"""
