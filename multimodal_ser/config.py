"""An experiment: what a YAML file says, and the run it describes.

Every part of the configuration is a frozen dataclass. A run folder gets the resolved configuration, the
environment, the history, the checkpoints and the model folder; the same call on it again goes on where it
stopped.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from multimodal_ser import licences, settings
from multimodal_ser.cache import hash_file, write_json, write_text
from multimodal_ser.card import CardConfig, training_facts, write_card
from multimodal_ser.data import Collate, Examples, hash_utterances
from multimodal_ser.environment import environment
from multimodal_ser.errors import InputError
from multimodal_ser.experiment_data import DataConfig, changes, decoded, load_manifest, part
from multimodal_ser.front_end_store import check_cached_front_end, encode_once
from multimodal_ser.inference import CALIBRATION, Predictor, calibrate, chosen_device, model_folder
from multimodal_ser.labels import EMOTIONS, nearest
from multimodal_ser.manifests import Manifest
from multimodal_ser.models.audio_branch import AUDIO_FROZEN, AudioConfig, build_audio
from multimodal_ser.models.encoder_folder import SETTINGS, WEIGHTS, save_encoder
from multimodal_ser.models.hub import CARD
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.models.strength import StrengthNet, save_strength
from multimodal_ser.models.text_branch import TEXT_FROZEN, TextConfig, build_text
from multimodal_ser.objectives.distillation import DistillationConfig
from multimodal_ser.objectives.frame_alignment import AlignmentConfig
from multimodal_ser.objectives.joining import Joining, JoiningConfig
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.strength import StrengthTrainingConfig, strength_training
from multimodal_ser.objectives.supervised import Supervised, SupervisedConfig
from multimodal_ser.objectives.task_distillation import TaskDistillation, TaskDistillationConfig
from multimodal_ser.objectives.vesper import VesperConfig
from multimodal_ser.optimisation import parameter_counts
from multimodal_ser.pretraining import PRETRAINING, ReconstructionConfig
from multimodal_ser.processes import processes
from multimodal_ser.run_folder import UTTERANCES, Progress, RunFolder
from multimodal_ser.training import TrainingConfig, train

PARAMETERS = "parameters.json"
ELSEWHERE = ("manifest", "audio_root", "cache")  # where data lies, which may change when a run goes on


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
    # Of the objective of the same name; all but `supervised` have such a section, and it alone is read.
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    task_distillation: TaskDistillationConfig = field(default_factory=TaskDistillationConfig)
    joining: JoiningConfig = field(default_factory=JoiningConfig)
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    frame_alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    vesper: VesperConfig = field(default_factory=VesperConfig)
    strength: StrengthTrainingConfig = field(default_factory=StrengthTrainingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            hint = nearest(self.objective, list(OBJECTIVES))
            raise InputError(f"objective = '{self.objective}'{hint}; known: {', '.join(OBJECTIVES)}")
        kept = getattr(getattr(self, self.objective, None), "kept_states", None)
        if kept and self.data.augmentation.is_on:
            raise InputError(
                f"{self.objective}.kept_states = '{kept}' with data.augmentation: sound that changes every "
                "time is never found again; leave one of them out"
            )
        check_cached_front_end(self.model.audio, self.objective, self.data.augmentation.is_on)

    @property
    def is_pretraining(self) -> bool:
        """Whether an encoder is trained, or a strength network for one; else a whole model."""
        return self.objective in PRETRAINING or self.objective == "strength"

    @property
    def begins_from(self) -> list[str]:
        """The encoders and models that this one is made from, by name or folder."""
        taught = {
            "distillation": [self.distillation.teacher],
            "vesper": [self.vesper.teacher],
            "task_distillation": [self.task_distillation.teacher],
            "joining": [*self.joining.audio_teachers, self.joining.text_teacher],
        }
        names = [getattr(self.model, name).encoder for name in self.branches]
        return [*names, *taught.get(self.objective, [])]

    @property
    def branches(self) -> tuple[str, ...]:
        """The modalities of what is trained."""
        return ("audio",) if self.is_pretraining else self.model.branches

    @property
    def unread(self) -> set[str]:
        """Sections that do not matter to this objective."""
        sections = {"loss", *OBJECTIVES} - {"supervised", self.objective}
        return sections if self.is_pretraining else sections - {"loss"}


def _supervised(config: RunConfig, training: Manifest) -> Objective:
    return Supervised(build_model(config.model, training), config.loss)


def _task_distillation(config: RunConfig, training: Manifest) -> Objective:
    if not (folder := config.task_distillation.teacher):
        raise InputError("task_distillation.teacher is not set: --set task_distillation.teacher=FOLDER")
    teacher = SerModel.from_pretrained(model_folder(folder))
    keeps = config.task_distillation.kept_states
    return TaskDistillation(build_model(config.model, training), config.loss, teacher, keeps)


def _joining(config: RunConfig, training: Manifest) -> Objective:
    audio, text = config.joining.audio_teachers, config.joining.text_teacher
    if not text:
        raise InputError("joining.text_teacher is not set: --set joining.text_teacher=FOLDER")
    model = build_model(config.model, training)
    hearing = [SerModel.from_pretrained(model_folder(folder)) for folder in audio]
    return Joining(model, config.joining, hearing, SerModel.from_pretrained(model_folder(text)))


def _pretraining(config: RunConfig, training: Manifest) -> Objective:
    section = getattr(config, config.objective)
    return PRETRAINING[config.objective](config.model.audio, section, config.training)


# Name in a configuration: how objective and model are made from it and the training utterances.
OBJECTIVES: dict[str, Callable[[RunConfig, Manifest], Objective]] = {
    "supervised": _supervised,
    "task_distillation": _task_distillation,
    "joining": _joining,
    "strength": lambda config, training: strength_training(config.strength, training, config.training.seed),
    **dict.fromkeys(PRETRAINING, _pretraining),
}


def load_config(path: str | os.PathLike, changes: Sequence[str] = ()) -> RunConfig:
    """Read an experiment file; the paths in it count from the working folder."""
    return settings.parse(RunConfig, settings.read(path, changes))


def run(config: RunConfig, folder: str | os.PathLike, restart: bool = False) -> Progress:
    """Train what `config` describes in `folder`, and leave a model or encoder folder in it.

    A finished run stays.
    """
    folder = Path(folder)
    manifest = load_manifest(config.data)
    parts = _parts(config, manifest)
    team = processes(config.training.device == "cpu")
    with team.main_process_first():
        if restart and team.is_main_process:
            RunFolder(folder).forget()
        before = _earlier(config, folder, parts)
    written_last = SETTINGS if config.is_pretraining else CALIBRATION
    if before is not None and before.finished and (folder / "model" / written_last).is_file():
        if team.is_main_process and not (folder / "model" / CARD).is_file():
            _write_card(config, folder, manifest, parts, before)
        return before

    torch.manual_seed(config.training.seed)
    objective = OBJECTIVES[config.objective](config, parts[0])
    model = objective.model
    if team.is_main_process:
        write_text(folder / "config.resolved.yaml", settings.dump(config))
        facts = environment(config.training.seed, config.data.manifest, team.num_processes)
        write_json(folder / "environment.json", facts)
        write_json(folder / PARAMETERS, parameter_counts(model))
        corpora = {utterance.corpus for part in parts if part for utterance in part.utterances}
        licences.write(folder, licences.of_training(manifest.header, corpora, config.begins_from))
    text = None if config.is_pretraining else model.text
    classes = () if config.is_pretraining else model.config.classes
    with team.local_main_process_first():
        hears = config.is_pretraining or model.audio is not None
        stores = decoded(config.data, manifest, parts) if hears else (None, None)
    train_on = Examples(
        parts[0],
        stores[0],
        classes,
        config.training.seed,
        *changes(config.data, parts[0]),
        choose_transcript=config.data.choose_transcript,
    )
    develop_on = None if parts[1] is None else Examples(parts[1], stores[1], classes)
    collate = Collate(classes, text.tokenize if text else None)
    heard = (train_on, develop_on)
    if hears and (form := config.model.audio.cached_front_end) is not None:
        device = chosen_device("cpu" if config.training.device == "cpu" else "auto")
        with team.local_main_process_first():
            heard = tuple(
                x.with_features(encode_once(model.audio, x.store, form, config.data.cache, device))
                for x in heard
            )
    progress = train(objective, *heard, collate, config.training, folder, _described(config))
    if team.is_main_process:
        _write_card(config, folder, manifest, parts, progress, (train_on, develop_on) if hears else ())
        _leave(objective, develop_on, folder / "model")
        shutil.copyfile(folder / licences.FILE, folder / "model" / licences.FILE)
    return progress


def _leave(objective: Objective, develop_on: Examples | None, folder: Path) -> None:
    """Write what was trained."""
    model = objective.model
    if not isinstance(model, SerModel):
        save = save_strength if isinstance(model, StrengthNet) else save_encoder
        save(model, folder)
        return
    model.save_pretrained(folder)
    calibrate(Predictor(model, name=hash_file(folder / WEIGHTS)), develop_on, folder)


def _write_card(
    config: RunConfig,
    folder: Path,
    manifest: Manifest,
    parts: Sequence[Manifest | None],
    progress: Progress,
    heard: Sequence[Examples | None] = (),
) -> None:
    """The card of what was trained; `heard`: the same parts with their sound, to tell the hours."""
    seconds = [None if x is None else x.sound_seconds for x in heard] or [None, None]
    used = {
        name: (one.utterances, length)
        for name, one, length in zip(("training", "development"), parts, seconds, strict=True)
        if one is not None
    }
    values = settings.plain(config)
    if config.is_pretraining:
        values["model"] = {**values["model"], "fusion": None, "classes": []}
    if config.objective == "strength":  # model.audio is not read
        values["model"]["audio"] = {"encoder": "strength", "frozen": "nothing"}
    counts = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))
    write_card(
        folder / "model", training_facts(values, config.branches, manifest.header, used, counts, progress)
    )


def _parts(config: RunConfig, manifest: Manifest) -> tuple[Manifest, Manifest | None]:
    """The training utterances, and those on which a model is selected."""
    if config.data.development is None and not config.is_pretraining:
        raise InputError(
            "data.development is null: a model is selected on development utterances; only pretraining "
            f"(strength, {', '.join(PRETRAINING)}) goes without"
        )
    development = None if config.data.development is None else manifest.split(config.data.development)
    return part(manifest, config.data.train), development


def build_model(config: ModelConfig, training: Manifest) -> SerModel:
    """The network of an experiment; the vocabulary of a small text encoder comes from the training split."""
    branches = config.branches
    audio = build_audio(config.audio) if "audio" in branches else None
    text = build_text(config.text, training) if "text" in branches else None
    return SerModel(config.above_encoders, audio, text)


def _earlier(config: RunConfig, folder: Path, parts: Sequence[Manifest | None]) -> Progress | None:
    """How far an earlier call came; an error if it did something else."""
    run_folder = RunFolder(folder)
    utterances = hash_utterances(*((part or parts[0]).utterances for part in parts))
    run_folder.refuse_other_settings(
        {"training": config.training.lasting, UTTERANCES: utterances, **_described(config)}
    )
    return run_folder.progress()


def _described(config: RunConfig) -> dict[str, Any]:
    """What has to stay the same for a run to go on, apart from its training settings and utterances."""
    values = {name: x for name, x in settings.plain(config).items() if name not in config.unread}
    data = {name: value for name, value in values["data"].items() if name not in ELSEWHERE}
    return {**{name: values[name] for name in values if name not in ("training", "card")}, "data": data}
