"""Make the small results folders of the version that is installed, beside this file: `python tests/assets/make.py`.

Once for each released version. They are kept, so that later versions are held to read them (test_released_results.py).
"""

import shutil
from importlib.metadata import version
from pathlib import Path

from click.testing import CliRunner

from initbench.cli import main

HERE = Path(__file__).parent
GRID = ["init=he,xavier", "optimizer=sgd,adam", "activation=relu", "depth=1", "width=8", "lr=0.1", "momentum=0.9",
        "nesterov=false", "batch_size=32", "steps=20", "record_every=10"]  # fmt: skip
COMMANDS = {
    "variance": [
        "variance",
        "--init=he",
        "--init=xavier",
        "--activation=tanh",
        "--depth=1",
        "--width=8",
        "--batch=4",
        "--seeds=4",
    ],  # fmt: skip,
    "train": ["train-grid", *(f"--set={setting}" for setting in GRID)],
}


def make(folder):
    """One results folder a command, without what goes on from it: the parts are the tables, in pieces."""
    for name, command in COMMANDS.items():
        done = CliRunner().invoke(main, [*command, "--no-figures", "--device=cpu", f"--out={folder / name}"])
        if done.exit_code:
            raise SystemExit(done.output)
        shutil.rmtree(folder / name / "parts")
        for beside in (folder / name).glob(".*"):
            beside.unlink()


if __name__ == "__main__":
    to = HERE / f"results-{version('initbench')}"
    shutil.rmtree(to, ignore_errors=True)
    make(to)
    print(f"{to.name}: {sum(path.stat().st_size for path in to.rglob('*') if path.is_file()):,} bytes")
