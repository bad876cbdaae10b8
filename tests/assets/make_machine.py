"""Keep what this machine makes of a study, for other machines to make it again: `python tests/assets/make_machine.py`.

Once for each kind of processor, into machines/NAME; tests/test_other_machines.py holds all of them to what is made
where it runs.
"""

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from click.testing import CliRunner

from initbench.cli import main
from initbench.engine.tuning import processor

HERE = Path(__file__).parent / "machines"
STUDY = HERE / "study.toml"


def make(folder):
    """The study's answer into `folder`, less what goes on from it: the parts are the tables, in pieces."""
    with TemporaryDirectory() as beside:
        command = ["run", str(STUDY), "--no-figures", "--device=cpu", f"--out={folder}", f"--reports={beside}"]
        done = CliRunner().invoke(main, command)
    if done.exit_code:
        raise SystemExit(done.output)
    for unneeded in [*folder.rglob("parts"), *folder.rglob(".lock")]:
        shutil.rmtree(unneeded) if unneeded.is_dir() else unneeded.unlink()


if __name__ == "__main__":
    to = HERE / re.sub(r"\W+", "-", sys.argv[1] if sys.argv[1:] else processor()).strip("-").lower()
    shutil.rmtree(to, ignore_errors=True)
    make(to)
    print(f"{to.name}: {sum(path.stat().st_size for path in to.rglob('*') if path.is_file()):,} bytes")
