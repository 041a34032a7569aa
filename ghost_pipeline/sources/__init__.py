"""Adapters that read a source's canonical tables as LazyFrames: files, PostgreSQL, SQLite, mappings.

Validation, versions and raw tables are in `ingest/`; nothing here knows the lake.
"""
