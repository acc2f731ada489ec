"""BERT's word pieces against the tokenizer of transformers, on every spelling of the files."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_texts import HOSTILE
from transformers import AutoTokenizer, BertTokenizerFast

from multimodal_ser.models.vocabulary import vocabulary_of
from multimodal_ser.models.word_pieces import MARKERS, WordPieces, read

NASTY = [
    "", " ", "\n\t\r", "\x00\x07\x1b", "\ufeff\u200b\u200d\u2060", "\ufffd", "a\x00b\x01c",
    "She said: \"I can't!\" -- twice...", "don't  stop\u00a0now\u3000ever", "1,234.56 3:45pm $9.99 50%",
    "HELLO there ÉCLAIR naïve Ünïcode Straße ﬁne", "e\u0301clair n\u0303ino A\u030a", "İstanbul ıI ẞ",
    "日本語のテキスト", "我爱 you 很多", "한국어 문장입니다", "שלום עולם", "مرحبا بالعالم", "नमस्ते",
    "Привет, мир! Ёлка", "😀😃 👨\u200d👩\u200d👧 🇩🇪 👍🏽", "🤷\u200d♀\ufe0fso what", "𝕳𝖊𝖑𝖑𝖔 𝟛",
    "½ ² ① Ⅷ ㎏", "x" * 101, "x" * 100, "[SEP] [CLS]x[PAD] [UNK] [MASK] [sep]", "##ing ##",
    "a_b-c/d\\e@f.g", "`~^|<>+=¬¢£€", "“quoted” ‘it’ – — …", "end\u2028of\u2029line",
    "café".encode().decode("latin-1"), *HOSTILE,
    " ".join(f"word{n} said" for n in range(1_000)),
]  # fmt: skip
WORDS = vocabulary_of(
    [text for text in NASTY if len(text) < 1_000] * 2 + ["and she said it was good"] * 3, 700
)


def own_files(folder: Path, **settings: object) -> None:
    WordPieces(WORDS, **settings).save_pretrained(folder)


def files_of_transformers(folder: Path, **settings: object) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    BertTokenizerFast.from_pretrained(folder, **settings).save_pretrained(folder)


def vocabulary_alone(folder: Path, **settings: object) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    write(folder / "config.json", model_type="distilbert")
    if settings:
        write(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", **settings)


def write(path: Path, **settings: object) -> None:
    path.write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize("files", [own_files, files_of_transformers, vocabulary_alone])
@pytest.mark.parametrize(
    "settings",
    [{}, {"do_lower_case": False}, {"strip_accents": False, "tokenize_chinese_chars": False}],
    ids=["usual", "cased", "accents and runs of ideographs"],
)
def test_nasty_texts_have_the_ids_that_transformers_gives(
    files: Callable[..., None], settings: dict, tmp_path: Path
) -> None:
    files(tmp_path, **settings)
    own = read(tmp_path)
    other = AutoTokenizer.from_pretrained(tmp_path)
    expected = other(NASTY, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    for text, found, wanted in zip(NASTY, own(NASTY), expected, strict=True):
        assert found == wanted, text
    assert own.get_vocab() == other.get_vocab()
    assert len(own) == len(other)
    for kind in ("pad", "unk", "cls", "sep"):
        assert getattr(own, f"{kind}_token_id") == getattr(other, f"{kind}_token_id")
    assert own.convert_ids_to_tokens(range(9)) == other.convert_ids_to_tokens(list(range(9)))


def test_markers_of_another_spelling_and_place_are_read(tmp_path: Path) -> None:
    named = {"unk_token": "<unk>", "pad_token": "<pad>"}
    words = ["hello", "<unk>", *MARKERS[2:], "<pad>", "there"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    write(tmp_path / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    write(
        tmp_path / "special_tokens_map.json", **named | {"unk_token": {"content": "<unk>", "lstrip": False}}
    )
    own = read(tmp_path)
    other = BertTokenizerFast.from_pretrained(tmp_path, **named)
    assert (own.pad_token_id, own.unk_token_id) == (other.pad_token_id, other.unk_token_id) == (5, 1)
    assert own(["Hello stranger <pad> there"])[0][:2] == [0, 1]
    own.save_pretrained(tmp_path / "again")
    assert read(tmp_path / "again").get_vocab() == own.get_vocab() == other.get_vocab()


def test_markers_that_the_vocabulary_lacks_are_added_as_by_transformers(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nhello\n")
    write(tmp_path / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    assert read(tmp_path).get_vocab() == AutoTokenizer.from_pretrained(tmp_path).get_vocab()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer"}),
        ("tokenizer_config.json", {"cls_token": None}),
        ("tokenizer_config.json", {"additional_special_tokens": ["[LAUGH]"]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9": {"content": "[LAUGH]"}}}),
        ("tokenizer.json", {"added_tokens": [{"id": 9, "content": "[LAUGH]"}]}),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {}}}),
        ("tokenizer.json", {"model": {"type": "WordPiece", "vocab": {}, "max_input_chars_per_word": 9}}),
        ("added_tokens.json", {"[LAUGH]": 9}),
    ],
)
def test_a_folder_with_more_than_word_pieces_is_left_to_transformers(
    name: str, changes: dict, tmp_path: Path
) -> None:
    own_files(tmp_path)
    path = tmp_path / name
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    assert read(tmp_path) is not None
    write(path, **settings | changes)
    assert read(tmp_path) is None


def test_another_process_reads_markers_as_characters_too() -> None:
    own = WordPieces(WORDS)
    assert pickle.loads(pickle.dumps(own))(NASTY) == own(NASTY)
