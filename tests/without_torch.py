"""Code that runs in a process of its own, in which torch cannot be imported."""

import subprocess
import sys

NO_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTorch())
"""


def run(code, **options):
    """Fails where the code does."""
    subprocess.run([sys.executable, "-c", NO_TORCH + code], check=True, **options)
