"""The words of a probe, on tables whose numbers are known."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import initbench as ib
from initbench.analysis.diagnosis import diagnose, is_stable, sentences
from initbench.analysis.repair import code, variances
from initbench.core.columns import COLUMNS


def table(z, grad=None, **columns):
    """A row per layer of a plain network."""
    count, grad = len(z), np.asarray(np.ones(len(z)) if grad is None else grad)
    names = [f"layer{n}" for n in range(count)]
    plain = {
        "init": "as found", "seed": 0, "layer": np.arange(1, count + 1), "module": names, "call": 1,
        "role": "weights", "fan_in": 8.0, "fan_out": 8.0, "terms": 8.0, "elements": 64.0, "averaged": 1.0,
        "activation": "relu", "normalized_by": "", "branch": "", "parameters": [f"{name}.weight" for name in names],
        "weight_second_moment": 1 / 24, "weight_variance": 1 / 24, "kept_variance": 2 / 8, "kept_but": "",
        "x_second_moment": 1.0,
        "z_second_moment": z, "z_variance_units": 1.0, "a_second_moment": np.asarray(z) / 2, "cosine": 0.0,
        "saturated_fraction": 0.5, "dead_fraction": 0.0, "grad_z_second_moment": grad, "grad_a_second_moment": 2 * grad,
        "grad_w_second_moment": 1.0, "note": "",
    }  # fmt: skip
    return pd.DataFrame(plain | columns)


def told(layers, direction):
    return diagnose(layers).set_index("direction").loc[direction]


FALLING = 6.0 ** -np.arange(12)


def test_a_level_signal_is_stable():
    assert is_stable(diagnose(table(np.ones(12))))
    assert sentences(diagnose(table(np.ones(12)))) == ["Forward: stable.", "Backward: stable."]


def test_a_falling_signal_vanishes_from_where_it_is_two_decades_down():
    row = told(table(FALLING), "forward")
    assert row.word == "vanishing"
    assert row.starts_at == "layer4"  # the first quarter's median is at layer1, and 6³ is above 100
    assert 10**row.growth == pytest.approx(1 / 6)
    assert row.cause == ("E[z²] ×0.167 a layer; fan_in·Var(w) = 0.333, of which relu passes on 0.5: 0.167; nothing"
                         " normalizes; Var(w) = 2/fan_in before relu would keep it")  # fmt: skip
    assert not is_stable(diagnose(table(FALLING)))


def test_backward_is_followed_from_the_output():
    row = told(table(np.ones(12), grad=FALLING), "backward")
    assert (row.word, row.starts_at) == ("exploding", "layer7")
    assert told(table(np.ones(12), grad=FALLING[::-1]), "backward").word == "vanishing"
    assert told(table(np.ones(12), grad=FALLING), "forward").word == "stable"


def test_one_odd_layer_is_no_verdict():
    for odd in (0, 5, 11):
        z = np.ones(12)
        z[odd] = 1e-5
        assert told(table(z), "forward").word == "stable"


@pytest.mark.parametrize("count", [6, 7, 8, 11])
def test_one_odd_layer_is_no_verdict_in_a_small_network_either(count):
    for odd in (0, count - 1):
        z = np.ones(count)
        z[odd] = 1e-5
        assert told(table(z), "forward").word == "stable"
    assert told(table(FALLING[:count]), "forward").word == "vanishing"


def test_a_signal_that_comes_back_at_the_very_end_has_a_start_all_the_same():
    row = told(table([1.0] * 12 + [1e5, 1e5, 1.0, 1.0]), "forward")
    assert (row.word, row.starts_at) == ("exploding", "layer12")


def test_an_average_over_places_is_no_loss():
    grad = np.where(np.arange(4) < 3, 1 / 1024**2, 1.0)
    elements = np.where(np.arange(4) < 3, 64.0 * 1024, 64.0)
    averaged = np.where(np.arange(4) < 3, 1024.0, 1.0)
    assert told(table(np.ones(4), grad, elements=elements, averaged=averaged), "backward").word == "stable"
    assert told(table(np.ones(4), grad, elements=elements), "backward").word == "vanishing"


def test_seeds_are_averaged_before_the_logarithm():
    one, other = table(np.full(8, 1.0)), table(np.full(8, 3.0)).assign(seed=1)
    other.loc[4:, "z_second_moment"] = 1997.0
    row = told(pd.concat([one, other]), "forward")
    assert row.decades == pytest.approx(np.log10(999 / 2))


def test_residual_branches_that_explode():
    sums = np.arange(20) % 2 == 1
    z = 2.0 ** np.arange(20)
    role = np.where(sums, "sum", "weights")
    branch = [f"layer{n - 1}.weight" if added else "" for n, added in enumerate(sums)]
    parameters = ["" if added else f"layer{n}.weight" for n, added in enumerate(sums)]
    kept = np.where(sums, np.nan, 2 / 8)
    layers = table(z, role=role, x_second_moment=z / np.where(sums, 2.0, 1.0), branch=branch, parameters=parameters,
                   kept_variance=kept)  # fmt: skip
    row = told(layers, "forward")
    assert row.word == "exploding"
    assert row.cause == ("10 residual branches multiply E[z²] by 2 each, and nothing scales them down; Var(w)/10 in the"
                         " last layer of each would keep it")  # fmt: skip
    assert variances(layers)["layer0.weight"] == (2.0, 8.0, 10)
    assert '"layer0.weight": 2 / 8 / 10,' in code(layers)


def test_where_most_layers_are_normalized_no_variance_is_promised():
    row = told(table(np.ones(12), grad=FALLING, normalized_by="norm"), "backward")
    assert "no weight variance changes it" in row.cause
    assert "would keep it" not in row.cause


@pytest.mark.parametrize(("columns", "word", "cause"), [
    ({"z_second_moment": [1.0, 1.0, 0.0, 0.0], "weight_second_moment": [0.0, 1.0, 0.0, 1.0],
      "grad_w_second_moment": 0.0}, "dead", "E[z²] is 0: all weights of layer2 are 0"),
    ({"z_second_moment": [1.0, 1.0, 1.0, 0.0], "weight_second_moment": [1.0, 1.0, 1.0, 0.0]}, "dead",
     "E[z²] is 0: all weights of layer3 are 0; their own gradient is not, so the first update ends that"),
    ({"z_variance_units": 0.0}, "symmetric", "all units of a layer are equal"),
    ({"dead_fraction": [0.0, 0.8, 0.7, 0.9]}, "dead", "80% of its units are, for all inputs, on a flat part of relu"),
    ({"dead_fraction": [0.0, 0.8, 0.7, 0.9], "cosine": 0.99}, "dead",
     "80% of its units are, for all inputs, on a flat part of relu; inputs are alike there (cosine 0.99)"),
    ({"dead_fraction": [0.0, 0.0, 0.9, 0.0]}, "stable", ""),  # a side branch
    ({"dead_fraction": [0.4, 0.5, 0.51, 0.52]}, "stable", ""),  # half of a rectifier's, where inputs are alike
    ({"saturated_fraction": [0.0, 0.8, 0.6, 0.9], "activation": "tanh"}, "saturated",
     "80% of its values are on a flat part of tanh"),
    ({"z_second_moment": np.nan}, "lost", "no number of it is known"),
    ({"z_second_moment": [1.0, 1.0, np.nan, np.nan]}, "lost", "from there on it is no number"),
    ({"z_second_moment": [1.0, np.nan, 1.0, 1.0]}, "stable", ""),
    ({"z_second_moment": [1.0, 1e3, 1e6, np.nan], "note": ""}, "exploding", None),
])  # fmt: skip
def test_other_words(columns, word, cause):
    row = told(table(np.ones(4), **columns), "forward")
    assert (row.word, row.cause) == (word, row.cause if cause is None else cause)


@pytest.mark.parametrize(("activation", "zeros", "moved"), [
    (nn.ReLU, (6,), True), (nn.Tanh, (4,), True), (nn.ReLU, (4,), False), (nn.Tanh, (4, 6), False),
])  # fmt: skip
def test_what_the_first_update_ends_it_ends(activation, zeros, moved):
    """A head of zeros, as torchvision's vit_b_16 has, learns; what ReLU stops at 0, or two in a row, never do."""
    torch.manual_seed(0)
    parts = (part for _ in range(3) for part in (nn.Linear(32, 32), activation()))
    network = nn.Sequential(*parts, nn.Linear(32, 10))
    for number in (0, 2, 4, 6):
        nn.init.kaiming_normal_(network[number].weight, nonlinearity="relu")
        nn.init.zeros_(network[number].bias)
    for number in zeros:
        nn.init.zeros_(network[number].weight)
    batch = torch.randn(64, 32)
    diagnosis = ib.probe(network, batch).diagnosis
    assert diagnosis.word.tolist() == ["dead", "dead"]
    for cause, at in zip(diagnosis.cause, (zeros[0], zeros[-1]), strict=True):
        assert f"all weights of {at} are 0" in cause
        assert ("the first update ends that" in cause) == moved
    nn.functional.cross_entropy(network(batch), torch.arange(64) % 10).backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    network.zero_grad()
    network(batch).square().sum().backward()
    assert bool(network[zeros[0]].weight.any()) == bool(network[0].weight.grad.any()) == moved


def test_where_no_gradient_arrives_none_is_lost():
    grad = [np.nan, 1.0, 1.0, 1.0]
    assert told(table(np.ones(4), grad=grad), "backward").word == "lost"
    notes = ["no gradient arrives here", "", "", ""]
    assert told(table(np.ones(4), grad=grad, note=notes), "backward").word == "stable"


def test_the_suggestion_draws_what_it_says():
    namespace = {}
    exec(code(table(np.ones(3))), namespace)
    assert namespace["VARIANCES"] == {f"layer{n}.weight": 2 / 8 for n in range(3)}


def test_the_suggestion_says_what_it_leaves_and_why():
    weight_norm, spectral_norm = nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm
    module = nn.Sequential(weight_norm(nn.Linear(8, 8)), nn.ReLU(), spectral_norm(nn.Linear(8, 8)), nn.Linear(8, 8),
                           nn.LSTM(8, 8))  # fmt: skip
    module[3].requires_grad_(False)
    told = ib.probe(module, torch.ones(4, 8)).suggestion
    computed = "its weight is computed from other parameters, and {} / 8 would keep the signal; weight_norm takes over"
    assert f"\n# left as it is: 0: {computed.format(2)}" in told
    assert f"\n# left as it is: 2: {computed.format(1)}" in told
    assert "\n# left as it is: 3.weight: frozen\n" in told
    assert "\n# left as it is: 4.weight_ih_l0, 4.weight_hh_l0: gates: theory does not reach\n" in told
    namespace = {}
    exec(told, namespace)
    assert namespace["VARIANCES"] == {}


def test_weight_norm_takes_over_what_was_drawn_before_it():
    layer = nn.Linear(8, 8)
    before = nn.init.normal_(layer.weight).detach().clone()
    assert torch.allclose(nn.utils.parametrizations.weight_norm(layer).weight, before)


class Tied(nn.Module):
    """A head that shares its weight with an embedding, and two layers that share one."""

    def __init__(self):
        super().__init__()
        self.token, self.first, self.second = nn.Embedding(40, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 40, bias=False)
        self.head.weight, self.second.weight = self.token.weight, self.first.weight

    def forward(self, tokens):
        return self.head(torch.relu(self.second(self.first(self.token(tokens)))))


def test_the_suggestion_draws_a_shared_weight_once_and_never_an_embeddings():
    module, namespace = Tied(), {}
    before = module.token.weight.detach().clone()
    probed = ib.probe(module, torch.arange(40))
    exec(probed.suggestion, namespace)
    assert namespace["VARIANCES"] == {"first.weight": 1 / 32}
    assert probed.layers.note.tolist()[2:] == ["its weight is first.weight too, and stays with that",
                                               "its weight is token.weight too, and stays with that"]  # fmt: skip
    namespace["initialize"](module)
    assert torch.equal(module.token.weight, before)
    assert module.head.weight is module.token.weight


def test_columns_of_the_diagnosis_are_declared():
    for column in diagnose(table(np.ones(4))):
        assert "diagnosis" in COLUMNS.make(column).tables, column


def test_batch_normalization_multiplies_the_gradient_by_what_theory_says():
    """π / (π - 1) a layer behind ReLU (Yang et al. 2019, arXiv:1902.08129), whatever the weights' variance."""
    width = 256
    parts = (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())
    network = nn.Sequential(*(copy.deepcopy(part) for _ in range(16) for part in parts))
    batch = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
    for init in ("he_normal", "normal(std=0.1)"):
        probed = ib.probe(network, batch, init=init)
        gradient = probed.layers.grad_z_second_moment[probed.layers.role == "normalization"].to_numpy()[2:-3]
        assert (gradient[0] / gradient[-1]) ** (1 / (len(gradient) - 1)) == pytest.approx(np.pi / (np.pi - 1), rel=0.03)
        backward = probed.diagnosis.iloc[1]
        assert backward.word == "exploding"
        assert "no weight variance changes it" in backward.cause


def test_normalizations_by_running_statistics_are_told_by_their_mode():
    """At the start those are 0 and 1: a gradient is lost as if there were none."""
    parts = (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    network = nn.Sequential(*(copy.deepcopy(part) for _ in range(12) for part in parts))
    batch = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    backward = ib.probe(network.eval(), batch, seeds=1).diagnosis.iloc[1]
    assert backward.word == "vanishing"
    assert "nothing normalizes in this mode: running statistics, not the batch's, are taken out;" in backward.cause
    bare = nn.Sequential(*(part for part in network if not isinstance(part, nn.BatchNorm1d)))
    assert "nothing normalizes;" in ib.probe(bare, batch, seeds=1).diagnosis.iloc[1].cause


class Recurrent(nn.Module):
    """A cell by hand, or torch's, over time, and a head."""

    def __init__(self, cell):
        super().__init__()
        self.enter, self.state = nn.Linear(16, 64), nn.Linear(64, 64, bias=False)
        self.cell, self.head = cell, nn.Linear(64, 10)

    def forward(self, x):
        h = torch.zeros(len(x), 64)
        for step in x.unbind(1):
            h = self.cell(step, h) if self.cell else torch.relu(self.enter(step) + self.state(h))
        return self.head(h)


@pytest.mark.parametrize("cell", [None, nn.RNNCell(16, 64), nn.GRUCell(16, 64)])
def test_a_recurrent_network_is_told_by_the_step_and_its_head_is_not_blamed(cell):
    torch.manual_seed(0)
    module, x = Recurrent(cell), torch.randn(8, 30, 16, generator=torch.Generator().manual_seed(0))
    probed = ib.probe(module, x)
    assert probed.notes == ()  # that the first state is 0 is no underflow
    told = probed.diagnosis.set_index("direction").cause["backward"]
    name = "cell" if cell else "state"
    factor, rest = told.removeprefix("gradient² ×").split(" ", 1)
    assert rest == (f"at each of 30 calls of '{name}': one weight acts again and again, and theory knows no variance"
                    " that would keep it")  # fmt: skip
    h, states = torch.zeros(8, 64), []
    for step in x.unbind(1):
        h = cell(step, h) if cell else torch.relu(module.enter(step) + module.state(h))
        h.retain_grad()
        states.append(h)
    (module.head(h) * torch.randn(8, 10, generator=torch.Generator().manual_seed(1))).sum().backward()
    grads = [state.grad.square().mean().item() for state in states]
    assert float(factor) == pytest.approx((grads[3] / grads[-4]) ** (1 / (len(grads) - 7)), rel=0.15)


def test_what_enters_at_each_step_is_no_residual_trunk():
    module = Recurrent(None)
    with torch.no_grad():
        module.state.weight.mul_(6)
    probed = ib.probe(module, torch.randn(8, 30, 16, generator=torch.Generator().manual_seed(0)))
    assert probed.diagnosis.word[0] == "exploding"
    assert "30 calls of 'state'" in probed.diagnosis.cause[0]
    assert "/ 30" not in probed.suggestion


def test_the_steps_within_one_call_are_told_as_not_seen():
    module = nn.Sequential(nn.Linear(8, 8), nn.LSTM(8, 8))
    assert ib.probe(module, torch.ones(4, 8)).notes == (
        "all steps of 1 are one call: what its signal loses from step to step is not seen",)  # fmt: skip


def test_where_theory_reaches_few_layers_they_are_not_blamed():
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(nn.GRU(32, 32, batch_first=True) for _ in range(16))
            self.head = nn.Linear(32, 4)

        def forward(self, x):
            for part in self.parts:
                x = part(x)[0]
            return self.head(x)

    cause = ib.probe(Stack(), torch.randn(4, 5, 32)).diagnosis.cause[1]
    assert cause.endswith("a layer; most layers are GRU, which theory does not reach")
