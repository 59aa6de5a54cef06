"""Recognising faces and reading text, to prove that neither survives."""
