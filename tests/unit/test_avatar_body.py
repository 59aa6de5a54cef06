"""The body model gives what the package it was exported from gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from anonymizer.avatar.body import PHENOTYPES, Body, skin
from anonymizer.core.errors import InputError, ModelError
from anonymizer.models import weights

REFERENCE = load_file(Path(__file__).parent / "body_reference.safetensors")
#: Every how many vertices the reference holds one, and how far in metres the truncated shapes may be off.
EVERY, SHAPE_ERROR = 97, 1e-3


@pytest.fixture(scope="module")
def bodies() -> tuple[Body, Body]:
    return Body.load(weights.path("body"))


@pytest.mark.parametrize("number", range(3))
def test_shape_is_the_packages(bodies: tuple[Body, Body], number: int) -> None:
    shape = bodies[0].rest(REFERENCE[f"phenotype_{number}"])
    off = np.linalg.norm(shape.vertices[::EVERY] - REFERENCE[f"rest_{number}"], axis=1)
    assert off.max() < SHAPE_ERROR


@pytest.mark.parametrize("number", range(3))
def test_skinning_is_the_packages(bodies: tuple[Body, Body], number: int) -> None:
    body = bodies[0]
    shape = body.rest(REFERENCE[f"phenotype_{number}"])
    transforms = body.transforms(shape, REFERENCE[f"rotations_{number}"], REFERENCE[f"root_{number}"])
    # From the package's own shape, so that only skinning is compared; weights are half floats.
    posed = skin(REFERENCE[f"rest_{number}"], body.weights[::EVERY], transforms)
    assert np.linalg.norm(posed - REFERENCE[f"posed_{number}"], axis=1).max() < 2e-4
    off = np.linalg.norm(body.joints(shape, transforms) - REFERENCE[f"joints_{number}"], axis=1)
    # The back halves of the eyes are left out, so their middles lie further ahead.
    eyes = np.array(["eye" in name for name in body.joint_names])
    assert off[~eyes].max() < SHAPE_ERROR and off[eyes].max() < 0.02


def test_rest_pose_moves_nothing(bodies: tuple[Body, Body]) -> None:
    for body in bodies:
        shape = body.rest(np.full(6, 0.5, np.float32))
        still = body.transforms(shape, np.tile(np.eye(3, dtype=np.float32), (len(body.bones), 1, 1)))
        assert np.abs(body.pose(shape, still) - shape.vertices).max() < 1e-5


def test_coarse_level_has_the_fine_ones_joints_and_size(bodies: tuple[Body, Body]) -> None:
    fine, coarse = bodies
    phenotype = np.array([0.2, 0.6, 0.5, 0.7, 0.4, 0.5], np.float32)
    a, b = fine.rest(phenotype), coarse.rest(phenotype)
    assert len(b.vertices) < len(a.vertices) / 8
    assert np.allclose(fine.joints(a), coarse.joints(b), atol=1e-5)
    assert np.abs(np.ptp(a.vertices, axis=0) - np.ptp(b.vertices, axis=0)).max() < 0.03
    assert coarse.faces.max() < len(b.vertices)


def test_height_grows_with_age_and_height(bodies: tuple[Body, Body]) -> None:
    def tall(**values: float) -> float:
        return float(np.ptp(bodies[1].rest(np.array([values.get(p, 0.5) for p in PHENOTYPES])).vertices[:, 2]))

    assert tall(age=0.05) < 1.2 < tall(age=0.67)
    assert tall(height=0.2) < tall(height=0.8)


@pytest.mark.parametrize("wrong", [np.zeros(5), np.full(6, 1.2), np.full(6, np.nan)])
def test_odd_phenotypes_are_refused(bodies: tuple[Body, Body], wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="phenotype: expected gender"):
        bodies[0].rest(wrong.astype(np.float32))


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "body.safetensors"
    file.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="expected a body"):
        Body.load(file)
