"""How results came about, as their manifests tell it, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOLD = ("versions", "commit", "device", "processor", "engine", "tuning", "data")
"""Entries of a manifest that decide numbers, or how they are rounded."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each of these entries that both manifests tell, and tell otherwise."""
    was, is_now = _entries(before), _entries(now)
    return [f"{name}: {value} and {is_now[name]}" for name, value in was.items() if is_now.get(name, value) != value]


def _entries(manifest: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in TOLD:
        value = manifest.get(name, {})
        found |= {_label(name, key): each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _label(name: str, key: str) -> str:
    return f"{name} {key}" if name != "versions" else key
