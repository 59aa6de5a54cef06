"""Rewrite sha256 and bytes of embedded and package weights in ``anonymizer/models/weights.toml``, in place.

Run it after each training:

    python models/training/update_manifest.py

An embedded weight that is not there yet keeps an empty list, and is refused at load until this script has seen it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from anonymizer.models import weights

MANIFEST = Path(weights.__file__).resolve().parent / "weights.toml"


def listed(weight: weights.Weight) -> list[Path]:
    """Return the files of a weight that belong into the list."""
    folder = weights.source_folder(weight)
    if folder is None:
        return []
    if weight.entry:
        file = folder / weight.entry
        return [file] if file.is_file() else []
    files = []
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not file.is_file() or hidden or file.suffix in weights.PROSE_SUFFIXES:
            continue
        if file.suffix not in weights.SAFE_SUFFIXES:
            sys.exit(f"{file}: format may run code when loaded; convert it to safetensors or ONNX, or remove it")
        files.append(file)
    return files


def block(weight: weights.Weight) -> str:
    """Return the TOML of a weight's files."""
    folder = weights.source_folder(weight) or Path()
    rows = []
    for file in listed(weight):
        name, size = file.relative_to(folder).as_posix(), file.stat().st_size
        rows.append(f'    {{ path = "{name}", sha256 = "{weights.file_sha256(file)}", bytes = {size} }},\n')
    return "files = [\n" + "".join(rows) + "]" if rows else "files = []"


def main() -> None:
    """Rewrite the list and say what changed."""
    text = MANIFEST.read_text(encoding="utf-8")
    head, *parts = re.split(r"(?m)^(?=\[\[weight\]\]$)", text)
    known = {weight.id: weight for weight in weights.entries()}
    for index, part in enumerate(parts):
        identity = re.search(r'(?m)^id = "(.+)"$', part)
        if identity is None:
            sys.exit(f"{MANIFEST}: an entry has no id")
        weight = known[identity[1]]
        if weight.source == "hub":
            continue
        new = block(weight)
        parts[index] = re.sub(r"(?ms)^files = \[(?:\]|.*?^\])$", lambda _, new=new: new, part, count=1)
        state = "unchanged" if parts[index] == part else "updated"
        print(f"{weight.id}: {len(listed(weight))} files, {state}")
    MANIFEST.write_text(head + "".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
