"""`GhostReader`: everything that people may see, for Python, the command line and HTTP alike."""

from ghost_pipeline.serving.learners import Learners
from ghost_pipeline.serving.typists import Typists


class GhostReader(Learners, Typists):
    """Answers from the newest publication and picks up new ones without a restart. Safe to use from threads."""
