import marimo

app = marimo.App(width="medium", app_title="Three pictures")

with app.setup:
    import os
    from datetime import timedelta

    import marimo as mo
    import matplotlib.pyplot as plt
    import polars as pl

    from ghost_pipeline.serving import GhostReader
    from ghost_pipeline.settings import Settings


@app.cell
def introduction():
    mo.md(
        """
        # Three pictures of what was computed

        1. how a learner stands beside people who reached the band they aim at,
        2. the weeks of a cohort,
        3. how fast a typist has become on one n-gram.

        Answers about people come from `GhostReader`, and each event from the lake, a folder of Parquet files per table.
        `GHOST_DATA` names the folder, by default `data`, where `make run` writes.
        """
    )


@app.cell
def data():
    settings = Settings.load(**({} if os.environ.get("GHOST_DATA") else {"data": mo.notebook_dir().parent / "data"}))
    reader = GhostReader(settings).pinned()  # every picture is of one publication
    lake = settings.lake
    return lake, reader


@app.cell
def people():
    learner, typist, keyboard, ngram = "learner-00042", "typist-0007", "keyboard-0007-1", "th"
    return keyboard, learner, ngram, typist


@app.cell
def figures(learner, reader):
    figures = reader.ghost_data(learner, extended=True)
    stats, benchmark = figures.user_stats, figures.success_benchmark
    mo.md(
        f"""
        ## A learner beside earlier achievers

        {learner} is on day {stats.day_in_journey} with {stats.tasks_completed} tasks.
        {benchmark.message or "There is no benchmark for this learner."}
        """
    )
    return benchmark, figures, stats


@app.cell
def own_line(lake, learner, stats):
    # Days are those of the learner: in their time zone, the first is that of the registration.
    versions = pl.read_parquet(f"{lake}/users").filter(user_id=learner).sort("valid_from")
    person = versions.row(-1, named=True)
    zone = person["timezone"] or "UTC"
    first_day = pl.lit(person["created_at"]).dt.convert_time_zone(zone).dt.date()
    events = pl.read_parquet(f"{lake}/user_progress").filter(
        pl.col("user_id") == learner, pl.col("task_type") != "mock_test"
    )
    days = events.select(
        day_number=(pl.col("completed_at").dt.convert_time_zone(zone).dt.date() - first_day).dt.total_days() + 1
    )
    by_day = days.group_by("day_number").len("tasks").sort("day_number")
    every_day = pl.DataFrame({"day_number": range(1, stats.day_in_journey + 1)}, schema={"day_number": pl.Int64})
    own = every_day.join(by_day, on="day_number", how="left", maintain_order="left").select(
        "day_number", tasks=pl.col("tasks").fill_null(0).cum_sum()
    )
    # The sum of the events is the figure that the learner is shown.
    assert own["tasks"][-1] == stats.tasks_completed
    return own, person


@app.cell
def benchmark_picture(benchmark, figures, learner, own, reader):
    def _draw():
        band = benchmark.target_band
        curves = reader.benchmarks(target_band=band)
        # The pipeline has chosen the starting skill: the one whose benchmark the response shows.
        shown = curves.filter(
            success_percentile=25,
            day_number=min(benchmark.day_number, curves["day_number"].max()),
            avg_tasks_completed=benchmark.benchmark_tasks,
        )
        skill = shown["starting_skill"][0]
        picture, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        for (percentile,), curve in curves.filter(starting_skill=skill).group_by(
            "success_percentile", maintain_order=True
        ):
            axes.plot(
                curve["day_number"],
                curve["avg_tasks_completed"],
                color=str(0.25 + percentile / 100),
                label=f"top {percentile} % of those who reached {band}",
            )
        axes.plot(own["day_number"], own["tasks"], color="tab:red", linewidth=2.5, label=learner)
        axes.set(xlabel="day of the journey", ylabel="tasks completed", xlim=(1, None), ylim=(0, None))
        axes.set_title(f"From {skill} to {band}, as of {figures.as_of:%Y-%m-%d %H:%M} UTC", loc="left")
        axes.legend(frameon=False)
        return picture

    benchmark_figure = _draw()
    benchmark_figure
    return (benchmark_figure,)


@app.cell
def cohort_title(figures, person):
    mo.md(
        f"""
        ## The weeks of a cohort

        {person["cohort_id"]} has {figures.cohort_comparison.cohort_size} members. Of each week, the picture shows the
        middle half of its members who practised, and the learner. It is made of all events, so it is for the team:
        what a peer may see of a cohort is in `cohort_ghost_release`.
        """
    )


@app.cell
def cohort_picture(figures, lake, learner, person):
    def _draw():
        newest = pl.read_parquet(f"{lake}/users").sort("valid_from").unique("user_id", keep="last")
        members = newest.filter(cohort_id=person["cohort_id"], cohort_excluded=False)
        weeks_ago = (figures.as_of - pl.col("completed_at")).dt.total_seconds() // timedelta(days=7).total_seconds()
        weekly = (
            pl.read_parquet(f"{lake}/user_progress")
            .filter(pl.col("task_type") != "mock_test", pl.col("completed_at") < figures.as_of)
            .join(members.select("user_id"), on="user_id", how="semi")
            .group_by("user_id", week=-weeks_ago.cast(pl.Int64))
            .len("tasks")
        )
        weeks = (
            weekly.group_by("week")
            .agg(
                low=pl.col("tasks").quantile(0.25, "linear"),
                middle=pl.col("tasks").median(),
                high=pl.col("tasks").quantile(0.75, "linear"),
                members=pl.len(),
            )
            .sort("week")
            .tail(8)
        )
        own_weeks = weekly.filter(pl.col("user_id") == learner, pl.col("week") >= weeks["week"].min()).sort("week")
        picture, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        axes.fill_between(weeks["week"], weeks["low"], weeks["high"], color="0.88", label="middle half")
        axes.plot(weeks["week"], weeks["middle"], color="0.4", marker="o", label="median")
        axes.plot(own_weeks["week"], own_weeks["tasks"], color="tab:red", linewidth=2.5, marker="o", label=learner)
        labels = [f"{week or 'this'}\n{members} active" for week, members in weeks.select("week", "members").rows()]
        axes.set_xticks(weeks["week"], labels)
        axes.set(xlabel="weeks of 7 days that end now", ylabel="tasks in the week", ylim=(0, None))
        axes.set_title(f"{person['cohort_id']}, as of {figures.as_of:%Y-%m-%d %H:%M} UTC", loc="left")
        axes.legend(frameon=False)
        return picture

    cohort_figure = _draw()
    cohort_figure
    return (cohort_figure,)


@app.cell
def ngram_picture(keyboard, ngram, reader, typist):
    def _draw():
        trend = reader.trend(typist, keyboard, ngram)
        picture, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        axes.plot(trend["as_of"], trend["decaying_average_ms"], marker="o", color="tab:blue", label=f"“{ngram}”")
        axes.plot(trend["as_of"], trend["target_speed_ms"], color="0.4", linestyle="--", label="target")
        top = trend.select(pl.max_horizontal(pl.col("decaying_average_ms", "target_speed_ms").max())).item()
        axes.set(ylabel="ms per keystroke", ylim=(0, 1.15 * top))
        axes.set_title(f"{typist} on {keyboard}", loc="left")
        axes.tick_params(axis="x", rotation=30)
        axes.legend(frameon=False)
        return picture

    ngram_figure = _draw()
    mo.vstack(
        [
            mo.md("## A typist and one n-gram\n\nA lower line is faster; each point is an hour with practice."),
            ngram_figure,
        ]
    )
    return (ngram_figure,)


if __name__ == "__main__":
    app.run()
