"""Erasing people: tombstones, personal rows and columns, and their removal from the lake.

What may be shown of a cohort is a rule of the domain (`cohort_ghost_release`), not of this folder.
"""
