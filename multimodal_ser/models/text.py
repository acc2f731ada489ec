"""The text branch: token states and a pooled vector of a BERT-like encoder, for transcripts of any length.

Serves DistilBERT, sentence-transformers (MiniLM) and every other BERT-like Hugging Face checkpoint by hub
name or local folder, and small encoders that are trained from scratch on the transcripts at hand. A
transcript longer than the encoder's window is read in overlapping windows; each token keeps its state
from the window in which it stands further from the edge. Nothing is cut silently.

`pooled` is the mean over the valid tokens, markers included: what sentence-transformers calls mean pooling.
B, L, D: transcripts, tokens, width.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import mask_from_lengths

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
LONGEST_WINDOW = 512  # tokens, markers included; less where the encoder's positions end earlier
OVERLAP = 32  # tokens that neighbouring windows share
_MARKERS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


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
        self.window = min(LONGEST_WINDOW, model.config.max_position_embeddings)

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` needs to build the same network."""
        return self.model.config.to_dict()

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike = DEFAULT_ENCODER) -> "TextEncoder":
        """Load weights and tokenizer from a local folder or a hub name."""
        from transformers import AutoConfig, AutoModel

        try:
            config = AutoConfig.from_pretrained(name)
            model, report = AutoModel.from_pretrained(
                name, config=config, output_loading_info=True, **_without_pooler(config)
            )
        except OSError as error:
            raise InputError(_not_loadable(name, error)) from None
        _check_loading(name, report)
        return cls(model, _load_tokenizer(name))

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer_folder: str | os.PathLike) -> "TextEncoder":
        """An encoder of the given shape with untrained weights and the tokenizer of a folder."""
        from transformers import AutoConfig, AutoModel

        settings = dict(config)
        kind = settings.pop("model_type", "bert")
        hf_config = AutoConfig.for_model(kind, **settings)
        model = AutoModel.from_config(hf_config, **_without_pooler(hf_config))
        return cls(model, _load_tokenizer(tokenizer_folder))

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
        from transformers import BertConfig, BertModel, BertTokenizer

        words = vocabulary_of(texts, vocabulary)
        tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=width,
            num_hidden_layers=blocks,
            num_attention_heads=heads,
            intermediate_size=3 * width,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            max_position_embeddings=positions,
        )
        return cls(BertModel(config, add_pooling_layer=False), tokenizer)

    def freeze_embeddings(self) -> None:
        """Take word and position embeddings out of training, for good."""
        self.model.embeddings.requires_grad_(False)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Transcripts as ids and mask on the CPU; characters that are not letters or digits may vanish."""
        rows = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        longest = max(map(len, rows), default=0)
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id, dtype=torch.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return Tokens(ids, mask_from_lengths(torch.tensor([len(row) for row in rows]), longest))

    def forward(self, ids: Tensor, mask: Tensor, last_layer: int | None = None) -> TextEncoding:
        """ids, mask: (B, L) as `tokenize` makes them."""
        lengths = mask.sum(1)
        content = self.window - 2
        if int(lengths.max()) <= content:
            marked, marked_mask = self._marked(ids, lengths)
            layers = self._run(marked, marked_mask, last_layer)
        else:
            layers, marked_mask = self._run_in_windows(ids, lengths.tolist(), content, last_layer)
        weight = marked_mask[..., None].to(layers[-1].dtype)
        pooled = (layers[-1] * weight).sum(1) / weight.sum(1)
        return TextEncoding(layers, marked_mask, pooled)

    def _marked(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[CLS] before and [SEP] behind the valid tokens: (B, L) to (B, L + 2) and its mask."""
        rows = torch.full(
            (ids.shape[0], int(lengths.max()) + 2),
            self.tokenizer.pad_token_id,
            dtype=ids.dtype,
            device=ids.device,
        )
        rows[:, 0] = self.tokenizer.cls_token_id
        rows[:, 1:-1] = ids[:, : rows.shape[1] - 2]
        rows.scatter_(1, (lengths + 1)[:, None], self.tokenizer.sep_token_id)
        mask = mask_from_lengths(lengths + 2, rows.shape[1])
        return torch.where(mask, rows, self.tokenizer.pad_token_id), mask

    def _run(self, ids: Tensor, mask: Tensor, last_layer: int | None) -> tuple[Tensor, ...]:
        states = self.model(
            input_ids=ids, attention_mask=mask.long(), output_hidden_states=True
        ).hidden_states
        return states if last_layer is None else states[: last_layer + 1]

    def _run_in_windows(
        self, ids: Tensor, lengths: list[int], content: int, last_layer: int | None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        spans = [(row, start, stop) for row, n in enumerate(lengths) for start, stop in windows(n, content)]
        pieces = torch.nn.utils.rnn.pad_sequence(
            [ids[row, start:stop] for row, start, stop in spans], batch_first=True
        )
        sizes = torch.tensor([stop - start for _, start, stop in spans], device=ids.device)
        layers = self._run(*self._marked(pieces, sizes), last_layer)
        kept: list[list[tuple[int, slice]]] = [[] for _ in lengths]
        for index, (row, start, stop) in enumerate(spans):
            is_first, is_last = start == 0, stop == lengths[row]
            # Position 0 is [CLS] and stop - start + 1 is [SEP]; inner edges give up half of the overlap.
            first = 0 if is_first else 1 + OVERLAP // 2
            last = stop - start + (2 if is_last else 1 - OVERLAP // 2)
            kept[row].append((index, slice(first, last)))
        stitched = tuple(
            torch.nn.utils.rnn.pad_sequence(
                [torch.cat([layer[index, part] for index, part in parts]) for parts in kept],
                batch_first=True,
            )
            for layer in layers
        )
        return stitched, mask_from_lengths(
            torch.tensor([n + 2 for n in lengths], device=ids.device), stitched[0].shape[1]
        )


def windows(tokens: int, content: int) -> list[tuple[int, int]]:
    """Overlapping spans of at most `content` tokens that cover 0..tokens."""
    spans = [(0, min(tokens, content))]
    while spans[-1][1] < tokens:
        start = spans[-1][1] - OVERLAP
        spans.append((start, min(tokens, start + content)))
    return spans


def vocabulary_of(texts: Iterable[str], size: int) -> list[str]:
    """Markers, all characters (alone and as word parts), then the most frequent words: about `size` in all.

    A word outside the vocabulary is spelled; ties are broken by the alphabet, so that the same texts
    always give the same vocabulary.
    """
    from transformers import BertTokenizer

    # The pre-tokenizer of BERT decides what a word is, so that the vocabulary and the tokenizer agree.
    blank = BertTokenizer(vocab={marker: index for index, marker in enumerate(_MARKERS)})
    normalizer = blank.backend_tokenizer.normalizer
    splitter = blank.backend_tokenizer.pre_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters = sorted({letter for word in counts for letter in word} | set("abcdefghijklmnopqrstuvwxyz'"))
    spelling = [*_MARKERS, *letters, *("##" + letter for letter in letters)]
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    known = set(spelling)
    words = [word for word in frequent if word not in known]
    return spelling + words[: max(0, size - len(spelling))]


def _without_pooler(config: Any) -> dict[str, bool]:
    """BERT's own pooler is trained for sentence pairs and used by nobody here."""
    return {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta") else {}


def _load_tokenizer(name: str | os.PathLike) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(f"no usable tokenizer in '{name}': {str(error).splitlines()[0]}") from None
    missing = [kind for kind in ("cls", "sep", "pad") if getattr(tokenizer, f"{kind}_token_id") is None]
    if missing:
        raise InputError(f"the tokenizer of '{name}' has no {missing[0]} token: it is not BERT-like")
    return tokenizer


def _check_loading(name: str | os.PathLike, report: dict[str, Any]) -> None:
    """Heads of pre-training may be left over; weights of the encoder itself may not be missing."""
    heads = ("cls.", "vocab_", "pooler.", "bert.pooler.", "lm_head.")
    unexpected = [k for k in report["unexpected_keys"] if not k.startswith(heads) and "position_ids" not in k]
    wrong = [*sorted(report["missing_keys"]), *sorted(unexpected), *map(str, report["mismatched_keys"])]
    if wrong:
        raise InputError(
            f"the weights of '{name}' do not fit their configuration: {len(wrong)} keys, "
            f"for example {', '.join(wrong[:5])}"
        )


def _not_loadable(name: str | os.PathLike, error: OSError) -> str:
    reason = str(error).strip().splitlines()[0]
    if Path(name).exists():
        return (
            f"'{name}' is not a text encoder's folder (config.json, model.safetensors, tokenizer): {reason}"
        )
    return (
        f"text encoder '{name}' is neither a local folder nor to be had from the hub: {reason}. "
        "Without a connection, fetch it elsewhere and give its folder"
    )
