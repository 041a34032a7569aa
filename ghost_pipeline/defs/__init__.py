"""Everything that Dagster sees: assets, checks, jobs, schedules, partitions, resources and the run launcher.

An asset here is thin (window, scan, transform, write, findings); the rules it applies are in `domain/`.
"""
