"""`GhostReader`: everything that people may see, in Python, on the command line and over HTTP alike."""

from ghost_pipeline.serving.learners import Learners
from ghost_pipeline.serving.typists import Typists


class GhostReader(Learners, Typists):
    """Answers from the newest publication; a new one is followed without a restart. Safe to use from threads."""
