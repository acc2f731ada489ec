"""Students, prediction heads and their losses by hand; what is trained, and what a student is left with."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import small_runs
import torch
from tiny_checkpoints import save_hubert, save_ser_model, save_whisper
from torch import nn

from multimodal_ser import config as experiments
from multimodal_ser import settings
from multimodal_ser.analysis.encoders import load_encoder
from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.manifests import read, write
from multimodal_ser.metrics import ccc
from multimodal_ser.models.bands import BandsConfig, BandsEncoder
from multimodal_ser.models.encoder_folder import load_encoder as read_encoder
from multimodal_ser.models.encoder_folder import save_encoder
from multimodal_ser.models.encoding import AudioEncoder, Encoding
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder, HubertEncoderConfig
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.models.students import StudentConfig, groups_of, make_student
from multimodal_ser.models.whisper import WhisperEncoder
from multimodal_ser.objectives.attention_maps import divergence, log_map, noted
from multimodal_ser.objectives.distillation import Distillation, DistillationConfig, cosine_loss, mean_over
from multimodal_ser.objectives.supervised import SupervisedConfig
from multimodal_ser.objectives.task_distillation import TaskDistillation
from multimodal_ser.objectives.teacher import Teacher, at_frames

MEL = MelConfig(bands=12, width=16, blocks=2, heads=2, feedforward=16, dropout=0.0)
SMALL = {
    "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 8, 8], "conv_stride": [5, 8, 8], "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def hubert(family: str = "hubert", blocks: int = 4, **more: object) -> HubertEncoder:
    torch.manual_seed(3)
    network = {"model_type": family, "num_hidden_layers": blocks, **SMALL, **more}
    return HubertEncoder(HubertEncoderConfig(network, normalise_input=True)).eval()


def batch(seconds: tuple[float, ...] = (0.5, 0.3)) -> Batch:
    lengths = torch.tensor([round(16_000 * s) for s in seconds])
    waves = torch.randn(len(seconds), int(lengths.max()), generator=torch.Generator().manual_seed(0)) * 0.1
    nan = torch.full((len(seconds), 3), float("nan"))
    ids = tuple(f"clip{i}" for i in range(len(seconds)))
    return Batch(waves, lengths, None, None, nan, nan[:, :0], None, torch.arange(len(seconds)), ids)


@pytest.mark.parametrize(
    ("rule", "groups"),
    [
        ("uniform", [(0,), (6,), (12,), (18,)]),
        ("shifted", [(0,), (5,), (11,), (17,)]),
        ("first", [(0,), (1,), (2,), (3,)]),
        ("average", [tuple(range(k, k + 6)) for k in (0, 6, 12, 18)]),
        ("growing", [(0, 1), (2, 3, 4, 5), tuple(range(6, 14)), tuple(range(14, 24))]),
        ("random", []),
    ],
)
def test_the_rules_choose_the_published_blocks_for_4_of_24(rule: str, groups: list) -> None:
    assert groups_of(rule, 24, 4) == groups


def test_every_second_block_begins_a_student_of_12() -> None:
    assert groups_of("uniform", 24, 12) == [(k,) for k in range(0, 24, 2)]


@pytest.mark.parametrize("family", ["hubert", "wavlm"])
def test_a_student_of_4_blocks_equals_the_teachers_0_6_12_18_weight_for_weight(family: str) -> None:
    teacher = hubert(family, 24, do_stable_layer_norm=True, feat_extract_norm="layer")
    student = make_student(teacher, StudentConfig(4, "uniform"))
    own, given = student.state_dict(), teacher.state_dict()
    seen = 0
    for name, weight in own.items():
        for number, block in enumerate((0, 6, 12, 18)):
            if name.startswith(f"network.encoder.layers.{number}."):
                name = name.replace(f".layers.{number}.", f".layers.{block}.", 1)
                break
        assert torch.equal(weight, given[name]), name
        seen += 1
    assert seen == len(own)
    assert {name.split(".")[3] for name in own if ".layers." in name} == {"0", "1", "2", "3"}


def test_a_mean_of_blocks_is_their_mean_and_wavlm_keeps_its_position_bias() -> None:
    teacher = hubert("wavlm", 4)
    student = make_student(teacher, StudentConfig(2, "average"))
    name = "network.encoder.layers.{}.feed_forward.output_dense.weight"
    given = teacher.state_dict()
    mean = (given[name.format(2)] + given[name.format(3)]) / 2
    assert torch.allclose(student.state_dict()[name.format(1)], mean)
    later = make_student(teacher, StudentConfig(2, copied=(1, 3))).state_dict()
    bias = "network.encoder.layers.0.attention.rel_attn_embed.weight"
    assert torch.equal(later[bias], given[bias])


def test_a_thinner_student_hears_with_the_teachers_convolutions() -> None:
    teacher = hubert()
    student = make_student(teacher, StudentConfig(3, "random", width=8, heads=2, feedforward=12))
    assert (student.width, student.num_layers) == (8, 3)
    for name, weight in student.state_dict().items():
        if "feature_extractor" in name:
            assert torch.equal(weight, teacher.state_dict()[name])
    with pytest.raises(InputError, match="cannot begin as the teacher's blocks"):
        StudentConfig(2, width=8)


def test_without_the_final_norm_a_full_pass_ends_in_the_residual_stream() -> None:
    teacher = hubert(do_stable_layer_norm=True)
    bare = make_student(teacher, StudentConfig(4, final_norm=False)).eval()
    clip = batch((0.5,))
    with torch.no_grad():
        said, told = bare(clip.waveforms, clip.lengths), teacher(clip.waveforms, clip.lengths)
        normed = teacher.network.encoder.layer_norm(said.layers[-1])
    assert torch.allclose(normed, told.layers[-1], atol=1e-6)
    assert not torch.allclose(said.layers[-1], told.layers[-1], atol=1e-2)


def test_a_student_without_final_norm_survives_its_folder(tmp_path: Path) -> None:
    bare = make_student(hubert(do_stable_layer_norm=True), StudentConfig(2, final_norm=False), hides=True)
    save_encoder(bare, tmp_path)
    assert read_encoder(tmp_path).config.final_norm is False


def test_distilhubert_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        teacher = HubertEncoder(PUBLISHED["facebook/hubert-base-ls960"])
        student = make_student(teacher, StudentConfig(2, "random"))
    assert sum(p.numel() for p in student.parameters()) / 1e6 == pytest.approx(23.49, abs=0.005)


def test_losses_by_hand() -> None:
    said = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    told = torch.tensor([[[2.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    by_hand = (math.log(1 + math.exp(-1)) + math.log(2)) / 2  # cosines 1 and 0
    assert float(mean_over(cosine_loss(said, told), mask)) == pytest.approx(by_hand)
    assert float(mean_over((said - told).abs().mean(-1), mask)) == pytest.approx((0.5 + 1.5) / 2)
    assert mean_over(said[..., 0], ~mask & mask) == 0


def test_the_loss_is_the_sum_over_heads_and_pairs() -> None:
    config = DistillationConfig(layers=(1, 3), cosine=0.5, pairs=((1, 2),), features=0.25)
    objective = Distillation(hubert(blocks=2), hubert(), config)
    for module in [*objective.heads.values(), *objective.projections.values()]:
        last = module if isinstance(module, nn.Linear) else module[-1]
        nn.init.zeros_(last.weight)
        nn.init.ones_(last.bias)
    told = Encoding(tuple(torch.full((1, 2, 16), float(k)) for k in range(5)), torch.ones(1, 2).bool(), 50)
    losses = objective.losses_from_encodings(told._replace(layers=told.layers[:3]), told)
    heads = sum(abs(1 - k) + 0.5 * math.log(1 + math.exp(-1)) for k in (1, 3))
    assert losses["loss"].item() == pytest.approx(heads + 0.25 * (2 - 1) ** 2, rel=1e-5)


def test_states_are_told_at_the_frames_of_a_student_of_half_the_rate() -> None:
    ramp = torch.arange(7.0)[None, :, None]
    told = Encoding((ramp,), torch.tensor([[True] * 6 + [False]]), 50.0)
    assert at_frames(told, 0, 4, 25.0)[0, :, 0].tolist() == [0, 2, 4, 5]  # its last valid frame is 5
    assert at_frames(told, 0, 4, 100.0)[0, :, 0].tolist() == [0, 0.5, 1, 1.5]
    assert at_frames(told, 0, 7, 50.0) is ramp


@pytest.mark.parametrize("kind", ["hubert", "wavlm", "mel"])
def test_attention_maps_are_those_of_the_projections_and_sum_to_one(kind: str) -> None:
    encoder: AudioEncoder = MelEncoder(MEL).eval() if kind == "mel" else hubert(kind)
    clips = batch()
    with noted(encoder, [2]) as found:
        mask = encoder(clips.waveforms, clips.lengths).mask
    said = log_map(encoder, 2, found, mask).exp()
    assert torch.allclose(said.sum(-1), torch.ones(mask.shape), atol=1e-5)
    assert said[~mask[:, None].expand_as(said)].max() < 1e-6
    attention = encoder.blocks[1].attention if kind == "mel" else encoder.network.encoder.layers[1].attention
    assert not (attention.query if kind == "mel" else attention.q_proj)._forward_hooks


def test_the_divergence_of_attention_by_hand() -> None:
    told, said = torch.tensor([[[0.5, 0.5], [1.0, 1.0]]]), torch.tensor([[[0.25, 0.75], [1.0, 1.0]]])
    mask = torch.tensor([[True, True]])
    by_hand = 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(told.log(), said.log(), mask).item() == pytest.approx(by_hand / 2)
    assert divergence(told.log(), told.log(), mask).item() == 0


@pytest.mark.parametrize("kind", ["hubert", "mel"])
def test_one_repeated_batch_is_learned_and_the_teacher_stays(kind: str) -> None:
    teacher = hubert()
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    student = make_student(teacher, StudentConfig(1)) if kind == "hubert" else MelEncoder(MEL)
    pairs = {"pairs": ((1, 2),), "features": 0.1, "attention": 0.1} if kind == "hubert" else {}
    objective = Distillation(student, teacher, DistillationConfig(layers=(2, 4), **pairs))
    optimiser = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=3e-3)
    clips, losses = batch(), []
    for step in range(40):
        optimiser.zero_grad()
        losses.append(objective(clips)["loss"])
        losses[-1].backward()
        if step == 0:
            without = {n for n, p in objective.named_parameters() if p.grad is None}
            assert all("feature_extractor" in n or n.endswith("masked_spec_embed") for n in without)
            assert not any("teacher" in name for name in objective.state_dict())
        optimiser.step()
    assert losses[-1] < 0.75 * losses[0]
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())
    assert not teacher.training


def test_what_cannot_be_distilled_is_said() -> None:
    with pytest.raises(InputError, match="layer 9 of the teacher; it has layers 0 to 4"):
        Distillation(hubert(blocks=1), hubert(), DistillationConfig(layers=(9,)))
    config = DistillationConfig(layers=(1,), pairs=((1, 1),), attention=1.0)
    with pytest.raises(InputError, match="attention maps are compared frame by frame"):
        Distillation(MelEncoder(MEL), hubert(), config)
    with pytest.raises(InputError, match="set both or neither"):
        DistillationConfig(pairs=((1, 1),))
    with pytest.raises(InputError, match="gives no student of its own kind"):
        make_student(MelEncoder(MEL), StudentConfig())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 10, 6)


@pytest.mark.parametrize("student", ["blocks", "mel"])
def test_an_experiment_distils_a_checkpoint_into_an_encoder_folder(
    manifest: Path, tmp_path: Path, student: str
) -> None:
    teacher = save_hubert(tmp_path / "hubert")
    audio = small_runs.MODEL["audio"] if student == "mel" else {"encoder": "ntu-spml/distilhubert"}
    parts = {"teacher": str(teacher), "layers": [1, 2], "student": {"blocks": 1}}
    values = small_runs.values(
        manifest, objective="distillation", distillation=parts, training={"max_steps": 2}
    )
    config = experiments.settings.parse(experiments.RunConfig, {**values, "model": {"audio": audio}})
    experiments.run(config, tmp_path / "run")
    made = load_encoder(tmp_path / "run")
    assert (type(made).__name__, made.num_layers) == (
        "MelEncoder" if student == "mel" else "HubertEncoder",
        1,
    )
    given = load_encoder(teacher).state_dict()
    if student == "blocks":
        name = "network.feature_extractor.conv_layers.0.conv.weight"
        assert torch.equal(made.state_dict()[name], given[name])


def test_an_experiment_learns_what_a_model_says_without_any_label(manifest: Path, tmp_path: Path) -> None:
    taught = small_runs.configured(manifest, training={"epochs": 4, "learning_rate": 0.01})
    experiments.run(taught, tmp_path / "teacher")
    known = read(manifest)
    bare = [replace(u, arousal=None, valence=None, dominance=None, emotion=None) for u in known.utterances]
    unlabelled = tmp_path / "manifest.jsonl"
    write(unlabelled, replace(known.header, audio_root=str(known.root)), bare)
    config = small_runs.configured(
        unlabelled,
        objective="task_distillation",
        task_distillation={"teacher": str(tmp_path / "teacher"), "kept_states": True},
        model={"fusion": "audio"},
        training={"epochs": 12, "learning_rate": 0.01},
        data={"cache": str(tmp_path / "cache")},
    )
    progress = experiments.run(config, tmp_path / "student")
    said = []
    for name in ("teacher", "student"):
        predictor = Predictor.load(tmp_path / name, "cpu")
        table = predictor.predict(predictor.examples(known.split("development"), tmp_path / "cache"))
        said.append(table["audio_arousal" if name == "teacher" else "arousal"].to_numpy())
    assert ccc(said[1], said[0]) > 0.5
    assert progress.best_score > 0.3


def test_a_teacher_that_is_remembered_is_asked_once_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = SerModel.from_pretrained(save_ser_model(tmp_path))
    asked, read_out = [], teacher.read
    monkeypatch.setattr(teacher, "read", lambda *given: asked.append(1) or read_out(*given))
    torch.manual_seed(0)
    student = SerModel(SerConfig("audio", width=8, heads=1), MelEncoder(MEL))
    fly = TaskDistillation(student, SupervisedConfig(), teacher).eval()
    kept = TaskDistillation(student, SupervisedConfig(), teacher, keeps=True).eval()
    both, second = batch(), batch().rows(slice(1, 2))
    for clips in (both, second):
        expected = fly.told(clips)
        told = kept.told(clips)
        assert torch.allclose(told[0], expected[0], atol=1e-5)
        assert told[1].shape == expected[1].shape
    assert len(asked) == 3


@pytest.mark.parametrize("student", ["hubert", "mel"])
def test_kept_states_of_a_teacher_give_the_losses_of_those_computed_on_the_fly(
    student: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    model = hubert(blocks=2) if student == "hubert" else MelEncoder(MEL)
    config = DistillationConfig(layers=(2, 4), pairs=((1, 3),), features=1.0)
    fly = Distillation(model, hubert(), config).eval()
    kept = Distillation(model, hubert(), replace(config, kept_states=str(tmp_path))).eval()
    kept.load_state_dict(fly.state_dict())
    expected, alone = fly(batch()), fly(batch().rows(slice(1, 2)))
    first = kept(batch())
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == 2
    monkeypatch.setattr(HubertEncoder, "forward_from_front_end", model_only(model))
    again, one = kept(batch()), kept(batch().rows(slice(1, 2)))
    for told, said in ((expected, first), (expected, again), (alone, one)):
        assert {name: x.item() for name, x in said.items()} == {
            name: pytest.approx(x.item(), rel=1e-5) for name, x in told.items()
        }
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == files


def model_only(model: AudioEncoder) -> object:
    """The pass through the blocks of a HuBERT, refused to any but `model`: no teacher may be asked."""
    passed = HubertEncoder.forward_from_front_end

    def refusing(self: HubertEncoder, *given: object, **more: object) -> Encoding:
        assert self is model
        return passed(self, *given, **more)

    return refusing


def test_other_weights_layers_or_sound_are_kept_apart(tmp_path: Path) -> None:
    clips = batch()
    other = hubert()
    with torch.no_grad():
        other.network.feature_projection.projection.bias += 1
    for teacher, layers, waves in (
        (hubert(), (1,), clips.waveforms),
        (hubert(), (2,), clips.waveforms),
        (other, (1,), clips.waveforms),
        (hubert(), (1,), clips.waveforms * 0.5),
    ):
        told = Teacher(teacher, layers, tmp_path)(waves, clips.lengths)
        expected = teacher(waves, clips.lengths).layers[layers[0]]
        assert torch.allclose(told.layers[layers[0]][told.mask], expected[told.mask], atol=1e-6)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 8


def test_states_are_not_kept_where_they_could_not_be_found_again() -> None:
    with pytest.raises(InputError, match="attention maps are not kept"):
        DistillationConfig(pairs=((1, 1),), attention=1.0, kept_states="states")
    values = {"objective": "vesper", "vesper": {"kept_states": "states"}}
    changing = {"data": {"augmentation": {"gain": 0.5}}}
    with pytest.raises(InputError, match=r"vesper.kept_states = 'states' with data.augmentation"):
        settings.parse(experiments.RunConfig, {**values, **changing})


def test_encoders_without_attention_maps_say_so(tmp_path: Path) -> None:
    for encoder in (
        WhisperEncoder.from_pretrained(save_whisper(tmp_path / "whisper")),
        BandsEncoder(BandsConfig()),
    ):
        with (
            pytest.raises(InputError, match=r"shows no attention maps; set distillation.attention: 0"),
            noted(encoder, [1]),
        ):
            pass
