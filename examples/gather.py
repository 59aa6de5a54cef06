"""Gather pictures to try the anonymizer on: those that published packages bring along, and rendered streets.

Usage: ``python examples/gather.py DEST [--wheels DIR]``. Copies into the folder DEST

- ``bus.jpg`` and ``zidane.jpg`` of the ultralytics package,
- ``t1.jpg`` of the insightface package,

out of the packages' wheels in DIR, or where they are installed, without importing them; and renders ``plates.png``
and ``street.png``.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import zipfile
from pathlib import Path

from render_people import render_people
from render_plates import render_street, save

#: Package, path within it.
PICTURES = (
    ("ultralytics", "assets/bus.jpg"),
    ("ultralytics", "assets/zidane.jpg"),
    ("insightface", "data/images/t1.jpg"),
)


def read(package: str, inner: str, wheels: Path | None = None) -> bytes | None:
    """Return a file of a package, from its wheel in a folder or from where it is installed; None if it is nowhere."""
    for wheel in [] if wheels is None else sorted(wheels.glob(f"{package}-*.whl")):
        with zipfile.ZipFile(wheel) as opened:
            if f"{package}/{inner}" in opened.namelist():
                return opened.read(f"{package}/{inner}")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / inner
    return path.read_bytes() if path.is_file() else None


def gather(destination: Path, wheels: Path | None = None) -> list[Path]:
    """Copy and render every picture into a folder, created if need be; return the files put there.

    Pictures of packages that are not at hand are named on stderr and left out.
    """
    destination.mkdir(parents=True, exist_ok=True)
    put: list[Path] = []
    for package, inner in PICTURES:
        picture = read(package, inner, wheels)
        if picture is None:
            print(f"left out: {inner} (package {package} is not at hand or does not hold it)", file=sys.stderr)
            continue
        put.append(destination / Path(inner).name)
        put[-1].write_bytes(picture)
        print(f"{put[-1]}  from package {package}")
    for name, render in (("plates.png", render_street), ("street.png", render_people)):
        put.append(destination / name)
        save(render(), put[-1])
        print(f"{put[-1]}  rendered")
    return put


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Gather pictures to try the anonymizer on.")
    parser.add_argument("destination", type=Path, metavar="DEST", help="folder to put the pictures in")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="folder of wheels to take photographs from")
    arguments = parser.parse_args()
    gather(arguments.destination, arguments.wheels)
