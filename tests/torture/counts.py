"""What a fault did: how many tries, and how many cells were lost, trained twice, or came out otherwise."""

from dataclasses import dataclass, field

import pandas as pd

from torture import program


@dataclass
class Counts:
    """Of one fault, against an uninterrupted run."""

    fault: str
    tries: int = 0
    lost: int = 0
    """Cells that the final table lacks."""
    repeated: int = 0
    """Trainings that began although a part on the disk held them."""
    wrong: int = 0
    """Cells of another value, and all else that was not as promised: exit codes, messages, files left over."""
    skipped: str = ""
    """Why it could not be tried here."""
    complaints: list[str] = field(default_factory=list)

    def require(self, condition, complaint):
        """Count what is not as promised."""
        if not condition:
            self.wrong += 1
            self.complaints.append(complaint)

    def attempt(self, out, before, process):
        """A process that ended: count what it trained although it was there `before`."""
        again = [each for each in process.started if each in before]
        self.repeated += len(again)
        if again:
            self.complaints.append(f"trained again: {len(again)} in {out}")
        self.require("Traceback" not in process.err, process.err)

    def compare(self, out, whole):
        """The finished folder `out` against the tables of the uninterrupted run."""
        found = program.tables(out)
        self.lost += len(set(whole["runs"].cell_id) - set(found["runs"].cell_id))
        for name, frame in whole.items():
            try:
                pd.testing.assert_frame_equal(frame, found[name], check_exact=True)
            except AssertionError as error:
                self.require(False, f"{out}: {name}: {error}")
        self.require_tidy(out)

    def require_tidy(self, out):
        """No file is left over."""
        left = [path.name for path in out.rglob("*") if path.name.endswith(".new") or path.name == ".owner"]
        self.require(not left, f"{out}: left over: {left}")

    def finish(self, out, whole, damaged=()):
        """The same command again, to its end; `damaged` files are of no use to it."""
        before = program.durable(out, damaged)
        process = program.grid(out)
        code = process.wait()
        self.require(code == 0, f"exit code {code}: {process.err}")
        self.attempt(out, before, process)
        if code == 0:
            self.compare(out, whole)
        return process
