"""Published JSON files, replaced atomically."""

import json
from typing import Any

from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location


def publish_json(files: dict[Location, Any]) -> None:
    """Write several files that belong together; readers of each see the old or the new one, never a mix.

    Raises:
        LakeError: a file cannot be written; the previous files stay.

    """
    first = next(iter(files))
    with open_files(first.parent).replacing([]) as staging:
        for path, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            staging.add(path.name).write_text(text, encoding="utf-8")
