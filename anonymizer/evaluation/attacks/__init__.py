"""Attacks: each a module of this package, separately runnable.

An attack ``NAME`` is the module ``anonymizer/evaluation/attacks/NAME.py`` with one public function::

    def run(context: Context) -> list[Finding | Skipped]: ...

It loops over the classes, variants and recognisers of the context as far as they concern it and returns one finding
for each combination, or a ``Skipped`` with the reason. It never returns a value for nothing: an empty case is an
``Estimate(None, reason=...)`` or a ``Skipped``. Randomness comes from ``context.rng(NAME, ...)``; embeddings come from
``context.store``, so that no picture is described twice; temporary files go to ``context.folder``. Errors of the
package's hierarchy pass through.
"""

from __future__ import annotations

__all__ = ["ATTACKS"]

#: Every attack, in the order in which they run and are reported.
ATTACKS: tuple[str, ...] = (
    "naive",
    "aligned",
    "parrot",
    "adaptive",
    "informed",
    "reconstruction",
    "condition",
    "plate",
    "residue",
    "seed",
    "attributes",
    "scene",
    "leak",
)
