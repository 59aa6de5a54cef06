"""Anonymize a folder with two worker processes, and print what became of each picture.

Usage: ``python examples/folder.py INPUT OUTPUT``
"""

from __future__ import annotations

import sys

from anonymizer import anonymize_folder

if __name__ == "__main__":
    summary = anonymize_folder(
        sys.argv[1],
        sys.argv[2],
        workers=2,
        on_progress=lambda progress: print(f"{progress.done}/{progress.total} {progress.name}: {progress.status}"),
    )
    print(f"{summary.released} released, {summary.quarantined} quarantined, {summary.failed} failed")
