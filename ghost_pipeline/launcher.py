"""The name under which every `dagster.yaml` finds the run launcher; the code is in `defs/launcher.py`."""

from ghost_pipeline.defs.launcher import WatchedRunLauncher

__all__ = ["WatchedRunLauncher"]
