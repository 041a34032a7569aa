"""Writing: the lake of Parquet partitions and the published database."""
