"""From a source's rows to raw tables: validation, versions, events, and which part of a source is read again.

How a file or a database is opened is in `sources/`; what follows from raw tables is in `domain/` and `defs/`.
"""
