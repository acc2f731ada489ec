"""Vesper: the three losses by hand, what is hidden where, gradients, sizes, and a run to its folder."""

from pathlib import Path

import pytest
import small_runs
import torch
from test_distillation import batch, hubert
from tiny_checkpoints import save_hubert
from torch import nn

from multimodal_ser import config as experiments
from multimodal_ser.analysis.encoders import load_encoder
from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import Encoding
from multimodal_ser.models.hubert import _LARGE, HubertEncoder, HubertEncoderConfig
from multimodal_ser.models.students import StudentConfig, make_student
from multimodal_ser.objectives.masking import BandConfig
from multimodal_ser.objectives.vesper import Vesper, VesperConfig, without_final_norm

MASKS = {"small": 2, "large": 6}


def vesper(**changes: object) -> Vesper:
    teacher = without_final_norm(hubert("wavlm", 8, do_stable_layer_norm=True))
    config = VesperConfig(**{"masks": BandConfig(**MASKS), "predictor": 12, **changes})
    student = make_student(teacher, StudentConfig(config.blocks, config.start, final_norm=False), hides=True)
    return Vesper(student, teacher, config)


def test_the_losses_by_hand() -> None:
    objective = vesper()
    for number, name in enumerate(("acoustic", "semantic", "cross")):
        last = objective.predictors[name][-1]
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, float(number))
    layers = tuple(torch.full((1, 3, 16), float(k)) for k in range(9))
    told = Encoding(layers, torch.tensor([[True, True, False]]), 50.0)
    said = told._replace(layers=layers[:5])
    small, large = torch.tensor([[True, False, True]]), torch.tensor([[False, True, True]])
    losses = objective.losses_from_encodings(said, told, small, large)
    assert losses["acoustic"].item() == pytest.approx((0 - 4) ** 2)  # the teacher's layer 4 of 8
    assert losses["semantic"].item() == pytest.approx((1 - 8) ** 2)
    assert losses["cross"].item() == pytest.approx((2 - 4) ** 2)
    assert losses["loss"].item() == pytest.approx(16 + 0.1 * 49 + 4)
    none = torch.zeros_like(small)
    assert objective.losses_from_encodings(said, told, none, none)["acoustic"] == 0


@pytest.mark.parametrize("name", ["acoustic", "semantic", "cross"])
def test_each_loss_can_be_switched_off_and_its_predictor_is_gone(name: str) -> None:
    objective = vesper(**{name: 0.0})
    losses = objective(batch())
    assert name not in losses
    assert name not in objective.predictors
    assert losses["loss"].isfinite()
    with pytest.raises(InputError, match="one of acoustic, semantic, cross is not 0"):
        VesperConfig(acoustic=0, semantic=0, cross=0)


def test_small_spans_are_hidden_below_the_first_block_and_large_ones_halfway() -> None:
    objective = vesper().eval()
    entered: dict[int, torch.Tensor] = {}
    blocks = objective.model.network.encoder.layers
    drawn = objective.masks(batch())

    def note(number: int) -> object:
        def hook(_: nn.Module, given: tuple, __: object) -> None:
            entered[number] = given[0]

        return hook

    hooks = [blocks[number].register_forward_hook(note(number)) for number in range(4)]
    objective(batch())
    for hook in hooks:
        hook.remove()
    vector = objective.model.network.masked_spec_embed
    for row, masks in enumerate(drawn):
        for number, hidden in ((0, masks.small.hidden), (2, masks.large.hidden)):
            is_vector = (entered[number][row, : len(hidden)] == vector).all(-1)
            assert is_vector.tolist() == hidden.tolist()
        assert not (entered[1][row] == vector).all(-1).any()
    assert not any(block._forward_pre_hooks for block in blocks)


def test_one_repeated_batch_is_learned_and_gradients_are_where_they_should_be() -> None:
    objective = vesper()
    before = {name: weight.clone() for name, weight in objective.teacher.encoder.state_dict().items()}
    optimiser = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for step in range(25):
        optimiser.zero_grad()
        losses.append(objective(batch())["loss"])
        losses[-1].backward()
        if step == 0:
            without = {n for n, p in objective.named_parameters() if p.grad is None}
            assert all("feature_extractor" in name for name in without)
            assert not any("teacher" in name for name in objective.state_dict())
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(x, before[name]) for name, x in objective.teacher.encoder.state_dict().items())


def test_masks_do_not_depend_on_batch_mates_or_padding() -> None:
    objective = vesper()
    clips = batch((0.5, 0.3, 0.4))
    together, alone = objective.masks(clips)[1], objective.masks(clips.rows(slice(1, 2)))[0]
    assert together.small.starts.tolist() == alone.small.starts.tolist()
    assert together.large.starts.tolist() == alone.large.starts.tolist()


@pytest.mark.parametrize(("blocks", "published"), [(4, 63.52), (12, 164.29)])
def test_students_of_wavlm_large_have_the_published_number_of_parameters(
    blocks: int, published: float
) -> None:
    with torch.device("meta"):
        teacher = HubertEncoder(HubertEncoderConfig({"model_type": "wavlm", **_LARGE}, True))
        student = make_student(teacher, StudentConfig(blocks, "random", final_norm=False), hides=True)
    assert sum(p.numel() for p in student.parameters()) / 1e6 == pytest.approx(published, abs=0.05)


def test_an_experiment_leaves_an_encoder_that_begins_as_the_teacher(tmp_path: Path) -> None:
    manifest = small_runs.write_corpus(tmp_path / "corpus", 10, 4)
    teacher = save_hubert(tmp_path / "hubert", layers=4)
    values = small_runs.values(manifest, objective="vesper", training={"max_steps": 3})
    values |= {"model": {}, "vesper": {"teacher": str(teacher), "blocks": 2, "masks": MASKS}}
    experiments.run(experiments.settings.parse(experiments.RunConfig, values), tmp_path / "run")
    assert load_encoder(tmp_path / "run").num_layers == 2
    line = (tmp_path / "run" / "history.jsonl").read_text()
    for name in ("masked_share", "span_overlap", "in_band", "large_masked_share"):
        assert f'"train_{name}"' in line


def test_kept_states_of_the_teacher_give_the_losses_of_those_computed_on_the_fly(tmp_path: Path) -> None:
    fly, kept = vesper().eval(), vesper(kept_states=str(tmp_path)).eval()
    kept.load_state_dict(fly.state_dict())
    expected = {name: pytest.approx(x.item(), rel=1e-5) for name, x in fly(batch()).items()}
    for _ in range(2):
        assert {name: x.item() for name, x in kept(batch()).items()} == expected
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
