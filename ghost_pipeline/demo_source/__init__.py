"""The generated source of `make run`: a deterministic, realistic world of learners and typists.

The pipeline itself imports nothing from here, and no real data is kept here.
"""
