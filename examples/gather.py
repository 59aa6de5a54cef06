"""Gather pictures to try the anonymizer on: those that installed packages bring along, and rendered streets.

Usage: ``python examples/gather.py DEST``. Copies into the folder DEST whatever is installed of

- ``bus.jpg`` and ``zidane.jpg`` from the ultralytics package,
- ``t1.jpg`` from the insightface package,

and renders ``plates.png`` and ``street.png``. The packages are located without importing them.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

from render_people import render_people
from render_plates import render_street, save

#: Package, path within it.
PICTURES = (
    ("ultralytics", "assets/bus.jpg"),
    ("ultralytics", "assets/zidane.jpg"),
    ("insightface", "data/images/t1.jpg"),
)


def locate(package: str, inner: str) -> Path | None:
    """Return the path of a file inside an installed package, or None if the package or the file is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / inner
    return path if path.is_file() else None


def gather(destination: Path) -> list[Path]:
    """Copy and render every picture into a folder, created if need be; return the files put there.

    Pictures of packages that are not installed are named on stderr and left out.
    """
    destination.mkdir(parents=True, exist_ok=True)
    put: list[Path] = []
    for package, inner in PICTURES:
        source = locate(package, inner)
        if source is None:
            print(f"left out: {inner} (package {package} is not installed or does not hold it)", file=sys.stderr)
            continue
        put.append(Path(shutil.copyfile(source, destination / source.name)))
        print(f"{put[-1]}  from package {package}")
    for name, render in (("plates.png", render_street), ("street.png", render_people)):
        put.append(destination / name)
        save(render(), put[-1])
        print(f"{put[-1]}  rendered")
    return put


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Gather pictures to try the anonymizer on.")
    parser.add_argument("destination", type=Path, metavar="DEST", help="folder to put the pictures in")
    gather(parser.parse_args().destination)
