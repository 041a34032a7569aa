"""Read side: what people may see, out of the published database."""

from ghost_pipeline.serving.reader import GhostReader

__all__ = ["GhostReader"]
