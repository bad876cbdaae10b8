"""`--plugin FILE` and installed plug-ins: what joins the catalogues, and what is said of a file that cannot."""

import sys
import textwrap

import pytest
from plugin_catalogues import lent_catalogues, program

from initbench.activations import ACTIVATIONS
from initbench.cli import COMMANDS, WITHOUT_PLUGINS
from initbench.core.errors import UsageError
from initbench.core.plugins import load
from initbench.core.records import Layer
from initbench.initializers import INITIALIZERS, Setting

MINE = """
import initbench as ib, torch
@ib.initializer(formula="w ~ N(0, 1.5/fan_in)", aliases=("my_own",))
def mine(tensor):
    return torch.nn.init.normal_(tensor, 0, (1.5 / tensor.shape[1]) ** 0.5)
"""
PREDICT = ("predict", "--activation=relu", "--depth=2", "--width=8", "--law=mean_field", "--format=csv")


@pytest.fixture(autouse=True)
def _lent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with lent_catalogues():
        yield


@pytest.fixture
def plugin(tmp_path):
    """Write a plug-in's file."""

    def write(text, name="my.py"):
        (tmp_path / name).write_text(textwrap.dedent(text))
        return name

    return write


def test_five_lines_add_an_initializer(plugin):
    done = program("list", "initializers", "--plugin", plugin(MINE))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-2].split() == ["mine", "my_own", "w", "~", "N(0,", "1.5/fan_in)"]
    assert "mine" not in [entry.name for entry in INITIALIZERS if not entry.origin]


def test_show_says_where_an_entry_is_from(plugin):
    assert "  from       my.py, line 3" in program("show", "mine", "--plugin", plugin(MINE)).stdout.splitlines()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in WITHOUT_PLUGINS])
def test_every_command_that_reads_a_catalogue_takes_plugins(command):
    assert "--plugin FILE" in program(command, "--help").stdout


def test_several_files_and_an_alias(plugin):
    other = plugin(MINE.replace("mine", "other").replace("my_own", "alias"), "other.py")
    done = program(*PREDICT, "--plugin", plugin(MINE), "--plugin", other, "--init=my_own", "--init=other")
    assert done.exit_code == 0, done.output
    assert [line.split(",")[0] for line in done.stdout.splitlines()[1:]] == ["mine", "mine", "other", "other"]


def test_phase_diagrams_take_plugins(plugin):
    path = plugin(
        "import initbench as ib, torch\n@ib.activation\ndef bent(z):\n    return torch.where(z > 1, z, z / 2)"
    )
    done = program("predict", "--phase=bent", "--no-figures", "--format=csv", "--plugin", path)
    assert done.exit_code == 0, done.output


BROKEN = {
    "import initbench as ib\n\ndef f(:\n": "plug-in my.py, line 3: invalid syntax",
    "import initbench\n1 / 0\n": "plug-in my.py, line 2: ZeroDivisionError: division by zero",
    "x = 1\0\n": "plug-in my.py: source code string cannot contain null bytes",
    "import not_there\n": "plug-in my.py, line 1: ModuleNotFoundError: No module named 'not_there'",
    "raise SystemExit(3)\n": "plug-in my.py, line 1: SystemExit: 3",
    "x = 1\n": "plug-in my.py registers nothing; decorate a function with @initbench.initializer, .activation, .dataset"
               " or .optimizer",
    MINE.replace("def mine", "def he"):
        "plug-in my.py, line 3: initializer 'he' is registered twice; give another name",
    MINE + MINE: "plug-in my.py, line 8: initializer 'mine' is registered twice; give another name",
    "import initbench as ib\nib.initializer(lambda w: w)":
        "plug-in my.py, line 2: initializer '<lambda>': a name has letters, digits and underscores; give name=...",
    "import initbench as ib\n@ib.initializer(coupling='orthogonl')\ndef mine(w): ...":
        "plug-in my.py, line 2: unknown coupling 'orthogonl'; did you mean 'orthogonal'?",
    "import initbench as ib\n@ib.initializer\ndef mine(w):\n    return 3":
        "initializer 'mine' (my.py, line 2) returned int, not a tensor",
    "import initbench as ib\n@ib.initializer\ndef mine(w):\n    return w.t()[:2]":
        "initializer 'mine' (my.py, line 2) returned the shape (2, 64) for a layer of 64 inputs and 64 units",
    "import initbench as ib\n@ib.initializer\ndef mine(w):\n    return w.double()":
        "initializer 'mine' (my.py, line 2) returned torch.float64, not torch.float32",
    "import initbench as ib\n@ib.initializer\ndef mine(w):\n    return w / 0":
        "initializer 'mine' (my.py, line 2) gives weights that are not finite for a layer of 64 inputs and 64 units",
    "import initbench as ib\n@ib.initializer\ndef mine(w):\n    w.foo()":
        "initializer 'mine': my.py, line 4: AttributeError: 'Tensor' object has no attribute 'foo'",
    "import initbench as ib\n@ib.initializer\ndef mine():\n    return 3":
        "initializer 'mine' (my.py, line 2) returned int, not Initializer",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BROKEN.items(), ids=[message[:60] for message in BROKEN.values()])
def test_a_broken_plugin_gets_one_line_with_file_and_line(plugin, text, message):
    done = program(*PREDICT, "--init=mine", "--plugin", plugin(text))
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: {message}\n")


def test_a_file_that_is_not_there():
    done = program(*PREDICT, "--plugin=no.py")
    assert (done.exit_code, done.stderr) == (2, "Error: plug-in no.py: No such file or directory\n")


def test_a_misspelt_name_of_a_plugin_is_found_near(plugin):
    done = program(*PREDICT, "--init=mne", "--plugin", plugin(MINE))
    assert done.stderr == "Error: unknown initializer 'mne'; did you mean 'mine'?\n"


def test_a_file_that_is_run_again_replaces_what_it_registered(plugin, tmp_path):
    for scale in (1.5, 3.0):
        load(tmp_path / plugin(MINE.replace("1.5 /", f"{scale} /")))
        for name in ("mine", "my_own"):
            promise = INITIALIZERS.make(name).promise(Setting(Layer(1, 100, 50), ACTIVATIONS.make("relu")))
            assert promise.variance == pytest.approx(scale / 100, rel=0.01)
    with pytest.raises(UsageError, match="registered twice"):
        load(tmp_path / plugin(MINE, "copy.py"))


def test_a_cell_of_a_notebook_that_is_run_again_replaces_what_it_registered():
    """As there, the functions' code is in no file."""
    prints = []
    for scale in ("1.5", "3.0", "3.0"):
        exec(compile(MINE.replace("1.5 /", f"{scale} /"), "<cell>", "exec"), {})
        prints.append(INITIALIZERS.entry("mine").origin.fingerprint)
    assert prints[0] != prints[1] == prints[2]


def test_studies_load_no_code(plugin):
    plugin(MINE)
    plugin('plugin = "my.py"\n[compare]\ninit = ["mine"]\n', "study.toml")
    assert program("train-grid", "study.toml", "--dry-run").stderr.startswith("Error: study.toml: unknown key 'plugin'")
    plugin('[compare]\ninit = ["mine"]\n', "study.toml")
    assert "unknown initializer 'mine'" in program("train-grid", "study.toml", "--dry-run").stderr
    assert program("train-grid", "study.toml", "--dry-run", "--plugin=my.py").exit_code == 0


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package on the path that offers an initializer."""

    def install(text):
        site = tmp_path / "site"
        (site / "pack-1.2.dist-info").mkdir(parents=True)
        (site / "pack_of_inits.py").write_text(text)
        (site / "pack-1.2.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: pack\nVersion: 1.2\n")
        points = "[initbench.initializers]\nmine = pack_of_inits\n"
        (site / "pack-1.2.dist-info/entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "pack_of_inits", raising=False)
        monkeypatch.setattr(INITIALIZERS, "_group", "initbench.initializers")

    yield install
    sys.modules.pop("pack_of_inits", None)


def test_installed_plugins_are_loaded_when_a_name_is_not_known(installed):
    installed(MINE)
    assert program(*PREDICT, "--init=he_normal").exit_code == 0
    assert "pack_of_inits" not in sys.modules
    assert program(*PREDICT, "--init=mine").exit_code == 0
    assert "pack_of_inits" in sys.modules


def test_installed_plugins_are_listed(installed):
    installed(MINE)
    assert program("list", "initializers").stdout.splitlines()[-2].startswith("mine")


def test_a_broken_installed_plugin_is_named(installed, tmp_path):
    installed("x = 1\nraise ValueError('no')\n")
    where = f"{tmp_path}/site/pack_of_inits.py, line 2"
    message = f"Error: the installed plug-in 'pack_of_inits' of the package pack 1.2: {where}: ValueError: no\n"
    done = program(*PREDICT, "--init=mine")
    assert (done.exit_code, done.stderr) == (2, message)
