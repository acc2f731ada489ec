"""The verb `masks`: its numbers are those of training's masks, and its pictures are there."""

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import small_runs
import torch

from multimodal_ser import masks as module
from multimodal_ser.audio_store import decode
from multimodal_ser.cli import main
from multimodal_ser.cli import masks as verb
from multimodal_ser.data import Collate, Examples, iterate, loader
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest, read, write
from multimodal_ser.masks import POLICIES, draw_masks, masked
from multimodal_ser.models.mockingjay import MockingjayConfig, MockingjayEncoder
from multimodal_ser.objectives.intensity import energy
from multimodal_ser.objectives.reconstruction import MaskedReconstruction


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read(small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 8, 2))


def test_the_verb_offers_every_policy() -> None:
    assert verb.POLICIES == POLICIES == module.POLICIES


@pytest.mark.parametrize("policy", POLICIES)
def test_pictures_and_numbers_of_every_policy(manifest: Manifest, tmp_path: Path, policy: str) -> None:
    counted, pictures = draw_masks(manifest, policy, tmp_path, clips=1)
    assert [path.name for path in pictures] == ["clip_01.png"]
    assert matplotlib.image.imread(pictures[0]).shape[0] > 400
    for name, values in counted.items():
        hidden = frames = 0
        for one in masked(manifest, policy):
            rows = np.zeros(one.spans[name].frames + 100)
            for start in one.spans[name].starts:
                rows[start : start + one.spans[name].span] = 1
            hidden += rows[: one.spans[name].frames].sum()
            frames += one.spans[name].frames
        assert values["masked_share"] == pytest.approx(hidden / frames)
        assert 0 <= values["span_overlap"] < 1
        assert 0 <= values["in_band"] <= 1


def test_they_are_the_masks_of_training(manifest: Manifest, tmp_path: Path) -> None:
    encoder = MockingjayEncoder(
        MockingjayConfig(bands=8, width=8, blocks=1, heads=1, feedforward=8, deltas=False)
    )
    objective = MaskedReconstruction(encoder, energy, seed=3)
    objective.begin_epoch(2)
    examples = Examples(manifest, decode(manifest, tmp_path))
    shown = {one.id: one.spans["spans"] for one in masked(manifest, "ems", epoch=2, seed=3)}
    for batch in iterate(loader(examples, Collate(), [list(range(len(manifest)))]), "cpu"):
        features, mask = encoder.features(batch.waveforms, batch.lengths)
        hidden = objective.hide(mask, objective.intensity(batch, features.shape[1]), batch.ids)
        for row, name in enumerate(batch.ids):
            assert torch.equal(
                hidden.chosen[row, : int(mask[row].sum())], torch.from_numpy(shown[name].hidden)
            )


def test_the_command_prints_what_is_hidden_and_no_id_names_a_file(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "manifest.jsonl"
    odd = [replace(u, id=f"$../{u.id}_%s") for u in manifest.utterances[:3]]
    write(path, replace(manifest.header, audio_root=str(manifest.root)), odd)
    assert main(["masks", str(path), "--policy", "vesper", "-o", str(tmp_path / "out"), "--clips", "2"]) == 0
    said = capsys.readouterr().out
    assert "vesper, 3 utterances, epoch 0, seed 0" in said
    assert "small spans: " in said
    assert "% of the starts in their band" in said
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"clip_01.png", "clip_02.png"}


def test_an_unknown_policy_is_named(manifest: Manifest) -> None:
    with pytest.raises(InputError, match=r"--policy vespers \(did you mean 'vesper'\?\)"):
        next(masked(manifest, "vespers"))
