"""Names of categories mean a class, or are told, or are refused; nothing is taken in silence."""

import pytest

from anonymizer.annotations.categories import Meanings, label_of, parse_map
from anonymizer.core.errors import InputError


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("person", "Person Man Woman Boy Girl people persons child children men women rider Pedestrian pedestrians"),
        ("person", "Policeman policewomen firefighter fireman toddlers infant teenagers"),
        ("person", "Person_sitting Cyclist persongroup ridergroup human adult motorcyclist"),
        ("person", "human--person human--person--individual human--person--person-group human--rider--bicyclist"),
        ("person", "human--rider--motorcyclist human--rider--other-rider human.pedestrian.adult"),
        ("person", "human.pedestrian.police_officer human.pedestrian.construction_worker human.pedestrian.stroller"),
        ("face", "face faces Face head Heads human_face"),
        ("license_plate", "plate plates license_plate licence-plate LicensePlate number_plate numberplates lp"),
    ],
)
def test_common_names_mean_a_class(label: str, names: str) -> None:
    assert {name: label_of(name) for name in names.split()} == dict.fromkeys(names.split(), label)


def test_names_of_several_words_mean_a_class() -> None:
    assert label_of("Vehicle registration plate") == label_of("Licence  Plates") == "license_plate"
    assert label_of("Human face") == label_of("Human head") == "face"
    assert label_of("other person") == label_of("sitting person") == "person"


HARMLESS = (
    "car",
    "licensed_cab",
    "pedestrian crossing",
    "construction--flat--pedestrian-area",
    "construction--flat--crosswalk-plain",
    "manhole",
    "object--traffic-light--pedestrians",
    "object--traffic-light--cyclists",
    "cyclist lane",
    "object--manhole",
    "surface",
    "flat.driveable_surface",
    "interface",
    "vehicle.emergency.police",
    "paper plate",
    "plate of food",
    "Facial tissue holder",
    "headlight",
    "shower head",
    "child car seat",
    "snowman",
    "vehicle without rider",
    "screwdriver",
    "personal",
    "dog",
    "",
    "???",
    "template",
    "traffic light",
)


def test_harmless_names_are_left_alone_and_told() -> None:
    meanings = Meanings()
    meanings.check(HARMLESS, "x")
    assert meanings.left_alone([*HARMLESS, "person", "dog"]) == tuple(sorted(set(HARMLESS) - {""}))


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        ("person_on_screen", "person"),
        ("license plate blurry", "license_plate"),
        ("face-occluded", "face"),
        ("personOnScreen", "person"),
        ("person2", "person"),
        ("two people", "person"),
        ("pedestrian crossing person", "person"),
        ("pedestrianlike", "person"),
        ("motorbike rider", "person"),
        ("licenseplate_dirty", "license_plate"),
        ("head_with_helmet", "face"),
        ("License", "license_plate"),
    ],
)
def test_a_name_that_speaks_of_a_class_must_be_told(name: str, proposal: str) -> None:
    with pytest.raises(InputError, match=f'--map "{name}={proposal}"') as caught:
        Meanings().check(["person", name], "annotations x")
    assert "\n" not in str(caught.value)
    for told, label in ((proposal, proposal), ("none", None), ("IGNORE", None)):
        meanings = Meanings(parse_map([f"{name.upper()}={told}"]))
        meanings.check(["person", name], "annotations x", all_known=True)
        assert meanings.label(name) == label
        assert meanings.left_alone([name]) == (() if label else (name,))


def test_a_plate_among_tableware_may_be_a_dish() -> None:
    with pytest.raises(InputError, match='"plate=license_plate"'):
        Meanings().check(["plate", "Forks", "person"], "x")
    Meanings({"plate": None}).check(["plate", "fork", "person"], "x")
    Meanings().check(["plate", "car"], "x")


def test_what_is_told_goes_before_what_is_common() -> None:
    assert Meanings({"Rider": None}).label("rider") is None
    assert Meanings({"car": "vehicle"}).label("Car") == "vehicle"
    with pytest.raises(InputError, match="'persn', which is not among 'car', 'person'"):
        Meanings({"persn": "person"}).check(["person", "car"], "x", all_known=True)


@pytest.mark.parametrize("pairs", [["rider"], ["=person"], ["rider="], ["rider=human"], ["a=person", "a=face"]])
def test_bad_pairs_are_refused(pairs: list[str]) -> None:
    with pytest.raises(InputError, match="^map "):
        parse_map(pairs)


def test_a_pair_is_cut_at_its_last_sign() -> None:
    assert parse_map(["a=b=face", " x = none "]) == {"a=b": "face", "x": None}
