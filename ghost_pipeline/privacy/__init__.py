"""Erasing people from the lake, and keeping sources from bringing them back.

`personal_columns` and `personal_rows` find what belongs to a person, `erasing` removes it, `tombstones` recognise
erased people, and `erasure_report` says what was done.

The order of the command's work is in `cli.erase`. Which figures of a cohort may be shown is a rule of the domain
(`cohort_ghost_release`), not of this folder.
"""
