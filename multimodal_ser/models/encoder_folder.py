"""Encoder folders: an audio encoder alone, as pretraining and distillation leave it.

`config.json` says which network it is and of what size, `model.safetensors` holds every weight of it and
nothing else. A folder is complete once its `config.json` is there.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from multimodal_ser.cache import atomic_path, write_json
from multimodal_ser.checkpoints import whole
from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.models.bands import BandsEncoder
from multimodal_ser.models.encoding import AudioEncoder, load_strictly
from multimodal_ser.models.mel import MelEncoder
from multimodal_ser.models.pretrained import read_settings, read_weights

FORMAT = "multimodal_ser.encoder"
SCHEMA_VERSION = 1
SETTINGS, WEIGHTS = "config.json", "model.safetensors"  # files of a folder
_BLOCKS = ("network.encoder.layers.", "blocks.", "masked.")  # what the names of numbered weights begin with


def save_encoder(encoder: AudioEncoder, folder: str | os.PathLike) -> None:
    """Write an encoder folder; `load_encoder` reads it back."""
    write_folder(folder, encoder, {"format": FORMAT, "schema_version": SCHEMA_VERSION, **described(encoder)})


def write_folder(folder: str | os.PathLike, network: nn.Module, settings: dict[str, Any]) -> None:
    """Write the weights of a network, then its settings."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as path:
        save_file(whole(network.state_dict()), path, metadata={"format": "pt"})
    write_json(folder / SETTINGS, settings)


def load_encoder(folder: str | os.PathLike) -> AudioEncoder:
    """Read an encoder folder; a weight that is missing or left over is an error."""
    folder = Path(folder)
    encoder = built(settings_of_format(folder, FORMAT, SCHEMA_VERSION), f"{folder / SETTINGS}, encoder")
    load_strictly(encoder, read_weights(folder), f"the weights in {folder}")
    return encoder.eval()


def settings_of_format(folder: Path, form: str, version: int) -> dict[str, Any]:
    """The settings of a folder of this format and version, without the two; anything else is an error."""
    settings = read_settings(folder)
    for name, expected in (("format", form), ("schema_version", version)):
        if settings.get(name) != expected:
            raise InputError(
                f"{folder / SETTINGS}: {name} {settings.get(name)!r}; this version of multimodal_ser reads "
                f"{expected!r}"
            )
    return {name: value for name, value in settings.items() if name not in ("format", "schema_version")}


def described(encoder: AudioEncoder) -> dict[str, Any]:
    """What `built` needs."""
    kind = next(kind for kind in AUDIO_ENCODERS if isinstance(encoder, audio_encoder(kind)))
    return {"kind": kind, "config": asdict(encoder.config)}


def built(settings: Any, where: str) -> AudioEncoder:
    """An untrained encoder as `described`; `where` it says so is for messages."""
    check_keys(settings, ("kind", "config"), where)
    try:
        return audio_encoder(settings["kind"]).from_config(settings["config"])
    except TypeError as error:  # what a dataclass says to a field it does not have
        raise InputError(f"{where}.config: {error}") from error


def rebuilt(encoder: AudioEncoder, keep_layers: int | None, frozen_front_end: bool) -> AudioEncoder:
    """The same weights without the blocks behind `keep_layers`, the front end in or out of training."""
    keep = encoder.num_layers if keep_layers is None else keep_layers
    if not 1 <= keep <= encoder.num_layers and keep != encoder.num_layers:
        raise InputError(f"keep_layers={keep}, but the encoder has {encoder.num_layers} blocks")
    config = encoder.config
    if not encoder.num_layers:
        return encoder
    if hasattr(config, "frozen_front_end"):
        network = dict(config.network)
        if keep != encoder.num_layers:
            network["num_hidden_layers"] = keep
        config = replace(config, network=network, frozen_front_end=frozen_front_end)
    else:
        config = replace(config, blocks=keep)
    dropped = tuple(f"{name}{number}." for name in _BLOCKS for number in range(keep, encoder.num_layers))
    made = type(encoder).from_config(config)
    weights = {name: x for name, x in encoder.state_dict().items() if not name.startswith(dropped)}
    load_strictly(made, weights)
    if frozen_front_end:
        made.freeze_front_end()
    return made


def rebuilt_with_mask_vector(encoder: AudioEncoder) -> AudioEncoder:
    """A HuBERT-like encoder with a vector that stands for hidden frames; a new one is drawn if it has none.

    Checkpoints whose settings mask nothing come without one.
    """
    network = getattr(encoder, "network", None)
    if network is None or hasattr(network, "masked_spec_embed"):
        return encoder
    config = replace(encoder.config, network={**encoder.config.network, "mask_time_prob": 0.05})
    made = type(encoder).from_config(config)
    load_strictly(made, {"network.masked_spec_embed": made.network.masked_spec_embed, **encoder.state_dict()})
    return made


def audio_encoder(kind: str) -> type[AudioEncoder]:
    """The encoder class of a kind; the large ones are imported only when they are wanted."""
    if kind not in AUDIO_ENCODERS:
        raise InputError(
            f"unknown audio encoder '{kind}'{nearest(kind, list(AUDIO_ENCODERS))}; "
            f"known: {', '.join(AUDIO_ENCODERS)}"
        )
    return AUDIO_ENCODERS[kind]()


def check_keys(settings: Any, expected: Sequence[str], where: str) -> None:
    """A missing key would be filled by a default, an unknown one would not be heard: both are errors."""
    if not isinstance(settings, dict):
        raise InputError(f"{where}: expected an object with {', '.join(expected)}, not {settings!r}")
    if missing := [name for name in expected if name not in settings]:
        raise InputError(f"{where}: {', '.join(missing)} missing; the file is incomplete")
    if unknown := [name for name in settings if name not in expected]:
        hint = nearest(unknown[0], list(expected))
        raise InputError(f"{where}: unknown key '{unknown[0]}'{hint}; known: {', '.join(expected)}")


def _mockingjay() -> type[AudioEncoder]:
    from multimodal_ser.models.mockingjay import MockingjayEncoder

    return MockingjayEncoder


def _npc() -> type[AudioEncoder]:
    from multimodal_ser.models.npc import NpcEncoder

    return NpcEncoder


def _hubert() -> type[AudioEncoder]:
    from multimodal_ser.models.hubert import HubertEncoder

    return HubertEncoder


def _whisper() -> type[AudioEncoder]:
    from multimodal_ser.models.whisper import WhisperEncoder

    return WhisperEncoder


AUDIO_ENCODERS = {
    "mel": lambda: MelEncoder,
    "bands": lambda: BandsEncoder,
    "mockingjay": _mockingjay,
    "npc": _npc,
    "hubert": _hubert,
    "whisper": _whisper,
}
