"""Fusion against hand-computed cases: absent branches, padding, layer mix and attentive statistics."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from multimodal_ser.models.fusion import (
    FUSIONS,
    AttentiveStatistics,
    Branch,
    CrossAttentionFusion,
    LayerMix,
    SingleBranch,
)
from multimodal_ser.models.transformer import Attention

WIDTH, ROWS = 16, 4
JOINING = [name for name, (_, branches) in FUSIONS.items() if len(branches) == 2]
YES, NO = torch.ones(ROWS, dtype=torch.bool), torch.zeros(ROWS, dtype=torch.bool)


def states(steps: int, seed: int, rows: int = ROWS) -> Tensor:
    return torch.randn(rows, steps, WIDTH, generator=torch.Generator().manual_seed(seed))


def branch(steps: int, seed: int, present: Tensor = YES) -> Branch:
    """States of which row b has `steps - b` valid ones."""
    mask = torch.arange(steps) < steps - torch.arange(ROWS)[:, None]
    return Branch(states(steps, seed), mask, present)


def fusion(name: str) -> nn.Module:
    torch.manual_seed(0)
    return FUSIONS[name][0](WIDTH, heads=4, blocks=2, dropout=0.0).eval()


def swapped(
    module: Callable[[Branch, Branch], Tensor], text_first: bool
) -> Callable[[Branch, Branch], Tensor]:
    """`module` as a function of (the branch that stays, the branch that is absent)."""
    return (lambda stays, absent: module(absent, stays)) if text_first else module


@torch.inference_mode()
@pytest.mark.parametrize("text_first", [False, True], ids=["text absent", "audio absent"])
@pytest.mark.parametrize("name", JOINING)
def test_an_absent_branch_may_hold_anything(name: str, text_first: bool) -> None:
    fuse = swapped(fusion(name), text_first)
    stays, absent = branch(9, 1), branch(6, 2, NO)
    expected = fuse(stays, absent)
    for other in (
        branch(6, 3, NO),
        absent._replace(states=torch.full_like(absent.states, torch.nan)),
        absent._replace(states=torch.full_like(absent.states, torch.inf)),
        absent._replace(mask=torch.zeros_like(absent.mask)),
        absent._replace(mask=torch.zeros_like(absent.mask), present=YES),
    ):
        assert fuse(stays, other).equal(expected)
    assert not torch.allclose(fuse(stays, absent._replace(present=YES)), expected)
    # Nor does its length matter, or whether there is any of it.
    for steps in (0, 40):
        empty = Branch(states(steps, 4), torch.ones(ROWS, steps, dtype=torch.bool), NO)
        torch.testing.assert_close(fuse(stays, empty), expected, rtol=1e-5, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("name", JOINING)
def test_presence_is_decided_row_by_row(name: str) -> None:
    fuse = fusion(name)
    audio, text = branch(9, 1), branch(6, 2)
    both, without = fuse(audio, text), fuse(audio, text._replace(present=NO))
    mixed = fuse(audio, text._replace(present=torch.tensor([True, False, True, False])))
    assert mixed[::2].equal(both[::2])
    assert mixed[1::2].equal(without[1::2])


@torch.inference_mode()
@pytest.mark.parametrize("name", FUSIONS)
def test_padding_and_batch_mates_do_not_change_a_row(name: str) -> None:
    fuse = fusion(name)
    parts = [branch(9, 1), branch(6, 2)][: len(FUSIONS[name][1])]
    batch = fuse(*parts)
    assert batch.shape == (ROWS, fuse.out_width)
    for row in range(ROWS):
        single = [
            Branch(
                part.states[row : row + 1, part.mask[row]], part.mask[row : row + 1, part.mask[row]], YES[:1]
            )
            for part in parts
        ]
        torch.testing.assert_close(fuse(*single), batch[row : row + 1], rtol=1e-5, atol=1e-6)
    junk = [part._replace(states=part.states.where(part.mask[..., None], torch.nan)) for part in parts]
    assert fuse(*junk).equal(batch)


@torch.inference_mode()
@pytest.mark.parametrize("name", FUSIONS)
def test_with_nothing_present_all_rows_say_the_same(name: str) -> None:
    parts = [branch(9, 1, NO), branch(6, 2, NO)][: len(FUSIONS[name][1])]
    joint = fusion(name)(*parts)
    assert bool(joint.isfinite().all())
    torch.testing.assert_close(joint, joint[:1].expand(ROWS, -1))


@pytest.mark.parametrize("present", [YES, NO], ids=["present", "absent"])
@pytest.mark.parametrize("name", FUSIONS)
def test_gradients_reach_every_parameter_and_the_null_tokens_in_particular(
    name: str, present: Tensor
) -> None:
    fuse = fusion(name)
    first = branch(9, 1)
    second = branch(6, 2, present)
    parts = [first, second] if len(FUSIONS[name][1]) == 2 else [second]
    for part in parts:
        part.states.requires_grad_()
    fuse(*parts).square().sum().backward()
    gradients = {name: p.grad for name, p in fuse.named_parameters()}
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients.values())
    null = [g for name, g in gradients.items() if "null" in name]
    assert len(null) == len(parts)
    assert all(bool(g.any()) for g in null)
    if len(parts) == 2:
        assert bool(first.states.grad.any())
    assert bool((second.states.grad != 0).any()) == bool(present.any())
    assert bool(second.states.grad.isfinite().all())


@torch.inference_mode()
def test_each_branch_hears_of_the_other_by_cross_attention_and_not_by_concatenation() -> None:
    for name, crosses in (("cross_attention", True), ("concat", False)):
        fuse = fusion(name)
        one, other = fuse(branch(9, 1), branch(6, 2)), fuse(branch(9, 1), branch(6, 3))
        audio_half = slice(0, 2 * WIDTH)
        assert one[:, audio_half].equal(other[:, audio_half]) != crosses
        one, other = fuse(branch(9, 1), branch(6, 2)), fuse(branch(9, 4), branch(6, 2))
        text_half = slice(2 * WIDTH, None)
        assert one[:, text_half].equal(other[:, text_half]) != crosses


@torch.inference_mode()
def test_a_closed_gate_keeps_the_other_branch_out() -> None:
    fuse = fusion("cross_attention")
    assert isinstance(fuse, CrossAttentionFusion)
    for block in fuse.blocks:
        for gate in block.gate.values():
            nn.init.constant_(gate.bias, -200.0)
    audio = slice(0, 2 * WIDTH)
    one, other = fuse(branch(9, 1), branch(6, 2)), fuse(branch(9, 1), branch(6, 3))
    torch.testing.assert_close(one[:, audio], other[:, audio], rtol=0, atol=1e-6)


@torch.inference_mode()
def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours = Attention(WIDTH, heads=4, dropout=0.0).eval()
    theirs = nn.MultiheadAttention(WIDTH, 4, batch_first=True).eval()
    theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
    theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, memory = states(5, 1), branch(7, 2)
    expected, _ = theirs(query, memory.states, memory.states, key_padding_mask=~memory.mask)
    torch.testing.assert_close(ours(query, memory.states, memory.mask), expected)


@torch.inference_mode()
def test_attentive_statistics_of_a_case_computed_by_hand() -> None:
    pool = AttentiveStatistics(2, hidden=1)
    # The score is ln(3) * tanh(first value): 0 for the first state, ln 3 (nearly) for the second.
    for parameter in pool.parameters():
        parameter.zero_()
    pool.score[0].weight[0, 0] = 1.0
    pool.score[2].weight[0, 0] = math.log(3)
    sequence = torch.tensor([[[0.0, 2.0], [20.0, -2.0], [7.0, 7.0]]])
    mask = torch.tensor([[True, True, False]])
    # So the shares are 1/4 and 3/4: means 15 and -1, variances 75 and 3.
    expected = torch.tensor([[15.0, -1.0, math.sqrt(75), math.sqrt(3)]])
    torch.testing.assert_close(pool(sequence, mask), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_without_attention_the_statistics_are_mean_and_population_deviation() -> None:
    pool = AttentiveStatistics(WIDTH)
    nn.init.zeros_(pool.score[2].weight)
    part = branch(9, 1)
    for row in range(ROWS):
        valid = 1000 + part.states[row, part.mask[row]].double()  # far from zero, where squares cancel
        found = pool(1000 + part.states, part.mask)[row].double()
        expected = torch.cat([valid.mean(0), valid.std(0, correction=0)])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_statistics_of_one_state_have_finite_gradients() -> None:
    pool = AttentiveStatistics(WIDTH)
    sequence = states(1, 1).requires_grad_()
    pool(sequence, torch.ones(ROWS, 1, dtype=torch.bool)).sum().backward()
    torch.testing.assert_close(sequence.grad, torch.ones_like(sequence))


@torch.inference_mode()
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_layer_mix_does_not_feel_the_scale_or_offset_of_a_layer(factor: float) -> None:
    mix = LayerMix(3)
    mix.scores.copy_(torch.tensor([0.5, -1.0, 2.0]))
    layers = [states(5, seed) for seed in range(3)]
    expected = mix(tuple(layers))
    for index in range(3):
        changed = [factor * (layer + 2) if n == index else layer for n, layer in enumerate(layers)]
        torch.testing.assert_close(mix(tuple(changed)), expected, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_the_layer_mix_is_a_convex_mix_of_standardised_layers() -> None:
    mix = LayerMix(2)
    torch.testing.assert_close(mix.weights, torch.tensor([0.5, 0.5]))
    mix.scores.copy_(torch.tensor([0.0, math.log(3)]))
    torch.testing.assert_close(mix.weights, torch.tensor([0.25, 0.75]))
    layers = (states(5, 1), states(5, 2))
    one, other = ((x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True) for x in layers)
    torch.testing.assert_close(mix(layers), 0.25 * one + 0.75 * other, rtol=1e-4, atol=1e-5)


def test_a_constant_layer_gives_no_nan() -> None:
    mix = LayerMix(2)
    flat = torch.zeros(1, 3, WIDTH, requires_grad=True)
    mix((flat, states(3, 1, rows=1))).sum().backward()
    assert bool(flat.grad.isfinite().all())
    assert bool(mix.scores.grad.isfinite().all())


@torch.inference_mode()
@pytest.mark.parametrize("name", FUSIONS)
def test_half_precision_is_near(name: str) -> None:
    fuse = fusion(name)
    parts = [branch(9, 1), branch(6, 2)][: len(FUSIONS[name][1])]
    exact = fuse(*parts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = fuse(*(part._replace(states=part.states.bfloat16()) for part in parts)).float()
    assert float((near - exact).norm() / exact.norm()) < 0.03


def test_a_single_branch_has_no_parameter_of_the_other() -> None:
    for name in ("audio", "text"):
        assert FUSIONS[name] == (SingleBranch, (name,))
    assert [key for key in fusion("audio").state_dict() if key.startswith("null")] == ["null.state"]
