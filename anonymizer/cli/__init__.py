"""Command line: parsing and printing only. ``main`` runs it, ``app`` is the application it runs."""

from anonymizer.cli.app import app, main

__all__ = ["app", "main"]
