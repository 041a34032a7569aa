"""The example notebook draws its three pictures from what a run has computed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.docs.pages import DOCS
from ghost_pipeline_tests.running import environment

RUN = """
import json, sys
from three_pictures import app

people = {"learner": "me", "typist": "me", "keyboard": "k1", "ngram": "he"}
_, found = app.run(defs=people)
lines = {}
for name in ("benchmark_figure", "cohort_figure", "ngram_figure"):
    found[name].savefig(f"{sys.argv[1]}/{name}.png")
    (axes,) = found[name].axes
    lines[name] = {line.get_label(): [float(value) for value in line.get_ydata()] for line in axes.lines}
print(json.dumps(lines))
"""


@pytest.mark.long
def test_the_notebook_draws_three_pictures(demo_and_typist: Settings, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env={
            **environment(demo_and_typist.local),
            "PYTHONPATH": str(DOCS.parent / "examples"),
            "MPLBACKEND": "agg",
            "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout.splitlines()[-1])
    reader = GhostReader(demo_and_typist)
    stats = reader.ghost_data("me").user_stats
    benchmarks = lines["benchmark_figure"]
    assert benchmarks.pop("me")[-1] == stats.tasks_completed
    assert sorted(benchmarks) == [f"top {percent} % of those who reached 7.5" for percent in (10, 25, 50)]
    assert [curve[stats.day_in_journey - 1] for curve in benchmarks.values()] == [20, 15, 10]
    assert sum(lines["cohort_figure"]["me"]) == stats.tasks_completed
    assert lines["ngram_figure"]["“he”"] == reader.trend("me", "k1", "he")["decaying_average_ms"].to_list()
    assert len(list(tmp_path.glob("*.png"))) == 3
