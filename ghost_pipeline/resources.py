"""What the assets are given: settings and lake, as one resource built from the settings."""

from ghost_pipeline.assets.step import Resources
from ghost_pipeline.settings import Settings
from ghost_pipeline.storage.lake import Lake


def build_resources(settings: Settings) -> dict[str, Resources]:
    """The resources of a code location, by the name under which assets ask for them."""
    return {"resources": Resources(settings, Lake(settings.lake))}
