"""Avatars drawn alone."""

from __future__ import annotations

from typing import Any

from anonymizer.core.records import AvatarArtist, Rendering


def drawn(artist: AvatarArtist, *arguments: Any, **named: Any) -> Rendering | None:
    """Return the rendering of what an artist begins, None where it begins nothing."""
    drawing = artist.begin(*arguments, **named)
    return None if drawing is None else drawing()
