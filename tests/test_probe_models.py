"""torchvision's models: every one is measured whole, and stays as it is, bit for bit."""

import copy
import functools
import hashlib
import random
from operator import attrgetter

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

import initbench as ib
from initbench.core.errors import WorkError

SEEN = nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.LayerNorm | nn.MultiheadAttention
SIZE, BATCH = 64, 4


def vgg(build):
    return build(num_classes=10, dropout=0.5, init_weights=False)  # torch's default


MODELS = {
    "resnet18": models.resnet18,
    "resnet50": models.resnet50,
    "vgg16": functools.partial(vgg, models.vgg16),
    "vgg16_bn": functools.partial(vgg, models.vgg16_bn),
    "densenet121": models.densenet121,
    "mobilenet_v3_small": models.mobilenet_v3_small,
    "convnext_tiny": models.convnext_tiny,
    "vit_b_16": functools.partial(models.vit_b_16, image_size=SIZE),
    "swin_t": models.swin_t,
}


SUMS = {"resnet18": 8, "resnet50": 16, "convnext_tiny": 18, "vit_b_16": 24, "swin_t": 24}
"""One a block, two a transformer's; VGG and DenseNet have none."""


def images():
    return torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def built(name):
    torch.manual_seed(0)
    return MODELS[name]()


def state(module, batch):
    """All that a module is, and the generators, as bytes."""
    found = hashlib.blake2b()
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in [*tensors, ("batch", batch)]:
        found.update(f"{name} {tensor.dtype} {tensor.requires_grad} {tensor.grad is None} {tensor._version}".encode())
        for values in (tensor, tensor.grad):
            found.update(b"" if values is None else np.ascontiguousarray(values.detach().numpy()))
    for name, part in module.named_modules():
        hooks = [len(value) for key, value in sorted(vars(part).items()) if "hooks" in key]
        found.update(f"{name} {part.training} {hooks} {sorted(vars(part))}".encode())
    found.update(torch.get_rng_state().numpy())
    found.update(f"{random.getstate()} {np.random.get_state()} {torch.is_grad_enabled()}".encode())  # noqa: NPY002
    return found.hexdigest()


def with_history(module):
    """Some gradients, hooks, frozen parts and modes, as a module in use has them."""
    parameters = list(module.parameters())
    parameters[0].grad = torch.ones_like(parameters[0])
    parameters[-1].requires_grad_(False)
    parts = list(module.children())
    parts[0].register_forward_hook(lambda *_: None)
    parts[-1].eval()
    return module


@pytest.fixture(scope="module", params=MODELS)
def probed(request):
    """A model, what was measured of it in training mode, and its state before and after."""
    module, batch = with_history(built(request.param)), images()
    before = state(module, batch)
    found = ib.probe(module, batch)
    return request.param, module, found, before, state(module, batch)


def test_it_stays_as_it_is(probed):
    *_, before, after = probed
    assert before == after


def test_every_layer_is_measured_both_ways(probed):
    _, module, found, *_ = probed
    layers = found.layers
    expected = {name for name, part in module.named_modules()
                if isinstance(part, SEEN) and not isinstance(attrgetter(name.rpartition(".")[0] or "training")(module),
                                                             nn.MultiheadAttention)}  # fmt: skip
    assert expected <= set(layers.module)
    assert layers.z_second_moment[layers.weight_second_moment != 0].gt(0).all()  # vit's head has no weights but 0
    assert layers.grad_z_second_moment.notna().all()
    assert layers.parameters.ne("").sum() >= len(expected)
    assert found.notes == ()


def test_theory_is_near_where_it_reaches(probed):
    name, _, found, *_ = probed
    layers = found.layers[found.layers.predicted_z_second_moment.notna() & (found.layers.z_second_moment > 0)]
    ratio = np.log(layers.z_second_moment / layers.predicted_z_second_moment)
    assert abs(ratio.median()) < 0.1, name


def test_layers_that_only_functions_call_are_found():
    found = ib.probe(models.swin_t(), images()).layers
    assert found.module.str.endswith(".attn.qkv").sum() == 12  # torchvision hands their weights to a function


def test_residual_sums_are_rows(probed):
    name, module, found, *_ = probed
    sums = found.layers[found.layers.kind == "residual sum"]
    connected = sum(getattr(part, "use_res_connect", False) for part in module.modules())  # MobileNet's own word
    assert len(sums) == SUMS.get(name, connected)
    assert sums.branch.ne("").all()


def test_nothing_is_left_after_an_exception():
    module, batch = with_history(built("resnet18")), images()
    calls = []

    def fail(*_):
        calls.append(1)
        raise ValueError("in the middle")

    module.layer3[0].register_forward_pre_hook(fail)
    before = state(module, batch)
    with pytest.raises(WorkError, match="ValueError: in the middle"):
        ib.probe(module, batch, seeds=2)
    assert state(module, batch) == before
    assert calls == [1]


def test_seeds_and_initializers_leave_no_trace_either():
    module, batch = with_history(built("resnet18")), images()
    before = state(module, batch)
    ib.probe(module, batch, seeds=1)
    ib.probe(module, batch, init="he_normal", train=False)
    assert state(module, batch) == before


def by_hooks(module):
    """E[z²] and |gradient|² of every layer of a network of ReLUs, by plain hooks and another projection."""
    forward, backward = [], []
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False  # such hooks do not go with it
        elif isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(lambda _, __, z: forward.append(z.square().mean().item()))
            part.register_full_backward_hook(lambda _, __, grad: backward.append(grad[0].square().sum().item()))
    output = module(images().requires_grad_())
    output.backward(torch.randn(output.shape, generator=torch.Generator().manual_seed(1)))
    return np.array(forward), np.array(backward[::-1])


@pytest.fixture(scope="module")
def broken():
    """vgg16 without batch normalization, under torch's default; its first dense layer as small as these images are."""
    module = built("vgg16").eval()
    module.avgpool, module.classifier[0] = nn.Identity(), nn.Linear(512 * 2 * 2, 4096)
    return module, ib.probe(module, images())


def test_vgg16_is_found_vanishing(broken):
    module, found = broken
    forward, backward = by_hooks(copy.deepcopy(module))
    assert found.layers.z_second_moment.tolist() == pytest.approx(forward.tolist(), rel=1e-4)
    ratio = found.layers.grad_z_second_moment * found.layers.elements / backward
    assert np.log10(ratio).abs().max() < 0.5
    assert backward[0] < 1e-7 * backward[-1]
    assert found.diagnosis.word.tolist() == ["vanishing", "vanishing"]
    assert not found.stable
    # of a kernel's rows 1 - 2/(3 side) meet no padding
    sides = np.array([64, 64, 32, 32, 16, 16, 16, 8, 8, 8, 4, 4, 4])
    kept = 2 / np.prod((1 - 2 / (3 * sides)) ** 2) ** (1 / 15)  # over 15 layers before ReLU
    for cause, power in zip(found.diagnosis.cause, ("fan_in", "fan_out"), strict=True):
        assert "nothing normalizes" in cause
        assert f"Var(w) = {kept:.3g}/fan_in before relu would keep it" in cause
        gain = float(cause.partition(f"{power}·Var(w) = ")[2].partition(",")[0])
        assert gain == pytest.approx(1 / 3, rel=0.02 if power == "fan_in" else 0.2)  # U(±1/sqrt(fan_in))


def test_he_repairs_vgg16(broken):
    found = ib.probe(broken[0], images(), init="he_normal")
    assert found.stable, str(found)


def test_the_suggestion_repairs_vgg16(broken):
    module, namespace = copy.deepcopy(broken[0]), {}
    exec(broken[1].suggestion, namespace)
    torch.manual_seed(0)
    namespace["initialize"](module)
    forward, backward = by_hooks(module)
    assert 1e-2 < forward[-1] / forward[0] < 1e2
    assert 1e-2 < backward[0] / backward[-1] < 1e2
