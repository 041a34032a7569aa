"""The state of the pipeline for the people who operate it: status, incidents, alerts, and figures for Prometheus.

Nothing here computes or publishes, and nothing here knows Dagster: `defs` and `cli` hand in what its records tell.
"""
