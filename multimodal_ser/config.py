"""An experiment: what a YAML file says, and the run it describes.

Every part of the configuration is a frozen dataclass. A run folder gets the resolved configuration, the
environment, the history, the checkpoints and the model folder; the same call on it again goes on where it
stopped.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from multimodal_ser import __version__, settings
from multimodal_ser.cache import hash_file, write_json, write_text
from multimodal_ser.corpora.reading import split_by_fold
from multimodal_ser.data import Collate, Examples, decode
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor, calibrate
from multimodal_ser.labels import EMOTIONS, nearest
from multimodal_ser.manifests import Manifest, read
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.mel import MelConfig
from multimodal_ser.models.ser import SerConfig, SerModel, audio_encoder
from multimodal_ser.models.text import DEFAULT_ENCODER, TextEncoder
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.supervised import Supervised, SupervisedConfig
from multimodal_ser.training import Progress, TrainingConfig, train

AUDIO_FROZEN = ("nothing", "front_end", "all")
TEXT_FROZEN = ("nothing", "embeddings", "all")
_REPORTED = ("torch", "torchaudio", "transformers", "accelerate", "numpy", "openai-whisper")


@dataclass(frozen=True)
class DataConfig:
    """Which utterances; `multimodal-ser manifest` merges and filters manifests."""

    manifest: str = ""
    audio_root: str | None = None  # where the audio lies, if the corpus has moved
    train: str = "train"
    development: str = "development"
    fold: int | None = None  # test on this fold, develop on the next, train on the others
    choose_transcript: bool = False  # draw one of several transcripts each time, in training
    cache: str | None = None  # folder for decoded audio; None = the user's cache


@dataclass(frozen=True)
class AudioConfig:
    """The audio branch."""

    encoder: str = "ntu-spml/distilhubert"  # a hub name or folder, or `mel`: untrained, on log-mel bands
    kind: str | None = None  # hubert or whisper; None = as the name suggests
    keep_layers: int | None = None  # drop the blocks behind these
    frozen: str = "front_end"
    mel: MelConfig = field(default_factory=MelConfig)


@dataclass(frozen=True)
class TextConfig:
    """The text branch."""

    encoder: str = DEFAULT_ENCODER  # a hub name or folder, or `small`: untrained, on the training text
    frozen: str = "embeddings"
    width: int = 128  # of a small encoder, and what follows
    blocks: int = 2
    vocabulary: int = 4_000


@dataclass(frozen=True)
class ModelConfig(SerConfig):
    """The network: its two encoders and what joins them."""

    audio: AudioConfig = field(default_factory=AudioConfig)
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("audio", AUDIO_FROZEN), ("text", TEXT_FROZEN)):
            frozen = getattr(self, name).frozen
            if frozen not in allowed:
                hint = nearest(frozen, list(allowed))
                raise InputError(f"model.{name}.frozen = '{frozen}'{hint}; allowed: {', '.join(allowed)}")
        if unknown := [name for name in self.classes if name not in EMOTIONS]:
            hint = nearest(unknown[0], list(EMOTIONS))
            raise InputError(f"model.classes: '{unknown[0]}'{hint}; known: {', '.join(EMOTIONS)}")

    @property
    def above_encoders(self) -> SerConfig:
        """The part that is saved with the weights."""
        return SerConfig(**{item.name: getattr(self, item.name) for item in fields(SerConfig)})


@dataclass(frozen=True)
class RunConfig:
    """An experiment."""

    objective: str = "supervised"
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: SupervisedConfig = field(default_factory=SupervisedConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            hint = nearest(self.objective, list(OBJECTIVES))
            raise InputError(f"objective = '{self.objective}'{hint}; known: {', '.join(OBJECTIVES)}")


# Name in a configuration: how the objective is made from model and configuration.
OBJECTIVES: dict[str, Callable[[SerModel, RunConfig], Objective]] = {
    "supervised": lambda model, config: Supervised(model, config.loss),
}


def load_config(path: str | os.PathLike, changes: Sequence[str] = ()) -> RunConfig:
    """Read an experiment file; the paths in it count from the working folder."""
    return settings.parse(RunConfig, settings.read(path, changes))


def run(config: RunConfig, folder: str | os.PathLike, restart: bool = False) -> Progress:
    """Train what `config` describes in `folder`, and leave a model folder in it."""
    folder = Path(folder)
    manifest = load_manifest(config.data)
    training, development = (manifest.split(getattr(config.data, name)) for name in ("train", "development"))
    torch.manual_seed(config.training.seed)
    model = build_model(config.model, training)
    if restart and (folder / "checkpoints").exists():
        shutil.rmtree(folder / "checkpoints")
    write_text(folder / "config.resolved.yaml", settings.dump(config))
    write_json(folder / "environment.json", _environment(config))

    decoded = [decode(part, _cache(config)) if model.audio else None for part in (training, development)]
    train_on = Examples(
        training,
        decoded[0],
        model.config.classes,
        config.training.seed,
        choose_transcript=config.data.choose_transcript,
    )
    develop_on = Examples(development, decoded[1], model.config.classes)
    collate = Collate(model.config.classes, model.text.tokenize if model.text else None)
    objective = OBJECTIVES[config.objective](model, config)
    progress = train(objective, train_on, develop_on, collate, config.training, folder)
    if int(os.environ.get("RANK", "0")) == 0:
        model.save_pretrained(folder / "model")
        weights = hash_file(folder / "model" / "model.safetensors")
        calibrate(Predictor(model, name=weights), develop_on, folder / "model")
    return progress


def load_manifest(config: DataConfig) -> Manifest:
    """The manifest of an experiment, split as it says."""
    if not config.manifest:
        raise InputError("data.manifest is not set: --set data.manifest=PATH")
    manifest = read(config.manifest, config.audio_root)
    if config.fold is None:
        return manifest
    return replace(manifest, utterances=split_by_fold(manifest.utterances, config.fold))


def build_model(config: ModelConfig, training: Manifest) -> SerModel:
    """The network of an experiment; the vocabulary of a small text encoder comes from the training split."""
    branches = config.branches
    audio = build_audio(config.audio) if "audio" in branches else None
    text = build_text(config.text, training) if "text" in branches else None
    return SerModel(config.above_encoders, audio, text)


def build_audio(config: AudioConfig) -> AudioEncoder:
    """The audio encoder, frozen as the configuration says; an untrained one is never frozen."""
    if config.encoder == "mel":
        return audio_encoder("mel").from_config(config.mel)
    kind = config.kind or ("whisper" if "whisper" in config.encoder.lower() else "hubert")
    options: dict[str, Any] = {"keep_layers": config.keep_layers} if config.keep_layers else {}
    encoder = audio_encoder(kind).from_pretrained(
        config.encoder, frozen_front_end=config.frozen != "nothing", **options
    )
    return encoder.requires_grad_(False) if config.frozen == "all" else encoder


def build_text(config: TextConfig, training: Manifest) -> TextEncoder:
    """The text encoder, frozen as the configuration says; an untrained one is never frozen."""
    if config.encoder == "small":
        texts = [utterance.text or "" for utterance in training.utterances]
        return TextEncoder.small(texts, config.width, config.blocks, vocabulary=config.vocabulary)
    encoder = TextEncoder.from_pretrained(config.encoder)
    if config.frozen == "embeddings":
        encoder.freeze_embeddings()
    return encoder.requires_grad_(False) if config.frozen == "all" else encoder


def _cache(config: RunConfig) -> Path | None:
    return None if config.data.cache is None else Path(config.data.cache)


def _environment(config: RunConfig) -> dict[str, Any]:
    """What else than the configuration decides about the numbers."""
    return {
        "multimodal_ser": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _REPORTED},
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "devices": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "seed": config.training.seed,
        "manifest": config.data.manifest,
        "manifest_hash": hash_file(config.data.manifest),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of this package's sources, with a + if they were changed; None for an installed package."""
    sources = Path(__file__).parent
    try:
        said = [
            subprocess.run(
                ["git", "-C", os.fspath(sources), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for command in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--", "."),
                ("ls-files", "--", "."),
            )
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    commit, changed, tracked = said
    return (commit + "+" * bool(changed)) if tracked else None
