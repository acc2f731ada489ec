"""The bands encoder: its numbers by hand, what must not change them, and its place in a model."""

import math

import numpy as np
import pytest
import torch

from multimodal_ser.errors import InputError
from multimodal_ser.models.audio_branch import AudioConfig, build_audio
from multimodal_ser.models.bands import BandsConfig, BandsEncoder
from multimodal_ser.models.encoder_folder import load_encoder, rebuilt, save_encoder
from multimodal_ser.models.fusion import LayerMix
from multimodal_ser.models.ser import SerConfig, SerModel

SMALL = BandsConfig(bands=20, changes=(1, 4), stride=2)


def voice(seconds: float, seed: int = 0) -> torch.Tensor:
    """Noise that comes and goes a few times a second."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(16_000 * seconds)) / 16_000
    loudness = 0.1 * np.maximum(0.0, np.sin(2 * math.pi * 3 * time + 0.3)) + 1e-4
    return torch.from_numpy((loudness * generator.standard_normal(time.size)).astype(np.float32))


def test_states_are_the_bands_and_their_changes_by_hand() -> None:
    encoder, clip = BandsEncoder(SMALL), voice(0.5)[None]
    length = torch.tensor([clip.shape[1]])
    encoding = encoder(clip, length)
    bands = encoder.log_mel(clip, length)[0].double().numpy()
    count = len(bands)
    assert encoding.layers[0].shape[1] == -(-count // 2)
    for frame in range(0, count, 2):
        for block, (before, behind) in enumerate(((0, 1), (2, 2)), start=1):
            later, earlier = bands[min(count - 1, frame + behind)], bands[max(0, frame - before)]
            usual = 0.75 * math.sqrt(before + behind)
            expected = (np.abs(later - earlier) - usual) / usual
            found = encoding.layers[0][0, frame // 2, 20 * block : 20 * (block + 1)].numpy()
            np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(
            encoding.layers[0][0, frame // 2, :20].numpy(), (bands[frame] + 3) / 2, atol=1e-5
        )


def test_only_frames_with_speech_are_valid_and_silence_has_none() -> None:
    encoder = BandsEncoder(SMALL)
    clips = torch.stack([voice(1.0), torch.zeros(16_000)])
    mask = encoder(clips, torch.tensor([16_000, 16_000])).mask
    loud = encoder.log_mel(clips[:1], torch.tensor([16_000]))[0, ::2].exp().mean(1) > math.exp(-3)
    assert torch.equal(mask[0], loud)
    assert 0.2 < mask[0].float().mean() < 0.8
    assert not mask[1].any()


def test_padding_and_batch_mates_do_not_change_a_clip() -> None:
    encoder, lengths = BandsEncoder(SMALL), torch.tensor([16_000, 9_000, 300, 0])
    clips = torch.stack(
        [torch.nn.functional.pad(voice(1.0, n)[:x], (0, 40_000 - int(x))) for n, x in enumerate(lengths)]
    )
    together = encoder(clips + 7.0 * (torch.arange(40_000) >= lengths[:, None]), lengths)
    for row, length in enumerate(lengths[:3]):
        alone = encoder(clips[row : row + 1, :length], lengths[row : row + 1])
        count = alone.mask.shape[1]
        assert torch.equal(together.mask[row, :count], alone.mask[0])
        assert not together.mask[row, count:].any()
        torch.testing.assert_close(together.layers[0][row, :count], alone.layers[0][0], atol=1e-4, rtol=0)
    assert not together.mask[3].any()
    assert torch.isfinite(together.layers[0]).all()


def test_what_a_model_says_does_not_depend_on_gain_and_silence_around() -> None:
    torch.manual_seed(0)
    model = SerModel(SerConfig(fusion="audio", width=16), BandsEncoder(SMALL)).eval()
    clip = voice(1.0)

    def said(waveform: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return model(waveform[None], torch.tensor([len(waveform)]), None, None).dimensions[0]

    plain = said(clip)
    torch.testing.assert_close(said(0.2 * clip), plain, atol=1e-4, rtol=0)
    for padding in ((8_000, 0), (0, 8_000)):
        torch.testing.assert_close(said(torch.nn.functional.pad(clip, padding)), plain, atol=5e-3, rtol=0)
    assert (said(voice(1.0, 3)) - plain).abs().max() > 0


def test_a_single_layer_keeps_its_scale_and_the_mix_its_gradient() -> None:
    mix, layer = LayerMix(1), 3 * torch.randn(2, 5, 4) + 1
    mixed = mix((layer,))
    assert torch.equal(mixed, layer)
    mixed.sum().backward()
    assert mix.scores.grad is not None


def test_it_has_no_weights_and_goes_through_a_folder(tmp_path) -> None:
    encoder = BandsEncoder(SMALL)
    assert not list(encoder.parameters())
    save_encoder(encoder, tmp_path)
    assert load_encoder(tmp_path).config == SMALL
    built = build_audio(AudioConfig(encoder=str(tmp_path), frozen="all"))
    assert built.config == SMALL
    assert rebuilt(built, None, True).width == 60
    assert build_audio(AudioConfig(encoder="bands", bands=SMALL)).width == 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 0}, "bands = 0; it must be 1 or more"),
        ({"stride": 0}, "stride = 0; it must"),
        ({"changes": [2, 0]}, r"changes = \[2, 0\]; each"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BandsEncoder.from_config(settings)
