"""Which text encoder is meant: an untrained one, that of a model folder, a checkpoint, or a hub's name."""

import os
from dataclasses import dataclass
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest
from multimodal_ser.models.audio_branch import MODEL_FORMAT, SETTINGS, model_folder_of
from multimodal_ser.models.pretrained import read_settings
from multimodal_ser.models.ser import SerModel
from multimodal_ser.models.text import DEFAULT_ENCODER, TextEncoder

TEXT_FROZEN = ("nothing", "embeddings", "all")


@dataclass(frozen=True)
class TextConfig:
    """The text branch."""

    # A hub name or folder, a run or model folder, or `small`: untrained, on the training text.
    encoder: str = DEFAULT_ENCODER
    frozen: str = "embeddings"
    width: int = 128  # of a small encoder, and what follows
    blocks: int = 2
    vocabulary: int = 4_000


def build_text(config: TextConfig, training: Manifest) -> TextEncoder:
    """The text encoder, frozen as the configuration says; an untrained one is never frozen."""
    if config.encoder == "small":
        texts = [utterance.text or "" for utterance in training.utterances]
        return TextEncoder.small(texts, config.width, config.blocks, vocabulary=config.vocabulary)
    encoder = load_text_encoder(config.encoder)
    if config.frozen == "embeddings":
        encoder.freeze_embeddings()
    return encoder.requires_grad_(False) if config.frozen == "all" else encoder


def load_text_encoder(name_or_folder: str | os.PathLike) -> TextEncoder:
    """The text encoder of a checkpoint, or of a model of ours."""
    if our_text_settings(name_or_folder) is None:
        return TextEncoder.from_pretrained(name_or_folder)
    return SerModel.from_pretrained(model_folder_of(name_or_folder)).text


def our_text_settings(name_or_folder: str | os.PathLike) -> dict[str, Any] | None:
    """The size of the text encoder in a model of ours; None for a checkpoint or a name of the hub."""
    folder = model_folder_of(name_or_folder)
    settings = read_settings(folder) if (folder / SETTINGS).is_file() else {}
    if settings.get("format") != MODEL_FORMAT:
        return None
    if settings.get("text") is None:
        raise InputError(f"the model in {folder} hears only: it has no text encoder")
    return settings["text"]["config"]
