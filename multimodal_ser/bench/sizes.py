"""Models of published sizes with random weights: speed does not ask what the weights are."""

from typing import TYPE_CHECKING

import torch

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.models.text import TextEncoder

if TYPE_CHECKING:
    from whisper.model import Whisper

_CHECKPOINTS = {
    "distilhubert": "ntu-spml/distilhubert",
    "hubert-base": "facebook/hubert-base-ls960",
    "hubert-large": "facebook/hubert-large-ll60k",
}
SIZES = ("mel", *_CHECKPOINTS)
# Width, heads and layers of Whisper's halves, which are alike.
WHISPER_SIZES = {"tiny": (384, 6, 4), "base": (512, 8, 6), "small": (768, 12, 12), "medium": (1024, 16, 24)}
_WORDS = "and then she said that it was the best thing that had ever happened to her in all those years"


def random_model(size: str) -> SerModel:
    """A model with an audio encoder of a published size and a text encoder like MiniLM-L6."""
    if size not in SIZES:
        raise InputError(f"unknown size '{size}'{nearest(size, list(SIZES))}; known: {', '.join(SIZES)}")
    torch.manual_seed(0)
    if size == "mel":
        audio = MelEncoder(MelConfig())
    else:
        audio = HubertEncoder.from_config(PUBLISHED[_CHECKPOINTS[size]])
    text = TextEncoder.small([_WORDS], width=384, blocks=6, heads=12)
    return SerModel(SerConfig(), audio, text).eval()


def random_whisper(size: str) -> "Whisper":
    """A multilingual recogniser of a published size."""
    from whisper.model import ModelDimensions, Whisper

    if size not in WHISPER_SIZES:
        raise InputError(
            f"unknown size of Whisper '{size}'{nearest(size, list(WHISPER_SIZES))}; known: "
            + ", ".join(WHISPER_SIZES)
        )
    width, heads, layers = WHISPER_SIZES[size]
    torch.manual_seed(0)
    model = Whisper(ModelDimensions(80, 1500, width, heads, layers, 51865, 448, width, heads, layers))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()
