"""Laws of data sets: images and labels that can be trained on, the same each time."""

from __future__ import annotations

from initbench.battery.holding import from_two_states, hold, leaves_global_generators
from initbench.datasets import DATASETS, Data, DataSet
from initbench.datasets.own import arrays


def loaded(data_set: DataSet) -> Data:
    """Read anew, as another process would."""
    entry = DATASETS.entry(data_set.spec.partition("(")[0])
    given = {key: value for key, value in DATASETS.arguments(data_set.spec).items() if key != "name"}
    return entry.factory(**given).load(None, False)


def trainable(data_set: DataSet) -> str:
    """Finite images of one size, labels from 0 to K - 1."""
    data = loaded(data_set)
    parts = data.train_images, data.train_labels, data.test_images, data.test_labels
    checked = arrays("the data", *parts)
    hold(checked.classes == data.classes, f"it says {data.classes} classes; the labels have {checked.classes}")
    return (f"{len(data.train_images):,} for training and {len(data.test_images):,} for test, {data.features} features,"
            f" {data.classes} classes")  # fmt: skip


def features(data_set: DataSet) -> str:
    """As many as it says before it is read."""
    found = loaded(data_set).train_images.shape[1]
    hold(found == data_set.features, f"it says {data_set.features} features; an image has {found}")
    return f"{found}, as it says"


def same(data_set: DataSet) -> str:
    """One content, however often and by whomever it is read."""
    one, other = from_two_states(lambda: loaded(data_set).fingerprint)
    hold(one == other, "read twice, it was two contents: a generator in it has no seed")
    return f"the same each time ({one})"


def untouched(data_set: DataSet) -> str:
    """The global generators."""
    return leaves_global_generators(lambda: loaded(data_set))


LAWS = {"trainable": trainable, "features": features, "the same each time": same, "global generators": untouched}
