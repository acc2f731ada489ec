"""Which text encoder is meant: a checkpoint, or the one in a model of ours."""

import os

from multimodal_ser.errors import InputError
from multimodal_ser.models.audio_branch import MODEL_FORMAT, SETTINGS, model_folder_of
from multimodal_ser.models.pretrained import read_settings
from multimodal_ser.models.ser import SerModel
from multimodal_ser.models.text import TextEncoder


def load_text_encoder(name_or_folder: str | os.PathLike) -> TextEncoder:
    """A trained text encoder, by the name or folder of a checkpoint, run or model."""
    folder = model_folder_of(name_or_folder)
    if not (folder / SETTINGS).is_file() or read_settings(folder).get("format") != MODEL_FORMAT:
        return TextEncoder.from_pretrained(name_or_folder)
    text = SerModel.from_pretrained(folder).text
    if text is None:
        raise InputError(f"the model in {folder} hears only: it has no text encoder")
    return text
