"""The log-mel encoder against torchaudio's filters, known signals, and itself in batches."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from multimodal_ser.errors import InputError
from multimodal_ser.models.mel import LogMel, MelConfig, MelEncoder, mel_filters

SAMPLE_RATE = 16_000
CONFIG = MelConfig(bands=40, width=32, blocks=2, heads=4, feedforward=48)
# From nothing, over less than one window of 400 samples, to several seconds.
LENGTHS = torch.tensor([24_000, 0, 1, 399, 400, 559, 560, 1039, 1040, 7777])


def noise(rows: int, samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def encoder(**changes: object) -> MelEncoder:
    torch.manual_seed(0)
    return MelEncoder(replace(CONFIG, **changes)).eval()


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("bands", [20, 40, 64, 80])
def test_filters_have_the_shape_that_torchaudio_gives_them_and_unit_area(bands: int) -> None:
    ours = mel_filters(bands)
    theirs = melscale_fbanks(257, 50.0, 7600.0, bands, SAMPLE_RATE, norm=None, mel_scale="htk").T
    filled = theirs.sum(1) > 0
    expected = theirs[filled] / theirs[filled].sum(1, keepdim=True)
    torch.testing.assert_close(ours[filled], expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(ours.sum(1), torch.ones(bands))
    assert bool(filled[bands // 4 :].all()), "only the lowest bands can be narrower than a bin"


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_a_band_between_two_bins_takes_the_nearest_one() -> None:
    theirs = melscale_fbanks(257, 50.0, 7600.0, 128, SAMPLE_RATE, norm=None, mel_scale="htk").T
    empty = (theirs.sum(1) == 0).nonzero().flatten()
    mel_edges = torch.linspace(*(2595 * math.log10(1 + f / 700) for f in (50.0, 7600.0)), 130)
    centres = 700 * (10 ** (mel_edges[1:-1] / 2595) - 1)
    assert len(empty) > 0
    for band in empty.tolist():
        assert mel_filters(128)[band].nonzero().flatten().tolist() == [round(float(centres[band]) / 31.25)]


def test_a_tone_stands_in_the_band_of_its_frequency() -> None:
    log_mel = LogMel(40, normalise_level=False)
    peaks = log_mel.filters.argmax(1) * SAMPLE_RATE / 512
    time = torch.arange(8000) / SAMPLE_RATE
    for frequency in (500.0, 1500.0, 4000.0):
        bands = log_mel(torch.sin(2 * math.pi * frequency * time)[None], torch.tensor([8000]))[0]
        nearest = (peaks - frequency).abs().argmin()
        assert (bands.mean(0).argmax() - nearest).abs() <= 1


def test_white_noise_of_unit_power_is_one_in_every_band() -> None:
    bands = LogMel(20, normalise_level=False)(10 * noise(1, 160_000), torch.tensor([160_000]))
    torch.testing.assert_close(bands.exp().mean((0, 1)), torch.ones(20), rtol=0.1, atol=0)


def test_frames_are_those_that_lie_wholly_inside_a_clip() -> None:
    log_mel = LogMel(20, normalise_level=True)
    frames = [1 if 0 < n < 400 else len(range(0, n - 400 + 1, 160)) for n in LENGTHS.tolist()]
    assert log_mel.frame_lengths(LENGTHS).tolist() == frames
    # Two convolutions of kernel 3, stride 2, padding 1.
    assert encoder().frame_lengths(LENGTHS).tolist() == [math.ceil(math.ceil(n / 2) / 2) for n in frames]


@torch.inference_mode()
@pytest.mark.parametrize("level", [{}, {"normalise_level": False}, {"speech_level": True}])
def test_padding_and_batch_mates_do_not_change_a_clip(level: dict[str, bool]) -> None:
    model = encoder(**level)
    waveforms = noise(len(LENGTHS), 30_000) + 0.05  # what stands behind the clips is loud
    waveforms[2, 500:] = torch.nan
    batch = model(waveforms, LENGTHS)
    assert batch.mask.sum(1).tolist() == model.frame_lengths(LENGTHS).tolist()
    assert len(batch.layers) == 3
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(waveforms[row : row + 1, :length], LENGTHS[row : row + 1])
        frames = int(alone.mask.sum())
        for together, single in zip(batch.layers, alone.layers, strict=True):
            assert bool(together.isfinite().all() and single.isfinite().all())
            if frames:
                assert relative(together[row, :frames], single[0, :frames]) < 1e-5


@torch.inference_mode()
def test_an_empty_clip_has_no_frame_and_nothing_becomes_nan() -> None:
    model = encoder()
    for waveforms in (torch.zeros(2, 0), torch.zeros(2, 100), torch.full((2, 5000), torch.nan)):
        encoding = model(waveforms, torch.tensor([0, 0]))
        assert not encoding.mask.any()
        assert all(bool(layer.isfinite().all()) for layer in encoding.layers)


def test_an_empty_clip_gives_gradients_without_nan() -> None:
    model = encoder().train()
    encoding = model(noise(2, 4000), torch.tensor([4000, 0]))
    (encoding.layers[-1] * encoding.mask[..., None]).square().sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


@torch.inference_mode()
def test_gain_and_offset_of_a_recording_change_nothing_when_the_level_is_normalised() -> None:
    model = encoder()
    clip, length = noise(1, 20_000), torch.tensor([20_000])
    plain = model(clip, length).layers[-1]
    for changed in (20 * clip, clip / 200, clip + 0.3):
        assert relative(model(changed, length).layers[-1], plain) < 1e-3
    raw = encoder(normalise_level=False)
    assert relative(raw(clip / 20, length).layers[-1], raw(clip, length).layers[-1]) > 1e-2


@torch.inference_mode()
def test_silence_is_not_scaled_up_to_noise() -> None:
    model = LogMel(40, normalise_level=True)
    length = torch.tensor([8000])
    digital = model(torch.zeros(1, 8000), length)
    dither = model(noise(1, 8000).sign() / 65_536, length)  # half the last of 16 bits, -96 dB
    speech_like = model(noise(1, 8000), length)
    torch.testing.assert_close(digital, torch.full_like(digital, math.log(1e-4)))
    assert float(dither.mean()) < float(speech_like.mean()) - 3


@torch.inference_mode()
@pytest.mark.parametrize("extra", [100, 320, 1000])
def test_a_little_silence_at_the_end_moves_the_frames_before_it_little(extra: int) -> None:
    clip, longer = noise(1, 48_000), torch.tensor([48_000 + extra])
    silence_behind = torch.nn.functional.pad(clip, (0, extra))
    # Stays out: what the 31 frames of position code and the two convolutions see of the new end.
    kept = encoder().frame_lengths(torch.tensor([48_000])).item() - 18
    for normalise_level, first, last in ((False, 0.0, 0.01), (True, 0.04, 0.04)):
        model = encoder(normalise_level=normalise_level)
        plain = model(clip, torch.tensor([48_000])).layers
        moved = model(silence_behind, longer).layers
        assert relative(moved[0][:, :kept], plain[0][:, :kept]) <= first
        assert relative(moved[-1][:, :kept], plain[-1][:, :kept]) <= last


@torch.inference_mode()
def test_last_layer_gives_the_same_layers_and_runs_no_block_more() -> None:
    model = encoder()
    runs: list[int] = []
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, index=index: runs.append(index))
    clip, length = noise(1, 8000), torch.tensor([8000])
    full = model(clip, length).layers
    for last in range(3):
        runs.clear()
        layers = model(clip, length, last_layer=last).layers
        assert runs == list(range(last))
        assert len(layers) == last + 1
        assert all(one.equal(other) for one, other in zip(layers, full, strict=False))
    for wrong in (-1, 3):
        with pytest.raises(InputError, match=f"last_layer={wrong}, but this encoder has layers 0 .* to 2"):
            model(clip, length, last_layer=wrong)


def test_gradients_reach_every_parameter_but_a_frozen_front_end() -> None:
    model = encoder().train()
    # The sum of a layer norm's output would be constant: weigh the states.
    weights = torch.arange(32.0)
    (model(noise(2, 8000), torch.tensor([8000, 5000])).layers[-1] * weights).sum().backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert not silent
    model.freeze_front_end()
    model.zero_grad()
    (model(noise(2, 8000), torch.tensor([8000, 5000])).layers[-1] * weights).sum().backward()
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None}
    assert frozen == {"subsample", "norm", "position"}
    assert all(p.grad is not None for p in model.blocks.parameters())


@torch.inference_mode()
def test_bands_behind_the_end_do_not_matter() -> None:
    model = encoder()
    waveforms, lengths = noise(2, 8000), torch.tensor([8000, 4000])
    bands, frames = model.log_mel(waveforms, lengths), model.log_mel.frame_lengths(lengths)
    assert not bands[1, frames[1] :].any()
    bands[1, frames[1] :] = torch.nan
    expected = model(waveforms, lengths)
    found = model.forward_from_bands(bands, frames)
    assert all(one.equal(other) for one, other in zip(found.layers, expected.layers, strict=True))


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_survives_a_click_in_silence(dtype: torch.dtype) -> None:
    click = 1e-6 * noise(1, 160_000)
    click[0, 80_000] = 1.0
    length = torch.tensor([160_000])
    model = encoder()
    exact = model(click, length).layers[-1]
    with torch.autocast("cpu", dtype=dtype):
        assert relative(model(click, length).layers[-1].float(), exact) < 0.05
    halved = model.to(dtype)(click.to(dtype), length).layers[-1]
    assert halved.dtype == dtype
    assert bool(halved.isfinite().all())


def test_a_config_that_went_through_json_builds_the_same_network() -> None:
    model = encoder()
    again = MelEncoder.from_config(json.loads(json.dumps(asdict(model.config))))
    assert again.config == model.config
    assert {n: w.shape for n, w in again.state_dict().items()} == {
        n: w.shape for n, w in model.state_dict().items()
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bandz": 3}, r"unknown setting 'bandz' \(did you mean 'bands'\?\); known: bands, width"),
        ({"width": 30, "heads": 4}, "width 30 is no multiple of its 4 heads"),
        ({"heads": 0}, "heads = 0; it must be 1 or more"),
        ({"blocks": -1}, "blocks = -1; it must be 0 or more"),
        ({"dropout": 1.5}, r"dropout = 1\.5; it must be from 0 to below 1"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MelEncoder.from_config(settings)


@torch.inference_mode()
def test_the_speech_level_hears_neither_gain_nor_silence_around_a_clip() -> None:
    log_mel = LogMel(40, normalise_level=True, speech_level=True)
    speech = noise(1, 32_000) * torch.linspace(0.5, 2, 32_000)
    frames = log_mel(speech, torch.tensor([32_000]))[0]
    louder = log_mel(4 * speech, torch.tensor([32_000]))[0]
    torch.testing.assert_close(louder, frames, rtol=0, atol=1e-4)
    # Silence in front or behind, of any length: the same values, though the clip's power has halved.
    for padding in ((32_000, 0), (0, 32_000), (1_001, 77)):
        padded = torch.nn.functional.pad(speech, padding)
        moved = log_mel(padded, torch.tensor([padded.shape[1]]))[0, : len(frames)]
        assert float((moved - frames).abs().max()) < 0.05
    padded = torch.nn.functional.pad(speech, (32_000, 0))
    of_clip = LogMel(40, normalise_level=True)
    late = of_clip(padded, torch.tensor([64_000]))[0, 200:] - of_clip(speech, torch.tensor([32_000]))[0]
    assert float(late.mean()) == pytest.approx(math.log(2), abs=0.02)


def test_a_speech_level_without_normalisation_is_refused() -> None:
    with pytest.raises(InputError, match="speech_level needs normalise_level"):
        MelConfig(normalise_level=False, speech_level=True)
