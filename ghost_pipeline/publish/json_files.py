"""Published JSON files, replaced whole."""

import json
from typing import Any

from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location


def publish_json(files: dict[Location, Any]) -> None:
    """Write several files that belong together; a reader of each sees the one before or the one after.

    Raises:
        LakeError: one cannot be written; what was there before stays.

    """
    first = next(iter(files))
    with open_files(first.parent).replacing([]) as staging:
        for path, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            staging.add(path.name).write_text(text, encoding="utf-8")
