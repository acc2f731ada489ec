"""The encoder whose layers are measured, and others of the same shape that have learned nothing."""

import copy
import os

import torch

from multimodal_ser.errors import InputError
from multimodal_ser.models import encoding
from multimodal_ser.models.audio_branch import load_audio_encoder, model_folder_of
from multimodal_ser.models.encoding import AudioEncoder
from multimodal_ser.models.pretrained import read_settings
from multimodal_ser.models.ser import FORMAT, SerModel
from multimodal_ser.models.text import TextEncoder
from multimodal_ser.models.text_checkpoints import untrained_network


def load_encoder(name_or_folder: str | os.PathLike) -> AudioEncoder:
    """The audio encoder of a folder of ours, of a checkpoint folder, or of a hub name."""
    return load_audio_encoder(name_or_folder)


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


def fingerprint(encoder: AudioEncoder | TextEncoder) -> str:
    """A short hash of the weights and of what the encoder is made from."""
    words = []
    if isinstance(encoder, TextEncoder):
        words = [repr(sorted(encoder.tokenizer.get_vocab().items())).encode()]
    return encoding.fingerprint(encoder, *words)
