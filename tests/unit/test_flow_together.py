"""How many pictures a preset wants together: a figure by device, which is no part of what was done to a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from anonymizer.config import presets, read_preset
from anonymizer.core.errors import InputError


@pytest.mark.parametrize("name", presets.names())
def test_shipped_presets_take_several_pictures_on_a_gpu_only(name: str) -> None:
    pictures = read_preset(name, presets.tables()[name]).redraw.pictures
    assert pictures.get("cpu", 1) == 1
    assert pictures.get("cuda", 1) == (1 if name == "embedded" else 8)


@pytest.mark.parametrize("figure", ["0", '"two"', "1.5"])
def test_other_figures_are_refused(tmp_path: Path, figure: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'[mine]\nbase = "embedded"\n[mine.redraw]\npictures = {{ cpu = {figure} }}\n')
    with pytest.raises(InputError, match=r"'mine': redraw\.pictures\.cpu: input should be .*got"):
        presets.build(file)
    file.write_text('[mine]\nbase = "embedded"\n[mine.redraw]\npictures = 4\n')
    with pytest.raises(InputError, match=r"redraw\.pictures: input should be a valid dictionary, got 4"):
        presets.build(file)


def test_an_output_can_be_gone_on_with_whatever_the_figure(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    made = []
    for figure in (1, 4):
        file.write_text(f'[mine]\nbase = "embedded"\n[mine.redraw]\npictures = {{ cpu = {figure} }}\n')
        made.append(presets.build(file, seed=1))
    assert [anonymizer.together for anonymizer in made] == [1, 4]
    assert made[0].settings_hash == made[1].settings_hash
    assert "pictures" not in made[0].describe()["preset_settings"]["redraw"]
    assert made[0].describe()["preset_settings"]["redraw"]["batch_size"] == 4
