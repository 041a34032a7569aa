"""What people may see: `GhostReader`, the HTTP API and the web pages, answered from the published database.

The published database is built in `publish/`; nothing here reads the lake's personal tables or writes anything.
"""

from ghost_pipeline.serving.reader import GhostReader

__all__ = ["GhostReader"]
