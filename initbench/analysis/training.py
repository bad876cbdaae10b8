"""What the table `runs` says: the best runs first, and how much each factor explains."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

BEST = 20
FACTOR_COLUMNS = ["factor", "levels", "explained", "best", "mean_at_best", "worst", "mean_at_worst", "most_diverged",
                  "share_diverged"]  # fmt: skip
ACCURACIES = ("train_accuracy", "val_accuracy", "test_accuracy")
NOT_RUN = -1.0
"""In place of an accuracy, below all of them: of what is impossible or failed."""
NAMED = ("init", "activation", "depth", "lr", "momentum", "batch_size", "width", "optimizer", "nesterov")
"""What a lecture's name holds."""
NOT_FACTORS = frozenset({"cell_id", "training_id", "study", "name"})


def best(runs: pd.DataFrame, most: int = BEST) -> pd.DataFrame:
    """A row per name, the mean over its seeds, best validation accuracy first; diverged seeds are counted beside.

    Ranked on validation, where a diverged seed counts as 0; the means shown are of the seeds that finished.
    """
    keys = ["name", *[name for name in varied(runs) if name not in ("seed", *NAMED)]]
    lost = {"diverged": runs["status"] == "diverged", "not_run": runs["status"].isin(["failed", "impossible"])}
    rank = with_lost(runs)["val_accuracy"]
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

    Each factor alone (`eta_squared`), its interactions not counted. Diverged runs have no accuracy and are not in it;
    their share by level is told beside.
    """
    done, ran = runs[runs["status"] == "finished"], runs[runs["status"].isin(["finished", "diverged"])]
    rows = []
    for name in varied(runs):
        means = done.groupby(name)[measure].mean()
        lost = (ran["status"] == "diverged").groupby(ran[name]).mean()
        if means.empty:
            continue
        worst = lost.idxmax() if lost.any() else ""
        told = (name, len(lost), eta_squared(done[measure], [done[name]]), str(means.idxmax()), means.max(),
                str(means.idxmin()), means.min(), str(worst), lost.max())  # fmt: skip
        rows.append(dict(zip(FACTOR_COLUMNS, told, strict=True)))
    table = pd.DataFrame(rows, columns=FACTOR_COLUMNS)
    return table.sort_values("explained", ascending=False, ignore_index=True)


def tuned(runs: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """Of each compared combination the runs at those levels of `factors` that are best on validation.

    By the mean validation accuracy over seeds, where a diverged one counts as 0; the first of equals, and where none
    was run.
    """
    names = [name for name in factors if len(runs[name].unique()) > 1]
    if not names:
        return runs
    compared = [name for name in varied(runs) if name not in ("seed", *factors)]
    return runs.merge(best_levels(with_lost(runs), compared, names, "val_accuracy"), on=[*compared, *names])


def best_levels(frame: pd.DataFrame, compared: list[str], names: list[str], by: str) -> pd.DataFrame:
    """A row per combination of `compared`: the levels of `names` with the highest mean of `by`, the first of equals."""
    means = frame.groupby([*compared, *names], sort=False, dropna=False)[by].mean().fillna(NOT_RUN).reset_index()
    groups = means.groupby(compared or (lambda _: 0), sort=False, dropna=False)[by]
    return means.loc[groups.idxmax(), [*compared, *names]]


def with_lost(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs`, in which the accuracies of those that diverged are 0."""
    lost = runs["status"] == "diverged"
    return runs.assign(**{name: runs[name].mask(lost, 0.0) for name in ACCURACIES if name in runs})


def eta_squared(values: pd.Series, groups: Sequence[pd.Series]) -> float:
    """The share of the variance of `values` that lies between the means of groups: 0 where nothing varies.

    sum over groups of n (mean - grand mean)² / total sum of squares.
    """
    if values.max() == values.min():
        return 0.0
    means = values.groupby(list(groups), dropna=False).transform("mean")
    return float(((means - values.mean()) ** 2).sum() / ((values - values.mean()) ** 2).sum())


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
