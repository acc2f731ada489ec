"""The real faster-whisper with a tiny random model; without the package, what is said about that."""

import importlib.util
import json

import numpy as np
import pytest

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.asr import AsrOptions, load_transcriber

IS_INSTALLED = importlib.util.find_spec("faster_whisper") is not None
needed = pytest.mark.skipif(not IS_INSTALLED, reason="faster-whisper (extra [fast-asr]) is not installed")
VOCABULARY, FIRST_LANGUAGE, LAST_LANGUAGE = 51865, 50259, 50357


@pytest.mark.skipif(IS_INSTALLED, reason="faster-whisper is installed")
def test_without_the_package_the_error_says_what_to_install():
    with pytest.raises(InputError, match=r"faster-whisper cannot be imported \(the extra \[fast-asr\]\)"):
        load_transcriber("faster-whisper", "base")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Whisper with random weights as a CTranslate2 folder, its vocabulary from openai-whisper."""
    import ctranslate2
    import tokenizers
    import torch
    import transformers
    from whisper.tokenizer import get_tokenizer

    source = tmp_path_factory.mktemp("source")
    sizes = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}  # fmt: skip
    torch.manual_seed(0)
    config = transformers.WhisperConfig(vocab_size=VOCABULARY, **sizes)
    model = transformers.WhisperForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=1.0 if "encoder" in name else 0.2)
    model.save_pretrained(source)
    transformers.GenerationConfig(alignment_heads=[[0, 0]]).save_pretrained(source)
    encoding = get_tokenizer(True, language="en", task="transcribe").encoding
    signs = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    plain = [n for n in range(256) if chr(n) in signs]
    as_sign = {n: chr(n) for n in plain} | {
        n: chr(256 + k) for k, n in enumerate(n for n in range(256) if n not in plain)
    }
    words = {"".join(as_sign[b] for b in word): n for word, n in encoding._mergeable_ranks.items()}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    special = sorted(encoding._special_tokens.items(), key=lambda item: item[1])
    tokenizer.add_special_tokens([tokenizers.AddedToken(name, special=True) for name, _ in special])
    tokenizer.save(str(source / "tokenizer.json"))
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<|endoftext|>"}
    (source / "tokenizer_config.json").write_text(json.dumps(facts))
    target = tmp_path_factory.mktemp("models") / "random"
    ctranslate2.converters.TransformersConverter(str(source), copy_files=["tokenizer.json"]).convert(
        str(target)
    )
    settings = json.loads((target / "config.json").read_text())
    settings["lang_ids"] = list(range(FIRST_LANGUAGE, LAST_LANGUAGE + 1))
    (target / "config.json").write_text(json.dumps(settings))
    return target


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    return [
        (level * rng.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)
        for seconds, level in ((3, 0.1), (2.345, 0.01), (29.99, 0.05))
    ]


def loaded(folder, **options):
    return load_transcriber("faster-whisper", str(folder), AsrOptions(**options), threads=1)


def texts(heard) -> list[list[str]]:
    return [[cue.text for cue in one.cues] for one in heard]


@needed
@pytest.mark.parametrize("language", ["en", None])
@pytest.mark.parametrize("times", ["none", "segments", "words"])
def test_windows_in_a_batch_are_heard_as_alone_and_keep_to_their_times(folder, windows, times, language):
    options = {"language": language, "times": times, "temperatures": (0.0,)}
    together = loaded(folder, **options).transcribe(windows)
    alone = [loaded(folder, **options).transcribe([window])[0] for window in windows]
    assert texts(together) == texts(alone)
    assert len({heard.cues[0].avg_logprob for heard in together}) == 3
    for heard, window in zip(together, windows, strict=True):
        seconds = len(window) / SAMPLE_RATE
        assert all(0 <= cue.start < cue.end <= seconds for cue in heard.cues)
        words = [word for cue in heard.cues for word in cue.words]
        assert all(0 <= word.start <= word.end <= seconds for word in words)
        assert bool(words) == (times == "words")


@needed
def test_a_second_run_says_the_same_though_it_samples(folder, windows):
    transcriber = loaded(folder, temperatures=(0.0, 0.5, 1.0), times="none")
    assert transcriber.transcribe(windows) == transcriber.transcribe(windows)


@needed
def test_the_name_and_the_identity_say_which_model_it_is(folder):
    transcriber = loaded(folder)
    assert transcriber.name == "faster-whisper-random"
    assert transcriber.identity.startswith("faster-whisper:")
    assert transcriber.identity.endswith(":int8")
    assert transcriber.transcribe([]) == []


@needed
def test_what_is_no_model_and_no_language_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"no model\.bin in this folder"):
        loaded(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"nothing")
    with pytest.raises(InputError, match="faster-whisper cannot load it"):
        loaded(tmp_path)
    with pytest.raises(InputError, match=r"takes a CTranslate2 folder or a name.*known: tiny\.en"):
        loaded("nonsense")
    with pytest.raises(InputError, match="--language xx"):
        loaded(folder, language="xx")


@needed
def test_weights_that_cannot_be_downloaded_are_explained(monkeypatch):
    import faster_whisper.utils

    def unreachable(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(faster_whisper.utils, "download_model", unreachable)
    with pytest.raises(
        InputError, match=r"cannot be downloaded \(ConnectionError: no network\).*--model FOLDER"
    ):
        loaded("base")
