"""SIGTERM and Ctrl-C end the work alike, and the exit code is the program's own."""

import signal
import subprocess
import sys
import threading

import pytest

from initbench.cli.interruption import terminated_as_interrupted


def test_sigterm_interrupts_and_its_handler_is_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminated_as_interrupted():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_may_run_a_command():
    before, entered = signal.getsignal(signal.SIGTERM), []

    def work():
        with terminated_as_interrupted():
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [before]


def test_the_exit_code_is_ours_wherever_the_interrupt_fell(tmp_path):
    """In the middle of an import, say, where a dataclass is made by exec; `python -m` alone is so."""
    (tmp_path / "interrupted.py").write_text("""
import sys
from initbench.cli.interruption import terminated_as_interrupted
try:
    with terminated_as_interrupted():
        exec("raise KeyboardInterrupt")
except KeyboardInterrupt:
    sys.exit(1)
""")
    assert subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path).returncode == 1
