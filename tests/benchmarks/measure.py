"""The gate's workloads, measured in a process of their own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from benchmarks.rule import Fresh
from pydantic import BaseModel, ValidationError

ROOT = Path(__file__).parents[2]
WORKLOADS = "tests/benchmarks/test_gate.py"
MEASURED = ("initbench", "tests/benchmarks")
Model = TypeVar("Model", bound=BaseModel)


class BadInput(click.ClickException):
    """There is nothing to judge, or nothing to judge it by."""

    exit_code = 2


def measure(names: Iterable[str] = (), root: Path = ROOT) -> Fresh:
    """Ratios of the workloads with these names, of all if none is given; raises `BadInput` where one cannot run.

    `root` is the checkout whose initbench and workloads are measured.
    """
    which = [f"{WORKLOADS}::test_{name}" for name in names] or [WORKLOADS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fresh.json"
        options = ["--benchmark-only", f"--benchmark-json={path}", "-q", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *which, *options]  # -m: the initbench of this folder comes first
        environment = {**os.environ, "PYTHONPATH": str(root / "tests")}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        if done.returncode:
            click.echo(done.stdout[-4000:] + done.stderr[-2000:], err=True)
            raise BadInput(f"{WORKLOADS} cannot be measured: pytest ended with {done.returncode}")
        told = read_json(path)
    if not Path(told["machine_info"]["initbench"]).is_relative_to(root):
        raise BadInput(f"another initbench was measured: {told['machine_info']['initbench']}, not that of {root}")
    return fresh_of(told, WORKLOADS)


@contextmanager
def checked_out(commit: str) -> Iterator[Path | None]:
    """The files of `commit` in a folder for a while; None where this checkout does not hold it."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder).resolve() / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        try:
            made = subprocess.run([*git, "add", "--detach", str(there), commit], capture_output=True)
        except OSError:
            made = None
        try:
            yield there if made and made.returncode == 0 else None
        finally:
            if made:
                subprocess.run([*git, "remove", "--force", str(there)], capture_output=True)


def fresh_of(told: dict[str, Any], source: object) -> Fresh:
    """What pytest-benchmark's JSON says of the gate; raises `BadInput` if it is none of ours."""
    try:
        told_of = told["machine_info"]
        cpu = told_of["cpu"]
        model = ", ".join(f"{part} {cpu[part]}" for part in ("family", "model", "stepping") if part in cpu)
        machine = {"cpu": f"{cpu['brand_raw']} ({model})", "cores": told_of["cores"]}
        ratios = {bench["name"].removeprefix("test_"): bench["extra_info"]["ratio"]
                  for bench in told["benchmarks"] if "ratio" in bench["extra_info"]}  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{source} is no JSON of the benchmarks: {type(error).__name__} {error}") from None
    return checked(Fresh, {"ratios": ratios, "machine": machine, "versions": told_of.get("versions")}, source)


def read_json(path: Path) -> Any:
    """What a file holds; raises `BadInput` where that is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from None


def checked(model: type[Model], told: Any, source: object) -> Model:
    """`told` as `model`; raises `BadInput` with the first thing that is wrong."""
    try:
        return model.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BadInput(f"{source}: {where}: {first['msg']}") from None


def commit() -> str:
    """The commit, with ``+`` if what is measured was changed since."""
    git = ["git", "-C", str(ROOT)]
    try:
        here = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", *MEASURED], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return here.stdout.strip() + ("+" if changed.stdout.strip() else "")
