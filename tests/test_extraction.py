"""Pooled layers against a plain loop over utterances; padding, resuming, broken encoders and audio."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_checkpoints import save_hubert, save_whisper

from multimodal_ser.analysis import extraction
from multimodal_ser.analysis.encoders import fingerprint, load_encoder, randomised
from multimodal_ser.audio import load
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, Manifest, Utterance
from multimodal_ser.models.encoding import Encoding
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel

SECONDS = (0.5, 1.3, 2.1, 0.9, 0.4)


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    utterances = []
    for number, seconds in enumerate(SECONDS):
        soundfile.write(
            tmp_path / f"{number}.wav", 0.1 * generator.standard_normal(int(16000 * seconds)), 16000
        )
        utterances.append(Utterance(id=f"u{number}", corpus="test", audio=f"{number}.wav"))
    return Manifest(Header("test"), utterances, tmp_path)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return MelEncoder(MelConfig(width=16, blocks=2, heads=2, feedforward=32, bands=20)).eval()


@torch.inference_mode()
def alone(encoder, manifest):
    """Mean and standard deviation of each layer of each clip, encoded alone and pooled with NumPy."""
    rows = []
    for utterance in manifest.utterances:
        waveform = torch.from_numpy(load(manifest.audio_path(utterance)).copy())
        encoding = encoder(waveform[None], torch.tensor([len(waveform)]))
        frames = [layer[0, encoding.mask[0]].numpy() for layer in encoding.layers]
        rows.append([np.concatenate([x.mean(0), x.std(0)]) for x in frames])
    return np.array(rows)


def test_pooled_layers_of_batches_are_those_of_each_clip_alone(encoder, manifest):
    expected = alone(encoder, manifest)
    for batch_seconds in (0.1, 100.0):
        found = extraction.extract(
            encoder, manifest, manifest.root / f"layers{batch_seconds}", "cpu", batch_seconds
        )
        assert found.shape == (5, 3, 32)
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, expected, atol=2e-3, rtol=2e-3)


def test_frames_behind_the_end_count_for_nothing_whatever_stands_there():
    layer = torch.randn(2, 6, 3)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    one = extraction.pooled(Encoding((layer,), mask, 50.0))
    layer[1, 4:] = torch.tensor(float("nan"))
    other = extraction.pooled(Encoding((layer,), mask, 50.0))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one[1, 0, 3:], layer[1, :4].std(0, correction=0))


def test_an_interrupted_pass_goes_on_where_it_stopped(encoder, manifest, monkeypatch):
    folder = manifest.root / "layers"
    seen = []
    forward = type(encoder).forward

    def failing(self, waveforms, lengths, last_layer=None):
        seen.append(len(lengths))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return forward(self, waveforms, lengths, last_layer)

    monkeypatch.setattr(type(encoder), "forward", failing)
    with pytest.raises(KeyboardInterrupt):
        extraction.extract(encoder, manifest, folder, "cpu", 0.1)
    found = extraction.extract(encoder, manifest, folder, "cpu", 0.1)
    done_before = sum(seen[:2])
    assert sum(seen[3:]) == len(SECONDS) - done_before
    monkeypatch.undo()
    np.testing.assert_allclose(found, alone(encoder, manifest), atol=2e-3, rtol=2e-3)


def test_what_is_there_is_found_again_and_other_weights_or_audio_are_not_mistaken_for_it(encoder, manifest):
    folder = manifest.root / "layers"
    extraction.extract(encoder, manifest, folder)
    (first,) = folder.glob("*.float16")
    extraction.extract(encoder, manifest, folder)
    assert list(folder.glob("*.float16")) == [first]
    other = randomised(encoder, seed=1)
    extraction.extract(other, manifest, folder)
    fewer = manifest.select(lambda utterance: utterance.id != "u0")
    extraction.extract(encoder, fewer, folder)
    assert len(list(folder.glob("*.float16"))) == 3


def test_a_random_encoder_has_the_shape_and_not_the_weights(encoder):
    other = randomised(encoder, 1)
    assert {k: v.shape for k, v in other.state_dict().items()} == {
        k: v.shape for k, v in encoder.state_dict().items()
    }
    assert fingerprint(other) != fingerprint(encoder)
    assert fingerprint(randomised(encoder, 1)) == fingerprint(other)


def test_the_encoder_of_a_model_folder_is_the_one_that_was_saved(encoder, tmp_path):
    model = SerModel(SerConfig(fusion="audio"), encoder, None)
    model.save_pretrained(tmp_path / "run" / "model")
    assert fingerprint(load_encoder(tmp_path / "run")) == fingerprint(encoder)
    assert fingerprint(load_encoder(tmp_path / "run" / "model")) == fingerprint(encoder)


@pytest.mark.parametrize("save", [save_hubert, save_whisper])
def test_layers_of_checkpoint_folders_are_those_of_each_clip_alone(save, manifest):
    loaded = load_encoder(save(manifest.root / "checkpoint"))
    found = extraction.extract(loaded, manifest, manifest.root / "layers")
    np.testing.assert_allclose(found, alone(loaded, manifest), atol=2e-3, rtol=2e-3)


def test_broken_weights_are_named_by_layer(encoder, manifest):
    for parameter in encoder.parameters():
        with torch.no_grad():
            parameter.fill_(float("nan"))
    with pytest.raises(
        InputError, match=r"give NaN, infinity or more than 65504 for u2.*broken or wrongly loaded"
    ):
        extraction.extract(encoder, manifest, manifest.root / "layers", "cpu", 0.1)


def test_utterances_without_audio_are_named(encoder, manifest):
    text = Manifest(
        manifest.header, [*manifest.utterances, Utterance(id="t", corpus="test", text="hi")], manifest.root
    )
    with pytest.raises(InputError, match=r"1 utterance\(s\) have no audio or too little for one frame: t\."):
        extraction.extract(encoder, text, manifest.root / "layers")
