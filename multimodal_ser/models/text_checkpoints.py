"""Networks, tokenizers and weights of BERT-like checkpoints.

BERT and DistilBERT with their word pieces are computed here (`bert`, `word_pieces`); every other architecture
and tokenizer is that of transformers, which is imported for it alone: that takes longer than to import torch.
"""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.models import bert, word_pieces
from multimodal_ser.models.bert import Bert, BertConfig
from multimodal_ser.models.word_pieces import WordPieces

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")  # a folder has one of these
# Parts of published checkpoints that stand above or beside the encoder, after its own prefix is gone.
_HEADS = (
    "cls.", "lm_head.", "vocab_", "pooler.", "classifier.", "pre_classifier.", "qa_outputs.", "predictions.",
    "discriminator_predictions.", "generator_", "sop_classifier.", "head.", "decoder.",
)  # fmt: skip
_COUNTERS = ("position_ids", "token_type_ids")  # constants that old checkpoints store among the weights


def untrained_network(settings: Mapping[str, Any], source: str) -> nn.Module:
    """A network from the content of a `config.json`, with random weights: one of ours, or of transformers."""
    if bert.is_known(settings):
        return Bert(BertConfig.from_settings(settings, source))
    from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoModel

    family = settings.get("model_type")
    if family not in CONFIG_MAPPING or CONFIG_MAPPING[family] not in MODEL_MAPPING:
        raise InputError(
            f"{source}: model_type is {family!r}{nearest(str(family), list(CONFIG_MAPPING))}; "
            "known are BERT-like encoders such as bert, distilbert, roberta, mpnet"
        )
    config = CONFIG_MAPPING[family].from_dict(dict(settings))
    network = MODEL_MAPPING[type(config)]
    network = network[0] if isinstance(network, (list, tuple)) else network
    # The pooler of BERT and its kin is trained for pairs of sentences and used by nobody here.
    has_pooler = "add_pooling_layer" in inspect.signature(network.__init__).parameters
    # A config may ask for the half precision that its weights were stored in.
    return AutoModel.from_config(config, **({"add_pooling_layer": False} if has_pooler else {})).float()


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; it has ids for start, end and padding."""
    # Without these, transformers makes a tokenizer that knows no word, and says nothing.
    if not any(any(folder.glob(name)) for name in _TOKENIZERS):
        raise InputError(f"{folder} has no tokenizer: none of {', '.join(_TOKENIZERS)}")
    if (own := word_pieces.read(folder)) is not None:
        return own
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"no usable tokenizer in {folder}: {str(error).strip().splitlines()[0]}") from error
    missing = [kind for kind in ("cls", "sep", "pad") if getattr(tokenizer, f"{kind}_token_id") is None]
    if missing:
        raise InputError(f"the tokenizer in {folder} has no {missing[0]} token: it is not BERT-like")
    return tokenizer


def encoder_weights(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The encoder's own among the weights of a checkpoint, under the names that its network has."""
    renamed = {}
    for name, weight in weights.items():
        name = name.removeprefix(f"{prefix}.")
        if name.startswith(_HEADS) or name.endswith(_COUNTERS):
            continue
        # The first BERT checkpoints were translated from TensorFlow, with its names.
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        renamed[name] = weight
    return renamed


def token_rows(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The ids of texts, without markers and whole."""
    if isinstance(tokenizer, WordPieces):
        return tokenizer(texts)
    # split_special_tokens: a transcript that says "[SEP]" means these characters, not the marker.
    options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    # Tokenizer files may ask for truncation: the one of MiniLM wants 128 tokens and no more.
    options |= {"truncation": False, "padding": False}
    return tokenizer(list(texts), **options)["input_ids"]
