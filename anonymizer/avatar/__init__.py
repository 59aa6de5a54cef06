"""Avatar: a posed, dressed, ray-traced body with which the redraw of a person starts.

Only the pose (directions of limbs), one scale and the place come from the person; everything else is drawn by chance.
"""

from anonymizer.avatar.appearance import Population
from anonymizer.avatar.artist import AvatarArtist
from anonymizer.avatar.wardrobe import Habits

__all__ = ["AvatarArtist", "Habits", "Population"]
