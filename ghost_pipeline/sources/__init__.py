"""Adapters that read a source's canonical tables as LazyFrames: files, PostgreSQL, SQLite, mappings.

What becomes of the rows (validation, versions, raw tables) is decided in `ingest/`; nothing here knows the lake.
"""
