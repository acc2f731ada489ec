"""The network: audio encoder and text encoder, fused, to arousal, valence and dominance, and optionally
classes.

Outputs are in unit scale and not clipped. One model yields three readings of an utterance: `fused`,
`audio` (as if nobody had transcribed it) and `text` (as if nobody had heard it); training has to hide
branches at random for the single readings to mean anything.

A model folder holds `config.json`, `model.safetensors` and the tokenizer: everything that scoring needs. What
`train` leaves has `calibration.json` and a model card beside them, and can be published.
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from multimodal_ser.cache import atomic_path, write_json
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, nearest
from multimodal_ser.models.encoder_folder import (
    SETTINGS,
    WEIGHTS,
    built,
    check_keys,
    described,
    settings_of_format,
)
from multimodal_ser.models.encoding import AudioEncoder, Encoding, NothingDrawn, load_strictly
from multimodal_ser.models.fusion import FUSIONS, Branch, LayerMix
from multimodal_ser.models.hub import found_folder, push_folder
from multimodal_ser.models.pretrained import read_weights
from multimodal_ser.models.text import TextEncoder

FORMAT = "multimodal_ser.model"
SCHEMA_VERSION = 1
READINGS = ("fused", "audio", "text")
_MEANING = {"dimensions": list(DIMENSIONS), "scale": "0-1"}  # of the outputs
_MIDDLE = 0.5  # unit scale; an untrained head says "neutral"


@dataclass(frozen=True)
class SerConfig:
    """The shape of the network above its encoders."""

    fusion: str = "cross_attention"
    width: int = 192
    heads: int = 4
    blocks: int = 1
    dropout: float = 0.1
    classes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            raise InputError(f"classes = '{self.classes}': a list of names is wanted, also for one name")
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(set(self.classes)) < len(self.classes):
            raise InputError(f"classes: a name stands twice in {', '.join(self.classes)}")
        if self.fusion not in FUSIONS:
            hint = nearest(self.fusion, list(FUSIONS))
            raise InputError(f"unknown fusion '{self.fusion}'{hint}; known: {', '.join(FUSIONS)}")
        for name, least in (("width", 1), ("heads", 1), ("blocks", 0)):
            if getattr(self, name) < least:
                raise InputError(f"fusion {name} = {getattr(self, name)}; it must be {least} or more")
        if not 0 <= self.dropout < 1:
            raise InputError(f"fusion dropout = {self.dropout}; it must be from 0 to below 1")
        if self.width % self.heads:
            raise InputError(f"fusion width {self.width} is no multiple of its {self.heads} heads")

    @property
    def branches(self) -> tuple[str, ...]:
        """The modalities that this fusion joins."""
        return FUSIONS[self.fusion][1]


class Encoded(NamedTuple):
    """Both branches of a batch, projected to the fusion's width; None where the model has no such branch."""

    audio: Branch | None
    text: Branch | None


class SerOutput(NamedTuple):
    """What the network says about a batch."""

    dimensions: Tensor  # (B, 3) in the order of DIMENSIONS, unit scale, unclipped
    logits: Tensor | None  # (B, C), if the model has classes


class SerModel(nn.Module):
    """Audio-textual emotion recognition."""

    def __init__(
        self, config: SerConfig, audio: AudioEncoder | None = None, text: TextEncoder | None = None
    ) -> None:
        super().__init__()
        given = tuple(name for name, encoder in (("audio", audio), ("text", text)) if encoder is not None)
        if given != config.branches:
            raise InputError(
                f"fusion '{config.fusion}' joins {' and '.join(config.branches)}, "
                f"but encoders were given for {' and '.join(given) or 'nothing'}"
            )
        self.config = config
        self.folder: Path | None = None  # where these weights lie, if they were saved or read
        self.audio = audio
        self.text = text
        fusion, _ = FUSIONS[config.fusion]
        if audio is not None:
            self.layer_mix = LayerMix(audio.num_layers + 1)
            self.audio_projection = _projection(audio.width, config)
        if text is not None:
            self.text_projection = _projection(text.width, config)
        self.fusion = fusion(config.width, config.heads, config.blocks, config.dropout)
        self.head = _head(self.fusion.out_width, len(DIMENSIONS), config)
        nn.init.constant_(self.head[-1].bias, _MIDDLE)
        classes = len(config.classes)
        self.class_head = _head(self.fusion.out_width, classes, config) if classes else None

    @property
    def readings(self) -> tuple[str, ...]:
        """The readings that this model can give."""
        return READINGS if len(self.config.branches) == 2 else self.config.branches

    def encode(
        self,
        waveforms: Tensor | None,
        lengths: Tensor | None,
        token_ids: Tensor | None,
        token_mask: Tensor | None,
        encoding: Encoding | None = None,
    ) -> Encoded:
        """Waveforms (B, S), lengths (B,) in samples, ids and mask (B, L) of `TextEncoder.tokenize`.

        encoding: what the audio encoder says of these waveforms, if that is known already.
        """
        return Encoded(
            None if self.audio is None else self.encode_audio(waveforms, lengths, encoding),
            None if self.text is None else self.encode_text(token_ids, token_mask),
        )

    def encode_audio(self, waveforms: Tensor, lengths: Tensor, encoding: Encoding | None = None) -> Branch:
        """The audio branch of `encode`."""
        encoding = self.audio(waveforms, lengths) if encoding is None else encoding
        states = self.audio_projection(self.layer_mix(encoding.layers))
        return Branch(states, encoding.mask, lengths > 0)

    def encode_text(self, token_ids: Tensor, token_mask: Tensor) -> Branch:
        """The text branch of `encode`."""
        encoded = self.text(token_ids, token_mask)
        return Branch(self.text_projection(encoded.layers[-1]), encoded.mask, token_mask.any(1))

    def read(
        self, encoded: Encoded, reading: str = "fused", hidden: dict[str, Tensor] | None = None
    ) -> SerOutput:
        """One reading; `hidden` (B,) per branch hides it for those utterances."""
        if reading not in self.readings:
            raise InputError(f"this model gives the readings {', '.join(self.readings)}, not '{reading}'")
        branches = []
        for name in self.config.branches:
            branch = getattr(encoded, name)
            if reading not in ("fused", name):  # what is absent needs no states: none are computed on
                states, mask, present = branch
                branch = Branch(states[:, :0], mask[:, :0], torch.zeros_like(present))
            if hidden is not None and name in hidden:
                branch = branch._replace(present=branch.present & ~hidden[name])
            branches.append(branch)
        joint = self.fusion(*branches)
        return SerOutput(self.head(joint), self.class_head(joint) if self.class_head is not None else None)

    def forward(
        self,
        waveforms: Tensor | None,
        lengths: Tensor | None,
        token_ids: Tensor | None,
        token_mask: Tensor | None,
    ) -> SerOutput:
        """The fullest reading there is."""
        return self.read(self.encode(waveforms, lengths, token_ids, token_mask), self.readings[0])

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write the model folder; `from_pretrained` reads it back."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / WEIGHTS) as path:
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
            save_file(state, path, metadata={"format": "pt"})
        if self.text is not None:
            self.text.tokenizer.save_pretrained(folder)
        settings = {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            **_MEANING,
            **asdict(self.config),
            "audio": None if self.audio is None else described(self.audio),
            "text": None if self.text is None else {"config": self.text.config},
        }
        write_json(folder / SETTINGS, settings)
        self.folder = folder

    def push_to_hub(
        self, name: str, *, private: bool = True, token: str | None = None, revision: str | None = None
    ) -> str:
        """Publish the folder that this model was read from as the repository owner/name; returns its address.

        The model's own files go there, its card among them, and nothing else that lies in the folder.
        """
        if self.folder is None:
            raise InputError(
                "this model lies in no folder: `save_pretrained` first, or read the one to publish"
            )
        saved, own = read_weights(self.folder), self.state_dict()
        if saved.keys() != own.keys() or not all(torch.equal(own[k].cpu(), saved[k]) for k in own):
            raise InputError(
                f"the weights differ from those in {self.folder}, which its card and calibration are about: "
                "publish what `train` wrote, or save and measure these weights first"
            )
        return push_folder(self.folder, name, private, token, revision)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, revision: str | None = None) -> "SerModel":
        """Read a model folder, or owner/name of the hub, into single precision whatever it was saved in."""
        folder = found_folder(folder, revision)
        settings = _settings(folder)
        if not (folder / WEIGHTS).is_file():
            raise InputError(f"{folder} has a {SETTINGS} but no {WEIGHTS}: the model folder is incomplete")
        config = SerConfig(**{name: settings[name] for name in SerConfig.__dataclass_fields__})
        audio = text = None
        with NothingDrawn():
            if settings["audio"] is not None:
                audio = built(settings["audio"], f"{folder / SETTINGS}, audio")
            if settings["text"] is not None:
                check_keys(settings["text"], ("config",), f"{folder / SETTINGS}, text")
                text = TextEncoder.from_config(settings["text"]["config"], folder)
            model = cls(config, audio, text)
        load_strictly(model, read_weights(folder), f"the weights in {folder}", share=True)
        model.folder = folder
        return model.eval()


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    if not path.is_file():
        raise InputError(f"no model in {folder}: it holds no {SETTINGS}; `train` writes RUN/model")
    settings = settings_of_format(folder, FORMAT, SCHEMA_VERSION)
    check_keys(settings, (*_MEANING, *SerConfig.__dataclass_fields__, "audio", "text"), str(path))
    for name, value in _MEANING.items():
        if settings[name] != value:
            raise InputError(f"{path}: {name} {settings[name]}; expected {value}")
    return settings


def _projection(width: int, config: SerConfig) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, config.width), nn.LayerNorm(config.width), nn.Dropout(config.dropout)
    )


def _head(width: int, outputs: int, config: SerConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, config.width),
        nn.GELU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.width, outputs),
    )
