"""Cepstra: against scipy's transform, at the frames of HuBERT's convolutions, and as what is clustered."""

import pytest
import torch
from scipy.fft import dct

from multimodal_ser.models.audio_branch import load_audio_encoder
from multimodal_ser.models.cepstra import Cepstra, CepstraConfig, cosines
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder


def waves(length: int, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, length, generator=torch.Generator().manual_seed(0)) * 0.1


def test_the_transform_is_that_of_scipy() -> None:
    bands = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    expected = dct(bands.numpy(), type=2, norm="ortho")[:, :13]
    assert (bands @ cosines(40, 13)).numpy() == pytest.approx(expected, abs=1e-5)


def test_frames_are_as_many_as_those_of_hubert_whatever_the_length() -> None:
    with torch.device("meta"):
        hubert = HubertEncoder.from_config(PUBLISHED["facebook/hubert-base-ls960"])
    lengths = torch.tensor([0, *range(400, 2400, 40), 15_999, 16_000, 16_239, 16_240, 16_241])
    assert torch.equal(Cepstra().frame_lengths(lengths), hubert.frame_lengths(lengths))


def test_a_clip_in_a_padded_batch_comes_out_as_it_does_alone() -> None:
    encoder = load_audio_encoder("mfcc")
    assert isinstance(encoder, Cepstra)
    lengths = torch.tensor([9_000, 16_000])
    both = encoder(torch.nn.functional.pad(waves(16_000, 2), (0, 500)), lengths)
    alone = encoder(waves(16_000, 2)[:1, :9_000], lengths[:1])
    frames = alone.layers[0].shape[1]
    assert both.mask.sum(1).tolist() == encoder.frame_lengths(lengths).tolist()
    assert torch.allclose(both.layers[0][0, :frames], alone.layers[0][0], atol=1e-4)
    assert alone.layers[0].shape[2] == encoder.width == 39


def test_the_middle_third_is_the_slope_of_the_first() -> None:
    encoder = Cepstra(CepstraConfig(bands=24, cepstra=8))
    wave = waves(16_000) * torch.linspace(0.01, 1, 16_000)  # louder and louder, so the first cepstrum rises
    frames = encoder(wave, torch.tensor([16_000])).layers[0][0]
    rising = frames[5:-5]
    assert rising[:, 8].mean() == pytest.approx(
        (rising[-1, 0] - rising[0, 0]).item() / 2 / (len(rising) - 1), rel=0.2
    )
