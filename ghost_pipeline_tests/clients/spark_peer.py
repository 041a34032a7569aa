"""Reads every table's folder by PySpark, in an environment that has nothing else; prints the types as JSON.

Arguments: the line with `{folder}`, the lake, a folder for what was read, as Parquet.
"""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession  # type: ignore[import-not-found]

line, lake, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.memory", "512m")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.warehouse.dir", str(out / "warehouse"))
    .getOrCreate()
)
types = {}
for folder in sorted(path for path in lake.iterdir() if path.is_dir() and path.name[0] != "."):
    frame = eval(line.replace("{folder}", str(folder)), {"spark": spark})  # noqa: S307 - given by the test
    types[folder.name] = dict(frame.dtypes)
    frame.coalesce(1).write.parquet(str(out / folder.name))
spark.stop()
sys.stdout.write(json.dumps(types) + "\n")
