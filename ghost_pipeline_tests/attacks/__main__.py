"""`make attack`: every attack on the worlds of some seeds, and a table of what they obtained."""

import sys
import tempfile
from pathlib import Path

import click

from ghost_pipeline_tests.attacks.months import REMAINING
from ghost_pipeline_tests.attacks.playing import LONG, QUICK, Tallies, add, as_table, attack


@click.command()
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=3, show_default=True, help="How many seeds.")
@click.option("--quick", is_flag=True, help="As much as the tests of every change play.")
@click.option("--examples", is_flag=True, help="Also print what was isolated.")
@click.option("--strict", is_flag=True, help="Under the strict profile.")
def main(*, seed: int, seeds: int, quick: bool, examples: bool, strict: bool) -> None:
    """Play every attack, print the table, and fail if one has isolated someone."""
    tallies: Tallies = {}
    variables = {"GHOST_RELEASE_PROFILE": "strict"} if strict else {}
    for one in range(seed, seed + seeds):
        with tempfile.TemporaryDirectory() as folder:
            add(tallies, attack(one, QUICK if quick else LONG, Path(folder), variables))
    click.echo(as_table(tallies))
    for name in sorted(tallies) if examples else ():
        for told in tallies[name].examples:
            click.echo(f"{name}: {told}")
    sys.exit(any(tally.won for name, tally in tallies.items() if name not in REMAINING))


if __name__ == "__main__":
    main()
