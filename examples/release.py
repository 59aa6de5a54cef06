"""Release pipeline with a gate: anonymize a folder, check what was written, attack it, and say whether it may go out.

Usage: ``python examples/release.py ORIGINALS OUTPUT EVALUATION``

Exits with 0 only where nobody has to look: every picture released, OUTPUT as the ledger says, no leak, and nobody
recognised more often than chance. Needs the extra ``evaluate``.
"""

from __future__ import annotations

import sys

from anonymizer import anonymize_folder, evaluate
from anonymizer.evaluation.verdict import fails
from anonymizer.run.audit import audit

#: Worst verdict that is let through. ``too-few`` would also stop folders with too few people to tell.
GATE = "more-than-chance"


def obstacles(originals: str, output: str, evaluation: str) -> list[str]:
    """Return why the pictures must not go out, one line each."""
    summary = anonymize_folder(originals, output)
    found = [f"{summary.quarantined} quarantined, {summary.failed} failed; see {output}/quarantine.txt"]
    if not summary.quarantined and not summary.failed:
        found.clear()
    found += [f"{finding.name}: {finding.kind}" for finding in audit(output).findings]
    verdict = evaluate(originals, output, evaluation)["verdict"]
    if fails(verdict["state"], GATE):
        found.append(f"verdict {verdict['state']}; see {evaluation}/report.html")
    return found


if __name__ == "__main__":
    lines = obstacles(*sys.argv[1:4])
    print("\n".join(lines) or "may go out")
    sys.exit(1 if lines else 0)
