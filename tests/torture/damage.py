"""Files that are not as they were written: named by `status --check`, kept under another name, made anew."""

import json
import shutil
import signal
from pathlib import Path

import pandas as pd

from initbench.core.folder import LAYOUT
from torture import kills, program
from torture.counts import Counts

SHIFT = 7
"""Bits are numbered from the lowest."""


def truncated(content, random):
    return content[: random.randrange(1, len(content))]


def flipped(content, random):
    """One bit, anywhere."""
    at = random.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << random.randint(0, SHIFT)]) + content[at + 1 :]


def emptied(content, random):
    return b""


def foreign(content, random):
    """A whole Parquet file of something else."""
    return pd.DataFrame({"x": [random.random()]}).to_parquet(index=False)


def forged(content, random):
    """Another's copy of the same rows, one value of which was changed."""
    frame = pd.read_parquet(pd.io.common.BytesIO(content))
    column = next(name for name in frame if frame[name].dtype == float)
    frame.loc[0, column] = random.random()
    return frame.to_parquet(index=False)


def text(content, random):
    return b"not a table\n"


DAMAGES = (truncated, flipped, emptied, foreign, forged, text)


def of_parts(whole, folder, random, tries):
    """Of an interrupted run: a part damaged, or another part put in its place; one file, or several."""
    counts = Counts("a damaged or foreign part")
    unfinished = _unfinished(folder)
    for number in range(tries):
        out = _copy(unfinished, folder / f"parts{number}")
        several = random.sample(sorted((out / "parts").iterdir()), random.choice([1, 1, 3]))
        for path in several:
            if number % (len(DAMAGES) + 1) == len(DAMAGES):
                others = [other for other in sorted((out / "parts").iterdir()) if other not in several]
                path.write_bytes(random.choice(others).read_bytes())
            else:
                path.write_bytes(DAMAGES[number % (len(DAMAGES) + 1)](path.read_bytes(), random))
        _mended(counts, out, several, whole)
    return counts


def of_tables(whole, folder, random, tries):
    """Of finished results, the study as resolved among them: joined again, nothing trained."""
    counts = Counts("a damaged or foreign table of finished results")
    for number in range(tries):
        out = _copy(_finished(folder), folder / f"tables{number}")
        path = out / random.choice([f"{name}.parquet" for name in program.TABLES])
        path.write_bytes(DAMAGES[number % len(DAMAGES)](path.read_bytes(), random))
        process = _mended(counts, out, [path], whole)
        counts.repeated += len(process.started)
    return counts


def of_the_manifest(whole, folder, random, tries):
    """Of an interrupted or finished run: no JSON, a bit flipped, another study's; nothing is trained again."""
    counts = Counts("a damaged or foreign manifest")
    unfinished = _unfinished(folder)
    for number in range(tries):
        kept = (unfinished, _finished(folder))[number % 2]
        out = _copy(kept, folder / f"manifest{number}")
        damage = (truncated, flipped, emptied, text, _of_another)[number % 5]
        path = out / "manifest.json"
        path.write_bytes(damage(path.read_bytes(), random))
        _mended(counts, out, [path], whole)
    return counts


def of_an_older_layout(whole, folder, random, tries):
    """A folder as an older version left it is kept within; a newer one's is refused. Both are told."""
    counts = Counts("a folder of another layout")
    for number in range(tries):
        out = _copy(_finished(folder), folder / f"older{number}")
        _of_layout(out, LAYOUT - 1)
        kept = _files(out)
        counts.require(program.status(out)[0] == 3, f"{out}: an older layout was not told")
        process = program.grid(out)
        counts.require(process.wait() == 0 and f"kept as layout{LAYOUT - 1}" in process.err, process.err)
        counts.compare(out, whole)
        counts.require(kept == _files(out / f"layout{LAYOUT - 1}"), f"{out}: the older results were not kept")
        counts.require(program.status(out)[0] == 0, f"{out}: still not whole")
        _of_layout(out, LAYOUT + 1)
        process = program.grid(out)
        told = (process.wait(), "was made by a newer version of initbench" in process.err)
        counts.require(told == (1, True), process.err)
        counts.tries += 2
    return counts


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.name != ".lock"}


def _of_layout(out, layout):
    path = out / "manifest.json"
    told = {**json.loads(path.read_text()), "layout": layout}
    del told["seal"]
    path.write_text(json.dumps(told))


def _of_another(content, random):
    told = {**json.loads(content), "key": f"{random.getrandbits(64):016x}"}
    del told["seal"]
    return json.dumps(told).encode()


def _finished(folder):
    return folder.with_name("whole")


def _unfinished(folder):
    """A run that was killed with all but one of its parts written."""
    out = folder / "unfinished"
    if not out.exists():
        process = program.grid(out, lambda: kills.die_at("replace", 2 + 3 * 3, after=True))
        assert process.wait() == -signal.SIGKILL
    return out


def _copy(folder, out):
    return Path(shutil.copytree(folder, out))


def _mended(counts, out, damaged, whole):
    """Named, kept, and made anew by the same command."""
    before = {path: path.read_bytes() for path in damaged}
    code, lines = program.status(out)
    counts.require(code == 3, f"{out}: exit code {code} of status --check")
    named = all(str(path) in lines for path in damaged)
    counts.require(named, f"{out}: not named: {damaged}: {lines}")
    process = counts.finish(out, whole, damaged)
    for path, content in before.items():
        aside = path.with_name(f"{path.name}.damaged")
        counts.require(aside.is_file() and aside.read_bytes() == content, f"{out}: {path.name} was not kept")
        counts.require(f"{path}" in process.err, f"{out}: {path.name} was not told: {process.err}")
    code, lines = program.status(out)
    counts.require(code == 0, f"{out}: still {lines}")
    counts.tries += 1
    return process
