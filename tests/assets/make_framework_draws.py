"""Draw the audit's rows of Keras and JAX by these packages: `python tests/assets/make_framework_draws.py`.

Needs keras and jax. The table beside this file is kept, so that the audit is held to them where they are not installed
(test_audit_framework_draws.py).
"""

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax
import keras

TABLE = Path(__file__).parent / "framework_draws.csv"
SHAPES, SEEDS = [(512, 256), (64, 300)], range(100)
"""fan_in and fan_out, as both packages order them."""


def dense(seed, shape):
    layer = keras.layers.Dense(shape[1], kernel_initializer=keras.initializers.GlorotUniform(seed))
    layer.build((None, shape[0]))
    return layer.kernel


def of_keras(name, **options):
    return lambda seed, shape: getattr(keras.initializers, name)(seed=seed, **options)(shape)


def of_jax(name, *arguments):
    return lambda seed, shape: getattr(jax.nn.initializers, name)(*arguments)(jax.random.key(seed), shape)


DRAWS = {
    "keras Dense": dense,
    "keras VarianceScaling": of_keras("VarianceScaling"),
    "keras VarianceScaling(mode=fan_out)": of_keras("VarianceScaling", mode="fan_out"),
    "keras VarianceScaling(mode=fan_avg)": of_keras("VarianceScaling", mode="fan_avg"),
    "keras HeNormal": of_keras("HeNormal"),
    "keras TruncatedNormal(stddev=0.05)": of_keras("TruncatedNormal", stddev=0.05),
    "flax Dense": of_jax("lecun_normal"),
    "jax he_normal": of_jax("he_normal"),
    "jax truncated_normal(stddev=0.01)": of_jax("truncated_normal", 0.01),
    "jax uniform(scale=0.01)": of_jax("uniform", 0.01),
}


def measured(convention, shape):
    """The variance about each draw's own mean, averaged over draws, and the error that their differences show."""
    drawn = [np.asarray(DRAWS[convention](seed, shape), np.float64) for seed in SEEDS]
    variances = np.array([values.var(ddof=1) for values in drawn])
    package = "keras" if convention.startswith("keras") else "jax"
    return {"package": package, "version": version(package), "convention": convention, "fan_in": shape[0],
            "fan_out": shape[1], "draws": len(drawn), "variance": variances.mean(),
            "standard_error": variances.std(ddof=1) / len(drawn) ** 0.5,
            "largest": max(np.abs(values).max() for values in drawn)}  # fmt: skip


if __name__ == "__main__":
    rows = [measured(convention, shape) for convention in DRAWS for shape in SHAPES]
    pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.9g")
    print(TABLE.read_text())
