"""Objectives that train an encoder without labels of emotion, made from their sections of an experiment.

A new way of pretraining is a module in `objectives/`, a section here and a line in PRETRAINING. The encoder
is what `model.audio` names, unless the objective makes it from a teacher.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS, nearest
from multimodal_ser.models.audio_branch import AudioConfig, build_audio, load_audio_encoder, model_folder_of
from multimodal_ser.models.encoder_folder import rebuilt_with_mask_vector
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.mockingjay import MockingjayEncoder
from multimodal_ser.models.npc import NpcEncoder
from multimodal_ser.models.strength import load_strength
from multimodal_ser.models.students import StudentConfig, make_student
from multimodal_ser.objectives.distillation import Distillation, DistillationConfig
from multimodal_ser.objectives.emotional_spans import SpanConfig
from multimodal_ser.objectives.frame_alignment import AlignmentConfig, FrameAlignment
from multimodal_ser.objectives.intensity import LearnedStrength, SlidingArousal, Source, energy
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.reconstruction import MaskedReconstruction, PredictiveCoding
from multimodal_ser.objectives.vesper import Vesper, VesperConfig, without_final_norm
from multimodal_ser.training import TrainingConfig

# Whose intensity it is: the setting that names the folder it is read from, if it needs one.
INTENSITIES = {"none": None, "energy": None, "arousal": "arousal_model", "strength": "strength_model"}


@dataclass(frozen=True)
class ReconstructionConfig:
    """Reconstruction by MockingJay or NPC, whichever `model.audio.encoder` names."""

    spans: SpanConfig = field(default_factory=SpanConfig)  # of MockingJay alone; NPC's kernels hide
    intensity: str = "energy"  # none, energy, arousal of a trained model in sliding windows, or strength
    arousal_model: str = ""  # run or model folder
    strength_model: str = ""  # folder of a run of the objective strength
    use_intensity: bool = True  # as further input and target; else MockingJay's spans alone know it

    def __post_init__(self) -> None:
        if self.intensity not in INTENSITIES:
            hint = nearest(self.intensity, list(INTENSITIES))
            raise InputError(
                f"reconstruction.intensity = '{self.intensity}'{hint}; known: {', '.join(INTENSITIES)}"
            )
        for name in filter(None, INTENSITIES.values()):
            if (name == INTENSITIES[self.intensity]) != bool(getattr(self, name)):
                raise InputError(
                    f"reconstruction.intensity = '{self.intensity}' and {name} = '{getattr(self, name)}': "
                    f"intensity by {name.removesuffix('_model')} needs the folder of a trained model, and "
                    "nothing else does"
                )
        if self.intensity == "none" and self.spans.policy != "random":
            raise InputError(
                f"reconstruction.spans.policy = '{self.spans.policy}' needs intensity; set "
                "reconstruction.intensity, or the policy random"
            )


def reconstruction(audio: AudioConfig, config: ReconstructionConfig, training: TrainingConfig) -> Objective:
    """MockingJay or NPC, with or without intensity."""
    model = build_audio(audio)
    source = intensity_source(config, training.device)
    if isinstance(model, MockingjayEncoder):
        return MaskedReconstruction(model, source, config.spans, training.seed, config.use_intensity)
    if isinstance(model, NpcEncoder):
        return PredictiveCoding(model, source if config.use_intensity else None)
    raise InputError(
        f"objective reconstruction trains mockingjay or npc; model.audio.encoder = '{audio.encoder}' is a "
        f"{type(model).__name__}"
    )


def frame_alignment(audio: AudioConfig, config: AlignmentConfig, training: TrainingConfig) -> Objective:
    """Masked prediction of the frame labels of the manifest."""
    if audio.frozen == "all":
        raise InputError("model.audio.frozen = 'all': then there is nothing to pretrain")
    model = build_audio(audio)
    if not (isinstance(model, MockingjayEncoder) or hasattr(model, "forward_from_front_end")):
        raise InputError(
            f"objective frame_alignment trains HuBERT-like encoders or mockingjay; model.audio.encoder = "
            f"'{audio.encoder}' is a {type(model).__name__}"
        )
    return FrameAlignment(rebuilt_with_mask_vector(model), config, training.seed)


def distillation(audio: AudioConfig, config: DistillationConfig, training: TrainingConfig) -> Objective:
    """A student of a teacher: an untrained encoder that `model.audio` names, or one made from its blocks."""
    teacher = _teacher(config.teacher, "distillation")
    if audio.is_untrained:
        return Distillation(build_audio(audio), teacher, config)
    _refuse_named(audio, "distillation")
    return Distillation(make_student(teacher, config.student), teacher, config)


def vesper(audio: AudioConfig, config: VesperConfig, training: TrainingConfig) -> Objective:
    """A student of a teacher's blocks, on masked speech."""
    _refuse_named(audio, "vesper")
    teacher = _teacher(config.teacher, "vesper")
    settings = StudentConfig(config.blocks, config.start, final_norm=False)
    student = make_student(teacher, settings, hides=True)
    return Vesper(student, without_final_norm(teacher), config, training.seed)


def _refuse_named(audio: AudioConfig, objective: str) -> None:
    if audio.encoder != AudioConfig.encoder:
        untrained = ", or is untrained: mel, mockingjay or npc" if objective == "distillation" else ""
        raise InputError(
            f"model.audio.encoder = '{audio.encoder}': the student is made from {objective}.teacher"
            f"{untrained}"
        )


def _teacher(name: str, objective: str) -> AudioEncoder:
    if not name:
        raise InputError(f"{objective}.teacher is not set: --set {objective}.teacher=NAME_OR_FOLDER")
    return load_audio_encoder(name)


# Name of an objective and of its section: how it is made.
PRETRAINING: dict[str, Callable[[AudioConfig, Any, TrainingConfig], Objective]] = {
    "distillation": distillation,
    "reconstruction": reconstruction,
    "frame_alignment": frame_alignment,
    "vesper": vesper,
}


def intensity_source(config: ReconstructionConfig, device: str = "auto") -> Source | None:
    """The callable that says how intense emotion is."""
    if config.intensity == "arousal":
        return SlidingArousal(_Arousal(config.arousal_model, device))
    if config.intensity == "strength":
        return LearnedStrength(load_strength(model_folder_of(config.strength_model)))
    return energy if config.intensity == "energy" else None


class _Arousal:
    """Arousal of waveforms by the voice alone, as a trained model hears it."""

    def __init__(self, folder: str, device: str) -> None:
        self.predictor = Predictor.load(folder, device)
        if "audio" not in self.predictor.model.readings:
            raise InputError(f"the model in {folder} reads text only: it cannot hear arousal")

    @torch.inference_mode()
    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> list[float]:
        model, device = self.predictor.model, self.predictor.device
        lengths = torch.tensor([len(wave) for wave in waveforms])
        padded = torch.zeros(len(waveforms), int(lengths.max()))
        for row, wave in zip(padded, waveforms, strict=True):
            row[: len(wave)] = torch.from_numpy(np.asarray(wave, dtype=np.float32))
        ids = mask = None
        if model.text is not None:
            ids, mask = (x.to(device) for x in model.text.tokenize([""] * len(waveforms)))
        said = model.read(model.encode(padded.to(device), lengths.to(device), ids, mask), "audio")
        return said.dimensions[:, DIMENSIONS.index("arousal")].float().cpu().tolist()
