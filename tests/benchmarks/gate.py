"""The gate: `compare` fails where a workload got slower than its baseline, `renew` measures the baseline anew.

PYTHONPATH=tests python -m benchmarks.gate compare
"""

from datetime import UTC, datetime
from pathlib import Path

import click
import pandas as pd
from benchmarks import history, rule
from benchmarks.measure import ROOT, BadInput, checked, checked_out, commit, fresh_of, measure, read_json

from initbench.core.files import write_text, write_whole

HERE = ROOT / "results" / "benchmarks"
AGAIN = 2
"""How often what looks worse is measured again where the baseline's commit is not at hand; the median decides."""
FORMATS = {"ratio": "{:.3f}", "baseline": "{:.3f}", "change": "{:+.1%}", "allowance": "{:.1%}"}

baseline_option = click.option("--baseline", "path", type=click.Path(path_type=Path), default=HERE / "baseline.json")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """Keep the speed there."""


@main.command()
@baseline_option
@click.option("--workload", "only", multiple=True, help="Judge this one alone; may be repeated.")
@click.option("--fresh", type=click.Path(path_type=Path), help="Judge this JSON of pytest-benchmark, measure nothing.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE, help="Folder for the table and the history.")
def compare(path, only, fresh, out):
    """Measure, and exit with 1 if a workload is missing or worse than its baseline by more than noise."""
    baselines = checked(rule.Baselines, read_json(path), path)
    require_known(only, baselines)
    found = fresh_of(read_json(fresh), fresh) if fresh else measure(only)
    baseline = narrowed(baselines.of(found.machine), only)
    ratios = {name: [ratio] for name, ratio in found.ratios.items()}
    table = rule.judge(baseline, ratios, found.machine)
    if (doubtful := rule.doubtful(table)) and not fresh:
        table = again(doubtful, table, baseline, ratios, found.machine)
    keep(table, baseline, found, out)
    tell(table, baseline, found, out)
    raise SystemExit(1 if names(table, "worse", "missing") else 0)


def require_known(only, baselines):
    """Raise `BadInput` for a workload that no machine's baseline knows."""
    known = dict.fromkeys(name for baseline in baselines.machines for name in baseline.workloads)
    for name in only:
        if name not in known:
            raise BadInput(f"the baseline knows no '{name}', but {', '.join(known)}")


def narrowed(baseline, only):
    """What the baseline knows of these workloads, or of all."""
    chosen = {name: known for name, known in baseline.workloads.items() if name in only or not only}
    return baseline.model_copy(update={"workloads": chosen})


def again(doubtful, table, baseline, ratios, machine):
    """The table after a second look at the doubtful: beside the baseline's commit, or alone where that is not here."""
    with checked_out(baseline.commit) as there:
        if there:
            pairs = {name: [] for name in doubtful}
            for _ in range(rule.LOOKS):
                often = f"{rule.FEW} to {rule.PAIRS} times"
                click.echo(f"Looks slower, measured beside {baseline.commit} {often}: {', '.join(doubtful)}")
                for _ in range(rule.PAIRS):
                    ours, theirs = measure(doubtful).ratios, measure(doubtful, there).ratios
                    for name in doubtful:
                        pairs[name].append(ours[name] / theirs[name])
                    if not (doubtful := [name for name in doubtful if not rule.unchanged(pairs[name])]):
                        break
                table = rule.settle(table, pairs)
                if not (doubtful := names(table, "open")):
                    break
            return table
    if machine != baseline.machine:  # a ratio of another processor alone is no evidence
        return table.assign(verdict=table["verdict"].where(~table["workload"].isin(doubtful), "unjudged"))
    click.echo(f"Looks slower, measured {AGAIN} times more ({baseline.commit} is not here): {', '.join(doubtful)}")
    for _ in range(AGAIN):
        for name, ratio in measure(doubtful).ratios.items():
            ratios[name].append(ratio)
    return rule.judge(baseline, ratios, machine)


@main.command()
@baseline_option
@click.option("--repeats", type=click.IntRange(3), default=5, show_default=True, help="Processes, one after another.")
def renew(path, repeats):
    """Measure this machine's baseline anew and write it; exits with 1 where it is too noisy to be of use."""
    before = checked(rule.Baselines, read_json(path), path) if path.exists() else None
    runs = []
    for number in range(1, repeats + 1):
        runs.append(measure())
        click.echo(f"{number} of {repeats}: " + ", ".join(f"{n} {ratio:.3f}" for n, ratio in runs[-1].ratios.items()))
    if len({frozenset(run.ratios) for run in runs}) > 1:
        raise BadInput("the repeats did not measure the same workloads; nothing is written")
    workloads = {name: {"ratios": [run.ratios[name] for run in runs]} for name in runs[0].ratios}
    told = {"date": now(), "commit": commit(), "machine": runs[0].machine.model_dump(), "versions": runs[0].versions,
            "workloads": workloads}  # fmt: skip
    baseline = checked(rule.Baseline, told, "the measurement")
    baselines = before.renewed(baseline) if before else rule.Baselines(machines=[baseline])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, baselines.model_dump_json(indent=2) + "\n")
    noisy = [name for name, known in baseline.workloads.items() if known.allowance > rule.BLIND]
    for name in noisy:
        allowance = baseline.workloads[name].allowance
        click.echo(f"{name} is too noisy: it may fall by {allowance:.0%}; renew on a quieter machine")
    raise SystemExit(bool(noisy))


def keep(table, baseline, found, out):
    """Write the table, and the history with its plot."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "comparison.csv", table.to_csv(index=False, float_format="%.6g"))
    when = {"date": now(), "commit": commit(), **found.machine.model_dump()}
    whole = history.remember(out / "history.csv", table, **when)
    drawn = history.summary(whole, baseline)
    if len(drawn):
        figure = history.draw(drawn)
        write_whole(out / "history.png", lambda path: figure.savefig(path, format="png", dpi=150))


def tell(table, baseline, found, out):
    """Print the table, and in a line each what has to be known beside it."""
    shown = table.astype(object)
    for name, form in FORMATS.items():
        shown[name] = [form.format(value) if pd.notna(value) else "" for value in table[name]]
    click.echo(f"\n{shown.to_string(index=False)}\n")
    if found.machine != baseline.machine:
        there, here = (f"{m.cpu}, {m.cores} cores" for m in (baseline.machine, found.machine))
        click.echo(f"Another machine than the baseline's: allowances are doubled ({here}; baseline: {there}).")
    others = [f"{name} {found.versions.get(name, 'none')} (baseline: {version})"
              for name, version in baseline.versions.items() if found.versions.get(name) != version]  # fmt: skip
    if others:
        click.echo(f"Other versions than the baseline's: {', '.join(others)}.")
    for verdict, meaning in {
        "new": "not in the baseline, and so not judged (make bench-baseline)",
        "better": "faster than the baseline: renew it, or the gain may be lost unseen (make bench-baseline)",
        "missing": "in the baseline and not measured",
        "unjudged": f"looks slower, but on another machine only {baseline.commit} beside it could tell: not here",
        "open": f"slower on average than {baseline.commit} beside it, but by no more than noise",
        "worse": "slower than the baseline by more than noise",
    }.items():
        for name in names(table, verdict):
            click.echo(f"{verdict.upper()}: {name}: {meaning}")
    click.echo(f"Table: {out / 'comparison.csv'}; history: {out / 'history.csv'}, {out / 'history.png'}")


def names(table, *verdicts):
    """The workloads that got one of these verdicts."""
    return table.loc[table["verdict"].isin(verdicts), "workload"].tolist()


def now():
    """This second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    main()
