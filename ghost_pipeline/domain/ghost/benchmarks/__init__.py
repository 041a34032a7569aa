"""Rules of the monthly figures: what people who reached their band had done by each day.

Hourly figures of learners and cohorts are one folder up.
"""
