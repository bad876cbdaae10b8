"""The user's own data: arrays, torch data sets, files and folders, and what is said where they cannot be trained on."""

import numpy as np
import pytest
import torch
from PIL import Image
from plugin_catalogues import lent_catalogues, program
from torch.utils.data import TensorDataset

import initbench as ib
from initbench.core.errors import UsageError
from initbench.datasets import DATASETS, Data, DataSet
from initbench.grid.study import resolve

X, Y = np.linspace(0, 1, 60).reshape(20, 3), np.arange(20) % 4
PARTS = {"x_train": X[:12], "y_train": Y[:12], "x_test": X[12:], "y_test": Y[12:]}


@pytest.fixture(autouse=True)
def _lent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with lent_catalogues():
        yield


def loaded(spec="mine"):
    return DATASETS.make(spec).load(None, False)


def register(**parts):
    ib.dataset(name="mine")(lambda: tuple({**PARTS, **parts}.values()))


def test_arrays_are_data():
    register()
    data = loaded()
    assert (data.features, data.classes, data.shape) == (3, 4, (1, 1, 3))
    np.testing.assert_array_equal(data.train_images, PARTS["x_train"].astype(np.float32))
    np.testing.assert_array_equal(data.test_labels, PARTS["y_test"])
    assert (data.train_images.dtype, data.train_labels.dtype) == (torch.float32, torch.int64)
    assert DATASETS.make("mine").features == 3


@pytest.mark.parametrize(("shape", "of_image"), [((6,), (1, 1, 6)), ((2, 3), (1, 2, 3)), ((3, 4, 5), (3, 4, 5))])
def test_images_are_flattened_and_know_their_shape(shape, of_image):
    x = np.arange(20 * np.prod(shape), dtype=np.uint8).reshape(20, *shape)
    register(x_train=x[:12], x_test=x[12:])
    data = loaded()
    assert data.shape == of_image
    np.testing.assert_allclose(data.train_images.numpy(), x[:12].reshape(12, -1) / 255, rtol=1e-6)


def test_torch_data_sets_are_data():
    halves = [TensorDataset(torch.tensor(X[part]), torch.tensor(Y[part])) for part in (slice(12), slice(12, 20))]
    ib.dataset(name="mine")(lambda: halves)
    register_twin = loaded()
    register()
    assert register_twin.fingerprint == loaded().fingerprint


def pictures(size=8):
    return [(Image.fromarray(np.full((size, size, 3), (10 * n, 0, 255), np.uint8)), n % 2) for n in range(6)]


def test_torch_data_sets_of_pictures_have_their_channels_first():
    ib.dataset(name="mine")(lambda: (pictures(), pictures()))
    data = loaded()
    assert data.shape == (3, 8, 8)
    np.testing.assert_allclose(data.train_images[2].view(3, -1).mean(dim=1), [20 / 255, 0, 1], rtol=1e-6)


def test_an_npz_file_is_a_data_set_by_its_path(tmp_path):
    np.savez("my data.npz", **PARTS)
    register()
    assert loaded("npz(path='my data.npz')").fingerprint == loaded().fingerprint
    ib.dataset(name="mine")(lambda: tmp_path / "my data.npz")
    assert loaded().features == 3
    spec = DATASETS.canonical("npz('my data.npz')")
    assert spec == "npz(path='my data.npz')" == DATASETS.canonical(spec)


def test_a_file_that_changed_is_read_anew():
    np.savez("my.npz", **PARTS)
    before = loaded("npz(path='my.npz')").fingerprint
    np.savez("my.npz", **PARTS | {"x_train": X[:12] + 1})
    assert loaded("npz(path='my.npz')").fingerprint != before


@pytest.fixture
def folder(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(("cats", "dogs")):
            place = tmp_path / "pets" / part / name
            place.mkdir(parents=True)
            for n in range(count):
                Image.fromarray(np.full((10, 20, 3), (100 * number, 50, 10 * n), np.uint8)).save(place / f"{n}.png")
    return tmp_path / "pets"


def test_a_folder_of_images_is_a_data_set(folder):
    spec = "image_folder(path=pets, size=4)"
    data = loaded(spec)
    assert DATASETS.make(spec).features == data.features == 48
    assert (data.shape, data.classes, len(data.train_images), len(data.test_images)) == ((3, 4, 4), 2, 6, 4)
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(data.train_images[4].view(3, -1).mean(1), np.array([100, 50, 10]) / 255, rtol=1e-6)
    gray = loaded("image_folder(path=pets, size=4, gray=true)")
    assert gray.shape == (1, 4, 4)
    ib.dataset(name="mine")(lambda: str(folder))
    assert loaded().shape == (3, 32, 32)


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("gray", ["true", "false"])
def test_pictures_of_16_bits_have_their_true_shades(folder, form, gray):
    """Beside one of 8 bits of the same shade."""
    shades = [0, 1, 300, 30_000, 65_535]
    for n, shade in enumerate(shades):
        Image.fromarray(np.full((8, 8), shade, np.uint16)).save(folder / "train" / "cats" / f"deep{n}.{form}")
    data = loaded(f"image_folder(path=pets, size=4, gray={gray})")
    found = data.train_images[data.train_labels == 0][-len(shades) :]
    np.testing.assert_allclose(found, np.array(shades)[:, None] / 65_535 * np.ones(data.features), rtol=1e-6)
    assert data.test_images.unique().mul(255).frac().abs().max() < 1e-4


def test_a_picture_whose_white_is_not_told_is_refused(folder):
    Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)).save(folder / "test" / "dogs" / "f.tiff")
    with pytest.raises(UsageError, match=r"f\.tiff: has pixels of 32 bits \(mode F\), and what is white"):
        loaded("image_folder(path=pets, size=4)")


def test_pictures_of_8_bits_are_divided_by_255(folder):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(folder / "train" / "cats" / "all.png")
    data = loaded("image_folder(path=pets, size=16, gray=true)")
    assert data.train_images[3].tolist() == (torch.arange(256, dtype=torch.uint8) / 255).tolist()


def test_a_factory_of_the_full_interface_is_one_too():
    data = Data(*(torch.eye(2, 3), torch.arange(2)) * 2, shape=(1, 1, 3), classes=2)
    ib.dataset(name="mine")(lambda: DataSet(lambda root, download: data, features=3))
    assert loaded() is data


def test_data_that_is_drawn_is_the_same_each_time_and_leaves_the_global_generators():
    @ib.dataset
    def mine(noise=1.0):
        return [X[:12] + noise * np.random.rand(12, 3), Y[:12], X[12:], Y[12:]]  # noqa: NPY002

    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = loaded(), DATASETS.entry("mine").factory(noise=1.0).load(None, False)
    assert first.fingerprint == second.fingerprint != loaded("mine(noise=2)").fingerprint
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


BAD = [
    ({"x_train": np.where(X[:12] > 0.1, X[:12], np.nan)},
     "x_train has 6 numbers that are not finite, or too large for float32; the first is nan in sample 0"),
    ({"x_test": np.full((8, 3), 1e99)},
     "x_test has 24 numbers that are not finite, or too large for float32; the first is inf in sample 0"),
    ({"x_train": X[:11]}, "x_train has 11 samples and y_train has 12"),
    ({"x_test": X[12:, :2]}, "a sample of x_train has the shape (3,), one of x_test (2,)"),
    ({"x_train": X[:12, 0]}, "x_train should be samples features, samples height width, or samples channels height"
                             " width; its shape is (12,)"),
    ({"x_train": X[:0], "y_train": Y[:0]}, "x_train is empty"),
    ({"x_train": np.array([["a"]] * 12)}, "x_train holds <U1, not numbers"),
    ({"y_train": np.array(["a", "b"] * 6)},
     "y_train holds <U1, not numbers; number the classes from 0, alike in training and test"),
    ({"y_train": np.zeros(12)}, "y_train has one class alone; it takes two to tell apart"),
    ({"y_train": Y[:12] + 1}, "labels are 0 to K - 1, each of them in y_train; the largest is 4, and 0 is missing"),
    ({"y_train": Y[:12] * 10**9}, "labels are 0 to K - 1, each of them in y_train; the largest is 3000000000, and 1 is"
                                  " missing"),
    ({"y_train": Y[:12] - 1}, "y_train has 3 labels that are negative: they count from 0; the first is -1 in sample 0"),
    ({"y_train": Y[:12] / 2}, "y_train has 6 labels that are not whole numbers; the first is 0.5 in sample 1"),
    ({"y_train": np.full(12, np.nan)},
     "y_train has 12 labels that are not whole numbers; the first is nan in sample 0"),
    ({"x_train": np.ones((12, 3))}, "all images of x_train are equal: nothing tells classes apart"),
    ({"y_train": np.eye(4)[Y[:12]]}, "y_train should have one label a sample; its shape is (12, 4)"),
    ({"y_test": Y[12:] + 2}, "y_test has 4 labels above 3, the largest of y_train; the first is 4 in sample 2"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_bad_arrays_get_one_line(parts, message):
    register(**parts)
    with pytest.raises(UsageError) as caught:
        loaded()
    place, _, told = str(caught.value).partition("): ")
    assert place.startswith("data set 'mine' (")
    assert told == message


@pytest.mark.parametrize(("given", "message"), [
    (3, "returned int; it returns x_train, y_train, x_test, y_test, or two torch data sets, or a path"),
    ((3, 4), "returned two of int, which are no torch data sets"),
    ((X, Y), "a data set should have samples, each with a label"),
    (([], []), "a data set should have samples, each with a label"),
    (([(X[0], 0), (X[0, :2], 1)],) * 2, "samples have different shapes, (2,) and (3,)"),
])  # fmt: skip
def test_what_is_no_data_is_told(given, message):
    ib.dataset(name="mine")(lambda: given)
    with pytest.raises(UsageError) as caught:
        DATASETS.make("mine")
    assert message in str(caught.value)


def test_bad_files_get_one_line_on_the_command_line(folder):
    np.savez("half.npz", x_train=X)
    np.savez("objects.npz", **PARTS | {"x_train": np.array([{}] * 12)})
    (folder / "none.npz").write_text("no")
    (folder / "train/cats/0.png").write_text("no picture")
    (folder / "test/birds").mkdir()
    for spec, message in {
        "npz(path='no.npz')": "no.npz: No such file or directory",
        "npz(path='pets')": "pets: Is a directory",
        "npz(path='pets/none.npz')": "pets/none.npz: is no .npz file of plain arrays",
        "npz(path='half.npz')": "half.npz: has no array y_train, x_test, y_test; it has x_train",
        "npz(path='objects.npz')": "objects.npz: is no .npz file of plain arrays",
        "image_folder(path='no')": "image_folder: there is no folder no/train",
        "image_folder(path=pets, size=0)": "image_folder: size must be at least 1, not 0",
    }.items():
        done = program("variance", "--input", spec, "--no-figures", "--out", "out")
        assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")
    done = program("variance", "--input=image_folder(path=pets)", "--no-figures", "--out", "out")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "birds" in done.stderr
    (folder / "test/birds").rmdir()
    done = program("variance", "--input=image_folder(path=pets)", "--no-figures", "--out", "out")
    assert done.stderr.startswith("Error: pets/train/cats/0.png: cannot be read as an image")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", ["my.npz", "my 'own'.npz", 'a "b".npz', "a\\new.npz", "a,b.npz"])
def test_the_command_line_takes_any_path(name):
    np.savez(name, **PARTS)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    for spec in (f"npz(path={name!r})", f'npz(path="{quoted}")'):
        for one in (resolve(None, [], spec), resolve(None, [("dataset", spec)])):
            assert one.factors["dataset"] == [f"npz(path={name!r})"]


def test_data_by_path_is_trained_on_and_propagated():
    np.savez("my.npz", **PARTS)
    spec = "npz(path='my.npz')"
    options = ("--no-figures", "--format=csv")
    done = program("variance", "--input", spec, "--init=he", "--activation=relu", "--depth=2", "--width=4", "--seeds=1",
                   "--batch=4", "--out=v", *options)  # fmt: skip
    assert done.exit_code == 0, done.output
    done = program("train-grid", "--dataset", spec, "--set=init=he", "--set=activation=relu", "--set=depth=1",
                   "--set=lr=0.1", "--set=momentum=0", "--set=nesterov=false", "--set=optimizer=sgd", "--set=seeds=1",
                   "--set=batch_size=4", "--set=steps=3", "--out=t", *options)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 2
