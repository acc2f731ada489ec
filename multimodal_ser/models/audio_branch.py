"""Which audio encoder is meant: an untrained one, one of our folders, a checkpoint, or a name of the hub.

Our folders are encoder folders, model folders, whose audio encoder is then taken, and run folders that hold
either as `model`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_ser.errors import InputError
from multimodal_ser.models import cepstra, encoder_folder
from multimodal_ser.models.bands import BandsConfig
from multimodal_ser.models.encoder_folder import audio_encoder, rebuilt
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.mel import MelConfig
from multimodal_ser.models.mockingjay import MockingjayConfig
from multimodal_ser.models.npc import NpcConfig
from multimodal_ser.models.packaged import starter_folder
from multimodal_ser.models.pretrained import find_pretrained, read_settings
from multimodal_ser.models.ser import FORMAT as MODEL_FORMAT
from multimodal_ser.models.ser import SerModel

# Kinds that an experiment names to start from random weights, or from none.
UNTRAINED = ("mel", "bands", "mockingjay", "npc")
AUDIO_FROZEN = ("nothing", "front_end", "all")
SETTINGS = encoder_folder.SETTINGS


@dataclass(frozen=True)
class AudioConfig:
    """The audio branch."""

    # A hub name or folder; or mel, bands, mockingjay or npc: untrained, of the size given below.
    encoder: str = "ntu-spml/distilhubert"
    kind: str | None = None  # of a checkpoint: hubert or whisper; None = as the name suggests
    keep_layers: int | None = None  # drop the blocks behind these
    frozen: str = "front_end"
    # Keep what the frozen front end says of each clip, and train from that: fp16, bf16 or fp32; None = no.
    cached_front_end: str | None = None
    mel: MelConfig = field(default_factory=MelConfig)
    bands: BandsConfig = field(default_factory=BandsConfig)
    mockingjay: MockingjayConfig = field(default_factory=MockingjayConfig)
    npc: NpcConfig = field(default_factory=NpcConfig)

    @property
    def chosen_kind(self) -> str:
        """The kind of a pretrained encoder."""
        return self.kind or ("whisper" if "whisper" in self.encoder.lower() else "hubert")

    @property
    def is_untrained(self) -> bool:
        """Whether it starts from random weights; such an encoder is never frozen."""
        return self.encoder in UNTRAINED


def build_audio(config: AudioConfig) -> AudioEncoder:
    """The audio encoder, frozen as the configuration says; an untrained one is never frozen."""
    if config.is_untrained:
        return audio_encoder(config.encoder).from_config(getattr(config, config.encoder))
    keeps_front_end = config.frozen != "nothing"
    if our_settings(config.encoder) is not None:
        encoder = rebuilt(load_audio_encoder(config.encoder), config.keep_layers, keeps_front_end)
        return encoder.requires_grad_(False) if config.frozen == "all" else encoder
    if config.keep_layers and config.chosen_kind == "whisper":
        raise InputError(
            f"model.audio.keep_layers = {config.keep_layers}: the Whisper encoder '{config.encoder}' is kept "
            "whole; leave keep_layers out, or name a HuBERT-like encoder"
        )
    options: dict[str, Any] = {"keep_layers": config.keep_layers} if config.keep_layers else {}
    encoder = audio_encoder(config.chosen_kind).from_pretrained(
        config.encoder, frozen_front_end=keeps_front_end, **options
    )
    return encoder.requires_grad_(False) if config.frozen == "all" else encoder


def load_audio_encoder(name_or_folder: str | os.PathLike) -> AudioEncoder:
    """A trained audio encoder, ready to be listened to; `mfcc` is one without weights."""
    if name_or_folder == cepstra.NAME:
        return cepstra.Cepstra().eval()
    folder = model_folder_of(name_or_folder)
    folder = folder if folder.is_dir() else find_pretrained(os.fspath(name_or_folder))
    settings = read_settings(folder)
    if settings.get("format") == encoder_folder.FORMAT:
        return encoder_folder.load_encoder(folder)
    if settings.get("format") == MODEL_FORMAT:
        audio = SerModel.from_pretrained(folder).audio
        if audio is None:
            raise InputError(f"the model in {folder} reads text only: it has no audio encoder")
        return audio.eval()
    kind = "whisper" if settings.get("model_type") == "whisper" else "hubert"
    return audio_encoder(kind).from_pretrained(os.fspath(folder)).eval()


def our_settings(name_or_folder: str | os.PathLike) -> dict[str, Any] | None:
    """Kind and config of the encoder in a folder of ours; None for a checkpoint or a name of the hub."""
    folder = model_folder_of(name_or_folder)
    if not (folder / SETTINGS).is_file():
        return None
    settings = read_settings(folder)
    if settings.get("format") == encoder_folder.FORMAT:
        return {name: settings.get(name) for name in ("kind", "config")}
    if settings.get("format") == MODEL_FORMAT and settings.get("audio") is None:
        raise InputError(f"the model in {folder} reads text only: it has no audio encoder")
    return settings["audio"] if settings.get("format") == MODEL_FORMAT else None


def model_folder_of(folder: str | os.PathLike) -> Path:
    """The model folder of a run folder, and of the starter model; any other folder or name as it is."""
    folder = starter_folder(folder) or Path(folder)
    return folder / "model" if (folder / "model" / SETTINGS).is_file() else folder
