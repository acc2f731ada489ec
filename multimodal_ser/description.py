"""How large an experiment's model is, part by part, and what share of HuBERT that makes.

Nothing is loaded: the network is built without memory for its weights, from published sizes, from a local
folder's config.json, or from that of the hub. "About 20 % of a large model's parameters" depends on what is
counted, so every share names both sides: of ours, what is trainable or everything, with or without text
embeddings and speech recognition; of HuBERT, with or without its convolutions, which usually stay frozen.
With DistilHuBERT and DistilBERT, front end and embeddings frozen, the two encoders train 61.8 M parameters,
19.9 % of HuBERT Large without convolutions: the reading that fits de Oliveira et al. (Interspeech 2023) best.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from multimodal_ser.config import ModelConfig, RunConfig, load_manifest, part
from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.models import published
from multimodal_ser.models.audio_branch import AudioConfig, our_settings
from multimodal_ser.models.encoder_folder import audio_encoder, built
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.pretrained import settings_of
from multimodal_ser.models.ser import SerModel
from multimodal_ser.models.text import TextEncoder
from multimodal_ser.models.text_branch import TextConfig, our_text_settings
from multimodal_ser.models.text_checkpoints import untrained_network
from multimodal_ser.models.vocabulary import vocabulary_of
from multimodal_ser.models.word_pieces import WordPieces

SCHEMA_VERSION = 1
REFERENCES = {"HuBERT Large": "facebook/hubert-large-ll60k", "HuBERT Base": "facebook/hubert-base-ls960"}
WITHOUT = " without its convolutional front end"
PARTS = ("audio front end", "audio blocks", "text embeddings", "text blocks", "fusion", "heads")
_WHISPER_HUB = "openai/whisper-"


@dataclass(frozen=True)
class Part:
    """Parameters of one part of a network."""

    name: str
    total: int
    trainable: int


@dataclass(frozen=True)
class Share:
    """A count of ours, and what share it is of each count of HuBERT's."""

    counted: str
    parameters: int
    of: dict[str, float]


@dataclass(frozen=True)
class Description:
    """What `describe` found."""

    model: str
    parts: tuple[Part, ...]  # those that the model has, in the order of PARTS
    references: dict[str, int]  # parameters of HuBERT, by what is counted
    shares: tuple[Share, ...]
    assumptions: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION


def describe(config: RunConfig, asr: str | None = None) -> Description:
    """Count the parameters of an experiment's model; `asr` names a Whisper model to be counted with it."""
    model, front, assumptions = skeleton(config)
    parts = _parts(model, front)
    references = reference_counts()
    counts = _counts(parts, asr)
    shares = tuple(
        Share(counted, number, {name: number / whole for name, whole in references.items()})
        for counted, number in counts.items()
    )
    return Description(_named(config.model), parts, references, shares, tuple(assumptions))


def skeleton(config: RunConfig) -> tuple[SerModel, set[nn.Parameter], list[str]]:
    """The network without weights, frozen as configured; its front end and embeddings; what was assumed."""
    front: set[nn.Parameter] = set()
    assumptions: list[str] = []
    audio = text = None
    with torch.device("meta"):
        if "audio" in config.model.branches:
            audio = _audio(config.model.audio)
            is_trained = not config.model.audio.is_untrained
            front |= _freeze(audio, audio.freeze_front_end, config.model.audio.frozen if is_trained else "")
        if "text" in config.model.branches:
            text = _text(config, assumptions)
            is_trained = config.model.text.encoder != "small"
            front |= _freeze(text, text.freeze_embeddings, config.model.text.frozen if is_trained else "")
        return SerModel(config.model.above_encoders, audio, text), front, assumptions


def reference_counts() -> dict[str, int]:
    """Parameters of HuBERT Large and Base, with and without their convolutions."""
    counts = {}
    for name, checkpoint in REFERENCES.items():
        with torch.device("meta"):
            encoder = _audio(AudioConfig(encoder=checkpoint))
        front = _freeze(encoder, encoder.freeze_front_end, "front_end")
        counts[name] = _size(encoder.parameters())
        counts[name + WITHOUT] = counts[name] - _size(front)
    return counts


def asr_size(name: str) -> int:
    """Parameters of a Whisper model, such as base or large-v3."""
    from transformers import WhisperConfig, WhisperModel

    short = name.removeprefix(_WHISPER_HUB).removeprefix("whisper-")
    if short not in published.WHISPER:
        hint = nearest(short, list(published.WHISPER))
        raise InputError(f"unknown Whisper model '{name}'{hint}; known: {', '.join(published.WHISPER)}")
    with torch.device("meta"):
        return _size(WhisperModel(WhisperConfig(**published.WHISPER[short])).parameters())


def table(description: Description) -> str:
    """What `describe` prints."""
    rows = [("part", "parameters", "trainable")]
    rows += [(part.name, f"{part.total:,}", f"{part.trainable:,}") for part in description.parts]
    total, trainable = (sum(getattr(p, name) for p in description.parts) for name in ("total", "trainable"))
    rows.append(("together", f"{total:,}", f"{trainable:,}"))
    names = [name.removeprefix("HuBERT ").replace(WITHOUT, " *") for name in description.references]
    shares = [("share of HuBERT", "", *names)]
    shares.append(("", "", *(f"{number / 1e6:.2f} M" for number in description.references.values())))
    for share in description.shares:
        percentages = (f"{share.of[name]:.1%}" for name in description.references)
        shares.append((share.counted, f"{share.parameters / 1e6:.2f} M", *percentages))
    lines = [description.model, "", *_aligned(rows), "", *_aligned(shares), "", f"*{WITHOUT}"]
    return "\n".join(lines + [f"assumed: {text}" for text in description.assumptions])


def _audio(config: AudioConfig) -> AudioEncoder:
    if config.is_untrained:
        with torch.device("cpu"):  # mel filters are computed, which needs values
            return audio_encoder(config.encoder).from_config(getattr(config, config.encoder))
    if (ours := our_settings(config.encoder)) is not None:
        with torch.device("cpu"):
            return built(ours, config.encoder)
    if config.chosen_kind == "whisper":
        short = config.encoder.removeprefix(_WHISPER_HUB)
        settings = published.WHISPER.get(short) or settings_of(config.encoder)
        return audio_encoder("whisper").from_config({"network": settings, "frozen_front_end": False})
    from multimodal_ser.models.hubert import PUBLISHED

    known = PUBLISHED.get(config.encoder)
    settings = dict(known.network if known else settings_of(config.encoder))
    if config.keep_layers:
        settings["num_hidden_layers"] = config.keep_layers
    return audio_encoder("hubert").from_config(
        {"network": settings, "normalise_input": False, "frozen_front_end": False}
    )


def _text(config: RunConfig, assumptions: list[str]) -> TextEncoder:
    text: TextConfig = config.model.text
    if text.encoder != "small":
        known = published.TEXT.get(text.encoder) or our_text_settings(text.encoder)
        settings = known or settings_of(text.encoder)
        no_words = WordPieces(vocabulary_of([], 0))  # a tokenizer takes no part in counting
        return TextEncoder(untrained_network(settings, text.encoder), no_words)
    if config.data.manifest and Path(config.data.manifest).is_file():
        training = part(load_manifest(config.data), config.data.train)
        texts = [utterance.text or "" for utterance in training.utterances]
        return TextEncoder.small(texts, text.width, text.blocks, vocabulary=text.vocabulary)
    assumptions.append(
        f"a vocabulary of {text.vocabulary:,} entries, since without data.manifest nobody knows the words"
    )
    words = " ".join(f"word{number}" for number in range(text.vocabulary))
    return TextEncoder.small([words], text.width, text.blocks, vocabulary=text.vocabulary)


def _freeze(encoder: nn.Module, freeze: Callable[[], None], frozen: str) -> set[nn.Parameter]:
    """Freeze as configured, and return the parameters that `freeze` takes out of training."""
    before = {parameter: parameter.requires_grad for parameter in encoder.parameters()}
    freeze()
    front = {parameter for parameter, was in before.items() if was and not parameter.requires_grad}
    if frozen in ("", "nothing"):
        for parameter in front:
            parameter.requires_grad_(True)
    elif frozen == "all":
        encoder.requires_grad_(False)
    return front


def _parts(model: SerModel, front: set[nn.Parameter]) -> tuple[Part, ...]:
    found: dict[str, list[nn.Parameter]] = {name: [] for name in PARTS}
    for name, parameter in model.named_parameters():
        branch = name.partition(".")[0]
        if branch == "audio":
            part = "audio front end" if parameter in front else "audio blocks"
        elif branch == "text":
            part = "text embeddings" if parameter in front else "text blocks"
        else:
            part = "heads" if branch in ("head", "class_head") else "fusion"
        found[part].append(parameter)
    return tuple(
        Part(name, _size(own), _size(p for p in own if p.requires_grad)) for name, own in found.items() if own
    )


def _counts(parts: Iterable[Part], asr: str | None) -> dict[str, int]:
    """What of ours is set against HuBERT."""
    encoders = [part for part in parts if part.name.startswith(("audio", "text"))]
    everything = sum(part.total for part in parts)
    front = sum(part.total for part in parts if part.name in ("audio front end", "text embeddings"))
    counts = {
        "trainable in the encoders": sum(part.trainable for part in encoders),
        "trainable, with fusion and heads": sum(part.trainable for part in parts),
        "all without front end and embeddings": everything - front,
        "all": everything,
    }
    if asr is not None:
        counts[f"all, with Whisper {asr.removeprefix(_WHISPER_HUB)} to transcribe"] = everything + asr_size(
            asr
        )
    return counts


def _named(config: ModelConfig) -> str:
    encoders = {"audio": config.audio.encoder, "text": config.text.encoder}
    return f"{config.fusion}: {' and '.join(encoders[name] for name in config.branches)}"


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns two spaces apart, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
