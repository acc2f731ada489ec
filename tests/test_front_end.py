"""HuBERT's front end by rows of frames: the numbers of convolutions, for any clip and batch."""

import pytest
import torch
from torch import Tensor

from multimodal_ser.models import front_end
from multimodal_ser.models.front_end import FrontEnd
from multimodal_ser.models.wav2vec_config import Wav2VecConfig

SIZES = {"model_type": "wav2vec2", "conv_dim": [12] * 7, "hidden_size": 16, "num_attention_heads": 4}
VARIANTS = {
    "group": {},
    "layer": {"feat_extract_norm": "layer", "conv_bias": True},
    "group-biased": {"conv_bias": True},
    "other kernels": {"conv_dim": [12] * 3, "conv_kernel": [7, 5, 4], "conv_stride": [3, 2, 3]},
}
LENGTHS = torch.tensor([90_000, 30_000, 0, 400])


@pytest.fixture(params=VARIANTS)
def network(request: pytest.FixtureRequest) -> FrontEnd:
    torch.manual_seed(0)
    network = FrontEnd(Wav2VecConfig.from_settings({**SIZES, **VARIANTS[request.param]})).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return network


@pytest.fixture
def clips() -> Tensor:
    sound = 0.2 + 0.1 * torch.randn(len(LENGTHS), 90_000, generator=torch.Generator().manual_seed(1))
    behind = torch.arange(90_000) >= LENGTHS[:, None]
    return sound.masked_fill(behind, 0)


@pytest.fixture
def by_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frames of each call that went by rows."""
    seen: list[int] = []
    plain = front_end._fill

    def watched(frames: Tensor, *given: object) -> None:
        seen.append(len(frames))
        plain(frames, *given)

    monkeypatch.setattr(front_end, "_fill", watched)
    return seen


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_rows_give_what_convolutions_give_for_every_clip_of_a_batch(network, clips, by_rows):
    network, clips = network.double(), clips.double()
    convolved, expected_lengths = network(clips, LENGTHS)
    assert not by_rows, "gradients want the convolutions"
    with torch.no_grad():
        rows, lengths = network(clips, LENGTHS)
    assert len(by_rows) == 3, "one of the four is empty"
    assert by_rows[0] > 2 * front_end._STRETCH
    assert lengths.equal(expected_lengths)
    assert rows.shape == convolved.shape
    for row, length in enumerate(lengths.tolist()):
        assert relative(rows[row, :length], convolved[row, :length].detach()) < 1e-9 or length == 0
        assert not rows[row, length:].any()


@torch.no_grad()
def test_a_clip_is_the_same_to_the_bit_with_and_without_batch_mates(network, clips):
    together, lengths = network(clips, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        if length:
            alone, _ = network(clips[row : row + 1, :length], LENGTHS[row : row + 1])
            assert alone[0].equal(together[row, : lengths[row]])


def test_an_offset_a_thousand_times_the_loudness_does_no_harm(network, clips):
    clip = 1.0 + 1e-3 * clips[:1]
    expected = network.double()(clip.double(), LENGTHS[:1])[0].detach()
    with torch.no_grad():
        rows, _ = network.float()(clip, LENGTHS[:1])
        same, _ = network.double()(clip.double(), LENGTHS[:1])
    assert relative(same, expected) < 1e-6
    assert relative(rows.double(), expected) < 2e-3


@torch.no_grad()
def test_silence_is_finite(network):
    rows, _ = network(torch.zeros(1, 4000), torch.tensor([4000]))
    assert torch.isfinite(rows).all()


def test_bfloat16_is_as_near_as_that_of_the_convolutions(network, clips):
    expected, lengths = network(clips, LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        convolved, _ = network(clips, LENGTHS)
        with torch.no_grad():
            rows, _ = network(clips, LENGTHS)
    assert rows.dtype == torch.bfloat16
    wanted = expected[0, : lengths[0]].detach()
    off, off_convolved = (
        relative(found[0, : lengths[0]].float().detach(), wanted) for found in (rows, convolved)
    )
    assert off < max(0.02, 1.5 * off_convolved)
