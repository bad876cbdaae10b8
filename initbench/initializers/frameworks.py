"""What a layer gets in each framework when the user says nothing: weights and biases."""

from __future__ import annotations

from initbench.initializers.bases import TRUNCATED_NORMAL, UNIFORM
from initbench.initializers.catalogue import register
from initbench.initializers.record import Initializer


@register("torch_default", formula="w, b ~ U(±1/sqrt(fan_in)), Var = 1/(3 fan_in)", default=True,
          source="torch.nn.Linear.reset_parameters: kaiming_uniform_(a=sqrt(5))",
          summary="What torch does; loses a factor 6 a ReLU layer, down to the floor that its biases set.")  # fmt: skip
def torch_default(bias: bool = True) -> Initializer:
    return Initializer(
        UNIFORM,
        lambda s: 1 / (3 * s.fan_in),
        bias_basis=UNIFORM,
        bias_mean_square=lambda s: 1 / (3 * s.fan_in) if bias else 0.0,
    )


@register("keras_default", formula="w ~ U(±sqrt(6/(fan_in + fan_out))), b = 0", source="keras.layers.Dense",
          default=True, summary="What Keras does: xavier_uniform, biases 0.")  # fmt: skip
def keras_default() -> Initializer:
    return Initializer(UNIFORM, lambda s: 2 / (s.fan_in + s.fan_out), bias_mean_square=lambda _: 0.0)


@register("jax_default", formula="w ~ truncated normal, Var(w) = 1/fan_in, b = 0",
          source="flax.linen.Dense: lecun_normal, which is truncated at ±2 and corrected", default=True,
          summary="What Flax does; its lecun_normal is truncated, ours is not.")  # fmt: skip
def jax_default() -> Initializer:
    return Initializer(TRUNCATED_NORMAL, lambda s: 1 / s.fan_in, bias_mean_square=lambda _: 0.0)
