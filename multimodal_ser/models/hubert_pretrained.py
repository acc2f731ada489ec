"""Checkpoints of HuBERT, DistilHuBERT, wav2vec 2.0 and WavLM: settings and weights for the bare network.

They come from pre-training, speech-recognition and classification models, so their names may start with the
family's, heads may stand beside the encoder, and the weight norm of the positional convolution has two
spellings.
Code that a checkpoint brings along is never looked at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from multimodal_ser.cache import write_json
from multimodal_ser.errors import InputError
from multimodal_ser.models.encoder_folder import write_folder
from multimodal_ser.models.pretrained import read_settings, read_weights
from multimodal_ser.models.wav2vec import Wav2Vec
from multimodal_ser.models.wav2vec_config import FAMILIES, Wav2VecConfig

SAMPLE_RATE = 16_000  # samples per second, all published checkpoints
PREPROCESSOR = "preprocessor_config.json"
HEADS = ("lm_head.", "quantizer.", "project_q.", "project_hid.", "projector.", "classifier.", "layer_weights")
MASK_VECTOR = "masked_spec_embed"  # stands for masked frames; SpecAugment alone uses it
SPELLINGS = {
    ".conv.weight_g": ".conv.parametrizations.weight.original0",
    ".conv.weight_v": ".conv.parametrizations.weight.original1",
}


def read_checkpoint(
    folder: Path, keep_layers: int | None = None, needs_mask_vector: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights of the encoder in `folder`, cut to its first `keep_layers` blocks."""
    settings = Wav2VecConfig.from_settings(read_settings(folder), str(folder / "config.json")).to_dict()
    weights = _encoder_weights(read_weights(folder), settings["model_type"])
    if keep_layers is not None:
        _drop_blocks(settings, weights, keep_layers)
    masks = settings["mask_time_prob"] > 0 or settings["mask_feature_prob"] > 0
    if not masks:
        weights.pop(MASK_VECTOR, None)
    elif MASK_VECTOR not in weights and not needs_mask_vector:
        settings |= {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}  # then the network has no such vector
    return settings, weights


def wants_normalised_input(folder: Path) -> bool:
    """Whether the checkpoint was trained on clips of zero mean and unit variance."""
    if not (folder / PREPROCESSOR).exists():
        raise InputError(
            f"{folder} has no {PREPROCESSOR}, so it is unknown whether the waveform has to be normalised: "
            "copy that file from the original checkpoint, or give normalise_input=True or False "
            "(False: DistilHuBERT, WavLM base; True: most others)"
        )
    settings = read_settings(folder, PREPROCESSOR)
    if (rate := settings.get("sampling_rate", SAMPLE_RATE)) != SAMPLE_RATE:
        raise InputError(f"{folder} wants {rate} samples per second; this encoder serves {SAMPLE_RATE}")
    return bool(settings.get("do_normalize", True))


def write_checkpoint(folder: Path, network: Wav2Vec, normalise_input: bool) -> None:
    """Write settings and weights for `read_checkpoint` and for transformers."""
    config = network.config
    write_folder(folder, network, {"architectures": [FAMILIES[config.model_type]], **config.to_dict()})
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": normalise_input,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": SAMPLE_RATE,
    }
    write_json(folder / PREPROCESSOR, extractor)


def _encoder_weights(weights: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    renamed = {}
    for name, weight in weights.items():
        if name.startswith(HEADS):
            continue
        name = name.removeprefix(f"{family}.")
        for old, new in SPELLINGS.items():
            name = name.replace(old, new)
        renamed[name] = weight
    return renamed


def _drop_blocks(settings: dict[str, Any], weights: dict[str, Tensor], keep: int) -> None:
    if not 1 <= keep <= settings["num_hidden_layers"]:
        raise InputError(f"keep_layers={keep}, but the checkpoint has {settings['num_hidden_layers']} blocks")
    dropped = tuple(f"encoder.layers.{index}." for index in range(keep, settings["num_hidden_layers"]))
    for name in [name for name in weights if name.startswith(dropped)]:
        del weights[name]
    settings["num_hidden_layers"] = keep
