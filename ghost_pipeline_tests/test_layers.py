"""Imports go down only, and the lower layers keep away from what is not theirs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ghost_pipeline

PACKAGE = Path(ghost_pipeline.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"definitions", "schedules", "jobs", "launcher", "run_records", "cli", "asking"})
    | frozenset({"runs", "erasure", "demo", "diagnosis", "status"}),
    frozenset({"assets", "partitions", "resources"}),
    frozenset({"serving"}),
    frozenset({"sources", "storage", "postgres"}),
    frozenset({"transforms"}),
    frozenset({"tables"}),
    frozenset({"settings", "errors", "locations", "windows"}),
)
"""From top to bottom; a module may import its own layer and those below."""

LEAVES = frozenset({"terminal"})
"""Import nothing of the package; anybody may import them."""

FORBIDDEN = {
    "transforms": frozenset(
        {"dagster", "duckdb", "pyarrow", "filelock", "pathlib", "os", "io", "shutil", "tempfile", "glob", "time"}
    ),
    "tables": frozenset({"dagster", "duckdb", "pathlib", "os", "io", "shutil", "tempfile", "glob", "time"}),
    "sources": frozenset({"dagster"}),
    "storage": frozenset({"dagster"}),
    "postgres": frozenset({"dagster"}),
    "serving": frozenset({"dagster"}),
}
INPUT_AND_OUTPUT = ("read_", "scan_", "write_", "sink_")


def subject(module: str) -> str:
    """The package or the top-level module that a dotted name lies in, without the project's own name."""
    return (module.removeprefix("ghost_pipeline").strip(".").split(".") or [""])[0]


def layer(module: str) -> int:
    name = subject(module)
    found = [number for number, names in enumerate(LAYERS) if name in names]
    if name in {"", "__init__"} | LEAVES:
        return len(LAYERS)
    assert found, f"{module}: belongs to no layer; add it to LAYERS"
    return found[0]


def imports(text: str) -> Iterator[str]:
    """Every module that a text imports, at its top or within a function, by its absolute name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            if node.module == "ghost_pipeline":
                yield from (f"ghost_pipeline.{alias.name}" for alias in node.names if alias.name != "__version__")
            elif node.module:
                yield node.module


def faults(module: str, text: str) -> list[str]:
    """What a module imports although it lies higher, or is not its layer's business."""
    found = []
    for name in imports(text):
        if name.split(".")[0] == "ghost_pipeline":
            leaf = subject(module) in LEAVES
            if leaf or layer(name) < layer(module):
                found.append(f"{module} imports {name}")
        elif name.split(".")[0] in FORBIDDEN.get(subject(module), frozenset()):
            found.append(f"{module} imports {name}")
    return found


def calls(text: str) -> Iterator[tuple[str, str]]:
    """Every call of a method or of a module's function: what it is called on, as text, and its name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func.value), node.func.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield "", node.func.id


def asks_the_clock(text: str) -> list[str]:
    return [f"{on}.{name}" for on, name in calls(text) if on and name in {"now", "utcnow", "today"}]


def does_input_or_output(text: str) -> list[str]:
    return [
        f"{on}.{name}"
        for on, name in calls(text)
        if (name == "open" or (name.startswith(INPUT_AND_OUTPUT) and on == "pl"))
    ]


def dotted(path: Path) -> str:
    return ".".join(["ghost_pipeline", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_its_own_layer_and_those_below(path: Path) -> None:
    assert faults(dotted(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_no_module_asks_what_time_it_is(path: Path) -> None:
    assert asks_the_clock(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "transforms").glob("*.py")), ids=dotted)
def test_a_transform_reads_and_writes_nothing(path: Path) -> None:
    assert does_input_or_output(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("ghost_pipeline.transforms.streaks", "from ghost_pipeline.storage.lake import Lake"),
        ("ghost_pipeline.transforms.streaks", "import ghost_pipeline.storage.lake"),
        ("ghost_pipeline.transforms.streaks", "def f():\n    from ghost_pipeline import runs\n"),
        ("ghost_pipeline.transforms.streaks", "import dagster as dg"),
        ("ghost_pipeline.transforms.streaks", "from duckdb import sql"),
        ("ghost_pipeline.transforms.streaks", "from pathlib import Path"),
        ("ghost_pipeline.tables.contract", "from ghost_pipeline.transforms.versions import valid_at"),
        ("ghost_pipeline.sources.files", "from dagster import asset"),
        ("ghost_pipeline.storage.lake", "from ghost_pipeline.assets.step import Step"),
        ("ghost_pipeline.serving.reader", "from ghost_pipeline.partitions import Partitions"),
        ("ghost_pipeline.assets.ghost", "from ghost_pipeline.definitions import defs"),
        ("ghost_pipeline.windows", "from ghost_pipeline.tables import CONTRACTS"),
        ("ghost_pipeline.terminal", "from ghost_pipeline.errors import GhostError"),
    ],
)
def test_an_import_upwards_is_found(module: str, text: str) -> None:
    assert len(faults(module, text)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("ghost_pipeline.transforms.streaks", "from ghost_pipeline.transforms.local_time import today"),
        ("ghost_pipeline.transforms.streaks", "import polars as pl\nfrom ghost_pipeline.windows import Hour\n"),
        ("ghost_pipeline.assets.ghost", "import dagster as dg\nfrom ghost_pipeline.storage.lake import Lake\n"),
        ("ghost_pipeline.cli", "from ghost_pipeline import __version__, runs"),
        ("ghost_pipeline.cli", "from ghost_pipeline.terminal import as_table"),
    ],
)
def test_an_import_downwards_is_no_fault(module: str, text: str) -> None:
    assert faults(module, text) == []


def test_a_module_without_a_layer_is_found() -> None:
    with pytest.raises(AssertionError, match=r"ghost_pipeline\.gadgets: belongs to no layer"):
        faults("ghost_pipeline.gadgets", "import ghost_pipeline.errors")


def test_a_look_at_the_clock_is_found() -> None:
    assert asks_the_clock("from datetime import datetime\ndatetime.now()\n") == ["datetime.now"]


def test_reading_a_file_in_a_transform_is_found() -> None:
    assert does_input_or_output("import polars as pl\npl.scan_parquet('x')\nopen('y')\n") == [
        "pl.scan_parquet",
        ".open",
    ]
