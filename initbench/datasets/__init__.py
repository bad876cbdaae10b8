"""The catalogue of data sets, and of what is done to their images before a network sees them.

An entry is made without reading anything; `DataSet.load` reads it into a `Data`.
"""

from __future__ import annotations

from functools import partial

from initbench.core.catalogue import Catalogue
from initbench.datasets.embedded import digits
from initbench.datasets.orthogonal_inputs import orthogonal_patterns
from initbench.datasets.own import image_folder, npz
from initbench.datasets.preparation import PREPARATIONS, Preparation
from initbench.datasets.record import Data, DataSet
from initbench.datasets.synthetic import copies, line
from initbench.datasets.vision import cifar, emnist, idx_files

__all__ = ["DATASETS", "PREPARATIONS", "Data", "DataSet", "Preparation"]

DATASETS: Catalogue[DataSet] = Catalogue("data set", "initbench.datasets")
_register = DATASETS.register

_register("digits", summary="Handwritten digits: 1,797 images of 8 x 8, the last 360 for test. Needs no files.",
          source="Alpaydin & Kaynak 1998, as in scikit-learn")(digits)  # fmt: skip

for _name, _family, _torchvision_class, _summary, _source in (
    ("mnist", idx_files, "MNIST", "Handwritten digits: 70,000 images of 28 x 28.", "LeCun et al. 1998"),
    ("fashion_mnist", idx_files, "FashionMNIST", "Clothes: 70,000 images of 28 x 28.", "Xiao et al. 2017"),
    ("kmnist", idx_files, "KMNIST", "Cursive Japanese: 70,000 images of 28 x 28.", "Clanuwat et al. 2018"),
    ("cifar10", cifar, "CIFAR10", "Photographs of 10 kinds: 60,000 of 3 x 32 x 32.", "Krizhevsky 2009"),
    ("cifar100", cifar, "CIFAR100", "Photographs of 100 kinds: 60,000 of 3 x 32 x 32.", "Krizhevsky 2009"),
):
    _register(_name, summary=_summary, source=_source)(partial(_family, _name, _torchvision_class))

_register("emnist", summary="Handwritten letters and digits: 28 x 28, transposed; split=balanced or one of five more.",
          source="Cohen et al. 2017")(emnist)  # fmt: skip

_register("line", summary="Points on a line: the few for training are separable, those for test overlap. No files.",
          formula="x = (k + 2u)/(K + 1) for class k of K, u ~ U(0, 1), in training U(0.3, 0.7)",
          source="lecture notes (the overfit softmax classifier)")(line)  # fmt: skip
_register("copies", summary="All features are copies of one number: many weights are one function. No files.",
          formula="x_j = t ~ U(0, 1), class [t > 1/2]",
          source="CS231n notes on linear classification (w1 against w2)")(copies)  # fmt: skip
_register("orthogonal_patterns", summary="Images that are their labels with less contrast: a linear network learns one"
          " pattern after the other. No files.", formula="x = sum_i c_i v_i v_i't, c_1 = 1, v_i orthonormal (Walsh's)",
          source="Saxe et al. 2014, sec. 1.3 (decoupled initial conditions)")(orthogonal_patterns)  # fmt: skip
_register("npz", summary="Your own arrays x_train, y_train, x_test, y_test in a file: npz(path='data/my.npz').",
          source="-")(npz)  # fmt: skip
_register("image_folder", summary="Your own pictures, PATH/train/CLASS/* and PATH/test/CLASS/*, scaled.",
          source="torchvision.datasets.ImageFolder")(image_folder)  # fmt: skip
