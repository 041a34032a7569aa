"""`ghost-pipeline privacy`: what protects people in this lake, for those who have to answer for it."""

import json
from typing import Any

import click

from ghost_pipeline.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the statement as a JSON object, as in privacy.json.")
def privacy(*, as_json: bool) -> None:
    """Show what protects people: thresholds, releases, what is withheld and why, what is personal, how long it is kept.

    In counts and ages, without a person or a figure of a cohort. Every publication has the same as privacy.json.
    """
    from ghost_pipeline.lake.concurrent_replace import retry_on_replace
    from ghost_pipeline.lake.lake import Lake
    from ghost_pipeline.privacy.statement import privacy_statement

    settings = Settings.load()
    lake = Lake(settings.lake)
    lake.require_current()
    said = retry_on_replace(lambda: privacy_statement(lake, settings))
    click.echo(json.dumps(said, indent=2, ensure_ascii=False) if as_json else _as_text(said))


def _as_text(said: dict[str, Any]) -> str:
    from ghost_pipeline.cli.render import as_table

    lines = [f"thresholds (profile {said['profile']})"]
    lines += [f"  {one['setting']}={one['value']}\n      {one['meaning']}" for one in said["thresholds"]]
    lines += ["", "figures of cohorts", *_releases(said), ""]
    lines += [f"{one['table']}: {one['month']}, {one['rows']} rows" for one in said["months"]]
    lines += ["", "personal tables", _table(said["personal_tables"], as_table), "", "out of scope"]
    lines += [f"  {one}" for one in said["out_of_scope"]]
    return "\n".join(lines)


def _releases(said: dict[str, Any]) -> list[str]:
    releases = said["releases"]
    if releases is None:
        return ["  none: no hour has been built"]
    ages = {name: "none" if age is None else f"{age:.0f} h" for name, age in releases["age_in_hours"].items()}
    now, before = (_reasons(releases[f"{name}_suppressed_by_reason"]) for name in ("cohorts", "cohort_hours"))
    hours, every = releases["counted_hours"], releases["cohort_hours"]
    return [
        f"  as of {said['as_of']}: cohorts {releases['cohorts']}, shown {releases['cohorts_shown']}{now}",
        f"  age of what is shown: {', '.join(f'{name} {age}' for name, age in ages.items())}",
        f"  in {hours} hours: new releases {releases['new_releases']}, hours of cohorts {every}{before}",
    ]


def _reasons(counts: dict[str, int]) -> str:
    return "".join(f", withheld {number} ({reason})" for reason, number in counts.items()) or ", none withheld"


def _table(rows: list[dict[str, Any]], as_table: Any) -> str:  # noqa: ANN401 - polars takes a second to import
    import polars as pl

    shown = [
        {
            "table": one["table"],
            "personal columns": ", ".join(one["personal_columns"]),
            "published": one["published"],
            "kept": one["kept"],
        }
        for one in rows
    ]
    return str(as_table(pl.DataFrame(shown)))
