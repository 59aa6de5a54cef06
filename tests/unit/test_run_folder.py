"""The Python interface to whole folders, one by one, and the life of an anonymizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anonymizer
from anonymizer.annotations.areas import read_areas
from anonymizer.core.errors import AnonymizerError, InputError, ModelError, StageError, VerificationFailed
from anonymizer.core.records import Instance, Result
from anonymizer.run.folder import iterate_folder
from anonymizer.run.summary import Progress

from .fakes import FakeAnonymizer, rejection
from .test_flow_pipeline import PERSON, build, picture
from .test_run_local import files, pictures


def test_results_come_one_by_one_with_what_went_wrong_in_their_place(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", "b/c.png", "d.png")
    (source / "cut.png").write_bytes(b"none")
    before, steps = files(source), list[Progress]()
    fake = FakeAnonymizer()
    fake.raises = {"d.png": rejection()}
    results = iterate_folder(fake, source, on_progress=steps.append)
    assert isinstance(results, Iterator)
    name, first = next(results)
    assert name == "a.png" and isinstance(first, Result) and fake.calls == ["a.png"]  # No picture is taken ahead.
    original = np.asarray(Image.open(source / "a.png"))
    assert np.array_equal(first.image[~first.treated], original[~first.treated])
    rest = dict(results)
    assert list(rest) == ["b/c.png", "cut.png", "d.png"] and isinstance(rest["b/c.png"], Result)
    assert isinstance(rest["cut.png"], InputError) and isinstance(rest["d.png"], VerificationFailed)
    assert [(s.done, s.total, s.name, s.status) for s in steps] == [
        (1, 4, "a.png", "anonymized"),
        (2, 4, "b/c.png", "anonymized"),
        (3, 4, "cut.png", "failed"),
        (4, 4, "d.png", "quarantined"),
    ]
    assert "still recognised" in steps[3].reason
    assert files(source) == before and set(tmp_path.iterdir()) == {source}


def test_a_result_that_breaks_its_contract_is_no_result(tmp_path: Path) -> None:
    fake = FakeAnonymizer()
    fake.spill = True
    ((_, answer),) = iterate_folder(fake, pictures(tmp_path / "in", "a.png"))
    assert isinstance(answer, StageError) and "outside" in str(answer)


def test_models_that_cannot_be_used_end_it(tmp_path: Path) -> None:
    fake = FakeAnonymizer()
    fake.raises = {"a.png": ModelError("no weights")}
    with pytest.raises(ModelError):
        list(iterate_folder(fake, pictures(tmp_path / "in", "a.png", "b.png")))


def test_annotations_and_areas_are_used(tmp_path: Path) -> None:
    source = pictures(tmp_path / "in", "a.png", size=(128, 96))
    given = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 30, 60]}],
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    area = {"name": "left", "size": [96, 128], "polygon": [[0, 0], [64, 0], [64, 96], [0, 96]]}
    (tmp_path / "areas.json").write_text(json.dumps({"areas": [area]}))
    whole = build(lambda _: [])
    ((_, made),) = iterate_folder(whole, source, annotations=tmp_path / "given.json")
    assert isinstance(made, Result) and [i.source for i in made.instances] == ["given"]
    areas = read_areas(tmp_path / "areas.json")
    ((_, made),) = iterate_folder(whole, source, annotations=str(tmp_path / "given.json"), areas=areas)
    assert isinstance(made, Result) and made.instances == () and len(made.excluded) == 1
    ((_, refused),) = iterate_folder(whole, pictures(tmp_path / "other", "b.png"), areas=areas)
    assert isinstance(refused, InputError) and "this one is 32x24" in str(refused)
    (tmp_path / "areas.json").write_text(json.dumps({"areas": [area | {"pictures": "rear/*"}]}))
    with pytest.raises(InputError, match="fit none"):
        next(iterate_folder(whole, source, areas=read_areas(tmp_path / "areas.json")))


def test_an_anonymizer_lets_go_of_its_models_at_the_end_of_its_block() -> None:
    with build(lambda _: [PERSON]) as ready:
        assert isinstance(ready(picture()), Result)
        described = ready.settings_hash
    for use in (lambda: ready(picture()), lambda: ready.find(picture()), lambda: ready.anonymize_many([picture()])):
        with pytest.raises(InputError, match="closed"):
            use()
    assert ready.settings_hash == described  # What it was can still be told.
    ready.close()


def test_an_error_inside_the_block_is_not_swallowed() -> None:
    with pytest.raises(AnonymizerError, match="mine"), build(lambda _: []):
        raise AnonymizerError("mine")


def test_instances_need_no_mask() -> None:
    box = np.array([20, 20, 50, 80], np.float32)
    result = build(lambda _: [])(picture(), [Instance(1, "license_plate", box)])
    assert [i.label for i in result.instances] == ["license_plate"] and result.treated[20:80, 20:50].all()


def test_public_names_lead_somewhere() -> None:
    for name in anonymizer.__all__:
        assert getattr(anonymizer, name) is not None
