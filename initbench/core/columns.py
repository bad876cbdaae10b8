"""What each column of the tables holds, and its unit."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from initbench.core.catalogue import Catalogue
from initbench.core.cell import Cell


@dataclass(frozen=True)
class Column:
    """A column of a table and what it holds."""

    tables: str
    unit: str = ""
    """Empty: a pure number, or a text."""
    spec: str = field(default="", compare=False)


FLAT_SLOPE = 0.05
"""A unit is on a flat part where |phi'(z)| is below this share of the steepest slope."""

COLUMNS: Catalogue[Column] = Catalogue("column")


def _column(name: str, summary: str, tables: str = "layers, probe", unit: str = "") -> None:
    COLUMNS.register(name, summary=summary)(lambda: Column(tables, unit))


_BOTH = "layers, predictions, probe"
_LAYERS_TOO = "layers, layer_curves, probe"
_column("init", "canonical spec of the initializer", "all but the curves")
_column("activation", "canonical spec of the activation", "all but the curves")
_column("law", "the law that predicts: see `initbench list laws`", "predictions")
_column("seed", "the seed: the unit of replication", "layers, jacobian, probe")
_column("seeds", "how many seeds a row is of", "verdicts, audit, slopes")
_column("layer", "the hidden layer, from 1 to depth; in layer_curves depth + 1 is the output",
        _BOTH + ", layer_curves, jacobian, slopes")  # fmt: skip
_column("fan_in", "inputs of the layer", _BOTH + ", audit, jacobian", "units")
_column("fan_out", "units of the layer", _BOTH + ", audit, jacobian", "units")
_column(
    "weight_variance",
    "Var(w): realized by this draw (layers) or promised (predictions); in phase and critical_line fan_in·Var(w)",
    _BOTH + ", phase, critical_line",
)
_column("z_second_moment", "mean of z² over batch and units; z is the pre-activation", _BOTH)
_column("z_mean", "mean of z over batch and units")
_column("z_variance", "variance of z pooled over batch and units")
_column("z_variance_batch", "variance of z over the batch (divisor batch - 1), averaged over units")
_column("z_variance_units", "variance of z over the units, averaged over the batch; 0 where all units are equal")
_column("a_second_moment", "mean of a² over batch and units; a = phi(z) is the activation", _BOTH)
_column("a_mean", "mean of a over batch and units", _BOTH)
_column("a_variance", "variance of a pooled over batch and units", _BOTH)
_column("a_variance_batch", "variance of a over the batch (divisor batch - 1), averaged over units")
_column(
    "cosine",
    "mean cosine between the pre-activations of two inputs, over all pairs of the batch",
    "layers, jacobian, probe",
)
_column(
    "z_cosine",
    "predicted cosine between the pre-activations of two inputs; of weights without randomness none is predicted",
    "predictions",
)
_column(
    "chi",
    "sigma_w² E[phi'(z)²]: the ratio of grad_z_second_moment from layer l+1 to layer l; it uses the weights of layer"
    " l+1, so the last layer has none",
    "predictions",
)
_column(
    "grad_z_second_moment",
    "mean over batch and units of the squared gradient at z; the loss is the sum over the batch of a fixed random"
    " projection of the last activation, whose gradient there is i.i.d. N(0, 1)",
    _BOTH,
)
_column("grad_a_second_moment", "the same at a: 1 at the last layer", _BOTH)
_column(
    "grad_w_second_moment",
    "mean over the weights of their squared gradient: of the loss summed over the batch; in layer_curves of the mean"
    " loss and penalties, before clipping",
    _LAYERS_TOO,
)
_column("update_ratio", "|grad_w| / |w|, Frobenius norms; undefined where all weights are 0")
_column(
    "saturated_fraction",
    f"share of (input, unit) pairs on a flat part: |phi'(z)| < {FLAT_SLOPE} of the steepest slope. A rectifier's off"
    " half counts",
)
_column("dead_fraction", f"share of units on a flat part (|phi'(z)| < {FLAT_SLOPE} of the steepest) for every input")
for _of in ("z", "a", "grad_z"):
    _column(
        f"{_of}_second_moment_sd",
        f"standard deviation of {_of}_second_moment over networks, for one given input: law finite_width alone",
        "predictions",
    )
for _of, _given in (
    ("z", "z_second_moment given the layer before (the first: the input)"),
    ("grad", "grad_z_second_moment given the layer after and this layer's own z_second_moment"),
):
    _column(
        f"{_of}_residual",
        f"log of {_given}, less what theory expects, in its standard deviations: N(0, 1) where theory holds",
        "residuals",
    )
    _column(f"{_of}_residual_error", "what the theory may itself be off by, in the same unit", "residuals")
    _column(
        f"{_of}_bias",
        "log of the moment, less what infinite width expects, in standard deviations of one network and its batch",
        "residuals",
    )
_column("agreement", "theory and measurement: see `initbench list agreements`", "verdicts")
_column("p_value", "that all layers and their drift are as predicted (Simes), corrected over the table", "verdicts")
_column(
    "starts_at",
    "the layer from which on it is not as predicted, in the direction of travel; of a diagnosis, the"
    " module from which on the signal is out of its band",
    "verdicts, diagnosis",
)
_column("note", "why a value is missing, or what it rests on", "all but layers, verdicts and slopes")

_column("convention", "a framework's way to initialize, and what it is taken for", "audit")
_column("promised_variance", "Var(w) that the convention promises for these fans", "audit")
_column("promised_by", "who promises it, and the formula", "audit")
_column("variance", "Var(w) drawn: the mean over seeds of the unbiased variance about the seed's own mean", "audit")
for _end, _which in (("low", "lower"), ("high", "upper")):
    _column(
        f"variance_{_end}", f"{_which} end of the 99.9 % interval of variance, by the draws' fourth moment", "audit"
    )
    _column(_end, f"{_which} end of the 95 % interval of slope", "slopes", "as slope")
_column("ratio", "variance / promised_variance", "audit")
_column("agrees", "whether promised_variance is in the interval of variance", "audit")
for _of, _what in (("forward", "E[z²]"), ("backward", "the gradient's second moment")):
    _column(f"growth_{_of}", f"log10 of the factor on {_what} from layer to layer, for the variance drawn (mean field)",
            "audit", "decades a layer")  # fmt: skip
_column("z_second_moment_20", "E[z²] at layer 20, for input of E[x²] = 1 (mean field)", "audit")

_column(
    "scope", "layer: the Jacobian of one layer, D W; network: of all of them, from input to last activation", "jacobian"
)
for _name, _what in (
    ("squared_singular_value", "tr(J'J) / fan_in, the mean squared singular value, at the first inputs of the batch"),
    ("squared_singular_value_se", "standard error of squared_singular_value, over random vectors; 0 of a layer"),
    ("predicted_squared_singular_value", "mean field's: fan_out·Var(w) E[phi'²], or the product of all layers'"),
    ("singular_max", "largest singular value, geometric mean over inputs of J ≠ 0 (needs --spectrum, as nine more)"),
    ("singular_mean", "arithmetic mean of the singular values, geometric mean over these inputs"),
    ("singular_min", "smallest singular value, geometric mean over these inputs; missing below the rounding"),
    *((f"singular_{share}", f"{share} % of the singular values are below; likewise") for share in (5, 25, 50, 75, 95)),
    ("condition", "singular_max / singular_min: 1 is dynamical isometry"),
    ("rank", "singular values above the rounding, mean over all inputs"),
    ("effective_rank", "exp(-sum p log p) of the batch's activations, p = singular value / sum of them"),
    ("predicted_cosine", "mean field's cosine between the pre-activations of two inputs"),
    ("ntk_condition", "largest / smallest eigenvalue of the batch's empirical neural tangent kernel"),
):
    _column(_name, _what, "jacobian")

_column("bias_variance", "Var(b); of a cell, a factor: 0.0 unless the study says", "runs, phase, critical_line")
_column("q_star", "where E[z²] goes from an input of E[x²] = 1 (phase), or the fixed point where chi_1 = 1",
        "phase, critical_line")  # fmt: skip
_column("c_star", "where the cosine between two inputs goes at q_star; missing where it stays as it is", "phase")
_column("chi_1", "sigma_w² E[phi'(z)²] at q_star: the squared gradient's factor a layer", "phase")
_column("chi_parallel", "slope of the map of q at q_star", "phase")
_column("chi_c", "slope of the map of the cosine at c_star", "phase")
_column("xi_q", "depth scale -1 / ln|chi_parallel| of E[z²]", "phase", "layers")
_column("xi_c", "depth scale -1 / ln|chi_c| of the cosine: depth that trains is a few of it", "phase", "layers")
_column("phase", "ordered, chaotic, critical; vanishing or unbounded where q_star is 0 or inf", "phase")
_column("stability", "whether E[z²] returns to q_star: attracting, repelling, neutral; none: nothing is critical",
        "critical_line")  # fmt: skip

_column("statistic", "the column of layers whose slope it is", "slopes")
_column("against", "width or depth", "slopes")
_column("width", "units of every hidden layer; of a cell, a factor", "runs, slopes", "units")
_column("slope", "against width: d log(mean over seeds) / d log(width); against depth: log10 of the factor a layer",
        "slopes", "a power, or decades a layer")  # fmt: skip
_column(
    "expected", "the slope that width-stable networks have, or that law finite_width predicts", "slopes", "as slope"
)
_column(
    "word",
    "of slopes: pass, fail (false discovery rate of the table: 5 %), undecided, unpredicted; of verdicts: see"
    " `initbench list words`",
    "verdicts, slopes, diagnosis",
)

for _name, _what in (
    ("module", "dotted name of the part of the network that owns the weights, or that the call is made in"),
    ("call", "which call of this module and kind, from 1: what runs twice has two rows"),
    ("kind", "class of the module, or the function that was called; residual sum: two activations are added"),
    ("role", "weights, lookup (an embedding), normalization, sum or other (attention, recurrent)"),
    ("terms", "products that one output sums up, zero padding apart: fan_in, but for transposed convolutions"),
    ("elements", "values of z, the whole batch's"),
    ("normalized_by", "the normalization that the output goes to"),
    ("weight_second_moment", "mean of w² over the weights; in layer_curves after the update"),
    ("kept_variance", "Var(w) that keeps the signal, by the activation that follows: 1 / (terms E[phi(z)²]), z ~"
     " N(0, 1), if that nearly keeps the gradient too; else the critical point's; terms without padded zeros"),
    ("kept_but", "what of the signal that variance does not keep; empty where it keeps both ways at any level"),
    ("x_second_moment", "mean square of the layer's input; of a sum, of the trunk"),
    ("predicted_z_second_moment", "terms·E[w²] E[x²] + E[b²] (padding counted exactly); of a normalization E[gain²] +"
     " E[bias²]; of a sum, of both; missing where theory does not reach"),
    ("branch", "of a sum: the last weights of the branch, which is what passed more layers"),
    ("branch_to_trunk", "of a sum: mean square of the branch over that of the trunk"),
    ("averaged", "places over which an average takes together all that there is, between here and the output"),
    ("parameters", "names of the weights"),
):  # fmt: skip
    _column(_name, _what, "layer_curves, probe" if _name == "weight_second_moment" else "probe")

_column("direction", "forward: the signal; backward: the gradient", "verdicts, diagnosis")
_column("cause", "why it is called so, with numbers", "verdicts, diagnosis")
_column("decades", "log10 of the signal's change, from the median of the first quarter of layers in the direction of"
        " travel to that of the last", "diagnosis", "decades")  # fmt: skip
_column("growth", "decades over the layers between", "diagnosis", "decades a layer")

_column("cell_id", "hash of all that the cell says", "runs, curves, layer_curves")
_column("training_id", "hash of the training; cells that are the same training share it, empty if impossible", "runs")
_column("study", "the study's name", "runs")
_column("name", "init-activation-layers-lr-momentum-batch-width-optimizer-nesterov, as in the lecture", "runs")
for _field in fields(Cell):
    if _field.name not in COLUMNS and _field.name != "regularizers":
        _column(_field.name, f"a factor of the cell, {_field.default!r} unless the study says", "runs")
_column(
    "status",
    "finished; diverged: a loss is no number, or beyond float32; impossible and failed: the note says why;"
    " the same command tries again what failed",
    "runs",
)
_column("diverged_at", "the update whose loss was the first that is no number", "runs")
_column("stopped_at", "the update at which early stopping ended the training; the best weights count", "runs")
for _set, _which in (
    ("train", "at most 2,000 training images, the first of the split"),
    ("val", "all validation images"),
    ("test", "all test images"),
):
    _where = "runs" if _set == "test" else "runs, curves"
    _column(f"{_set}_loss", f"mean loss on {_which}, penalties apart; missing where diverged", _where)
    _column(f"{_set}_accuracy", f"share of right answers on {_which}; missing where diverged", _where)
_column("seconds", "of one run: stack_seconds / stack_size", "runs")
_column("stack_seconds", "of the whole stack, start to metrics", "runs")
_column("stack_size", "networks that were trained together", "runs")
_column("training_seconds", "of the stack, all updates", "runs")
_column("evaluation_seconds", "of the stack, all losses and accuracies", "runs")
_column("device", "what computed it", "runs")
_column("engine", "stacked, or the plain loop: reference", "runs")
_column("step", "updates done", "curves, layer_curves")
_column("distinct_units", "units whose weights and bias no other unit of the layer has, to rounding", "layer_curves")
_column("update_to_weight", "|change of w| / |w| of one update, Frobenius norms; missing where w was 0", "layer_curves")
for _number, _which in ((1, "first"), (2, "second")):
    _column(f"component_{_number}", f"place along the {_which} principal component of all paths", "landscapes, curves")
_column("detour", "length of a landscape's path so far, over the straight distance from its start", "curves")
_column("explained", "share of the variance of a landscape's paths that is in their plane", "curves")
