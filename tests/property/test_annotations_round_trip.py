"""What a user's annotations hold in fields that stay comes back unchanged, and nothing of other fields does."""

import json
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.annotations.reading import read_annotations
from anonymizer.annotations.records import Page
from anonymizer.core.files import to_json
from anonymizer.core.records import Treatment
from anonymizer.images.release import Release

SIZE = (60, 80)
NUMBER = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False, width=32)
FLAG = st.booleans() | st.sampled_from([0, 1])
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "Occluded": FLAG | st.sampled_from(["partly", "no"]),
        "pose": st.sampled_from(["Left", "sitting"]),
        "age_group": st.just("child"),
        "visibility": st.floats(0, 1),
    },
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "area": NUMBER,
        "iscrowd": FLAG,
        "lefthand_box": st.lists(NUMBER, min_size=4, max_size=4),
        "truncated": FLAG,
        "score": st.floats(0, 1) | st.none(),
        "attributes": ATTRIBUTES | ATTRIBUTES.map(lambda a: [{"name": k, "value": v} for k, v in a.items()]),
    },
)
OBJECT_FIELDS = st.fixed_dictionaries(
    {}, optional={"id": st.integers(0, 9), "verified": FLAG, "draw": FLAG, "attributes": ATTRIBUTES}
)
IMAGE_FIELDS = st.fixed_dictionaries(
    {}, optional={"license": st.integers(1, 9), "weather": st.sampled_from(["rain", "clear"]), "frame_id": st.just(3)}
)
HEAD = st.fixed_dictionaries(
    {"info": st.fixed_dictionaries({}, optional={"description": st.just("Streets"), "year": st.just(2024)})},
    optional={"videos": st.just([{"id": 1, "width": 9}])},
)
LABEL = st.sampled_from(["person", "Rider", "car", "face", "tree", "licence plate"])
BOX = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(1, 20), st.integers(1, 20))
OBJECTS = st.lists(st.tuples(LABEL, BOX, FIELDS, st.booleans()), min_size=1, max_size=5)
POLYGONS = st.lists(st.tuples(LABEL, BOX, OBJECT_FIELDS, st.booleans()), min_size=1, max_size=5)
ANYTHING = settings(max_examples=40, deadline=None)


def round_trip(files: dict[str, str], treat: list[bool], given_file: str | None = None) -> dict[str, str]:
    """Return the files that come back when some of the given instances were redrawn."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        annotations = read_annotations(Path(folder, given_file) if given_file else Path(folder))
        found = annotations.instances("1.png", SIZE)
        assert found is not None
        instances = found.instances
        pairs = zip(instances, (treat * len(instances))[: len(instances)], strict=True)
        treated = tuple((i, Treatment(i.id, "redrawn", 1)) for i, wanted in pairs if wanted)
        side = json.loads(to_json(annotations.only("1.png").export(Page("1.png", "1.png", SIZE, treated))))
        return {name: data.decode() for name, data in annotations.files([side], Release())}


@given(OBJECTS, IMAGE_FIELDS, HEAD, st.lists(st.booleans(), min_size=1, max_size=5), st.permutations(range(1, 9)))
@ANYTHING
def test_coco(objects: Any, image_fields: Any, head: Any, treat: list[bool], ids: list[int]) -> None:
    labels = sorted({label for label, *_ in objects} | {"person"})
    document = {
        **head,
        "licenses": [],
        "images": [{"id": 3, "file_name": "1.png", **image_fields}],
        "categories": [{"id": 10 - n, "name": label, "supercategory": "x"} for n, label in enumerate(labels)],
        "annotations": [
            {"id": ids[n], "image_id": 3, "category_id": 10 - labels.index(label), "bbox": list(box), **fields}
            for n, (label, box, fields, _) in enumerate(objects)
        ],
    }
    out = json.loads(round_trip({"coco.json": json.dumps(document)}, treat)["coco.json"])
    for record in out["annotations"]:
        record.pop("anonymizer", None)
    assert out == document


@given(POLYGONS, st.lists(st.booleans(), min_size=1, max_size=5))
@ANYTHING
def test_cityscapes(objects: Any, treat: list[bool]) -> None:
    def polygon(box: Any) -> list[list[int]]:
        x, y, w, h = box
        return [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]

    listed = [{"label": label, "polygon": polygon(box), **fields} for label, box, fields, _ in objects]
    document = {"imgHeight": 60, "imgWidth": 80, "objects": listed}
    name = "1_gtFine_polygons.json"
    out = json.loads(round_trip({name: json.dumps(document)}, treat)[name])
    for record in out["objects"]:
        record.pop("anonymizer", None)
    assert out == document


@given(OBJECTS, st.booleans(), st.lists(st.booleans(), min_size=1, max_size=5))
@ANYTHING
def test_yolo(objects: Any, segments: bool, treat: list[bool]) -> None:
    labels = sorted({label for label, *_ in objects} | {"person"})
    lines = []
    for label, (x, y, w, h), _, wide in objects:
        numbers = [x / 80, y / 60, (x + w) / 80, y / 60, (x + w) / 80, (y + h) / 60]
        if not segments:
            numbers = [(x + w / 2) / 80, (y + h / 2) / 60, w / 80, h / 60]
        lines.append(" ".join([str(labels.index(label)), *(f"{n:.9f}" if wide else str(n) for n in numbers)]))
    text = "".join(f"{line}\n" for line in lines)
    out = round_trip({"classes.txt": "\n".join(labels), "labels/1.txt": text}, treat)
    assert out["labels/1.txt"] == text


ELEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "pose": st.sampled_from(["Left", "Unspecified"]),
        "truncated": st.sampled_from("01"),
        "difficult": st.just("0"),
    },
)


@given(st.lists(st.tuples(LABEL, BOX, ELEMENTS), min_size=1, max_size=4), st.lists(st.booleans(), min_size=1))
@ANYTHING
def test_voc(objects: Any, treat: list[bool]) -> None:
    root = ElementTree.Element("annotation", {"verified": "yes"})

    def put(parent: ElementTree.Element, tag: str, text: str = "") -> ElementTree.Element:
        child = ElementTree.SubElement(parent, tag)
        child.text = text
        return child

    for tag, text in [("folder", ""), ("filename", "1.png"), ("segmented", "0")]:
        put(root, tag, text)
    size = put(root, "size")
    for tag, text in (("width", "80"), ("height", "60"), ("depth", "3")):
        put(size, tag, text)
    for label, (x, y, w, h), fields in objects:
        item = put(root, "object")
        for tag, text in [("name", label), *fields.items()]:
            put(item, tag, text)
        box = put(item, "bndbox")
        for tag, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + w), ("ymax", y + h)):
            put(box, tag, str(value))
    text = ElementTree.tostring(root, encoding="unicode")
    out = ElementTree.fromstring(round_trip({"1.xml": text}, treat)["1.xml"])
    for item in out.findall("object"):
        for note in item.findall("anonymizer"):
            item.remove(note)

    def plain(element: ElementTree.Element) -> Any:
        own = (element.text or "").strip() if len(element) else element.text or ""
        return element.tag, element.attrib, own.strip(), [plain(child) for child in element]

    assert plain(out) == plain(root)
