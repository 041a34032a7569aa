"""`make attack`: every attack on the worlds of some seeds, and a table of what they obtained."""

import resource
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import click

from ghost_pipeline_tests.attacks.months import REMAINING
from ghost_pipeline_tests.attacks.playing import (
    LONG,
    QUICK,
    Tallies,
    add,
    as_table,
    attack,
    read_tallies,
    write_tallies,
)


@click.command()
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=3, show_default=True, help="How many seeds.")
@click.option("--quick", is_flag=True, help="As much as the tests of every change play.")
@click.option("--examples", is_flag=True, help="Also print what was isolated.")
@click.option("--strict", is_flag=True, help="Under the strict profile.")
@click.option(
    "--into", type=click.Path(dir_okay=False, path_type=Path), help="Add to the tallies of earlier runs in this file."
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Build here and keep it, so that a run that was stopped goes on.",
)
def main(
    *, seed: int, seeds: int, quick: bool, examples: bool, strict: bool, into: Path | None, folder: Path | None
) -> None:
    """Play every attack, print the table, and fail if one has isolated someone."""
    tallies: Tallies = read_tallies(into) if into and into.exists() else {}
    variables = {"GHOST_RELEASE_PROFILE": "strict"} if strict else {}
    for one in range(seed, seed + seeds):
        begun, used = time.monotonic(), time.process_time()
        with nullcontext(folder / f"{one}") if folder else tempfile.TemporaryDirectory() as place:
            add(tallies, attack(one, QUICK if quick else LONG, Path(place), variables))
        took = f"{time.monotonic() - begun:.0f} s, {time.process_time() - used:.0f} s of processor time"
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10)
        click.echo(f"seed {one}: {took}, at most {largest:.0f} MiB", err=True)
    if into:
        write_tallies(tallies, into)
    click.echo(as_table(tallies))
    for name in sorted(tallies):
        for note in tallies[name].notes:
            click.echo(f"{name}: {note}")
    for name in sorted(tallies) if examples else ():
        for told in tallies[name].examples:
            click.echo(f"{name}: {told}")
    sys.exit(any(tally.won for name, tally in tallies.items() if name not in REMAINING))


if __name__ == "__main__":
    main()
