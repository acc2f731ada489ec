"""BERT's tokenizer: text to pieces of words, by the tokenizers library and without transformers.

The files are those that transformers reads and writes; `read` takes a folder whose tokenizer is BERT's and
nothing more, and leaves every other to transformers.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from multimodal_ser.cache import write_json, write_text
from multimodal_ser.models.pretrained import read_settings

TOKENIZER, SETTINGS, VOCABULARY = "tokenizer.json", "tokenizer_config.json", "vocab.txt"
_MARKERS = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
MARKERS = tuple(_MARKERS[kind] for kind in ("pad", "unk", "cls", "sep", "mask"))  # as vocabularies begin
_CLASSES = {f"{family}{kind}" for family in ("Bert", "DistilBert") for kind in ("Tokenizer", "TokenizerFast")}
_CLASS_OF = {"bert": "BertTokenizer", "distilbert": "DistilBertTokenizer"}  # by model_type
_SPELLING = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
_PREFIX, _LONGEST_WORD = "##", 100  # of word parts; characters of a word, longer ones are unknown


class WordPieces:
    """BERT's pieces on a vocabulary."""

    def __init__(self, vocabulary: Mapping[str, int] | Sequence[str], **settings: Any) -> None:
        """vocabulary: ids by piece, or pieces in order. settings: as in `tokenizer_config.json`."""
        if not isinstance(vocabulary, Mapping):
            vocabulary = {piece: number for number, piece in enumerate(vocabulary)}
        self.spelling = {name: settings.get(name, default) for name, default in _SPELLING.items()}
        self.markers = {kind: settings.get(f"{kind}_token", default) for kind, default in _MARKERS.items()}
        self.backend = Tokenizer(WordPiece(dict(vocabulary), unk_token=self.markers["unk"]))
        self.backend.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.spelling["tokenize_chinese_chars"],
            strip_accents=self.spelling["strip_accents"],
            lowercase=self.spelling["do_lower_case"],
        )
        self.backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self.backend.decoder = decoders.WordPiece(prefix=_PREFIX)
        self.backend.add_special_tokens([AddedToken(text, special=True) for text in self.markers.values()])
        start, end = self.markers["cls"], self.markers["sep"]
        self.backend.post_processor = processors.TemplateProcessing(
            single=f"{start}:0 $A:0 {end}:0",
            pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
            special_tokens=[(start, self.cls_token_id), (end, self.sep_token_id)],
        )

    def __len__(self) -> int:
        return self.backend.get_vocab_size()

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts, without markers; a text that says "[SEP]" means these characters."""
        self.backend.encode_special_tokens = True  # is not kept when the object goes to another process
        return [said.ids for said in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    @property
    def unk_token_id(self) -> int:
        return self.backend.token_to_id(self.markers["unk"])

    @property
    def sep_token_id(self) -> int:
        return self.backend.token_to_id(self.markers["sep"])

    @property
    def pad_token_id(self) -> int:
        return self.backend.token_to_id(self.markers["pad"])

    @property
    def cls_token_id(self) -> int:
        return self.backend.token_to_id(self.markers["cls"])

    def get_vocab(self) -> dict[str, int]:
        """Ids by piece."""
        return self.backend.get_vocab()

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """The pieces of ids."""
        return [self.backend.id_to_token(int(number)) for number in ids]

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write the tokenizer files, for `read` and for transformers."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / TOKENIZER, self.backend.to_str(pretty=True))
        settings = {
            "tokenizer_class": "BertTokenizer",
            **self.spelling,
            **{f"{kind}_token": text for kind, text in self.markers.items()},
        }
        write_json(folder / SETTINGS, settings)


def read(folder: Path) -> WordPieces | None:
    """The tokenizer of a folder, or None where it is not BERT's or has more than BERT's."""
    settings = _settings(folder)
    if settings is None:
        return None
    if (folder / TOKENIZER).is_file():
        file = read_settings(folder, TOKENIZER)
        return WordPieces(file["model"]["vocab"], **settings) if _is_plain(file, settings) else None
    if (folder / VOCABULARY).is_file():
        return WordPieces(WordPiece.read_file(os.fspath(folder / VOCABULARY)), **settings)
    return None


def _settings(folder: Path) -> dict[str, Any] | None:
    """What `WordPieces` wants to know, from the files that may say it."""
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", SETTINGS):
        if (folder / name).is_file():
            found |= read_settings(folder, name)
    kind = found.get("tokenizer_class")
    if kind is None and (folder / "config.json").is_file():
        kind = _CLASS_OF.get(read_settings(folder).get("model_type"))
    has_more = any(
        found.get(name) for name in ("additional_special_tokens", "extra_special_tokens", "never_split")
    )
    if kind not in _CLASSES or has_more or (folder / "added_tokens.json").is_file():
        return None
    wanted = {name: found[name] for name in _SPELLING if name in found}
    for marker in _MARKERS:
        text = found.get(f"{marker}_token", _MARKERS[marker])
        text = text.get("content") if isinstance(text, dict) else text
        if not isinstance(text, str):
            return None
        wanted[f"{marker}_token"] = text
    added = found.get("added_tokens_decoder") or {}
    plain = {wanted[f"{marker}_token"] for marker in _MARKERS}
    return wanted if all(token.get("content") in plain for token in added.values()) else None


def _is_plain(file: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` holds no more than pieces and the markers."""
    model = file.get("model") or {}
    usual = {
        "type": "WordPiece",
        "continuing_subword_prefix": _PREFIX,
        "max_input_chars_per_word": _LONGEST_WORD,
    }
    markers = {settings[f"{kind}_token"] for kind in _MARKERS}
    return (
        isinstance(model.get("vocab"), dict)
        and all(model.get(name, value) == value for name, value in usual.items())
        and all(token.get("content") in markers for token in file.get("added_tokens") or [])
    )
