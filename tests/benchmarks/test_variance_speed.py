"""How fast a default `initbench variance` is, beside what a user would write instead."""

from functools import partial

import pytest
import torch
import torch.utils.benchmark
import yardsticks

from initbench.engine.signals import Signals, product
from initbench.grid.plan import plan
from initbench.grid.variance import measure, predictions
from initbench.grid.variance_study import open_inputs, resolve

CPU = torch.device("cpu")
DEPTH, WIDTH, BATCH = 20, 512, 128


plain_loop = partial(yardsticks.propagation, DEPTH, WIDTH, BATCH)


def test_one_seed_of_the_default_study_beside_a_plain_loop(beside):
    """Ratio: plain loops a pairing, with every column computed. Wanted: 2."""
    study = resolve()
    planned, inputs = plan(study), open_inputs(study)
    pairings = len(study.pairings) - len(planned.impossible)
    loops = 10
    beside(
        lambda: measure(planned, inputs, range(1, 2), CPU),
        lambda: [plain_loop() for _ in range(loops)],
        per_work=pairings,
        per_yardstick=loops,
    )


@pytest.mark.parametrize("models", [1, 4, 8])
def test_products_beside_the_best_square_product(beside, models):
    """Ratio: the rate of a stack's products over that of the best square one. Wanted: 0.7."""
    weight = torch.randn(WIDTH, WIDTH)
    signals = Signals(torch.randn(models, BATCH, WIDTH), (0,) * models, (1.0,) * models)
    rates = {size: _square(size) for size in (512, 1024, 2048)}
    best = max(rates, key=lambda size: _rate(rates[size], 2 * size**3))
    times = max(1, round(best**3 / (models * BATCH * WIDTH**2)))
    beside(
        lambda: [product(signals, [(weight.t(), slice(0, models))]) for _ in range(times)],
        rates[best],
        per_work=times * models * BATCH * WIDTH**2,
        per_yardstick=best**3,
    )


def _square(size):
    one, other, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    return lambda: torch.mm(one, other, out=out)


def _rate(work, operations):
    timer = torch.utils.benchmark.Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return operations / timer.blocked_autorange(min_run_time=0.2).median


def test_one_seed_of_the_default_study_beside_its_multiply_adds(beside):
    """Ratio: the floor (products forward and backward, Gram matrices, at the best product's rate) over the whole study.

    Wanted: 1/1.4. Networks that must be run again in float64 count once, as if float32 had done.
    """
    study = resolve()
    planned, inputs = plan(study), open_inputs(study)
    networks = planned.size // study.seeds
    work = networks * DEPTH * (2 * BATCH * WIDTH**2 + 2 * BATCH**2 * WIDTH)
    product, multiply_adds = yardsticks.best_product()
    products = round(work / multiply_adds)
    beside(lambda: measure(planned, inputs, range(1, 2), CPU), lambda: [product() for _ in range(products)],
           per_work=work, per_yardstick=products * multiply_adds)  # fmt: skip


def test_theory_of_all_default_pairings_beside_a_plain_loop(beside):
    """Ratio: how many plain loops (one network, one seed) the whole theory would pay for, inverted."""
    study = resolve()
    moments = open_inputs(study).moments(study.seeds, study.batch)
    beside(lambda: predictions(study, moments), plain_loop, per_work=len(study.pairings), turns=3)
