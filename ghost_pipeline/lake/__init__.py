"""Parquet partitions and nothing else: the lake, its files on disk or in a bucket, atomic replacement and locks.

It knows contracts, not the domain: rules about learners or typists do not belong here.
"""
