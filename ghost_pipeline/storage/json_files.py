"""Published JSON files, replaced whole."""

import json
from pathlib import Path
from typing import Any

from ghost_pipeline.storage.atomic import replacing


def publish_json(files: dict[Path, Any]) -> None:
    """Write several files that belong together; a reader of each sees the one before or the one after.

    Raises:
        LakeError: one cannot be written; what was there before stays.

    """
    first = next(iter(files))
    with replacing(first.parent) as replacements:
        for path, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            replacements.add(path).write_text(text, encoding="utf-8")
