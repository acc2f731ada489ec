"""BERT (Devlin et al., 2019) and DistilBERT (Sanh et al., 2019): token ids to the states of all layers.

Both are post-norm transformers with learned positions; they differ in the names of their weights, and
DistilBERT has no token types. The names are those of the published checkpoints, so that weights are read and
written as they are, here and by transformers, whose numbers these networks give: a test compares them. Every
text is one segment, so of the token types the first is used. The pooler of BERT, trained for pairs of
sentences, is left out. Untrained weights are drawn as transformers draws them.
On a processor without gradients the tokens of several texts are rows beneath one another, without padding;
else, and in exported graphs, they are a padded batch. Both ways give the same numbers up to rounding.
B, L, D: texts, tokens, width; N: valid tokens of a batch; masks are True where a token is valid.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import by_rows

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}
# What the settings of DistilBERT call our fields; the others have the same name there.
_DISTILBERT_NAMES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}
_NAMES: dict[str, dict[str, str]] = {"bert": {}, "distilbert": _DISTILBERT_NAMES}  # by model_type
_DEFAULTS = {"bert": {}, "distilbert": {"num_hidden_layers": 6, "type_vocab_size": 0}}
_FIXED = {"distilbert": ("type_vocab_size", "layer_norm_eps")}  # not in its settings
# Settings under which the published networks compute something else than the ones here.
_OTHERWISE = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "sinusoidal_pos_embds": False,
    "pruned_heads": {},
    "quantization_config": None,
}

_ROWS_STEP = 64  # rows are a multiple of it in bfloat16, whose kernels are compiled once for each number


@dataclass(frozen=True)
class BertConfig:
    """The shape of a network, in the words of BERT's config.json."""

    model_type: str = "bert"
    vocab_size: int = 30_522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3_072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], source: str) -> "BertConfig":
        """From the content of a `config.json`; `source` is for messages."""
        family = settings["model_type"]
        values = {"model_type": family, **_DEFAULTS[family]}
        for name in _read_fields(family):
            for spelling in (_NAMES[family].get(name, name), name):  # transformers takes both
                if spelling in settings:
                    values[name] = settings[spelling]
                    break
        config = cls(**values)
        config._check(source)
        return config

    def _check(self, source: str) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("num_hidden_layers", "type_vocab_size") else 1
            if field.type is int and (type(value) is not int or value < least):
                raise InputError(
                    f"{source}: {field.name} is {value!r}; a whole number from {least} is needed"
                )
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"{source}: hidden_size {self.hidden_size} is no multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The `config.json` of this network, for `from_settings` and for transformers."""
        names = _NAMES[self.model_type]
        return {names.get(name, name): value for name, value in asdict(self).items()
                if name == "model_type" or name in _read_fields(self.model_type)}  # fmt: skip


def _read_fields(family: str) -> list[str]:
    left_out = ("model_type", *_FIXED.get(family, ()))
    return [field.name for field in fields(BertConfig) if field.name not in left_out]


def is_known(settings: Mapping[str, Any]) -> bool:
    """Whether a network with these settings is one that `Bert` computes."""
    family = settings.get("model_type")
    if family not in _NAMES:
        return False
    activation = settings.get(_NAMES[family].get("hidden_act", "hidden_act"), "gelu")
    plain = all(not settings.get(name) or settings[name] == value for name, value in _OTHERWISE.items())
    return plain and isinstance(activation, str) and activation in ACTIVATIONS


class Embeddings(nn.Module):
    """Words, positions and, in BERT, the first token type."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        if config.type_vocab_size:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.has_types = bool(config.type_vocab_size)
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (B, L), result: (B, L, D)."""
        states = self.word_embeddings(ids)
        if self.has_types:
            states = states + self.token_type_embeddings.weight[0]
        states = states + self.position_embeddings.weight[: ids.shape[1]]
        return self.dropout(self.LayerNorm(states))


class BertBlock(nn.Module):
    """Attention and a feed-forward network, each with its layer norm behind it."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.activation = ACTIVATIONS[config.hidden_act]
        width, inner = config.hidden_size, config.intermediate_size
        parts = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        parts["dropout"] = nn.Dropout(config.attention_probs_dropout_prob)
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(parts), "output": _closing(width, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _closing(inner, config)

    def forward(self, x: Tensor, attend: "Attend") -> Tensor:
        """x and result: (B, L, D) or (N, D)."""
        own, closing = self.attention["self"], self.attention["output"]
        attended = attend(own["query"](x), own["key"](x), own["value"](x), self.heads, own["dropout"])
        x = closing["LayerNorm"](closing["dropout"](closing["dense"](attended)) + x)
        inner = self.activation(self.intermediate["dense"](x))
        return self.output["LayerNorm"](self.output["dropout"](self.output["dense"](inner)) + x)


class DistilBertBlock(nn.Module):
    """The same in DistilBERT's names; nothing is dropped between attention and its norm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.activation = ACTIVATIONS[config.hidden_act]
        width, inner = config.hidden_size, config.intermediate_size
        parts = {name: nn.Linear(width, width) for name in ("q_lin", "k_lin", "v_lin", "out_lin")}
        parts["dropout"] = nn.Dropout(config.attention_probs_dropout_prob)
        self.attention = nn.ModuleDict(parts)
        self.sa_layer_norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.ffn = nn.ModuleDict({"lin1": nn.Linear(width, inner), "lin2": nn.Linear(inner, width)})
        self.ffn["dropout"] = nn.Dropout(config.hidden_dropout_prob)
        self.output_layer_norm = nn.LayerNorm(width, config.layer_norm_eps)

    def forward(self, x: Tensor, attend: "Attend") -> Tensor:
        """x and result: (B, L, D) or (N, D)."""
        own = self.attention
        attended = attend(own["q_lin"](x), own["k_lin"](x), own["v_lin"](x), self.heads, own["dropout"])
        x = self.sa_layer_norm(own["out_lin"](attended) + x)
        inner = self.ffn["lin2"](self.activation(self.ffn["lin1"](x)))
        return self.output_layer_norm(self.ffn["dropout"](inner) + x)


class Bert(nn.Module):
    """The whole encoder, untrained."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.base_model_prefix = config.model_type  # before the names of weights in checkpoints with a head
        self.embeddings = Embeddings(config)
        block = BertBlock if config.model_type == "bert" else DistilBertBlock
        blocks = nn.ModuleList(block(config) for _ in range(config.num_hidden_layers))
        if config.model_type == "bert":
            self.encoder = nn.ModuleDict({"layer": blocks})
        else:
            self.transformer = nn.ModuleDict({"layer": blocks})
        self.apply(self._draw)

    @property
    def blocks(self) -> nn.ModuleList:
        return (self.encoder if self.config.model_type == "bert" else self.transformer)["layer"]

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """ids, mask: (B, L), each row with one valid token at least; all layers, (B, L, D) each."""
        states = self.embeddings(ids)
        if by_rows(states) and len(ids) > 1:
            return tuple(_put_back(layer, mask) for layer in self._layers(_rows(states, mask), _Each(mask)))
        return tuple(self._layers(states, _Padded(mask)))

    def _layers(self, states: Tensor, attend: "Attend") -> list[Tensor]:
        layers = [states]
        for block in self.blocks:
            layers.append(block(layers[-1], attend))
        return layers

    @torch.no_grad()
    def _draw(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()


def _closing(width: int, config: BertConfig) -> nn.ModuleDict:
    """What ends each half of a block of BERT."""
    return nn.ModuleDict(
        {
            "dense": nn.Linear(width, config.hidden_size),
            "LayerNorm": nn.LayerNorm(config.hidden_size, config.layer_norm_eps),
            "dropout": nn.Dropout(config.hidden_dropout_prob),
        }
    )


class _Padded:
    """Attention of every token to the valid ones of its text, in a padded batch."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask[:, None, None, :]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: nn.Dropout) -> Tensor:
        return _attended(query, key, value, heads, dropout, self.mask)


class _Each:
    """The same for the valid tokens alone (N, D), text after text; what follows on the last is not said."""

    def __init__(self, mask: Tensor) -> None:
        self.sizes = mask.sum(1).tolist()

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: nn.Dropout) -> Tensor:
        found, begin = torch.zeros_like(query), 0
        for size in self.sizes:
            part = slice(begin, begin + size)
            found[part] = _attended(query[None, part], key[None, part], value[None, part], heads, dropout)[0]
            begin += size
        return found


Attend = _Padded | _Each


def _attended(
    query: Tensor, key: Tensor, value: Tensor, heads: int, dropout: nn.Dropout, mask: Tensor | None = None
) -> Tensor:
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    share = dropout.p if dropout.training else 0.0
    said = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=share)
    return said.transpose(1, 2).flatten(2)


def _rows(states: Tensor, mask: Tensor) -> Tensor:
    rows = states[mask]
    step = _ROWS_STEP if torch.is_autocast_enabled("cpu") else 1
    return F.pad(rows, (0, 0, 0, -len(rows) % step))


def _put_back(rows: Tensor, mask: Tensor) -> Tensor:
    """Rows of valid tokens in their places (B, L, D); zero elsewhere."""
    found = rows.new_zeros(*mask.shape, rows.shape[1])
    found[mask] = rows[: int(mask.sum())]
    return found
