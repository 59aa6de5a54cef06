"""Meaning of category names: names of the large data sets and everyday words for persons, faces and plates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anonymizer.core.errors import InputError
from anonymizer.core.records import CLASSES

__all__ = ["Meanings", "label_of", "parse_map"]

#: Answers of ``--map`` that leave a category alone on purpose.
NOTHING = ("none", "ignore")
# Names without separators, in lower case; plurals with a bare s are found by themselves.
_PERSON = """
    person people pedestrian ped human humanbody man men woman women boy girl child children kid baby adult lady guy
    rider cyclist bicyclist motorcyclist biker passenger driver worker constructionworker policeofficer crowd
    policeman policemen policewoman policewomen fireman firemen firefighter toddler infant teenager
    persongroup ridergroup groupofpeople personsitting sittingperson personstanding standingperson personwalking
    walkingperson otherperson otherpedestrian otherrider wheeledrider typepedestrian typecyclist
    humanarm humanhand humanleg humanfoot
"""
_FACE = """
    face head humanface humanhead personface personhead humaneye humannose humanmouth humanear humanhair humanbeard
"""
_PLATE = """
    licenseplate numberplate plate lp licplate platenumber registrationplate vehicleregistrationplate carplate
    carlicenseplate carnumberplate vehicleplate vehiclelicenseplate vehiclenumberplate motorcycleplate truckplate
"""
_ALIASES = {
    **{name.replace("_", ""): name for name in CLASSES},
    **dict.fromkeys(_PERSON.split(), "person"),
    **dict.fromkeys(_FACE.split(), "face"),
    **dict.fromkeys(_PLATE.split(), "license_plate"),
}
#: Branches of the hierarchies of Mapillary Vistas and nuImages that hold persons alone.
_HUMANS = ("human--", "human.")
# Words that speak of a person, a face or a plate wherever they stand in a name.
_TELLING = """
    person persons people human humans pedestrian pedestrians man men woman women boy boys girl girls child children
    kid kids baby babies adult adults lady ladies rider riders cyclist cyclists bicyclist bicyclists motorcyclist
    motorcyclists biker bikers passenger passengers driver drivers worker workers face faces head heads
    male males female females toddler toddlers infant infants teenager teenagers policeman policemen
    plate plates license licenses numberplate numberplates licenseplate licenseplates lp
"""
# Long words that nothing harmless contains, so that they count inside of other words as well.
_INSIDE = ("licenseplate", "numberplate", "pedestrian")
# What stands beside a telling word in names of things.
_HARMLESS = re.compile(
    r"\b(?:"
    r"pedestrians? (?:\w+ )?(?:crossings?|crosswalks?|areas?|zones?|bridges?|lights?|signals?|signs?|paths?|lanes?|"
    r"streets?|tunnels?|walkways?|ways?|barriers?|fences?|islands?|railings?|overpass|underpass|buttons?)"
    r"|(?:cyclists?|bicyclists?|riders?) (?:lanes?|paths?|crossings?|signals?|lights?|signs?)"
    r"|traffic (?:lights?|signals?) (?:pedestrians?|cyclists?|bicyclists?)"
    r"|(?:child|kid|baby) (?:car )?(?:seats?|buggy|carriages?|strollers?|bottles?|beds?)"
    r"|man (?:holes?|made)|snow man|people mover|driver(?: s)? licen[sc]es?"
    r"|(?:clock|watch|rock|cliff|wall) faces?|face towels?"
    r"|(?:shower|sprinkler|arrow|bed|bulk|signal|light) heads?|heads? (?:lights?|lamps?|phones?|sets?|bands?|scarf|"
    r"scarves|boards?|stones?|rests?)"
    r"|(?:hot|paper|dinner|dish|food|home|breast|armou?r|steel|metal|tectonic|cover) plates?|plates? of food|"
    r"plate racks?"
    r"|(?:no|non|without) (?:persons?|people|humans?|riders?|drivers?|faces?|heads?|plates?|license plates?|"
    r"pedestrians?)"
    r")\b"
)
#: Things that lie beside plates on a table: in their company ``plate`` may be a dish.
_TABLEWARE = frozenset({"fork", "knife", "spoon", "bowl", "cup", "saucer", "wineglass", "dish", "chopsticks", "mug"})
#: Most names told in one message.
_MOST = 8


def label_of(category: str) -> str | None:
    """Return the class that a category name means, or None: case, separators and British spelling do not count."""
    return Meanings().label(category)


@dataclass(frozen=True, slots=True)
class Meanings:
    """Classes of category names: as told by ``--map``, else by common names.

    Args:
        told: Class by category name, None for one to be left alone; compared without case and separators.

    Raises:
        InputError: A class that is none.
    """

    told: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, label in self.told.items():
            if label is not None and label not in CLASSES:
                raise InputError(
                    f"map {name}={label}: class {label!r} is unknown; expected {', '.join(CLASSES)} or {NOTHING[0]}"
                )
        object.__setattr__(self, "told", {_compact(name): label for name, label in self.told.items()})

    def label(self, category: str) -> str | None:
        """Return the class that a category name means, None if it is to be left alone or not known."""
        key = _compact(category)
        if key in self.told:
            return self.told[key]
        if category.strip().lower().startswith(_HUMANS):
            return "person"
        return _ALIASES.get(key) or (_ALIASES.get(key[:-1]) if key.endswith("s") else None)

    def left_alone(self, categories: Iterable[str]) -> tuple[str, ...]:
        """Return the names that mean none of our classes, ordered, each once."""
        return tuple(sorted({name for name in categories if name and self.label(name) is None}))

    def check(self, categories: Iterable[str], what: str, *, all_known: bool = False) -> None:
        """Refuse names that speak of persons, faces or plates and are not known.

        Args:
            categories: Every category name of a data set.
            what: What to call the data set in messages.
            all_known: Whether ``told`` may name only categories that are among them.

        Raises:
            InputError: Such a name, with the ``--map`` that settles it; or ``told`` names a category that is not there.
        """
        names = sorted(set(categories))
        keys = {_compact(name) for name in names}
        lost = sorted(key for key in self.told if key not in keys)
        if all_known and lost:
            raise InputError(
                f"{what}: map names the category {lost[0]!r}, which is not among {_listed(names)}; correct --map"
            )
        doubtful = [name for name in names if _compact(name) not in self.told and self._doubtful(name, keys)]
        if doubtful:
            given = " ".join(f'--map "{name}={_guess(name)}"' for name in doubtful[:_MOST])
            raise InputError(
                f"{what}: categories {_listed(doubtful)} may mean a person, face or plate; say so with {given}, "
                f"or =none to leave them alone"
            )

    def _doubtful(self, name: str, keys: set[str]) -> bool:
        if _compact(name) in ("plate", "plates"):
            return not keys.isdisjoint(_TABLEWARE | {f"{word}s" for word in _TABLEWARE})
        return self.label(name) is None and _tells(name)


def parse_map(pairs: Iterable[str]) -> dict[str, str | None]:
    """Return what ``name=class`` pairs tell; ``none`` and ``ignore`` leave a category alone.

    >>> parse_map(["Fahrer=person", "dog=none"])
    {'Fahrer': 'person', 'dog': None}

    Raises:
        InputError: No pair, or one name told twice with different classes.
    """
    out: dict[str, str | None] = {}
    for pair in pairs:
        name, separator, word = pair.rpartition("=")
        name, label = name.strip(), word.strip().lower()
        if not separator or not name or not label:
            raise InputError(f"map {pair!r}: expected NAME=CLASS, such as --map rider=person")
        told = None if label in NOTHING else label
        if out.setdefault(name, told) != told:
            raise InputError(f"map {name!r} is told twice; give one class")
    Meanings(out)
    return out


def _compact(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(char for char in folded if char.isalnum()).replace("licence", "license")


def _tells(name: str) -> bool:
    """Return whether a word of a name speaks of a person, a face or a plate."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    words = " ".join(re.findall(r"[^\W\d_]+", spaced.casefold().replace("licence", "license")))
    rest = _HARMLESS.sub(" ", words)
    return not set(_TELLING.split()).isdisjoint(rest.split()) or any(word in rest for word in _INSIDE)


def _guess(name: str) -> str:
    """Return the class that a doubtful name probably means, as a proposal."""
    words = name.casefold()
    if "plate" in words or "licen" in words:
        return "license_plate"
    return "face" if "face" in words or "head" in words else "person"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _MOST} more" if len(every) > _MOST else ""
    return ", ".join(repr(name)[:60] for name in every[:_MOST]) + more
