"""What an array compiler's user would write: one training jitted, scanned over its steps, `vmap` over the runs."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
CHUNK = 1_000
"""Images that are evaluated at once."""


class Runs:
    """`runs` trainings of MLPs with ReLU by Adam, at the first call compiled; minibatches are shared, as ours are."""

    def __init__(self, widths, runs, steps, batch, train, held):
        self.data, self.held = ([jnp.asarray(array.numpy()) for array in part] for part in (train, held))
        drawn = np.random.default_rng(0)
        self.order = jnp.asarray(drawn.permutation(len(train[0]))[: steps * batch].reshape(steps, batch))
        self.start = [
            (jnp.asarray(drawn.normal(0, fan_in**-0.5, (runs, fan_in, fan_out)), jnp.float32),
             jnp.zeros((runs, fan_out), jnp.float32))
            for fan_in, fan_out in itertools.pairwise(widths)
        ]  # fmt: skip
        self.rates = jnp.linspace(1e-3, 3e-3, runs)

    def __call__(self):
        """Accuracies on what was held out, a number a run."""
        return np.asarray(_trained(self.start, self.rates, self.order, self.data, self.held))


@jax.jit
def _trained(start, rates, order, data, held):
    return jax.vmap(partial(_run, order=order, data=data, held=held))(start, rates)


def _run(start, rate, order, data, held):
    images, labels = data

    def update(state, now):
        step, index = now
        weights, first, second = state
        gradient = jax.grad(_loss)(weights, images[index], labels[index])
        first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradient)
        second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradient)
        size, root = rate / (1 - BETA1**step), jnp.sqrt(1 - BETA2**step)
        weights = jax.tree.map(lambda w, m, v: w - size * m / (jnp.sqrt(v) / root + EPSILON), weights, first, second)
        return (weights, first, second), None

    nothing = jax.tree.map(jnp.zeros_like, start)
    steps = jnp.arange(1.0, len(order) + 1)
    (weights, _, _), _ = jax.lax.scan(update, (start, nothing, nothing), (steps, order))
    chunks = [array.reshape(-1, CHUNK, *array.shape[1:]) for array in held]
    right = jax.lax.map(lambda part: (_outputs(weights, part[0]).argmax(1) == part[1]).sum(), chunks)
    return right.sum() / held[1].size


def _loss(weights, images, labels):
    logits = jax.nn.log_softmax(_outputs(weights, images))
    return -jnp.take_along_axis(logits, labels[:, None], 1).mean()


def _outputs(weights, images):
    *hidden, (last, bias) = weights
    for weight, shift in hidden:
        images = jax.nn.relu(images @ weight + shift)
    return images @ last + bias
