"""All of Dagster: assets, checks, jobs, schedules, partitions, resources and the run launcher, one module per concept.

An asset is thin (window, scan, transform, write, findings): rules are in `domain/`, reading a source in `ingest/`,
files in `lake/`.
"""
