"""What paths of training, and curves that theory predicts, say: which is lowest, and which first."""

from __future__ import annotations

from initbench.analysis.figures import landscape, predicted_curves
from initbench.analysis.page import words
from initbench.analysis.page.finding import Fact, Finding
from initbench.analysis.results import Results
from initbench.analysis.statistics import LINEAR, Interval, interval


def landscapes(results: Results) -> Finding:
    """Which training ends lowest, and how straight the paths go."""
    table = landscape.ends(results.curves)
    question = "Where does training go, and how straight?"
    known = table.dropna(subset=["loss_at_end"])
    if known.empty:
        return Finding(question, f"None of {words.counted(len(table), 'training')} ends with a finite loss.")
    best = known.sort_values("loss_at_end").iloc[0]
    end = Interval(best["loss_at_end"], best["low"], best["high"], int(best["seeds"]))
    which = f"Of {len(table)} trainings {best['path']} ends lowest, at" if len(table) > 1 else "Training ends at"
    lead = (
        f"{which} a training loss of {words.number(end.estimate, 3)} from {words.number(best['loss_at_start'], 3)}"
        f" ({words.between(end, lambda loss: words.number(loss, 3))})"
    )
    straight = known.dropna(subset=["detour"]).sort_values("detour")
    if len(straight) > 1:
        ends = straight.iloc[[0, -1]].to_dict("records")
        told = [f"{words.number(row['detour'], 3)} times with {row['path']}" for row in ends]
        lead += f". The way that it went is longer than the straight distance: {told[0]}, {told[1]}"
    held = results.curves.groupby("seed")["explained"].first()
    found = interval(held.to_numpy(float), LINEAR)
    lost = f"{table['diverged'].sum()} of {table['seeds'].sum()}"
    return Finding(question, f"{lead}.", [
        Fact("Lowest training loss", words.number(end.estimate, 3), f"{best['path']}, after {best['updates']} updates"),
        Fact("In the plane", words.share(found.estimate),
             f"of the paths' variance; {words.between(found, lambda share: f'{100 * share:.3g}%')}"),
        Fact("Diverged", lost, "paths that end before their last step"),
    ])  # fmt: skip


def curves(results: Results) -> Finding:
    """Which predicted curve is first, and which last, down to a tenth."""
    table = predicted_curves.times(results.curves)
    question = "How fast does a deep linear network learn, by theory?"
    reached = table.dropna(subset=["to_a_tenth"]).sort_values("to_a_tenth").to_dict("records")
    rest = "This is theory: no sampling, no interval."
    if not reached:
        return Finding(question, f"None of {words.counted(len(table), 'curve')} is down to a tenth of its loss. {rest}")
    told = [f"depth {row['depth']} at lr {row['lr']:g} after {row['to_a_tenth']:g} updates" for row in reached]
    lead = f"The training loss is first down to a tenth of its start with {told[0]}"
    lead += f", last with {told[-1]}" if len(told) > 1 else ""
    late = f", {len(table) - len(reached)} of {len(table)} not in time" if len(reached) < len(table) else ""
    return Finding(question, f"{lead}{late}. {rest}")
