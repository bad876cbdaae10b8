"""When a ratio is worse than its baseline: by more than repeated runs of one commit differ from each other."""

import math
import statistics
from typing import Annotated

import pandas as pd
from annotated_types import Gt, Lt
from pydantic import BaseModel, Field, computed_field
from scipy.stats import t as student
from scipy.stats import ttest_1samp

FLOOR = 0.05
"""A ratio may always fall by this share: repeats of one hour know nothing of the next one."""
DOUBT = 0.08
"""A ratio lower by this share is looked at again, beside the baseline's own commit on this very machine."""
PAIRS, LOOKS = 7, 3
"""How often the two are then measured in turns before they are judged; how often so while that leaves it open."""
FEW = 3
"""So many turns are enough where they show at most half of what is allowed: a quarter's slowdown hardly ever does."""
CERTAIN = 0.001
"""The p-value of those pairs below which the workload is called worse."""
FALSE_ALARM = 0.001
"""Where the baseline's commit is not at hand: the chance that an unchanged workload, measured once, looks worse."""
OTHER_MACHINE = 2.0
"""How much wider the allowance is (in logarithms) on a machine that is not the baseline's."""
BLIND = 0.15
"""An allowance from which on a quarter's slowdown, a fall by 0.2, might slip through."""

Ratio = Annotated[float, Gt(0), Lt(math.inf)]


class Machine(BaseModel):
    """What ratios depend on little, but do."""

    cpu: str
    cores: int


class Workload(BaseModel):
    """One workload's ratios in repeated runs of one commit, each run a process of its own."""

    ratios: list[Ratio] = Field(min_length=3)

    @computed_field
    @property
    def ratio(self) -> float:
        """Their median."""
        return statistics.median(self.ratios)

    @computed_field
    @property
    def noise(self) -> float:
        """The standard deviation of their logarithms, from the median absolute deviation: a bad second is no noise."""
        logs = [math.log(ratio) for ratio in self.ratios]
        middle = statistics.median(logs)
        return 1.4826 * statistics.median(abs(log - middle) for log in logs)

    @computed_field
    @property
    def allowance(self) -> float:
        """The share by which one more ratio may fall: Student's prediction bound of the logarithms, or `FLOOR`."""
        n = len(self.ratios)
        bound = student.ppf(1 - FALSE_ALARM, n - 1) * self.noise * math.sqrt(1 + 1 / n)
        return max(FLOOR, 1 - math.exp(-bound))


class Baseline(BaseModel):
    """What one machine measured of one commit."""

    date: str
    commit: str
    machine: Machine
    versions: dict[str, str]
    workloads: dict[str, Workload] = Field(min_length=1)


class Baselines(BaseModel):
    """What results/benchmarks/baseline.json holds: what was measured on each kind of machine."""

    machines: list[Baseline] = Field(min_length=1)

    def of(self, machine: Machine) -> Baseline:
        """That of this machine, or else the newest."""
        newest = max(self.machines, key=lambda each: each.date)
        return next((each for each in self.machines if each.machine == machine), newest)

    def renewed(self, baseline: Baseline) -> "Baselines":
        """With this one instead of its machine's last."""
        others = [each for each in self.machines if each.machine != baseline.machine]
        return Baselines(machines=[*others, baseline])


class Fresh(BaseModel):
    """What one process measured."""

    ratios: dict[str, Ratio]
    machine: Machine
    versions: dict[str, str]


def judge(baseline: Baseline, ratios: dict[str, list[float]], machine: Machine) -> pd.DataFrame:
    """A row per workload: its ratio (the median where it was measured more than once), the baseline's, the verdict.

    `change` is their quotient less 1. Verdicts: ok, better and worse (by more than the allowance), missing (from
    `ratios`, which is as bad as worse), new (to the baseline).
    """
    wider = 1.0 if machine == baseline.machine else OTHER_MACHINE
    rows = []
    for name in dict.fromkeys([*baseline.workloads, *ratios]):
        known, found = baseline.workloads.get(name), ratios.get(name, [])
        ours, theirs = statistics.median(found) if found else math.nan, known.ratio if known else math.nan
        allowance = 1 - (1 - known.allowance) ** wider if known else math.nan
        rows.append({"workload": name, "ratio": ours, "baseline": theirs, "change": ours / theirs - 1,
                     "allowance": allowance, "measured": len(found),
                     "verdict": _verdict(ours, theirs, allowance)})  # fmt: skip
    return pd.DataFrame(rows)


def doubtful(table: pd.DataFrame) -> list[str]:
    """The workloads of a judged table that have to be measured again."""
    return table.loc[(table["change"] < -DOUBT) | (table["verdict"] == "worse"), "workload"].tolist()


def unchanged(quotients: list[float]) -> bool:
    """Whether these few, a workload's ratios here over the baseline's commit's beside it, are as good as equal."""
    return len(quotients) >= FEW and statistics.mean(map(math.log, quotients)) >= math.log1p(-FLOOR / 2)


def settle(table: pd.DataFrame, pairs: dict[str, list[float]]) -> pd.DataFrame:
    """The table with the verdicts of `pairs`: a workload's ratios here, each over the baseline's commit's beside it.

    Worse is what is slower by more than `FLOOR` on the average of the logarithms, and surely slower by Student's test;
    open what is slower by as much and not surely so.
    """
    settled = table.set_index("workload")
    for name, quotients in pairs.items():
        logs = [math.log(quotient) for quotient in quotients]
        change = math.expm1(statistics.mean(logs))
        sure = ttest_1samp(logs, 0, alternative="less").pvalue < CERTAIN
        settled.loc[name, ["change", "allowance", "measured"]] = change, FLOOR, len(logs)
        settled.loc[name, "verdict"] = "ok" if change >= -FLOOR else "worse" if sure else "open"
    return settled.reset_index()


def _verdict(ours: float, theirs: float, allowance: float) -> str:
    if math.isnan(ours):
        return "missing"
    if math.isnan(theirs):
        return "new"
    if ours < theirs * (1 - allowance):
        return "worse"
    return "better" if ours * (1 - allowance) > theirs else "ok"
