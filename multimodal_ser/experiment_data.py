"""The utterances of an experiment, their decoded audio, and what is changed in them while training."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from multimodal_ser.audio_store import AudioStore, decode
from multimodal_ser.augmentation import Augmentation, AugmentationConfig
from multimodal_ser.corpora.reading import split_by_fold
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest, read
from multimodal_ser.transcript_errors import TranscriptConfig, TranscriptErrors


@dataclass(frozen=True)
class DataConfig:
    """Which utterances; `multimodal-ser manifest` merges and filters manifests."""

    manifest: str = ""
    audio_root: str | None = None  # where the audio lies, if the corpus has moved
    train: str | None = "train"  # None = all utterances, for pretraining
    development: str | None = "development"  # None = none, for pretraining
    fold: int | None = None  # test on this fold, develop on the next, train on the others
    choose_transcript: bool = False  # draw one of several transcripts each time, in training
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    transcripts: TranscriptConfig = field(default_factory=TranscriptConfig)
    cache: str | None = None  # folder for decoded audio; None = the user's cache


def load_manifest(config: DataConfig) -> Manifest:
    """The manifest of an experiment, split as it says."""
    if not config.manifest:
        raise InputError("data.manifest is not set: --set data.manifest=PATH")
    manifest = read(config.manifest, config.audio_root)
    if config.fold is None:
        return manifest
    return replace(manifest, utterances=split_by_fold(manifest.utterances, config.fold))


def part(manifest: Manifest, name: str | None) -> Manifest:
    """The utterances of a split, or all of them."""
    return manifest if name is None else manifest.split(name)


def changes(config: DataConfig, training: Manifest) -> tuple[Augmentation | None, TranscriptErrors | None]:
    """What is done to the sound and to the words of training utterances."""
    change_audio = Augmentation(config.augmentation) if config.augmentation.is_on else None
    if not config.transcripts.corrupted:
        return change_audio, None
    texts = [utterance.text or "" for utterance in training.utterances]
    return change_audio, TranscriptErrors(config.transcripts, texts)


def decoded(
    config: DataConfig, manifest: Manifest, parts: Sequence[Manifest | None]
) -> tuple[AudioStore, AudioStore | None]:
    """The audio of training and development utterances."""
    folder = None if config.cache is None else Path(config.cache)
    if config.fold is None:
        first, second = (None if part is None else decode(part, folder) for part in parts)
        return first, second
    # All folds share one decoding, of everything.
    store = decode(manifest, folder)
    position = {utterance.id: n for n, utterance in enumerate(manifest.utterances)}
    first, second = (
        None if part is None else store.rows([position[u.id] for u in part.utterances]) for part in parts
    )
    return first, second
