"""The PostgreSQL server of the tests, and databases on it that last for one test."""

from ghost_pipeline_tests.sources.conftest import database, server

__all__ = ["database", "server"]
