"""What people may see: `GhostReader`, the HTTP API and the web pages, answered from the published database.

The published database is built in `publish/`; nothing here reads the lake's personal tables or writes anything.
`GhostReader` raises the errors exported here; each is a `GhostError`.
"""

from ghost_pipeline.errors import (
    GhostError,
    LakeError,
    NothingPublishedError,
    PublishError,
    SettingsError,
    UnknownArgumentError,
    UnknownKeyboardError,
    UnknownUserError,
)
from ghost_pipeline.serving.reader import GhostReader

__all__ = [
    "GhostError",
    "GhostReader",
    "LakeError",
    "NothingPublishedError",
    "PublishError",
    "SettingsError",
    "UnknownArgumentError",
    "UnknownKeyboardError",
    "UnknownUserError",
]
