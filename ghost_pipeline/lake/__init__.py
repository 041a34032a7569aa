"""Parquet partitions and nothing else: the lake, its files on disk or in a bucket, atomic replacement and locks.

The lake knows contracts, not the domain: no rule about learners or typists belongs here.
"""
