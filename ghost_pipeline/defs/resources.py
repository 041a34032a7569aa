"""What the assets are given: settings, lake and source, as one resource built from the settings."""

from collections.abc import Iterator

import dagster as dg

from ghost_pipeline.defs.table_asset import RunContext
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings


def build_resources(settings: Settings, *, allow_gaps: bool = False) -> dict[str, dg.ResourceDefinition]:
    """The resources of a code location, by the name under which assets ask for them; each run has its own."""

    @dg.resource(description="Settings, lake and source")
    def resources() -> Iterator[RunContext]:
        of_run = RunContext(settings, Lake(settings.lake), allow_gaps=allow_gaps)
        try:
            yield of_run
        finally:
            of_run.close()

    return {"resources": resources}
