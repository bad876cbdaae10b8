"""What the table `runs` says: the best runs first, and how much each factor explains."""

from __future__ import annotations

import pandas as pd

BEST = 20
FACTOR_COLUMNS = ["factor", "levels", "explained", "best", "mean_at_best", "worst", "mean_at_worst", "most_diverged",
                  "share_diverged"]  # fmt: skip
NOT_RUN = -1.0
"""In place of an accuracy, below all of them: of what is impossible or failed."""
NOT_FACTORS = frozenset({"cell_id", "training_id", "study", "name"})


def best(runs: pd.DataFrame, most: int = BEST) -> pd.DataFrame:
    """A row per name, the mean over its seeds, best validation accuracy first; diverged seeds are counted beside.

    Ranked on validation, where a diverged seed counts as 0; the means shown are of the seeds that finished.
    """
    keys = ["name", *[name for name in varied(runs) if name not in ("seed", *_named(runs))]]
    lost = {"diverged": runs["status"] == "diverged", "not_run": runs["status"].isin(["failed", "impossible"])}
    rank = runs["val_accuracy"].mask(runs["status"] == "diverged", 0.0)
    table = runs.assign(rank=rank, **lost).groupby(keys, sort=False, dropna=False)
    means = table.agg(
        rank=("rank", "mean"),
        val_accuracy=("val_accuracy", "mean"),
        test_accuracy=("test_accuracy", "mean"),
        test_loss=("test_loss", "mean"),
        seeds=("seed", "nunique"),
        diverged=("diverged", "sum"),
        not_run=("not_run", "sum"),
    ).reset_index()
    if not means["not_run"].any():
        del means["not_run"]
    ranked = means.sort_values("rank", ascending=False, kind="stable", ignore_index=True)
    return ranked.drop(columns="rank").head(most)


def factors(runs: pd.DataFrame, measure: str = "test_accuracy") -> pd.DataFrame:
    """A row per factor that varies: the share of the variance of `measure` that its levels' means explain.

    eta² = sum over levels of n (mean - grand mean)² / total sum of squares: each factor alone, its interactions not
    counted. Diverged runs have no accuracy and are not in it; their share by level is told beside.
    """
    done, ran = runs[runs["status"] == "finished"], runs[runs["status"].isin(["finished", "diverged"])]
    total = ((done[measure] - done[measure].mean()) ** 2).sum()
    differ = done[measure].max() > done[measure].min()
    rows = []
    for name in varied(runs):
        means = done.groupby(name)[measure].agg(["mean", "size"])
        lost = (ran["status"] == "diverged").groupby(ran[name]).mean()
        between = (means["size"] * (means["mean"] - done[measure].mean()) ** 2).sum()
        if means.empty:
            continue
        worst = lost.idxmax() if lost.any() else ""
        told = (name, len(lost), between / total if differ else 0.0, means["mean"].idxmax(), means["mean"].max(),
                means["mean"].idxmin(), means["mean"].min(), worst, lost.max())  # fmt: skip
        rows.append(dict(zip(FACTOR_COLUMNS, told, strict=True)))
    table = pd.DataFrame(rows, columns=FACTOR_COLUMNS).astype(dict.fromkeys(("best", "worst", "most_diverged"), str))
    return table.sort_values("explained", ascending=False, ignore_index=True)


def tuned(runs: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """Of each compared combination the runs at those levels of `factors` that are best on validation.

    By the mean validation accuracy over seeds, where a diverged one counts as 0; the first of equals, and where none
    was run.
    """
    compared = [name for name in varied(runs) if name not in ("seed", *factors)]
    rank = runs["val_accuracy"].mask(runs["status"] == "diverged", 0.0)
    names = [name for name in factors if len(runs[name].unique()) > 1]
    if not names:
        return runs
    means = runs.assign(rank=rank).groupby([*compared, *names], sort=False, dropna=False)["rank"].mean().reset_index()
    means["rank"] = means["rank"].fillna(NOT_RUN)
    groups = (
        means.groupby(compared, sort=False, dropna=False)["rank"] if compared else means.groupby(lambda _: 0)["rank"]
    )
    best = means.loc[groups.idxmax(), [*compared, *names]]
    return runs.merge(best, on=[*compared, *names])


def counts(runs: pd.DataFrame) -> str:
    """One line: how many runs, and what became of them."""
    statuses = runs["status"].value_counts()
    told = ", ".join(f"{number:,} {status}" for status, number in statuses.items())
    return f"{len(runs):,} runs of {runs['training_id'].replace('', None).nunique():,} trainings: {told}"


def varied(runs: pd.DataFrame) -> list[str]:
    """The factors that have more than one level."""
    asked = runs.columns[: runs.columns.get_loc("status")]
    follows = _follows(runs)
    return [name for name in asked if name not in NOT_FACTORS | follows and len(runs[name].unique()) > 1]


def _follows(runs: pd.DataFrame) -> set[str]:
    """Columns that follow from others: steps where epochs are given, the seed of the data where it is the seed."""
    found = set()
    if "epochs" in runs and (runs["epochs"] > 0).any():
        found.add("steps")
    if "data_seed" in runs and (runs["data_seed"] == runs["seed"]).all():
        found.add("data_seed")
    return found


def _named(runs: pd.DataFrame) -> tuple[str, ...]:
    """What a lecture's name holds already."""
    return ("init", "activation", "depth", "lr", "momentum", "batch_size", "width", "optimizer", "nesterov")
