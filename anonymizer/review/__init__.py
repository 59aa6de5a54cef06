"""Review: a page on this machine on which people look at what a run released, correct it and sign it.

``serve`` shows it, ``Desk`` is what it knows and does without a browser.
"""

from anonymizer.review.desk import Desk
from anonymizer.review.server import serve

__all__ = ["Desk", "serve"]
