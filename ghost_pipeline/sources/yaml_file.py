"""Reading a YAML file that people write: plain nested entries with text keys, and any fault on one line.

YAML allows more than a mapping needs, and a library reads some of it without a word or without an end: a key that is
given twice, aliases that multiply, nesting deeper than Python's stack. Here they are faults with a line.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

DEEPEST = 10
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


class YamlFileError(Exception):
    """The fault of a file, with its line if it has one."""


def read_yaml(path: Path) -> object:
    """Return the content of a file; None if it is empty.

    Raises:
        YamlFileError: it is not valid YAML, or uses more of it than nested entries with text keys.
        OSError: it cannot be read.
        UnicodeDecodeError: it is not UTF-8.

    """
    text = path.read_text(encoding="utf-8-sig")
    try:
        content: object = yaml.load(text, _Loader)  # noqa: S506 - built on the safe loader
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlFileError(f"line {line}: a character U+{int(error.character):04X} is not allowed") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise YamlFileError(f"{place}{error.problem or error.context}") from None
    return content


class _Loader(yaml.SafeLoader):
    """The safe loader without what a plain file does not need."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - as in yaml
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _fault(event, "an alias (*name) is not read: write the entry out")
        if self._depth > DEEPEST:
            raise _fault(event, f"is nested more than {DEEPEST} levels deep")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as in yaml
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE:
                raise _fault(key, "a merge (<<) is not read: write the entries out")
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
                raise _fault(key, "a key is not text: put it in quotes")
            if key.value in lines:
                first = lines[key.value]
                raise _fault(
                    key, f"the key {printable(key.value)} is given a second time, after line {first}: join both"
                )
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - as in yaml
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):
            # A date without such a day, a number too long: yaml passes on Python's own errors.
            raise _fault(node, "a value is not what it looks like: put it in quotes") from None


def _fault(place: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, place.start_mark)  # type: ignore[arg-type]


def printable(text: str) -> str:
    """Return a text of a file on one line, with line breaks and control characters escaped."""
    return repr(text)[1:-1]
