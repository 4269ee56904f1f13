"""Where the figures of a GPU go: JSON, Markdown and plots, in a folder of the device's name."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.tables import markdown
from benchmarks.machine import ROOT
from benchmarks.report import text
from refgen.training.files import write_whole

RESULTS = ROOT / "benchmarks" / "results"


def keep(found: dict[str, Any], target: Path) -> list[Path]:
    """Write a result as JSON, and Markdown and plots beside it; return where."""
    about = found["environment"]
    write(target, found)
    page = target.with_suffix(".md")
    page.write_text(f"# {about['device'].get('name', '')}, {about['date']}\n\n{markdown(found)}\n")
    try:
        made = importlib.import_module("benchmarks.gpu.plots").draw(found, target)
    except ImportError as error:
        made = []
        print(f'no plots: {error}; pip install "refgen[viz]"', file=sys.stderr)
    for path in (target, page, *made):
        print(path, file=sys.stderr)
    return [target, page, *made]


def stem(about: dict[str, Any]) -> str:
    """Return the name of a result, without its ending."""
    return f"{about['date']}-{about['commit']}"


def folder_of(about: dict[str, Any]) -> str:
    """Return the folder that results of a device go to.

    >>> folder_of({"device": {"name": "NVIDIA H200"}})
    'gpu-nvidia-h200'
    """
    name = str(about["device"].get("name", "unknown"))
    return "gpu-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(target: Path, found: dict[str, Any]) -> None:
    """Write figures whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = f"{text(found)}\n".encode()
    write_whole(target, lambda file: file.write(content))
