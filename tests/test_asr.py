"""Recognisers: the real openai-whisper code with a tiny random model, and the policy around it, scripted."""

import dataclasses
import os
import pickle
import urllib.error
import urllib.request

import numpy as np
import pytest

torch = pytest.importorskip("torch")
whisper = pytest.importorskip("whisper")
from tiny_checkpoints import save_openai_whisper, whisper_sizes  # noqa: E402
from whisper.decoding import DecodingResult  # noqa: E402
from whisper.model import Whisper  # noqa: E402
from whisper.tokenizer import get_tokenizer  # noqa: E402

from multimodal_ser.audio import SAMPLE_RATE  # noqa: E402
from multimodal_ser.cache import hash_file  # noqa: E402
from multimodal_ser.corpora.voice import Manner, make_speaker, speak  # noqa: E402
from multimodal_ser.errors import InputError  # noqa: E402
from multimodal_ser.transcripts import openai_engine  # noqa: E402
from multimodal_ser.transcripts.asr import (  # noqa: E402
    AsrOptions,
    Heard,
    known,
    load_transcriber,
    must_decode_again,
    seed_of,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model of openai-whisper with random weights, saved as its own files are."""
    return save_openai_whisper(tmp_path_factory.mktemp("whisper") / "tiny-random.pt")


@pytest.fixture(scope="module")
def clips():
    """Three clips of 3 s, 2 s and 1 s in which somebody speaks."""
    rng = np.random.default_rng(0)
    speaker = make_speaker(rng, "female")
    speech = speak("The river was high and the bridge was closed again", speaker, Manner(0.5, 0.5, 0.5), rng)
    waveform = np.tile(speech.waveform, 2)
    return [waveform[: seconds * SAMPLE_RATE] for seconds in (3, 2, 1)]


def loaded(checkpoint, **options):
    return load_transcriber("whisper", str(checkpoint), AsrOptions(**options), threads=None)


def test_a_clip_goes_through_the_true_code_of_whisper_end_to_end(checkpoint, clips):
    transcriber = loaded(checkpoint, language="en", temperatures=(0.0,), times="none")
    [heard] = transcriber.transcribe(clips[:1])
    # The same by hand, as whisper's own documentation does it.
    model = whisper.load_model(str(checkpoint), device="cpu")
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(clips[0]), 80)
    expected = whisper.decode(
        model, mel, whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False)
    )
    assert heard.cues[0].text == " ".join(expected.text.split())
    assert heard.cues[0].avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
    assert heard.cues[0].no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-4)
    assert (heard.cues[0].start, heard.cues[0].end) == (0.0, 3.0)
    assert heard.language == "en"
    assert transcriber.name == "whisper-tiny-random"
    assert hash_file(checkpoint) in transcriber.identity


@pytest.mark.parametrize("times", ["none", "segments"])
def test_a_window_in_a_batch_is_heard_as_it_is_alone(checkpoint, clips, times):
    together = loaded(checkpoint, batch_size=3, times=times).transcribe(clips)
    alone = [loaded(checkpoint, batch_size=1, times=times).transcribe([clip])[0] for clip in clips]
    assert [[c.text for c in heard.cues] for heard in together] == [
        [c.text for c in heard.cues] for heard in alone
    ]
    assert len({heard.cues[0].avg_logprob for heard in together}) == 3  # they are heard at all
    for a, b in zip(together, alone, strict=True):
        assert a.language == b.language
        assert [c.avg_logprob for c in a.cues] == pytest.approx([c.avg_logprob for c in b.cues], abs=2e-4)


def test_windows_are_encoded_once_each_with_the_numbers_of_whisper_s_own_batch(checkpoint, clips):
    transcriber = loaded(checkpoint, temperatures=(0.0, 0.2, 0.4), times="none")
    seen = []
    transcriber.model.encoder.register_forward_hook(
        lambda module, given, found: seen.append((given[0], found))
    )
    transcriber.transcribe(clips)
    assert [len(mel) for mel, _ in seen] == [1, 1, 1], (
        "decoded again, as random text is, but not encoded again"
    )
    plain = whisper.load_model(str(checkpoint), device="cpu")
    with torch.no_grad():
        together = plain.encoder(torch.cat([mel for mel, _ in seen]))
    torch.testing.assert_close(torch.cat([found for _, found in seen]), together, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("size", "windows"), [("tiny", 16), ("base", 16), ("small", 8), ("large-v3", 8)])
def test_as_many_windows_are_decoded_together_as_pay_unless_a_number_is_given(size, windows):
    sizes = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12), "large-v3": (1280, 32)}
    width, layers = sizes[size]
    dims = whisper.model.ModelDimensions(80, 1500, width, 8, layers, 51865, 448, width, 8, layers)
    assert AsrOptions().with_batches(openai_engine.windows_at_once(dims)).batch_size == windows
    assert AsrOptions(batch_size=3).with_batches(windows).batch_size == 3


def test_a_second_run_says_the_same_though_it_samples(checkpoint, clips):
    transcriber = loaded(checkpoint, temperatures=(0.0, 1.0), times="none")
    torch.manual_seed(1)
    first = transcriber.transcribe(clips)
    torch.manual_seed(2)
    assert transcriber.transcribe(clips) == first


def test_random_numbers_of_the_caller_are_left_alone(checkpoint, clips):
    transcriber = loaded(checkpoint, temperatures=(0.0, 0.5), times="none")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    transcriber.transcribe(clips[2:])
    assert torch.equal(torch.rand(3), expected)


def test_words_have_times_inside_their_window(checkpoint, clips):
    [heard] = loaded(checkpoint, language="en", temperatures=(0.0,), times="words").transcribe(clips[:1])
    words = [word for cue in heard.cues for word in cue.words]
    assert len(words) > 0
    assert all(0 <= word.start <= word.end <= 3 and 0 <= word.confidence <= 1 for word in words)
    assert all(0 <= cue.start < cue.end <= 3 for cue in heard.cues)
    texts = ["".join(item.text for item in items).replace(" ", "") for items in (words, heard.cues)]
    assert texts[0] == texts[1]


def test_nothing_to_hear_gives_nothing(checkpoint):
    assert loaded(checkpoint).transcribe([]) == []


def result(text="", tokens=(), logprob=-0.3, no_speech=0.0, ratio=1.0, temperature=0.0) -> DecodingResult:
    return DecodingResult(
        audio_features=None, language="en", tokens=list(tokens), text=text, avg_logprob=logprob,
        no_speech_prob=no_speech, temperature=temperature, compression_ratio=ratio,
    )  # fmt: skip


def tokens_of(*parts) -> list[int]:
    """Tokens of Whisper: numbers are times in seconds, the rest is text."""
    tokenizer = get_tokenizer(True, language="en", task="transcribe")
    marks = (
        [tokenizer.timestamp_begin + round(p / 0.02)] if isinstance(p, float | int) else tokenizer.encode(p)
        for p in parts
    )
    return [token for part in marks for token in part]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            (0.0, " Hello there.", 1.5, 1.5, " And you?", 2.8),
            [(0.0, 1.5, "Hello there."), (1.5, 2.8, "And you?")],
        ),
        ((0.4, " Hello", 1.0, 2.0, " again", 2.5), [(0.4, 1.0, "Hello"), (2.0, 2.5, "again")]),
        ((0.0, " cut off"), [(0.0, 3.0, "cut off")]),
        ((" no times",), [(0.0, 3.0, "no times")]),
        ((0.0, " beyond the end", 7.0), [(0.0, 3.0, "beyond the end")]),
        ((0.0, 3.0), []),
        ((), []),
    ],
)
def test_time_marks_cut_a_window_into_segments(parts, expected):
    tokenizer = get_tokenizer(True, language="en", task="transcribe")
    segments = openai_engine._segments(result(tokens=tokens_of(*parts)), tokenizer, 3.0)
    assert [(round(s["start"], 2), round(s["end"], 2), s["text"].strip()) for s in segments] == expected


class Scripted:
    """Stands in for `whisper.decode`: says one thing per temperature, and notes what it was asked."""

    def __init__(self, **by_temperature):
        self.by_temperature = {float(name[1:]) / 10: value for name, value in by_temperature.items()}
        self.asked = []

    def __call__(self, model, mel, options):
        self.asked.append((options.temperature, mel.ndim))
        text, logprob, ratio, no_speech = self.by_temperature[options.temperature]
        made = result(text, tokens_of(" " + text), logprob, no_speech, ratio, options.temperature)
        return made if mel.ndim == 2 else [made] * len(mel)


@pytest.mark.parametrize(
    ("script", "text", "temperatures"),
    [
        ({"t0": ("good", -0.5, 1.2, 0.0)}, "good", [0.0]),
        ({"t0": ("loop", -0.1, 9.0, 0.0), "t2": ("good", -0.6, 1.2, 0.0)}, "good", [0.0, 0.2]),
        ({"t0": ("bad", -1.5, 1.0, 0.0), "t2": ("bad too", -1.2, 1.0, 0.0), "t4": ("good", -0.9, 1.0, 0.0)},
         "good", [0.0, 0.2, 0.4]),
        ({"t0": ("bad", -1.5, 1.0, 0.0), "t2": ("worse", -2.0, 1.0, 0.0), "t4": ("worst", -3.0, 1.0, 0.0)},
         "bad", [0.0, 0.2, 0.4]),
        ({"t0": ("silence", -1.5, 1.0, 0.9)}, "silence", [0.0]),
    ],
    ids=["good at once", "out of a loop", "third attempt", "none is good: the first stands", "nobody speaks"],
)  # fmt: skip
def test_a_window_is_decoded_again_only_as_the_policy_says(
    monkeypatch, checkpoint, clips, script, text, temperatures
):
    transcriber = loaded(checkpoint, times="none")
    decode = Scripted(**script)
    monkeypatch.setattr(openai_engine.whisper, "decode", decode)
    [heard] = transcriber.transcribe(clips[2:])
    assert heard.cues[0].text == text
    assert [temperature for temperature, _ in decode.asked] == temperatures
    assert [axes for _, axes in decode.asked] == [3] + [2] * (len(temperatures) - 1)  # a batch, then alone


def test_no_text_is_handed_from_window_to_window(monkeypatch, checkpoint, clips):
    seen = []

    def decode(model, mel, options):
        seen.append((options.prompt, options.prefix))
        return [result("words", tokens_of(" words"))] * len(mel)

    monkeypatch.setattr(openai_engine.whisper, "decode", decode)
    loaded(checkpoint, batch_size=1).transcribe(clips)
    assert seen == [(None, None)] * 3


@pytest.mark.parametrize(
    ("compression", "log_probability", "no_speech", "again"),
    [(1.0, -0.5, 0.0, False), (2.5, -0.1, 0.0, True), (1.0, -1.1, 0.0, True), (1.0, -1.1, 0.7, False),
     (2.5, -0.1, 0.7, True)],
)  # fmt: skip
def test_decoding_again_follows_whispers_rule(compression, log_probability, no_speech, again):
    assert must_decode_again(compression, log_probability, no_speech) is again


def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was here"),)

    path = tmp_path / "evil.pt"
    torch.save({"dims": Evil(), "model_state_dict": {}}, path)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(InputError, match=r"not a checkpoint of openai-whisper \(UnpicklingError"):
            loaded(tmp_path / name)
    assert not (tmp_path / "was here").exists()


def test_other_files_are_no_checkpoints(tmp_path, checkpoint):
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weights": {}}, tmp_path / "other.pt")
    content = torch.load(checkpoint, weights_only=True)
    content["model_state_dict"].popitem()
    torch.save(content, tmp_path / "lacking.pt")
    for name in ("text", "other", "lacking"):
        with pytest.raises(InputError, match=f"{name}.pt: not a checkpoint of openai-whisper"):
            loaded(tmp_path / f"{name}.pt")


def test_a_folder_with_one_checkpoint_stands_for_it(tmp_path, checkpoint):
    assert loaded(checkpoint.parent).name == "whisper-tiny-random"
    with pytest.raises(InputError, match=r"a folder with one \.pt file is expected, here are 0"):
        loaded(tmp_path)


def test_weights_that_cannot_be_downloaded_are_explained(monkeypatch, tmp_path):
    def unreachable(address):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(
        InputError, match=r"--model tiny: its weights cannot be downloaded .*--model FILE\.pt"
    ):
        load_transcriber("whisper", "tiny")


def test_a_download_is_compared_with_its_published_hash(monkeypatch, tmp_path):
    import io

    class Answer(io.BytesIO):
        def info(self):
            return {"Content-Length": "5"}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", lambda address: Answer(b"wrong"))
    with pytest.raises(InputError, match="SHA256"):
        load_transcriber("whisper", "tiny")


@pytest.mark.parametrize(
    ("engine", "model", "message"),
    [
        ("wisper", "base", r"unknown speech recogniser 'wisper' \(did you mean 'whisper'\?\)"),
        ("whisper", "bsae", r"nor a known model \(did you mean 'base'\?\); known: tiny\.en"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_one(engine, model, message):
    with pytest.raises(InputError, match=message):
        load_transcriber(engine, model)


def test_a_language_that_whisper_does_not_know_is_refused(checkpoint):
    with pytest.raises(InputError, match="--language english: not a code that Whisper knows"):
        loaded(checkpoint, language="english")


def test_a_model_that_knows_english_only_needs_no_language_and_takes_no_other(tmp_path, clips):
    english = dataclasses.replace(whisper_sizes(), n_vocab=51864)
    content = {"dims": dataclasses.asdict(english), "model_state_dict": Whisper(english).state_dict()}
    torch.save(content, tmp_path / "tiny.en.pt")
    transcriber = loaded(tmp_path / "tiny.en.pt", temperatures=(0.0,))
    assert transcriber.transcribe(clips[2:])[0].language == "en"
    assert transcriber.name == "whisper-tiny.en"
    with pytest.raises(InputError, match="--language de: this model knows English only"):
        loaded(tmp_path / "tiny.en.pt", language="de")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": "word"}, r"times = 'word' \(did you mean 'words'\?\)"),
        ({"batch_size": 0}, "batch_size = 0: both must be at least 1"),
        ({"temperatures": ()}, "must begin with 0"),
        ({"temperatures": (0.2, 0.4)}, "must begin with 0"),
        ({"temperatures": (0.0, 0.4, 0.2)}, "rise up to 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AsrOptions(**options)


def test_only_what_changes_a_result_is_in_its_key():
    assert AsrOptions(batch_size=1).in_key() == AsrOptions(batch_size=16).in_key()
    assert AsrOptions(language="en").in_key() != AsrOptions().in_key()


def test_a_seed_belongs_to_the_sound_and_the_temperature():
    sound = np.linspace(-1, 1, 100, dtype=np.float32)
    assert seed_of(sound, 0.2) == seed_of(sound.copy(), 0.2)
    assert len({seed_of(sound, 0.2), seed_of(sound, 0.4), seed_of(-sound, 0.2)}) == 3


def test_what_an_engine_does_not_know_is_none():
    assert known(float("nan")) is None
    assert known(-0.123456) == -0.1235
    assert Heard(()).language is None
