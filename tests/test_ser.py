"""The network: model folders, readings, batches against single utterances, size beside published ones."""

import json
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import save_ser_model
from torch import Tensor
from transformers import AutoModel, BertTokenizerFast, DistilBertConfig, HubertConfig, WhisperConfig

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoder_folder import audio_encoder
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.mockingjay import MockingjayEncoder
from multimodal_ser.models.npc import NpcEncoder
from multimodal_ser.models.ser import READINGS, SerConfig, SerModel
from multimodal_ser.models.text import TextEncoder
from multimodal_ser.models.vocabulary import vocabulary_of
from multimodal_ser.models.whisper import WhisperEncoder

TEXTS = ["I can't believe it, that is wonderful!", "", "leave me alone", "no no no " * 40, " \t", "..."]
LENGTHS = torch.tensor([9000, 12_000, 0, 3000, 100, 7777])
HUBERT = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    "feat_proj_layer_norm": False,
}  # fmt: skip
WHISPER = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
    "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 50,
    "pad_token_id": 0,
}  # fmt: skip
DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 64}


def mel() -> AudioEncoder:
    return MelEncoder(MelConfig(bands=20, width=16, blocks=1, heads=2, feedforward=24))


def hubert() -> AudioEncoder:
    return HubertEncoder.from_config({"network": HubertConfig(**HUBERT).to_dict(), "normalise_input": True})


def whisper() -> AudioEncoder:
    return WhisperEncoder.from_config({"network": WhisperConfig(**WHISPER).to_dict(), "window_seconds": 1.0})


def small(folder: Path) -> TextEncoder:
    return TextEncoder.small(TEXTS, width=16, blocks=1, heads=2, positions=64)


def distilbert(folder: Path) -> TextEncoder:
    """A checkpoint folder of its own, as one from the hub would be."""
    words = vocabulary_of(TEXTS, 200)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    AutoModel.from_config(DistilBertConfig(vocab_size=len(words), **DISTILBERT)).save_pretrained(folder)
    return TextEncoder.from_pretrained(folder)


# What a fusion can be made of.
BUILDS: dict[
    str, tuple[Callable[[], AudioEncoder] | None, Callable[[Path], TextEncoder] | None, SerConfig]
] = {
    "mel and small": (mel, small, SerConfig(width=16, heads=2)),
    "hubert and distilbert": (hubert, distilbert, SerConfig("concat", width=16, heads=2)),
    "whisper and small": (whisper, small, SerConfig(width=16, classes=("anger", "happiness", "neutral"))),
    "hubert": (hubert, None, SerConfig("audio", width=16, heads=2)),
    "distilbert": (None, distilbert, SerConfig("text", width=16, classes=("anger", "neutral"))),
}


def build(name: str, folder: Path) -> SerModel:
    """A model with no weight at a neutral value."""
    torch.manual_seed(0)
    audio, text, config = BUILDS[name]
    model = SerModel(config, audio and audio(), text and text(folder / "text_encoder"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(params=BUILDS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> SerModel:
    return build(request.param, tmp_path)


@pytest.fixture
def joining(tmp_path: Path) -> SerModel:
    return build("mel and small", tmp_path)


@pytest.fixture
def saved(joining: SerModel, tmp_path: Path) -> Path:
    joining.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def inputs(model: SerModel, rows: slice = slice(None)) -> tuple[Tensor | None, ...]:
    """The arguments of `encode`: noise of LENGTHS, loud behind each end, and TEXTS."""
    lengths = LENGTHS[rows]
    samples = int(lengths.max()) + (500 if len(lengths) > 1 else 0)
    waveforms = 0.1 * torch.randn(len(LENGTHS), 20_000, generator=torch.Generator().manual_seed(1))
    tokens = (None, None) if model.text is None else model.text.tokenize(TEXTS[rows])
    return waveforms[rows, :samples], lengths, *tokens


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({name: value for name, value in settings.items() if value != "(gone)"}))


@torch.inference_mode()
def test_a_model_folder_holds_everything(
    model: SerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    model.save_pretrained(tmp_path / "model")
    shutil.rmtree(tmp_path / "text_encoder", ignore_errors=True)
    (tmp_path / "model").rename(tmp_path / "moved")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    again = SerModel.from_pretrained(tmp_path / "moved")
    assert again.config == model.config
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(again.state_dict()[name].equal(value) for name, value in model.state_dict().items())
    for reading in model.readings:
        ours, theirs = (m.read(m.encode(*inputs(m)), reading) for m in (model, again))
        assert ours.dimensions.equal(theirs.dimensions)
        assert (ours.logits is None) == (not model.config.classes)
        assert ours.logits is None or ours.logits.equal(theirs.logits)
    here = str(tmp_path).encode()
    assert not [file.name for file in (tmp_path / "moved").iterdir() if here in file.read_bytes()]


@torch.inference_mode()
def test_padding_and_batch_mates_do_not_change_an_utterance(model: SerModel) -> None:
    for reading in model.readings:
        batch = model.read(model.encode(*inputs(model)), reading)
        for row in range(len(LENGTHS)):
            alone = model.read(model.encode(*inputs(model, slice(row, row + 1))), reading)
            difference = (alone.dimensions[0] - batch.dimensions[row]).norm() / alone.dimensions[0].norm()
            assert float(difference) < 1e-4
            if batch.logits is not None:
                torch.testing.assert_close(alone.logits[0], batch.logits[row], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["mel and small", "hubert and distilbert", "whisper and small"])
def test_without_a_branch_the_fused_reading_is_the_single_one(name: str, tmp_path: Path) -> None:
    model = build(name, tmp_path)
    encoded = model.encode(*inputs(model))
    said = {reading: model.read(encoded, reading).dimensions for reading in READINGS}
    assert model.readings == READINGS
    assert model(*inputs(model)).dimensions.equal(said["fused"])
    no_text, no_audio = [1, 4], [2]  # rows whose transcript or recording is empty
    both = [0, 3, 5]
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-6)
    close(said["fused"][no_text], said["audio"][no_text])
    close(said["fused"][no_audio], said["text"][no_audio])
    for reading in ("audio", "text"):
        assert (said["fused"][both] - said[reading][both]).abs().amin(1).min() > 1e-6
    # What nobody has transcribed and nobody has heard is all the same, whatever its place in the batch.
    close(said["text"][1], said["text"][4])
    # A transcript that is hidden by a mask is as good as none.
    hidden = {"text": torch.tensor([True, False, False, True, False, False])}
    masked = model.read(encoded, "fused", hidden).dimensions
    close(masked[[0, 3]], said["audio"][[0, 3]])
    assert masked[[1, 2, 4, 5]].equal(said["fused"][[1, 2, 4, 5]])


@torch.inference_mode()
def test_the_audio_reading_does_not_hear_of_the_words_and_the_text_reading_not_of_the_sound(
    joining: SerModel,
) -> None:
    waveforms, lengths, ids, mask = inputs(joining)
    encoded = joining.encode(waveforms, lengths, ids, mask)
    other_words = joining.encode(waveforms, lengths, ids.flip(0), mask.flip(0))
    other_sound = joining.encode(waveforms.flip(1) + 0.1, lengths, ids, mask)
    for changed, reading in ((other_words, "audio"), (other_sound, "text")):
        assert joining.read(changed, reading).dimensions.equal(joining.read(encoded, reading).dimensions)
        assert not joining.read(changed).dimensions.equal(joining.read(encoded).dimensions)


@torch.inference_mode()
def test_a_model_without_text_needs_no_tokens_and_one_without_audio_no_waveforms(tmp_path: Path) -> None:
    audio, text = build("hubert", tmp_path), build("distilbert", tmp_path)
    waveforms, lengths, ids, mask = inputs(text)
    assert audio.readings == ("audio",)
    assert text.readings == ("text",)
    assert audio(waveforms, lengths, None, None).dimensions.shape == (len(LENGTHS), 3)
    assert text(None, lengths, ids, mask).dimensions.equal(text(None, None, ids, mask).dimensions)
    with pytest.raises(InputError, match="this model gives the readings audio, not 'fused'"):
        audio.read(audio.encode(waveforms, lengths, None, None), "fused")


def test_training_gives_every_trainable_parameter_a_finite_gradient(model: SerModel) -> None:
    model.train()
    encoded = model.encode(*inputs(model))
    loss = torch.zeros(())
    for reading in model.readings:
        said = model.read(encoded, reading)
        loss = loss + said.dimensions.square().sum()
        loss = loss if said.logits is None else loss + said.logits.square().sum()
    loss.backward()
    trainable = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    # Only SpecAugment, which is off, uses the vector that stands for masked frames.
    trainable = {name: g for name, g in trainable.items() if "masked_spec_embed" not in name}
    assert [name for name, gradient in trainable.items() if gradient is None] == []
    assert all(bool(gradient.isfinite().all()) for gradient in trainable.values())


@torch.inference_mode()
def test_an_untrained_head_says_neutral_on_average(tmp_path: Path) -> None:
    torch.manual_seed(0)
    said = [SerModel(SerConfig(width=16, heads=2), mel(), small(tmp_path)).eval() for _ in range(10)]
    values = torch.cat([model(*inputs(model)).dimensions for model in said])
    assert abs(float(values.mean()) - 0.5) < 0.15


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_folder_in_half_precision_is_loaded_in_single(
    tmp_path: Path, joining: SerModel, dtype: torch.dtype
) -> None:
    joining.to(dtype).save_pretrained(tmp_path / "half")
    assert {w.dtype for w in load_file(tmp_path / "half" / "model.safetensors").values()} == {dtype}
    again = SerModel.from_pretrained(tmp_path / "half")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert all(again.state_dict()[name].equal(v.float()) for name, v in joining.state_dict().items())


def test_reading_a_model_draws_no_random_weights(saved: Path) -> None:
    before = torch.get_rng_state()
    model = SerModel.from_pretrained(saved)
    assert torch.get_rng_state().equal(before)
    written = load_file(saved / "model.safetensors")
    assert all(tensor.equal(written[name]) for name, tensor in model.state_dict().items())


def test_saving_over_an_older_model_leaves_the_newer_one(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = build("hubert and distilbert", tmp_path / "other")
    other.save_pretrained(saved)
    again = SerModel.from_pretrained(saved)
    assert isinstance(again.audio, HubertEncoder)
    assert again.text.tokenize(TEXTS).ids.equal(other.text.tokenize(TEXTS).ids)
    assert all(again.state_dict()[name].equal(value) for name, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "format 'other'; this version of multimodal_ser reads 'multimodal_ser.model'"),
        ({"schema_version": 2}, "schema_version 2; this version of multimodal_ser reads 1"),
        (
            {"dimensions": ["valence", "arousal", "dominance"]},
            r"dimensions \['valence', .*; expected \['arou",
        ),
        ({"scale": "1-7"}, "scale 1-7; expected 0-1"),
        ({"widht": 3}, r"unknown key 'widht' \(did you mean 'width'\?\); known: dimensions, scale, fusion"),
        ({"heads": "(gone)"}, "heads missing; the file is incomplete"),
        ({"audio": "(gone)", "text": "(gone)"}, "audio, text missing"),
        (
            {"fusion": "cross_atention"},
            r"unknown fusion 'cross_atention' \(did you mean 'cross_attention'\?\)",
        ),
        ({"audio": None}, "'cross_attention' joins audio and text, but encoders were given for text"),
        ({"audio": {"kind": "mel"}}, "audio: config missing"),
        ({"audio": "mel"}, "audio: expected an object with kind, config, not 'mel'"),
        ({"audio": {"kind": "mal", "config": {}}}, r"unknown audio encoder 'mal' \(did you mean 'mel'\?\)"),
        ({"audio": {"kind": "mel", "config": {"bandz": 1}}}, "unknown setting 'bandz'"),
        ({"audio": {"kind": "hubert", "config": {"nets": 1}}}, r"audio\.config: .*'nets'"),
        ({"text": {"config": {}, "name": "x"}}, "text: unknown key 'name'"),
        ({"text": {"config": {"model_type": "no"}}}, "model_type is 'no'"),
        ({"width": 32}, "the weights in .* do not fit SerModel: .* of another shape"),
        ({"blocks": 2}, r"the weights in .* do not fit SerModel: \d+ missing: fusion\.blocks\.1"),
        ({"fusion": "concat"}, r"do not fit SerModel: \d+ unexpected: fusion\.blocks\.0"),
        ({"classes": ["anger"]}, r"do not fit SerModel: \d+ missing: class_head"),
    ],
)
def test_a_changed_config_is_an_error_and_never_a_random_weight(
    saved: Path, changes: dict, message: str
) -> None:
    edit(saved, **changes)
    with pytest.raises(InputError, match=message):
        SerModel.from_pretrained(saved)


def test_an_incomplete_or_damaged_folder_is_an_error(saved: Path, tmp_path: Path) -> None:
    weights = saved / "model.safetensors"
    kept = load_file(weights)
    for wrong, message in (
        ({name: w for name, w in kept.items() if name != "head.1.weight"}, r"1 missing: head\.1\.weight"),
        (kept | {"extra": torch.zeros(1)}, "1 unexpected: extra"),
    ):
        save_file(wrong, weights)
        with pytest.raises(InputError, match=message):
            SerModel.from_pretrained(saved)
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(InputError, match=r"cannot be read as safetensors .* probably incomplete"):
        SerModel.from_pretrained(saved)
    weights.unlink()
    with pytest.raises(InputError, match=r"has a config\.json but no model\.safetensors"):
        SerModel.from_pretrained(saved)
    (saved / "config.json").write_text('{"format": ')
    with pytest.raises(InputError, match="is not JSON"):
        SerModel.from_pretrained(saved)
    with pytest.raises(InputError, match=r"no model in .*nowhere: it holds no config\.json"):
        SerModel.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "both"}, "unknown fusion 'both'; known: cross_attention, .*, frame_attention, text"),
        ({"width": 10, "heads": 4}, "fusion width 10 is no multiple of its 4 heads"),
        ({"heads": 0}, "fusion heads = 0; it must be 1 or more"),
        ({"blocks": -1}, "fusion blocks = -1; it must be 0 or more"),
        ({"dropout": 1.0}, r"fusion dropout = 1\.0; it must be from 0 to below 1"),
        ({"classes": "anger"}, "classes = 'anger': a list of names is wanted"),
        ({"classes": ("anger", "fear", "anger")}, "classes: a name stands twice in anger, fear, anger"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SerConfig(**settings)


def test_encoders_must_be_those_that_the_fusion_joins() -> None:
    with pytest.raises(InputError, match="'audio' joins audio, but encoders were given for nothing"):
        SerModel(SerConfig("audio"))
    with pytest.raises(InputError, match="'text' joins text, but encoders were given for audio"):
        SerModel(SerConfig("text"), mel())


def test_every_kind_of_audio_encoder_is_found_by_its_name() -> None:
    kinds = {
        "mel": MelEncoder,
        "mockingjay": MockingjayEncoder,
        "npc": NpcEncoder,
        "hubert": HubertEncoder,
        "whisper": WhisperEncoder,
    }
    assert {kind: audio_encoder(kind) for kind in kinds} == kinds


def test_distilhubert_and_the_blocks_of_distilbert_have_a_fifth_of_the_parameters_of_hubert_large() -> None:
    tokenizer = small(Path()).tokenizer
    with torch.device("meta"):
        audio = HubertEncoder.from_config(PUBLISHED["ntu-spml/distilhubert"])
        text = TextEncoder(AutoModel.from_config(DistilBertConfig()), tokenizer)
        text.freeze_embeddings()
        model = SerModel(SerConfig(), audio, text)
        large = HubertEncoder.from_config(PUBLISHED["facebook/hubert-large-ll60k"])

    def millions(module: torch.nn.Module) -> float:
        return sum(p.numel() for p in module.parameters() if p.requires_grad) / 1e6

    encoders = millions(model.audio) + millions(model.text)
    denominator = millions(large)
    assert round(millions(model.audio), 2) == 19.29
    assert round(millions(model.text), 2) == 42.53
    assert round(denominator, 2) == 311.23
    assert round(100 * encoders / denominator, 1) == 19.9
    above = millions(model) - encoders
    assert 0.5 < above < 2.5  # default fusion, projections and head
    assert millions(model) / denominator < 0.21


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="what is mapped is told by Linux alone")
def test_weights_are_mapped_from_their_file_so_that_processes_share_them(tmp_path):
    model = SerModel.from_pretrained(save_ser_model(tmp_path))
    state = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    ranges = [
        line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line
    ]
    spans = [tuple(int(edge, 16) for edge in span.split("-")) for span in ranges]
    for name, parameter in model.named_parameters():
        assert any(first <= parameter.data_ptr() < last for first, last in spans), name
    before = (tmp_path / "model.safetensors").read_bytes()
    with torch.no_grad():
        next(model.parameters()).add_(1.0)  # training a loaded model changes memory, not the file
    assert (tmp_path / "model.safetensors").read_bytes() == before
