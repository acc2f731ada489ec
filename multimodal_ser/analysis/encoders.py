"""The encoder whose layers are measured, and one of the same shape that has learned nothing."""

import copy
import os
from pathlib import Path

import torch

from multimodal_ser.cache import hash_bytes
from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.pretrained import find_pretrained, read_settings
from multimodal_ser.models.ser import FORMAT, SerModel, audio_encoder
from multimodal_ser.models.text import TextEncoder, untrained_network


def load_encoder(name_or_folder: str | os.PathLike) -> AudioEncoder:
    """The audio encoder of a run or model folder of ours, of a checkpoint folder, or of a hub name."""
    folder = model_folder_of(name_or_folder)
    folder = folder if folder.is_dir() else find_pretrained(os.fspath(name_or_folder))
    settings = read_settings(folder)
    if settings.get("format") == FORMAT:
        audio = SerModel.from_pretrained(folder).audio
        if audio is None:
            raise InputError(f"the model in {folder} reads text only: it has no audio encoder to measure")
        return audio.eval()
    kind = "whisper" if settings.get("model_type") == "whisper" else "hubert"
    return audio_encoder(kind).from_pretrained(os.fspath(folder)).eval()


def load_text_encoder(name_or_folder: str | os.PathLike) -> TextEncoder:
    """The text encoder of a run or model folder of ours, of a checkpoint folder, or of a hub name."""
    folder = model_folder_of(name_or_folder)
    if folder.is_dir() and read_settings(folder).get("format") == FORMAT:
        text = SerModel.from_pretrained(folder).text
        if text is None:
            raise InputError(f"the model in {folder} only hears: it has no text encoder to measure")
        return text.eval()
    return TextEncoder.from_pretrained(os.fspath(name_or_folder)).eval()


def randomised(encoder: AudioEncoder | TextEncoder, seed: int = 0) -> AudioEncoder | TextEncoder:
    """An encoder of the same configuration with freshly drawn weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(encoder, TextEncoder):
            return TextEncoder(untrained_network(encoder.config, "the encoder"), encoder.tokenizer).eval()
        return type(encoder).from_config(copy.deepcopy(encoder.config)).eval()


def model_folder_of(folder: str | os.PathLike) -> Path:
    """The model folder of a run folder; any other folder or name as it is."""
    folder = Path(folder)
    return folder / "model" if (folder / "model" / "config.json").is_file() else folder


def fingerprint(encoder: AudioEncoder | TextEncoder) -> str:
    """A short hash of the weights and of what the encoder is made from."""
    parts = [type(encoder).__name__.encode(), repr(encoder.config).encode()]
    if isinstance(encoder, TextEncoder):
        parts.append(repr(sorted(encoder.tokenizer.get_vocab().items())).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        parts += [name.encode(), tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
                  if tensor.dim() else repr(tensor.item()).encode()]  # fmt: skip
    return hash_bytes(*parts)
