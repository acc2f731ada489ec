"""MockingJay and NPC: padding, receptive field, losses by hand, gradients, sizes, one batch learned."""

import numpy as np
import pytest
import torch
from torch import nn

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.models.mockingjay import MockingjayConfig, MockingjayEncoder
from multimodal_ser.models.npc import NpcConfig, NpcEncoder, Quantiser
from multimodal_ser.objectives.emotional_spans import SpanConfig
from multimodal_ser.objectives.intensity import Curve, SlidingArousal, at_times, energy, frame_times
from multimodal_ser.objectives.reconstruction import (
    MaskedReconstruction,
    PredictiveCoding,
    absolute_error,
    corrupted,
)

SMALL = MockingjayConfig(bands=16, deltas=True, width=32, blocks=2, heads=2, feedforward=48, dropout=0.0)
NPC = NpcConfig(bands=16, width=32, groups=2, codes=8, code_width=16, dropout=0.0)


def batch(seconds: tuple[float, ...] = (1.0, 0.6), seed: int = 0) -> Batch:
    lengths = torch.tensor([round(16_000 * s) for s in seconds])
    waves = torch.randn(len(seconds), int(lengths.max()), generator=torch.Generator().manual_seed(seed)) * 0.1
    waves *= torch.arange(waves.shape[1]) < lengths[:, None]
    nan = torch.full((len(seconds), 3), float("nan"))
    ids = tuple(f"clip{i}" for i in range(len(seconds)))
    return Batch(waves, lengths, None, None, nan, nan[:, :0], None, torch.arange(len(seconds)), ids)


@pytest.mark.parametrize(("kind", "config"), [(MockingjayEncoder, SMALL), (NpcEncoder, NPC)])
@pytest.mark.parametrize("stack", [1, 2])
def test_a_clip_in_a_padded_batch_comes_out_as_it_does_alone(kind, config, stack):
    torch.manual_seed(0)
    encoder = kind.from_config({**vars(config), "stack": stack}).eval()
    both = batch()
    with torch.no_grad():
        padded = encoder(both.waveforms, both.lengths)
        alone = encoder(both.waveforms[1:, : both.lengths[1]], both.lengths[1:])
    frames = int(encoder.frame_lengths(both.lengths)[1])
    assert len(padded.layers) == encoder.num_layers + 1
    assert padded.mask.sum(1).tolist() == encoder.frame_lengths(both.lengths).tolist()
    for layer, single in zip(padded.layers, alone.layers, strict=True):
        assert torch.allclose(layer[1, :frames], single[0, :frames], atol=1e-4)


@pytest.mark.parametrize(("kind", "config"), [(MockingjayEncoder, SMALL), (NpcEncoder, NPC)])
def test_last_layer_stops_there_and_the_layers_below_are_the_same(kind, config):
    encoder = kind.from_config(config).eval()
    both = batch()
    full = encoder(both.waveforms, both.lengths)
    short = encoder(both.waveforms, both.lengths, last_layer=1)
    assert len(short.layers) == 2
    assert torch.equal(short.layers[1], full.layers[1])


@pytest.mark.parametrize(("mask_size", "unseen"), [(3, 0), (5, 1), (7, 2)])
def test_the_output_of_npc_depends_on_no_frame_in_its_middle_and_on_those_around(mask_size, unseen):
    torch.manual_seed(0)
    encoder = NpcEncoder(NpcConfig(**{**vars(NPC), "mask_size": mask_size})).eval()
    features = torch.randn(1, 60, 16, requires_grad=True)
    encoder.forward_from_features(features, torch.ones(1, 60, dtype=torch.bool)).layers[-1][
        0, 30
    ].sum().backward()
    reached = features.grad[0].abs().sum(1) > 0
    middle = torch.arange(60).sub(30).abs() <= unseen
    assert not reached[middle].any()
    assert reached[30 - unseen - 1]
    assert reached[30 + unseen + 1]


def test_the_receptive_field_that_leaves_nothing_is_refused():
    with pytest.raises(InputError, match="of a kernel of 15 nothing is left"):
        NpcConfig(mask_size=9)


def test_losses_and_corruption_by_hand():
    said = torch.tensor([[[1.0, 3.0], [0.0, 0.0], [9.0, 9.0]]])
    target = torch.tensor([[[0.0, 1.0], [2.0, -2.0], [0.0, 0.0]]])
    frames = torch.tensor([[True, True, False]])
    assert absolute_error(said, target, frames) == pytest.approx((1.5 + 2.0) / 2)
    assert absolute_error(said, target, torch.zeros(1, 3, dtype=torch.bool)) == 0
    assert corrupted(said, torch.tensor([[-1, 0, 2]])).tolist() == [[[0, 0], [1, 3], [9, 9]]]


def test_the_loss_of_masked_reconstruction_is_that_of_its_parts_on_the_hidden_frames():
    torch.manual_seed(0)
    objective = MaskedReconstruction(MockingjayEncoder(SMALL), energy, SpanConfig(zero=1.0, swap=0.0)).eval()
    nn.init.zeros_(objective.tell[-1].weight)
    nn.init.zeros_(objective.tell_intensity.weight)
    nn.init.zeros_(objective.tell[-1].bias)
    nn.init.zeros_(objective.tell_intensity.bias)
    clips = batch()
    features, mask = objective.model.features(clips.waveforms, clips.lengths)
    intensity = objective.intensity(clips, mask.shape[1])
    chosen = objective.hide(mask, intensity, clips.ids).chosen
    losses = {name: value.detach() for name, value in objective(clips).items()}
    assert losses["spectrum"] == pytest.approx(float(features[chosen].abs().mean()), rel=1e-5)
    assert losses["intensity"] == pytest.approx(float(intensity[chosen].mean()), rel=1e-5)
    assert losses["loss"] == pytest.approx(float(losses["spectrum"] + losses["intensity"]))
    assert not chosen[~mask].any()


def test_masks_do_not_depend_on_batch_mates_or_padding():
    objective = MaskedReconstruction(MockingjayEncoder(SMALL), energy)
    clips = batch((1.0, 0.6, 0.8))
    _, mask = objective.model.features(clips.waveforms, clips.lengths)
    together = objective.hide(mask, objective.intensity(clips, mask.shape[1]), clips.ids)
    alone = clips.rows(slice(1, 2))
    _, own = objective.model.features(alone.waveforms, alone.lengths)
    single = objective.hide(own, objective.intensity(alone, own.shape[1]), alone.ids)
    frames = int(own.sum())
    assert torch.equal(together.chosen[1, :frames], single.chosen[0, :frames])
    assert torch.equal(together.origin[1, :frames], single.origin[0, :frames])


def test_hidden_values_do_not_reach_the_network():
    objective = MaskedReconstruction(
        MockingjayEncoder(SMALL), None, SpanConfig(policy="random", zero=1.0, swap=0.0)
    )
    features = torch.randn(2, 80, 48)
    mask = torch.ones(2, 80, dtype=torch.bool)
    hidden = objective.hide(mask, None, ("a", "b"))
    changed = features + 5.0 * hidden.chosen[..., None]
    one = objective.model.eval().forward_from_features(corrupted(features, hidden.origin), mask).layers[-1]
    other = objective.model.forward_from_features(corrupted(changed, hidden.origin), mask).layers[-1]
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["mockingjay", "npc"])
def test_one_repeated_batch_is_learned_and_every_weight_has_a_gradient(name):
    torch.manual_seed(0)
    if name == "mockingjay":
        objective = MaskedReconstruction(MockingjayEncoder(SMALL), energy, SpanConfig(zero=1.0, swap=0.0))
    else:
        objective = PredictiveCoding(NpcEncoder(NPC), energy)
    clips = batch()
    optimiser = torch.optim.Adam(objective.parameters(), lr=3e-3)
    trace = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = objective(clips)["loss"]
        loss.backward()
        missing = [key for key, weight in objective.named_parameters() if weight.grad is None]
        assert not missing
        optimiser.step()
        trace.append(float(loss.detach()))
    assert np.mean(trace[-5:]) < 0.9 * trace[0]


def test_the_quantiser_gives_its_best_code_and_hard_codes_in_training():
    torch.manual_seed(0)
    quantiser = Quantiser(4, groups=2, codes=3, code_width=5, temperature=1.0).eval()
    x = torch.randn(1, 6, 4)
    best = quantiser.scores(x).unflatten(-1, (2, 3)).argmax(-1)
    by_hand = torch.cat([quantiser.codebook[0][best[0, :, 0]], quantiser.codebook[1][best[0, :, 1]]], dim=-1)
    assert torch.allclose(quantiser(x)[0], by_hand)
    drawn = quantiser.train()(x)[0, :, :5]
    assert torch.cdist(drawn, quantiser.codebook[0]).min(1).values.max() < 1e-4


def test_sizes_at_true_size_follow_from_the_shapes():
    def count(module: nn.Module) -> int:
        return sum(weight.numel() for weight in module.parameters())

    block = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert count(MockingjayEncoder(MockingjayConfig())) == 240 * 768 + 768 + 2 * 768 + 3 * block
    convolutions = 80 * 512 * 3 + 3 * 512 * 512 * 3 + 4 * (512 + 2 * 512)
    assert count(NpcEncoder(NpcConfig())) == convolutions + 4 * (512 * 512 * 15 + 512)


def test_intensity_is_interpolated_by_time_between_frame_rates():
    times = np.arange(50) * 0.016 + 0.016
    line = Curve(times, times)  # intensity that is the time itself
    at = frame_times(60, 1)
    inside = (at >= times[0]) & (at <= times[-1])
    assert at_times(line, at)[inside] == pytest.approx(at[inside])
    assert at_times(line, np.array([-1.0, 99.0])) == pytest.approx([times[0], times[-1]])
    with pytest.raises(InputError, match="from 0 to 1"):
        at_times(Curve(times, times * 9), at)


def test_energy_is_one_where_a_clip_is_loudest_and_silence_is_zero():
    wave = np.sin(np.arange(16_000) * 0.3).astype(np.float32)
    wave[:8000] *= 0.25
    curve = energy(wave)
    assert at_times(curve, np.array([0.25, 0.75])) == pytest.approx([0.25, 1.0], abs=0.01)
    assert energy(np.zeros(16_000, dtype=np.float32)).values.max() == 0
    assert len(energy(np.zeros(0, dtype=np.float32)).values) == 0


def test_sliding_arousal_stands_in_the_middle_of_its_windows():
    source = SlidingArousal(lambda pieces: [float(p.mean()) for p in pieces], window=0.5, hop=0.25)
    ramp = np.linspace(0, 1, 32_000, dtype=np.float32)
    curve = source(ramp)
    assert curve.values == pytest.approx(curve.times / 2, abs=1e-3)
    assert len(source(ramp[:100]).values) == 1
