"""The settings of HuBERT, DistilHuBERT, wav2vec 2.0 and WavLM networks: their part of a `config.json`.

Names and defaults are those of transformers. What stands in such a file for a head above the network is left
out; what would change the network in a way that is not computed here is an error.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from multimodal_ser.errors import InputError
from multimodal_ser.models import bert

FAMILIES = {"hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model", "wavlm": "WavLMModel"}  # by model_type
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **bert.ACTIVATIONS,
    "gelu_python": F.gelu,
    "gelu_pytorch_tanh": bert.ACTIVATIONS["gelu_new"],
    "hardswish": F.hardswish,
    "leaky_relu": F.leaky_relu,
    "mish": F.mish,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}
NORMS = ("group", "layer")
_CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride")
_SHARES = ("dropout", "prob", "drop")  # how the names of settings from 0 to 1 end
_FROM_ZERO = ("num_hidden_layers", "mask_time_min_masks", "mask_feature_min_masks")
# Settings that one family or two have; transformers does not look at them in the others.
_ONLY = {
    "feat_proj_layer_norm": ("hubert",),
    "conv_pos_batch_norm": ("hubert",),
    "adapter_attn_dim": ("hubert", "wav2vec2"),
    "num_buckets": ("wavlm",),
    "max_bucket_distance": ("wavlm",),
}
# What would make another network of it.
_REFUSED = {
    "add_adapter": "an encoder that shortens its output again does not fit here",
    "quantization_config": "weights in fewer bits are not read here",
    "pruned_heads": "attention with fewer heads in some blocks is not computed here",
}


@dataclass(frozen=True)
class Wav2VecConfig:
    """The shape of a network of one of the families, in the words of its config.json."""

    model_type: str = "hubert"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3_072
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    feat_proj_layer_norm: bool = True
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.1  # not used here, nor is `apply_spec_augment`; both are for transformers
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    conv_pos_batch_norm: bool = False
    num_buckets: int = 320
    max_bucket_distance: int = 800
    do_stable_layer_norm: bool = False
    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0
    adapter_attn_dim: int | None = None

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], source: str = "the audio encoder's settings"
    ) -> "Wav2VecConfig":
        """From the content of a `config.json`; `source` is for messages."""
        family = settings.get("model_type")
        if family not in FAMILIES:
            raise InputError(f"{source}: model_type is {family!r}; this encoder reads {', '.join(FAMILIES)}")
        for name, reason in _REFUSED.items():
            if settings.get(name):
                raise InputError(f"{source}: {name} is {settings[name]!r}: {reason}; take another checkpoint")
        values = {name: settings[name] for name in _names(family) if name in settings}
        for name in _CONVOLUTIONS:
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        config = cls(**values)
        config._check(source)
        return config

    @property
    def has_mask_vector(self) -> bool:
        """Whether a network of these settings has a vector that stands for masked frames."""
        return self.mask_time_prob > 0 or self.mask_feature_prob > 0

    def to_dict(self) -> dict[str, Any]:
        """The `config.json` of this network, for `from_settings` and for transformers."""
        names = _names(self.model_type)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name in names
        }

    def _check(self, source: str) -> None:
        for field in fields(self):
            if problem := _problem(field.name, field.type, getattr(self, field.name)):
                raise InputError(
                    f"{source}: {field.name} is {getattr(self, field.name)!r}; it must be {problem}"
                )
        if len({len(getattr(self, name)) for name in _CONVOLUTIONS}) > 1:
            raise InputError(f"{source}: {', '.join(_CONVOLUTIONS)} must be lists of one length")
        for name in ("num_attention_heads", "num_conv_pos_embedding_groups"):
            if self.hidden_size % getattr(self, name):
                raise InputError(
                    f"{source}: hidden_size {self.hidden_size} is no multiple of {name} {getattr(self, name)}"
                )
        exact = self.num_buckets // 4  # distances that have a bucket of their own
        if exact < 1 or self.max_bucket_distance <= exact:
            raise InputError(
                f"{source}: num_buckets is {self.num_buckets} and max_bucket_distance "
                f"{self.max_bucket_distance}; 4 or more and a distance above a quarter of them are needed"
            )


def _problem(name: str, kind: Any, value: Any) -> str:
    """What a setting should be, if it is not."""
    choices = {"feat_extract_norm": NORMS, "hidden_act": ACTIVATIONS, "feat_extract_activation": ACTIVATIONS}
    if name in choices:
        fits, wanted = isinstance(value, str) and value in choices[name], f"one of {', '.join(choices[name])}"
    elif kind is bool:
        fits, wanted = isinstance(value, bool), "true or false"
    elif kind is float:
        most = 1 if name.endswith(_SHARES) else math.inf
        fits = type(value) in (int, float) and 0 <= value <= most and math.isfinite(value)
        wanted = f"a number from 0{' to 1' * (most == 1)}"
    elif name in _CONVOLUTIONS:
        fits = isinstance(value, tuple) and len(value) > 0 and all(type(x) is int and x > 0 for x in value)
        wanted = "a list of whole numbers from 1"
    elif kind is str:
        fits, wanted = True, ""
    else:
        least = 0 if name in _FROM_ZERO else 1
        fits = (type(value) is int and value >= least) or (value is None and kind is not int)
        wanted = f"a whole number from {least}"
    return "" if fits else wanted


def _names(family: str) -> list[str]:
    """The settings that a family has."""
    return [field.name for field in fields(Wav2VecConfig) if family in _ONLY.get(field.name, (family,))]
