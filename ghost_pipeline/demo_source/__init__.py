"""The generated source of `make run`: a deterministic, realistic world of learners and typists.

Nothing here is read by the pipeline itself, and no real data lies here.
"""
