"""Labels, scenes and packing for the detector's training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pycocotools", reason="training needs pycocotools")

TRAINING = Path(__file__).parents[2] / "models/training"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TRAINING))


def test_agreement_becomes_a_label_and_a_suspicion_an_unknown_region() -> None:
    from complete_labels import complete

    known = [(0.0, 0.0, 10.0, 10.0)]
    teacher = [
        (0.0, 0.0, 10.0, 9.0, 0.9),  # what is annotated already
        (20.0, 0.0, 30.0, 10.0, 0.4),  # the embedded detector agrees
        (40.0, 0.0, 50.0, 10.0, 0.4),  # nobody does
        (60.0, 0.0, 70.0, 10.0, 0.8),  # sure alone
    ]
    own = [(20.0, 0.0, 30.0, 11.0, 0.5), (80.0, 0.0, 90.0, 10.0, 0.3)]
    labels, unknown = complete("person", known, teacher, own, deceived=False)
    assert [box[0] for box in labels] == [60.0, 20.0]
    assert sorted(box[0] for box in unknown) == [40.0, 80.0]
    labels, unknown = complete("person", known, teacher, own, deceived=True)
    assert [box[0] for box in labels] == [20.0]
    assert 60.0 in [box[0] for box in unknown]


def test_a_mirrored_picture_carries_box_mask_and_unknown_region_along() -> None:
    from detector_data import Canvas, Item, Source, put

    image = np.full((64, 64, 3), 50, np.uint8)
    image[16:48, 8:24] = 200
    person = Item("person", np.array([8.0, 16.0, 24.0, 48.0]), np.ones((32, 16), np.uint8))
    source = Source(image, [person], [("face", np.array([0.0, 0.0, 8.0, 8.0]))], 1.0)
    canvas = Canvas(np.zeros((128, 128, 3), np.uint8))
    put(canvas, source, np.array([[-2.0, 0, 128], [0, 2.0, 0]]), (0, 0, 128, 128))
    (item,) = canvas.items
    assert np.allclose(item.box, [80, 32, 112, 96], atol=1)
    assert item.mask is not None and item.mask[10, 24] and not item.mask[10, 4]
    assert canvas.image[64, 96].mean() > 180 and canvas.image[64, 20].mean() < 70
    assert canvas.ignore[0][0] == "face" and np.allclose(canvas.ignore[0][1], [112, 0, 128, 16])


def test_a_person_of_whom_a_sliver_shows_is_unknown_rather_than_taught() -> None:
    from detector_data import Canvas, Item, Source, put

    person = Item("person", np.array([0.0, 0.0, 64.0, 64.0]), np.ones((64, 64), np.uint8))
    source = Source(np.zeros((64, 64, 3), np.uint8), [person], [], 1.0)
    canvas = Canvas(np.zeros((64, 64, 3), np.uint8))
    put(canvas, source, np.array([[1.0, 0, 60], [0, 1.0, 0]]), (0, 0, 64, 64))
    assert canvas.items == [] and canvas.ignore[0][0] == "person"


def test_finds_in_unknown_regions_cost_nothing() -> None:
    from detector_data import CLASSES, Canvas, counted
    from train_detector import Counting

    canvas = Canvas(np.zeros((64, 64, 3), np.uint8), [], [("face", np.array([0.0, 0.0, 32.0, 64.0]))])
    cells = torch.from_numpy(counted(canvas, 64))[None]
    assert cells.shape == (1, 64 + 16 + 4, len(CLASSES))
    loss = Counting()
    loss.counted = cells
    face = CLASSES.index("face")
    scores, wanted = torch.zeros(cells.shape), torch.zeros(cells.shape)
    wanted[0, 0, face] = 1.0
    each = loss(scores, wanted)
    assert each[0, 0, face] > 0  # an object there is taught all the same
    assert each[0, 1, face] == 0 and each[0, 7, face] > 0
    assert (each[..., CLASSES.index("person")] > 0).all()


def test_parts_come_together_again_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu

    monkeypatch.setattr(gpu, "PART", 1000)
    blob = bytes(range(256)) * 10
    gpu.split(blob, tmp_path, "data.tar")
    assert len(list(tmp_path.glob("data.tar.[0-9][0-9]"))) == 3
    assert gpu.joined(tmp_path, "data.tar") == blob
    (tmp_path / "data.tar.01").unlink()
    with pytest.raises(ValueError, match="2560 bytes"):
        gpu.joined(tmp_path, "data.tar")
