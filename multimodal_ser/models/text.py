"""The text branch: token states and a pooled vector of a BERT-like encoder, for transcripts of any length.

Serves DistilBERT, sentence-transformers (MiniLM, MPNet) and every other BERT-like Hugging Face checkpoint by
hub name or local folder, and small encoders that are trained from scratch on the transcripts at hand. A
transcript longer than the encoder's window is read in overlapping windows; each token keeps its state
from the window in whose middle it stands most nearly. Nothing is cut silently.

`pooled` is the mean over the valid tokens, markers included: what sentence-transformers calls mean pooling.
Weights are always in single precision, whatever the checkpoint was stored in.
B, L, D: transcripts, tokens, width.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from multimodal_ser.errors import InputError
from multimodal_ser.models.bert import Bert
from multimodal_ser.models.encoder_folder import write_folder
from multimodal_ser.models.encoding import load_strictly, mask_from_lengths
from multimodal_ser.models.pretrained import find_pretrained, read_settings, read_weights
from multimodal_ser.models.text_checkpoints import (
    encoder_weights,
    load_tokenizer,
    token_rows,
    untrained_network,
)
from multimodal_ser.models.vocabulary import vocabulary_of
from multimodal_ser.models.word_pieces import WordPieces

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
LONGEST_WINDOW = 512  # tokens, markers included; less where the encoder's positions end earlier
OVERLAP = 32  # tokens that neighbouring windows share at least
CHECKPOINT_FILES = ("*.json", "*.txt", "*.model")  # settings and tokenizer of a hub checkpoint


class Tokens(NamedTuple):
    """Token ids without start and end markers; an empty transcript has no valid token."""

    ids: Tensor  # (B, L) int64
    mask: Tensor  # (B, L) bool, True = valid


class TextEncoding(NamedTuple):
    """All layers of the text encoder; index 0 is the input to the first block."""

    layers: tuple[Tensor, ...]  # each (B, L', D), markers included
    mask: Tensor  # (B, L') bool
    pooled: Tensor  # (B, D), of the last layer


class TextEncoder(nn.Module):
    """A transformer over transcripts."""

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.width: int = model.config.hidden_size
        self.num_layers: int = model.config.num_hidden_layers
        self.window = _window(model)
        if len(tokenizer) > model.config.vocab_size:
            raise InputError(
                f"the tokenizer knows {len(tokenizer)} tokens and the network {model.config.vocab_size}: "
                "they belong to different encoders"
            )

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` needs to build the same network."""
        # transformers remembers the folder that a network came from, which is nobody else's business.
        return {key: value for key, value in self.model.config.to_dict().items() if key != "_name_or_path"}

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike = DEFAULT_ENCODER, revision: str | None = None
    ) -> "TextEncoder":
        """Load a checkpoint; any weight that is missing or left over is an error, heads aside."""
        folder = find_pretrained(str(name), revision, CHECKPOINT_FILES)
        model = untrained_network(read_settings(folder), str(folder))
        weights = encoder_weights(read_weights(folder), model.base_model_prefix)
        load_strictly(model, weights, f"the weights in {folder}")
        return cls(model, load_tokenizer(folder))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], tokenizer_folder: str | os.PathLike) -> "TextEncoder":
        """An encoder of the given shape with untrained weights and the tokenizer of a folder."""
        return cls(untrained_network(config, "the text encoder"), load_tokenizer(Path(tokenizer_folder)))

    @classmethod
    def small(
        cls,
        texts: Iterable[str],
        width: int = 128,
        blocks: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        vocabulary: int = 4_000,
        positions: int = 128,
    ) -> "TextEncoder":
        """An untrained small BERT whose vocabulary comes from `texts`."""
        if width % heads:
            raise InputError(f"width {width} of the small text encoder is no multiple of its {heads} heads")
        words = vocabulary_of(texts, vocabulary)
        settings = {
            "model_type": "bert",
            "vocab_size": len(words),
            "hidden_size": width,
            "num_hidden_layers": blocks,
            "num_attention_heads": heads,
            "intermediate_size": 3 * width,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "max_position_embeddings": positions,
        }
        return cls(untrained_network(settings, "the small text encoder"), WordPieces(words))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write a checkpoint folder, for `from_pretrained` and for transformers."""
        write_folder(folder, self.model, self.config)
        self.tokenizer.save_pretrained(folder)

    def freeze_embeddings(self) -> None:
        """Take word and position embeddings out of training, for good."""
        self.model.embeddings.requires_grad_(False)

    @property
    def tokenize(self) -> Callable[[Sequence[str]], Tokens]:
        """Transcripts as ids and mask on the CPU; characters that are not letters or digits may vanish.

        The function holds the tokenizer and not the network: it can be sent to a worker process.
        """
        return partial(_tokenize, self.tokenizer)

    def forward(self, ids: Tensor, mask: Tensor) -> TextEncoding:
        """ids, mask: (B, L) as `tokenize` makes them."""
        lengths = mask.sum(1)
        if ids.shape[1] <= self.window - 2:
            marked, marked_mask = self._marked(ids, lengths)
            layers = self._run(marked, marked_mask)
        else:
            layers = self._run_in_windows(ids, lengths.tolist())
            marked_mask = mask_from_lengths(lengths + 2, layers[0].shape[1])
        weight = marked_mask[..., None].to(layers[-1].dtype)
        pooled = (layers[-1] * weight).sum(1) / weight.sum(1)
        return TextEncoding(layers, marked_mask, pooled)

    def _marked(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[CLS] before and [SEP] behind the valid tokens: (B, L) to (B, L + 2) and its mask."""
        padding = self.tokenizer.pad_token_id
        rows = nn.functional.pad(ids, (1, 1), value=padding)
        rows[:, 0] = self.tokenizer.cls_token_id
        rows.scatter_(1, (lengths + 1)[:, None], self.tokenizer.sep_token_id)
        mask = mask_from_lengths(lengths + 2, rows.shape[1])
        return rows.masked_fill(~mask, padding), mask

    def _run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        if isinstance(self.model, Bert):
            return self.model(ids, mask)
        said = self.model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
        return (*said.hidden_states[:-1], said.last_hidden_state)

    def _run_in_windows(self, ids: Tensor, lengths: list[int]) -> tuple[Tensor, ...]:
        """All layers, put together from windows; rows (B, longest + 2, D) as if they had been run at once."""
        spans = [windows(length, self.window - 2) for length in lengths]
        pieces = pad_sequence(
            [ids[row, start:stop] for row, parts in enumerate(spans) for start, stop in parts],
            batch_first=True,
        )
        sizes = [stop - start for parts in spans for start, stop in parts]
        layers = self._run(*self._marked(pieces, torch.tensor(sizes, device=ids.device)))
        kept = [_kept(parts) for parts in spans]
        firsts = [0]
        for parts in spans:
            firsts.append(firsts[-1] + len(parts))
        return tuple(
            pad_sequence(
                [
                    torch.cat([layer[first + number, part] for number, part in enumerate(parts)])
                    for first, parts in zip(firsts, kept, strict=False)
                ],
                batch_first=True,
            )
            for layer in layers
        )


def windows(tokens: int, content: int) -> list[tuple[int, int]]:
    """The fewest spans of `content` tokens that cover 0..tokens and share OVERLAP, evenly placed.

    Even placing gives every token as much context as that number of windows can.
    """
    if tokens <= content:
        return [(0, tokens)]
    step = content - min(OVERLAP, content // 2)
    steps = math.ceil((tokens - content) / step)
    starts = [number * (tokens - content) // steps for number in range(steps + 1)]
    return [(start, start + content) for start in starts]


def _kept(spans: Sequence[tuple[int, int]]) -> list[slice]:
    """Which states of each window to keep: token t of a window is at t - start + 1."""
    starts, stops = zip(*spans, strict=True)
    # Neighbours part in the middle of what they share; [CLS] is token -1, [SEP] the one behind the last.
    cuts = [(start + stop) // 2 for start, stop in zip(starts[1:], stops, strict=False)]
    edges = [-1, *cuts, stops[-1] + 1]
    return [
        slice(first - start + 1, last - start + 1)
        for start, first, last in zip(starts, edges, edges[1:], strict=False)
    ]


def _tokenize(tokenizer: Any, texts: Sequence[str]) -> Tokens:
    rows = token_rows(tokenizer, texts) if len(texts) else []
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    longest = max(map(len, rows), default=0)
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id, dtype=torch.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return Tokens(ids, mask_from_lengths(lengths, longest))


def _window(model: nn.Module) -> int:
    """Tokens, markers included, for which a network has positions."""
    positions = getattr(model.config, "max_position_embeddings", LONGEST_WINDOW)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    if padding is not None:  # RoBERTa and its kin count positions from behind the padding's id
        positions -= padding + 1
    if positions < 3:
        raise InputError(f"the text encoder has {positions} positions; one token and its markers need 3")
    return min(LONGEST_WINDOW, positions)
