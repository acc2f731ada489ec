"""Parameter counts against published ones and against shapes counted by hand."""

import json
from pathlib import Path

import pytest
import torch
from tiny_checkpoints import save_ser_model
from transformers import BertConfig, BertModel, HubertConfig, HubertModel

from multimodal_ser import settings
from multimodal_ser.cli import main
from multimodal_ser.config import RunConfig
from multimodal_ser.description import Description, asr_size, describe, reference_counts, table
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, Utterance, write
from multimodal_ser.models.ser import SerModel

PAPER = {
    "fusion": "cross_attention",
    "width": 256,
    "audio": {"encoder": "ntu-spml/distilhubert", "frozen": "front_end"},
    "text": {"encoder": "distilbert-base-uncased", "frozen": "embeddings"},
}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def described(model: dict, asr: str | None = None, **others) -> Description:
    return describe(settings.parse(RunConfig, {"model": model, **others}), asr)


def by_part(description: Description) -> dict[str, tuple[int, int]]:
    return {part.name: (part.total, part.trainable) for part in description.parts}


def by_count(description: Description) -> dict:
    return {share.counted: share for share in description.shares}


def test_references_have_the_published_sizes() -> None:
    """94.37 and 315.44 M by their layers' shapes; without the convolutions 90.17 and 311.23 M."""
    millions = {name: round(count / 1e6, 2) for name, count in reference_counts().items()}
    assert millions == {
        "HuBERT Large": 315.44,
        "HuBERT Large without its convolutional front end": 311.23,
        "HuBERT Base": 94.37,
        "HuBERT Base without its convolutional front end": 90.17,
    }


def test_the_papers_system_trains_19_9_percent_of_hubert_large_in_its_encoders() -> None:
    description = described(PAPER)
    parts = by_part(description)
    encoders = by_count(description)["trainable in the encoders"]
    assert round(encoders.parameters / 1e6, 1) == 61.8
    assert round(100 * encoders.of["HuBERT Large without its convolutional front end"], 1) == 19.9
    assert parts["audio front end"][1] == parts["text embeddings"][1] == 0
    assert round(parts["audio blocks"][1] / 1e6, 2) == 19.29
    assert round(sum(parts["audio front end"] + parts["audio blocks"][:1]) / 1e6, 2) == 23.49
    assert round(parts["text embeddings"][0] / 1e6, 2) == 23.84
    assert round(parts["text blocks"][1] / 1e6, 2) == 42.53
    added = by_count(description)["trainable, with fusion and heads"].parameters - encoders.parameters
    assert added == parts["fusion"][1] + parts["heads"][1] > 0


@pytest.mark.parametrize(
    ("frozen", "reference", "percent"),
    [
        # DistilHuBERT without front end, text frozen, against all of HuBERT Base without its own: 21.4 %.
        ({"text": {"frozen": "all"}}, "HuBERT Base", 21.4),
        # DistilHuBERT and all of DistilBERT against HuBERT Large: 27.5 %.
        ({"text": {"frozen": "nothing"}}, "HuBERT Large", 27.5),
    ],
)
def test_other_readings_of_20_percent_are_there_too(frozen: dict, reference: str, percent: float) -> None:
    model = settings.merged(PAPER, frozen)
    encoders = by_count(described(model))["trainable in the encoders"]
    share = encoders.of[f"{reference} without its convolutional front end"]
    assert round(100 * share, 1) == percent


def test_minilm_is_counted_without_the_pooler_that_nobody_uses() -> None:
    parts = by_part(
        described(settings.merged(PAPER, {"text": {"encoder": "sentence-transformers/all-MiniLM-L6-v2"}}))
    )
    width, inner, vocabulary, positions = 384, 1536, 30_522, 512
    assert parts["text embeddings"][0] == (vocabulary + positions + 2) * width + 2 * width
    block = 4 * (width + 1) * width + (width + 1) * inner + (inner + 1) * width + 4 * width
    assert parts["text blocks"][0] == 6 * block


@pytest.mark.parametrize(
    ("name", "millions"),
    [("tiny", 37.76), ("base", 72.59), ("small", 241.73), ("medium", 763.86), ("large-v2", 1543.30),
     ("large-v3", 1543.49), ("large-v3-turbo", 808.88)],
)  # fmt: skip
def test_whisper_has_the_sizes_of_its_checkpoints(name: str, millions: float) -> None:
    assert round(asr_size(name) / 1e6, 2) == millions
    if name == "tiny":
        assert asr_size(f"openai/whisper-{name}") == asr_size(name)


def test_speech_recognition_is_counted_when_it_is_named() -> None:
    counts = by_count(described(PAPER, "base"))
    with_asr = counts["all, with Whisper base to transcribe"]
    assert with_asr.parameters == counts["all"].parameters + asr_size("base")
    assert "all, with" not in " ".join(by_count(described(PAPER)))


def test_an_unknown_whisper_model_is_explained() -> None:
    with pytest.raises(
        InputError, match=r"unknown Whisper model 'mediun' \(did you mean 'medium'\?\); known: tiny"
    ):
        described(PAPER, "mediun")


@pytest.mark.parametrize(("frozen", "trains"), [("nothing", 1), ("front_end", 0), ("all", 0)])
def test_what_is_frozen_is_not_trainable(frozen: str, trains: int) -> None:
    model = {"fusion": "audio", "audio": {"encoder": "ntu-spml/distilhubert", "frozen": frozen}}
    parts = by_part(described(model))
    total, trainable = parts["audio front end"]
    assert trainable == trains * total
    total, trainable = parts["audio blocks"]
    # All but the vector that stands for masked frames, 768 wide: without SpecAugment nothing uses it.
    assert trainable == (0 if frozen == "all" else total - 768)
    assert "text blocks" not in parts


def test_keeping_half_of_the_blocks_drops_the_others() -> None:
    def blocks(keep: int) -> int:
        audio = {"encoder": "facebook/hubert-large-ll60k", "keep_layers": keep}
        return by_part(described({"fusion": "audio", "audio": audio}))["audio blocks"][0]

    width, inner = 1024, 4096
    block = 4 * (width + 1) * width + (width + 1) * inner + (inner + 1) * width + 4 * width
    assert blocks(24) - blocks(12) == 12 * block


def test_folders_are_counted_by_their_settings_alone(tmp_path: Path) -> None:
    hubert = HubertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                          conv_dim=(16, 16), conv_kernel=(10, 3), conv_stride=(5, 2),
                          num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)  # fmt: skip
    bert = BertConfig(vocab_size=99, hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
                      intermediate_size=36, max_position_embeddings=40)  # fmt: skip
    hubert.save_pretrained(tmp_path / "hubert")
    bert.save_pretrained(tmp_path / "bert")
    model = {
        "audio": {"encoder": str(tmp_path / "hubert"), "frozen": "nothing"},
        "text": {"encoder": str(tmp_path / "bert")},
    }
    parts = by_part(described(model))
    wanted = {
        "audio": sum(p.numel() for p in HubertModel(hubert).parameters()),
        "text": sum(p.numel() for p in BertModel(bert, add_pooling_layer=False).parameters()),
    }
    assert parts["audio front end"][0] + parts["audio blocks"][0] == wanted["audio"]
    assert parts["text embeddings"][0] + parts["text blocks"][0] == wanted["text"]


def test_the_encoders_of_a_model_of_ours_are_counted_as_they_are(tmp_path: Path) -> None:
    model = SerModel.from_pretrained(save_ser_model(tmp_path / "run" / "model"))
    branches = {name: {"encoder": str(tmp_path / "run"), "frozen": "all"} for name in ("audio", "text")}
    parts = by_part(described(branches))
    for name in ("audio", "text"):
        counted = sum(count for part, (count, _) in parts.items() if part.startswith(name))
        assert counted == sum(p.numel() for p in getattr(model, name).parameters())
        assert sum(trained for part, (_, trained) in parts.items() if part.startswith(name)) == 0


def test_a_small_vocabulary_is_counted_from_the_training_texts_or_the_assumption_is_said(
    tmp_path: Path,
) -> None:
    model = {"fusion": "text", "width": 16, "text": {"encoder": "small", "width": 8, "vocabulary": 500}}
    assumed = described(model)
    assert "a vocabulary of 500 entries" in assumed.assumptions[0]
    positions = 128
    assert by_part(assumed)["text embeddings"] == (8 * (500 + positions + 2 + 2),) * 2
    path = tmp_path / "manifest.jsonl"
    write(path, Header(corpus="c"), [Utterance(id="1", corpus="c", split="train", text="three new words")])
    counted = described(model, data={"manifest": str(path)})
    assert counted.assumptions == ()
    # Five markers, the alphabet and the apostrophe alone and as word parts, three words.
    assert by_part(counted)["text embeddings"][0] == 8 * (5 + 2 * 27 + 3 + positions + 2 + 2)


def test_mel_encoders_are_never_frozen() -> None:
    parts = by_part(described({"fusion": "audio", "audio": {"encoder": "mel", "frozen": "all"}}))
    assert all(total == trainable > 0 for total, trainable in parts.values())


def test_unknown_encoders_are_explained_offline() -> None:
    with pytest.raises(
        InputError, match=r"'somebody/unknown' is no folder here, and the model hub does not give it"
    ):
        described({"fusion": "audio", "audio": {"encoder": "somebody/unknown"}})


def test_nothing_takes_memory_for_large_weights() -> None:
    from multimodal_ser.description import skeleton

    model = {"fusion": "audio", "audio": {"encoder": "facebook/hubert-large-ll60k"}}
    network, _, _ = skeleton(settings.parse(RunConfig, {"model": model}))
    real = [p for p in network.audio.parameters() if p.device != torch.device("meta")]
    assert sum(p.numel() for p in real) <= 1024  # the mask vector, which transformers makes by its own way


def test_the_table_has_the_numbers_of_the_description_in_its_columns() -> None:
    description = described(PAPER)
    lines = table(description).splitlines()
    row = next(line for line in lines if line.startswith("trainable in the encoders"))
    assert row.split()[4:] == ["61.82", "M", "19.6%", "19.9%", "65.5%", "68.6%"]
    header = next(line for line in lines if line.startswith("share of HuBERT"))
    assert header.split()[3:] == ["Large", "Large", "*", "Base", "Base", "*"]
    assert lines[-1] == "* without its convolutional front end"
    together = next(line for line in lines if line.startswith("together")).split()
    assert int(together[1].replace(",", "")) == sum(part.total for part in description.parts)


def test_the_verb_prints_json_that_holds_the_same(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "experiment.yaml").write_text(json.dumps({"model": PAPER}))
    assert main(["describe", str(tmp_path / "experiment.yaml"), "--json", "--asr", "tiny"]) == 0
    said = json.loads(capsys.readouterr().out)
    description = described(PAPER, "tiny")
    assert said["schema_version"] == 1
    assert said["references"] == description.references
    assert [tuple(part.values()) for part in said["parts"]] == [
        (part.name, part.total, part.trainable) for part in description.parts
    ]
    assert said["shares"][0]["counted"] == "trainable in the encoders"
    assert main(["describe", str(tmp_path / "experiment.yaml"), "--set", "model.audio.frozen=all"]) == 0
    assert "audio blocks     19,291,520           0" in capsys.readouterr().out
