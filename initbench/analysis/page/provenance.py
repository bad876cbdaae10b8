"""Where the numbers of a page come from, how to have them again, and how to cite them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w

from initbench.analysis.page import words
from initbench.analysis.page.answers import Answer
from initbench.analysis.results import Results

END = "END_OF_STUDY"
"""What ends the study file among the shell's commands, and does not stand in it."""
MANIFEST = {
    "started": "Started",
    "seconds": "Took",
    "device": "Device",
    "processor": "Processor",
    "engine": "Engine",
    "commit": "Commit",
    "versions": "Versions",
    "data": "Data (fingerprint)",
    "plugins": "Plug-ins (fingerprint)",
    "tuning": "Chosen for speed",
    "key": "Key of the study",
    "merged": "Merged from",
}
"""Entry of a manifest -> heading."""


def rows(results: Results) -> list[tuple[str, str]]:
    """What the manifest tells."""
    told = results.manifest
    found = [(heading, _written(name, told[name])) for name, heading in MANIFEST.items() if told.get(name)]
    return [("Folder", str(results.folder)), *found]


def _written(name: str, value: Any) -> str:
    if name == "seconds":
        return f"{words.number(float(value), 3)} s"
    if name == "merged":
        return ", ".join(f"{each['folder']} ({each['key']})" for each in value)
    told = words.level(value)
    return f"{told[:-1]}, with changes that were not committed" if name == "commit" and told.endswith("+") else told


def again(answer: Answer, parts: Mapping[str, Results]) -> str:
    """Shell commands that make all of it anew: the study file, whole, and the command that runs it."""
    text = answer.text or tomli_w.dumps(_study(answer, parts))
    name = _name(answer, parts)
    full, end = " --full" if answer.full else "", END
    while end in text:  # else what follows it would be commands
        end += "_"
    return f"cat > {name}.toml <<'{end}'\n{text.strip()}\n{end}\ninitbench run {name}.toml{full}\n"


def _study(answer: Answer, parts: Mapping[str, Results]) -> dict[str, Any]:
    if list(parts) == [""]:
        return parts[""].study
    return {"question": answer.question, "parts": {part: results.study for part, results in parts.items()}}


def _name(answer: Answer, parts: Mapping[str, Results]) -> str:
    """A file name that a shell takes as it is."""
    name = answer.name or next(iter(parts.values())).folder.resolve().name
    return "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in name).lstrip("-.") or "study"


def setup(parts: Mapping[str, Results]) -> str:
    """The versions that decide the numbers, as a line for pip."""
    versions: dict[str, str] = next(
        (results.manifest["versions"] for results in parts.values() if "versions" in results.manifest), {}
    )
    return " ".join(f"{name}=={version}" for name, version in versions.items() if name not in ("python", "initbench"))


def cite(answer: Answer, parts: Mapping[str, Results]) -> str:
    """An entry for BibTeX."""
    manifest = next(iter(parts.values())).manifest
    version = manifest.get("versions", {}).get("initbench", "")
    date, commit = str(manifest.get("started", ""))[:10], str(manifest.get("commit") or "").rstrip("+")
    note = ", ".join(filter(None, (f"study {_name(answer, parts)}", f"commit {commit[:12]}" if commit else "", date)))
    return (
        "@software{initbench,\n"
        "  author  = {{The initbench authors}},\n"
        "  title   = {initbench: a benchmark harness for studies of neural-network weight initialization},\n"
        f"  version = {{{version}}},\n  year    = {{{date[:4]}}},\n  note    = {{{note}}}\n}}"
    )
