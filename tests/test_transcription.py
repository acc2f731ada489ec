"""`transcribe`: what ends up in the manifest, whatever kills, moves, splits or damages the run."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from multimodal_ser import cli
from multimodal_ser.audio import SAMPLE_RATE, encode
from multimodal_ser.errors import InputError, SomeFailed
from multimodal_ser.manifests import Header, Utterance, read, write
from multimodal_ser.transcription import TranscribeOptions, transcribe
from multimodal_ser.transcripts import hearing
from multimodal_ser.transcripts.asr import AsrOptions, Heard
from multimodal_ser.transcripts.cues import Cue
from multimodal_ser.transcripts.trust import TrustConfig

NAMES = ["calm", "loop", "silence", "guess", "mumble"]
SAYS = {  # by the loudness of the clip, in steps of 0.1: text, mean log-probability, no-speech probability
    1: ("I told him I would come back.", -0.2, 0.01),
    2: ("and again and again and again and again and again", -0.1, 0.01),
    3: ("Something that nobody can know.", -1.7, 0.2),
    4: ("", -0.9, 0.1),
}


class Scripted:
    """A recogniser that says what the loudness of a window asks for."""

    name, identity = "scripted-1", "scripted:1:fp32"

    def __init__(self, threads=None, batch_size=8, kill_after=None, fail_at=None) -> None:
        self.options = AsrOptions(batch_size=batch_size, times="none")
        self.kill_after, self.fail_at, self.calls = kill_after, fail_at, 0

    def transcribe(self, windows):
        self.calls += 1
        if self.kill_after is not None and self.calls > self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return [self._heard(window) for window in windows]

    def _heard(self, window):
        level = round(10 * float(np.abs(window).max()))
        if level == self.fail_at:
            raise RuntimeError("CUDA error: device-side assert")
        text, logprob, no_speech = SAYS[level]
        cue = Cue(0.0, len(window) / SAMPLE_RATE, text, avg_logprob=logprob, no_speech_prob=no_speech)
        return Heard((cue,) if text else (), "en")


def clip(level: int, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Noise in syllables with this peak, in tenths; 0 is silence."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng([level, seed]).uniform(-1, 1, len(times))
    sound = noise * np.clip(np.sin(2 * np.pi * 2 * times) + 0.6, 0, 1)
    return (0.1 * level * sound / np.abs(sound).max()).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Five utterances, one for each thing that can be heard, and their manifest with reference texts."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "audio").mkdir()
    levels = {"calm": 1, "loop": 2, "silence": 0, "guess": 3, "mumble": 4}
    for name in NAMES:
        encode(folder / "audio" / f"{name}.flac", clip(levels[name]))
    utterances = [
        Utterance(
            name, "made", f"audio/{name}.flac", text=f"The words of {name}.", text_source="reference",
            arousal=0.5, meta={"session": 1, "asr_flags": ["old"], "asr_text": "old"},
        )
        for name in NAMES
    ]  # fmt: skip
    utterances.append(Utterance("written", "made", text="Nobody says this."))
    write(folder / "manifest.jsonl", Header("made", audio_root="."), utterances)
    return folder


def run(corpus, output, make=Scripted, jobs=1, cache=None, **options):
    options = TranscribeOptions(detector="energy", **options)
    done = transcribe(read(corpus / "manifest.jsonl"), output, make, options, jobs=jobs, cache=cache)
    return done, {u.id: u for u in read(output).utterances}


def test_each_utterance_says_what_was_heard_and_why_it_is_not_trusted(corpus, tmp_path):
    done, heard = run(corpus, tmp_path / "out.jsonl")
    assert {name: (heard[name].text, heard[name].meta["asr_flags"]) for name in NAMES} == {
        "calm": ("I told him I would come back.", []),
        "loop": ("", ["repeated"]),
        "silence": ("", ["little_speech"]),
        "guess": ("", ["improbable"]),
        "mumble": ("", ["empty"]),
    }
    assert {u.text_source for u in heard.values() if u.audio} == {"asr:scripted-1"}
    assert heard["guess"].meta["asr_text"] == "Something that nobody can know."
    assert heard["guess"].meta["asr_logprob"] == -1.7
    assert heard["calm"].meta["asr_no_speech"] == 0.01
    assert heard["calm"].meta["asr_language"] == "en"
    assert heard["calm"].meta["asr_speech"] == pytest.approx(2.0, abs=0.3)
    assert "asr_text" not in heard["calm"].meta
    assert (done.untrusted, done.flags["repeated"], done.without_audio) == (4, 1, 1)


def test_what_was_known_is_kept(corpus, tmp_path):
    _, heard = run(corpus, tmp_path / "out.jsonl")
    before = {u.id: u for u in read(corpus / "manifest.jsonl").utterances}
    assert list(heard) == list(before)
    assert heard["written"] == before["written"]
    assert heard["calm"].transcripts == {
        "reference": "The words of calm.",
        "asr:scripted-1": "I told him I would come back.",
    }
    assert heard["guess"].transcripts == {"reference": "The words of guess.", "asr:scripted-1": ""}
    assert (heard["calm"].arousal, heard["calm"].meta["session"]) == (0.5, 1)
    moved = read(tmp_path / "out.jsonl")
    assert all(moved.audio_path(u).is_file() for u in moved.utterances if u.audio)


def test_with_keep_reference_the_text_stays_and_the_other_is_beside_it(corpus, tmp_path):
    _, heard = run(corpus, tmp_path / "out.jsonl", keep_reference=True)
    assert (heard["calm"].text, heard["calm"].text_source) == ("The words of calm.", "reference")
    assert heard["calm"].transcripts["asr:scripted-1"] == "I told him I would come back."
    assert heard["guess"].meta["asr_flags"] == ["improbable"]


def test_the_reference_can_be_taken_back_later(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    run(tmp_path / "corpus", tmp_path / "corpus" / "manifest.jsonl")  # in its own place
    _, heard = run(tmp_path / "corpus", tmp_path / "again.jsonl", keep_reference=True)
    assert (heard["calm"].text, heard["calm"].text_source) == ("The words of calm.", "reference")


def test_with_keep_untrusted_every_text_is_used_and_still_flagged(corpus, tmp_path):
    _, heard = run(corpus, tmp_path / "out.jsonl", keep_untrusted=True)
    assert heard["guess"].text == "Something that nobody can know."
    assert heard["guess"].meta["asr_flags"] == ["improbable"]


def test_thresholds_and_languages_are_judged_anew_without_hearing_again(corpus, tmp_path):
    run(corpus, tmp_path / "a.jsonl", cache=tmp_path / "cache")
    deaf = partial(Scripted, fail_at=1)
    trust = TrustConfig(least_log_probability=-2.0)
    _, heard = run(corpus, tmp_path / "b.jsonl", deaf, cache=tmp_path / "cache", trust=trust)
    assert heard["guess"].meta["asr_flags"] == []
    _, heard = run(
        corpus, tmp_path / "c.jsonl", deaf, cache=tmp_path / "cache", trust=TrustConfig(languages=("de",))
    )
    assert heard["calm"].meta["asr_flags"] == ["language"]


def test_what_the_result_depends_on_lies_beside_it(corpus, tmp_path):
    run(corpus, tmp_path / "out.jsonl")
    about = json.loads((tmp_path / "out.transcribe.json").read_text(encoding="utf-8"))
    assert about["asr"]["recogniser"] == "scripted:1:fp32"
    assert about["asr"]["detector"] == "energy-1"
    assert about["asr"]["options"]["temperatures"] == [0.0, 0.2, 0.4]
    assert about["trust"]["least_log_probability"] == -1.0
    assert (about["utterances"], about["untrusted"], about["failed"]) == (6, 4, 0)


def test_failed_utterances_are_listed_and_have_no_text_and_the_others_are_done(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    (tmp_path / "corpus" / "audio" / "loop.flac").write_bytes(b"fLaC of nothing")
    (tmp_path / "corpus" / "audio" / "guess.flac").unlink()
    done, heard = run(tmp_path / "corpus", tmp_path / "out.jsonl")
    with pytest.raises(SomeFailed, match=r"2 of 6 utterances; see .*out\.errors\.csv"):
        done.raise_failures()
    with (tmp_path / "out.errors.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert rows.keys() == {"loop", "guess"}
    assert "guess.flac" in rows["guess"]
    assert (heard["loop"].text, heard["loop"].text_source) == (None, None)
    assert heard["loop"].meta["asr_flags"] == ["failed"]
    assert heard["loop"].transcripts == {"reference": "The words of loop."}
    assert heard["calm"].text == "I told him I would come back."
    run(corpus, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.errors.csv").exists()  # of the earlier run


def test_a_recogniser_that_fails_on_one_utterance_does_not_take_the_others_with_it(corpus, tmp_path):
    done, heard = run(corpus, tmp_path / "out.jsonl", partial(Scripted, fail_at=3))
    assert [(u.id, reason) for u, reason in done.errors] == [
        ("guess", "the recogniser failed: CUDA error: device-side assert")
    ]
    assert heard["calm"].meta["asr_flags"] == []


def many(folder: Path, count: int = 9) -> Path:
    """A corpus of several groups (the tests make groups of two)."""
    (folder / "audio").mkdir(parents=True)
    utterances = []
    for n in range(count):
        encode(folder / "audio" / f"{n}.wav", clip(1 + n % 3, seconds=1.0, seed=n))
        utterances.append(Utterance(f"u{n}", "made", f"audio/{n}.wav"))
    write(folder / "manifest.jsonl", Header("made", audio_root="."), utterances)
    return folder


KILLED = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_transcription import Scripted, run
from multimodal_ser.transcripts import hearing
hearing.GROUP = 2
run(Path({corpus!r}), Path({output!r}), partial(Scripted, kill_after={after}), cache=Path({cache!r}))
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_killed_run_goes_on_and_ends_with_the_same_manifest(tmp_path, monkeypatch):
    corpus, output, cache = many(tmp_path / "corpus"), tmp_path / "out.jsonl", tmp_path / "cache"
    program = KILLED.format(
        tests=str(Path(__file__).parent), corpus=str(corpus), output=str(output), after=2, cache=str(cache)
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not output.exists()
    done = len(list(cache.rglob("*.json")))
    assert done == 4  # two groups of two
    monkeypatch.setattr(hearing, "GROUP", 2)
    calls = []
    monkeypatch.setattr(
        Scripted, "_heard", lambda self, w, heard=Scripted._heard: calls.append(1) or heard(self, w)
    )
    run(corpus, output, cache=cache)
    assert len(calls) == 5
    run(corpus, tmp_path / "undisturbed.jsonl")
    assert output.read_bytes() == (tmp_path / "undisturbed.jsonl").read_bytes()


def test_a_group_of_which_part_is_known_is_heard_whole_so_that_batches_stay_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "GROUP", 4)
    corpus, cache, given = many(tmp_path / "corpus"), tmp_path / "cache", []
    run(corpus, tmp_path / "a.jsonl", cache=cache)
    next(iter(sorted(cache.rglob("*.json")))).unlink()
    monkeypatch.setattr(
        Scripted, "transcribe", lambda self, ws: given.append(len(ws)) or [self._heard(w) for w in ws]
    )
    run(corpus, tmp_path / "b.jsonl", cache=cache)
    assert given in ([4], [1])  # the last group has one utterance only
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "GROUP", 2)
    corpus = many(tmp_path / "corpus")
    run(corpus, tmp_path / "one.jsonl", jobs=1)
    run(corpus, tmp_path / "two.jsonl", jobs=2)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_results_are_found_again_when_only_the_paths_changed(corpus, tmp_path):
    cache = tmp_path / "cache"
    run(corpus, tmp_path / "a.jsonl", cache=cache)
    shutil.copytree(corpus, tmp_path / "moved")
    (tmp_path / "moved" / "audio").rename(tmp_path / "moved" / "sound")
    lines = (corpus / "manifest.jsonl").read_text(encoding="utf-8").replace("audio/", "sound/")
    (tmp_path / "moved" / "manifest.jsonl").write_text(lines, encoding="utf-8")
    _, heard = run(tmp_path / "moved", tmp_path / "b.jsonl", partial(Scripted, fail_at=1), cache=cache)
    assert heard["calm"].text == "I told him I would come back."
    assert heard["calm"].audio == "sound/calm.flac"


def test_a_manifest_without_sound_or_whose_sound_is_gone_is_wrong_input(corpus, tmp_path):
    write(tmp_path / "text.jsonl", Header("made"), [Utterance("a", "made", text="Hello.")])
    with pytest.raises(InputError, match="no utterance of 'made' has audio: there is nothing to transcribe"):
        transcribe(read(tmp_path / "text.jsonl"), tmp_path / "out.jsonl", Scripted)
    shutil.copy(corpus / "manifest.jsonl", tmp_path / "manifest.jsonl")
    with pytest.raises(InputError, match=r"the corpus seems to have moved: .*--audio-root"):
        run(tmp_path, tmp_path / "out.jsonl")


def test_the_command_runs_a_true_model_and_says_what_it_did(corpus, tmp_path, monkeypatch, capsys):
    pytest.importorskip("whisper")
    import dataclasses

    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    dims = ModelDimensions(80, 1500, 16, 2, 1, 51865, 32, 16, 2, 1)
    content = {"dims": dataclasses.asdict(dims), "model_state_dict": Whisper(dims).state_dict()}
    torch.save(content, tmp_path / "small.pt")
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(tmp_path / "cache"))
    arguments = ["transcribe", corpus / "manifest.jsonl", "-o", tmp_path / "out.jsonl", "--model",
                 tmp_path / "small.pt", "--speech", "energy", "--device", "cpu", "--jobs", "1"]  # fmt: skip
    assert cli.main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out
    assert "5 utterances transcribed as asr:whisper-small" in printed
    heard = {u.id: u for u in read(tmp_path / "out.jsonl").utterances}
    assert heard["calm"].text_source == "asr:whisper-small"
    assert heard["silence"].meta["asr_flags"] == ["little_speech"]
    before = (tmp_path / "out.jsonl").read_bytes()
    monkeypatch.setattr("whisper.decode", None)  # all is found again
    assert cli.main([str(argument) for argument in arguments]) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == before
