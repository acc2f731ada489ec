"""A preparation counts, checks and says everything; nothing is dropped silently and failures fail."""

import csv
import json
import math
import subprocess
import sys
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from multimodal_ser import audio, manifests
from multimodal_ser.cli import main
from multimodal_ser.corpora import audio_files, preparation
from multimodal_ser.corpora.checks import count_problems
from multimodal_ser.corpora.preparation import Preparation, prepare
from multimodal_ser.corpora.reading import Reading
from multimodal_ser.errors import InputError, SomeFailed
from multimodal_ser.labels import MSP_SCALE
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

RATE = 16_000


def write_wav(path: Path, seconds: float = 0.5, seed: int = 0, rate: int = RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate), channels))
    soundfile.write(path, noise, rate, subtype="PCM_16")


def clip(number: int, **values: Any) -> Utterance:
    usual = {
        "audio": f"wav/{number}.wav",
        "speaker": f"s{number}",
        "split": "train",
        "text": f"words {number}",
    }
    return Utterance(**{"id": f"u{number}", "corpus": "toy", **usual, **values})


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Preparation]:
    """Prepares a reading whose audio is written to disk: noise of 0.5, 0.6, 0.7 ... seconds."""

    def run(
        *utterances: Utterance, write: bool = True, reading: Reading | None = None, **options: Any
    ) -> Preparation:
        folder = tmp_path / "corpus"
        folder.mkdir(exist_ok=True)
        reading = reading or Reading(Header("toy", "1", str(folder), "free"))
        reading.utterances += utterances
        for position, name in enumerate(sorted({u.audio for u in utterances if u.audio and write})):
            if not (folder / name).exists():
                write_wav(folder / name, 0.5 + 0.1 * position, position)
        monkeypatch.setattr(preparation, "reader_named", lambda name: SimpleNamespace(read=lambda _: reading))
        return prepare("toy", folder, tmp_path / "out", **options)

    return run


def rows(preparation_: Preparation, name: str) -> list[tuple[str, ...]]:
    with (preparation_.manifest.parent / name).open(newline="", encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def kept(preparation_: Preparation) -> list[str]:
    return [utterance.id for utterance in manifests.read(preparation_.manifest).utterances]


def test_a_sound_corpus_is_written_as_the_reader_found_it_and_measured(corpus, tmp_path: Path) -> None:
    given = [
        clip(0, arousal=0.25, emotion="anger", label_source="rated"),
        clip(1, arousal=0.75, emotion="anger", label_source="rated", speaker="s0"),
        clip(2, split="test", start=0.1, end=0.4, speaker=None),
    ]
    done = corpus(*given)
    done.raise_failures()
    assert manifests.read(done.manifest).utterances == given
    report = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert report == done.report
    train, test = report["splits"]["train"], report["splits"]["test"]
    assert train["hours"] == pytest.approx((0.5 + 0.6) / 3600, abs=1e-4)
    assert test["hours"] == pytest.approx(0.3 / 3600, abs=1e-4)
    assert train["labels"]["arousal"] == {"n": 2, "mean": 0.5, "spread": 0.25}
    assert train["labels"]["valence"] == {"n": 0, "mean": None, "spread": None}
    assert (train["emotions"], train["speakers"], test["without_speaker"]) == ({"anger": 2}, 1, 1)
    assert report["audio"]["formats"] == {"16000 Hz, 1 ch": 3}
    assert rows(done, "dropped.csv") == rows(done, "flagged.csv") == []


def test_unusable_audio_is_dropped_with_its_reason_and_fails(corpus, tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "wav"
    folder.mkdir(parents=True)
    (folder / "1.wav").touch()
    (folder / "2.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (folder / "3.wav").write_bytes(b"not a sound file at all" * 100)
    write_wav(folder / "5.wav")
    done = corpus(*map(clip, range(6)), write=False)
    assert kept(done) == ["u5"]
    found = {row[0]: (row[1], row[2]) for row in rows(done, "dropped.csv")}
    assert found == {
        "u0": ("train", "audio missing"),
        "u1": ("train", "audio file of zero bytes"),
        "u2": ("train", "audio is a Git-LFS stub"),
        "u3": ("train", "audio unreadable"),
        "u4": ("train", "audio missing"),
    }
    assert any("git lfs pull" in row[3] for row in rows(done, "dropped.csv"))
    assert done.report["failed"] == 5
    with pytest.raises(SomeFailed, match=r"5 items failed \(audio missing: 2, .*; all is listed in .*out"):
        done.raise_failures()


def test_a_corpus_without_any_audio_is_refused_unless_that_is_wanted(corpus) -> None:
    with pytest.raises(
        InputError, match=r"2 of 2 audio files .* not there.*wav.0\.wav.*unpacked.*--keep-missing-audio"
    ):
        corpus(clip(0), clip(1), write=False)
    done = corpus(clip(0), clip(1), write=False, keep_missing_audio=True)
    done.raise_failures()
    assert kept(done) == ["u0", "u1"]
    assert [row[2] for row in rows(done, "flagged.csv")] == ["audio missing"] * 2
    assert done.report["total"]["hours"] is None, "unknown hours are not zero hours"


def test_a_copy_of_nothing_but_stubs_is_refused_with_the_command_that_fetches_the_files(
    corpus, tmp_path: Path
) -> None:
    for number in range(2):
        path = tmp_path / "corpus" / "wav" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"none of the 2 audio files .* Git-LFS stub: 2, .*git lfs pull"):
        corpus(clip(0), clip(1), write=False)


def test_a_path_out_of_the_corpus_is_dropped_and_never_opened(corpus, tmp_path: Path) -> None:
    write_wav(tmp_path / "secret.wav")
    done = corpus(clip(0), replace(clip(1), audio="../secret.wav"), write=False, keep_missing_audio=True)
    assert [row[:3] for row in rows(done, "dropped.csv")] == [
        ("u1", "train", "audio path leaves the corpus folder")
    ]


def test_of_a_repeated_id_the_first_is_kept(corpus) -> None:
    done = corpus(clip(0), clip(1), replace(clip(2), id="u0"))
    assert [u.text for u in manifests.read(done.manifest).utterances] == ["words 0", "words 1"]
    assert rows(done, "dropped.csv")[0][:3] == ("u0", "train", "id occurs twice, the first is kept")
    assert done.failures


def count(kept_: int, dropped: int, published: int | None) -> dict[str, int | None]:
    return {"kept": kept_, "dropped": dropped, "published": published}


@pytest.mark.parametrize(
    ("counts", "problems"),
    [
        ({"train": count(8, 0, 8), "total": count(8, 0, 8)}, []),
        ({"train": count(7, 1, 8), "total": count(7, 1, 8)}, []),
        ({"train": count(7, 0, 8), "total": count(7, 1, 8)}, []),  # the drop may have been of train
        ({"train": count(8, 3, 8), "total": count(8, 5, 8)}, []),  # what was dropped was never published
        ({"train": count(7, 0, 8), "test": count(3, 0, 4), "total": count(10, 1, None)}, ["train", "test"]),
        ({"train": count(9, 0, 8), "total": count(9, 0, None)}, ["train"]),
        ({"total": count(6, 1, 8)}, ["total"]),
        ({"train": count(9, 0, 8), "test": count(3, 0, 4), "total": count(12, 0, 12)}, ["train", "test"]),
        ({"train": count(5, 0, None), "total": count(5, 0, None)}, []),
    ],
)
def test_counts_are_wrong_when_no_spread_of_the_drops_explains_them(
    counts: dict, problems: list[str]
) -> None:
    assert [problem.split(":")[0] for problem in count_problems(counts)] == problems


def test_counts_unlike_the_published_ones_fail_unless_a_part_is_wanted(corpus, tmp_path: Path) -> None:
    def reading() -> Reading:
        header = Header("toy", "1", str(tmp_path / "corpus"))
        return Reading(header, expected={"train": 5, "total": 5}, expected_from="the paper")

    done = corpus(clip(0), clip(1), reading=reading())
    with pytest.raises(SomeFailed, match=r"total: 2 utterances and 3 of 5 not found; published: the paper"):
        done.raise_failures()
    assert "5" in done.screen()
    assert "FAILED" in done.screen()
    corpus(clip(0), clip(1), reading=reading(), allow_partial=True).raise_failures()


def test_what_the_user_asked_to_leave_out_fails_nothing_and_is_listed(corpus, tmp_path: Path) -> None:
    reading = Reading(Header("toy", "1", str(tmp_path / "corpus")), expected={"train": 3, "total": 3})
    reading.drop("u8", "no agreement", failed=False)
    reading.drop("u9", "no agreement", split="train", failed=False)
    done = corpus(clip(0), reading=reading)
    done.raise_failures()
    assert [row[:2] for row in rows(done, "dropped.csv")] == [("u8", ""), ("u9", "train")]
    assert done.report["dropped"] == {"no agreement": 2}


def test_speakers_on_both_sides_of_a_split_are_named(corpus) -> None:
    done = corpus(
        clip(0),
        clip(1, split="test", speaker="s0"),
        clip(2, split="test", speaker=None),
        clip(3, speaker=None),
    )
    shared = done.report["speakers_in_several_splits"]
    assert shared == {"train & test": {"count": 1, "speakers": ["s0"]}}, (
        "an unknown speaker is not a shared one"
    )
    assert "train & test share 1 (s0)" in done.screen()


def test_equal_audio_is_flagged_and_stretches_of_one_recording_are_not(corpus, tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "wav"
    write_wav(folder / "0.wav", 0.5, seed=1)
    write_wav(folder / "1.wav", 0.5, seed=2)  # as long as 0, but other sound
    (folder / "2.wav").write_bytes((folder / "0.wav").read_bytes())
    stretch = {"audio": "wav/1.wav", "speaker": "s1"}
    done = corpus(
        clip(0),
        clip(2, split="test"),
        clip(3, **stretch, start=0.0, end=0.2),
        clip(4, **stretch, start=0.2, end=0.4),
        write=False,
    )
    assert [row for row in rows(done, "flagged.csv") if "same" in row[2]] == [
        ("u2", "", "same audio as another utterance, in another split", "u0")
    ]


def test_large_corpora_are_not_hashed_without_being_asked(
    corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        write_wav(tmp_path / "corpus" / "wav" / f"{number}.wav", 0.5, seed=7)
    monkeypatch.setattr(audio_files, "HASH_BUDGET", 1000)
    done = corpus(clip(0), clip(1))
    assert not done.report["same_audio_looked_for"]
    assert "not looked for" in done.screen()
    assert corpus(clip(0), clip(1), verify_audio=True).report["flagged"] == {
        "same audio as another utterance": 1
    }


def test_transcripts_are_missed_only_where_there_are_some(corpus) -> None:
    done = corpus(clip(0), clip(1, text=None), clip(2, text="  "))
    assert [row[::2] for row in rows(done, "flagged.csv")] == [
        ("u1", "no transcript"),
        ("u2", "empty transcript"),
    ]
    assert done.report["total"]["text"] == {"with_words": 1, "empty": 1, "missing": 1}
    assert corpus(clip(0, text=None)).report["flagged"] == {}


def test_clamped_labels_are_counted_and_shown_on_their_own_scale(corpus, tmp_path: Path) -> None:
    reading = Reading(Header("toy", "1", str(tmp_path / "corpus")), scale=MSP_SCALE)
    values = [reading.unit("u0", "arousal", 7.5, MSP_SCALE), reading.unit("u1", "arousal", 4, MSP_SCALE)]
    done = corpus(*(clip(i, arousal=value) for i, value in enumerate(values)), reading=reading)
    assert values == [1.0, 0.5]
    assert done.report["clamped_labels"] == 1
    assert rows(done, "flagged.csv")[0] == (
        "u0",
        "",
        "label outside its scale, clamped",
        "arousal = 7.5, 1-7",
    )
    assert done.report["labels_on_rating_scale"] == {"arousal": {"mean": 5.5, "spread": 1.5}}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1"])
def test_a_cell_that_a_spreadsheet_would_run_is_defused(corpus, name: str) -> None:
    reading = Reading(Header("toy"))
    reading.drop(name, "row, with comma", f'{name} "quoted"')
    assert rows(corpus(clip(0, audio=None), reading=reading), "dropped.csv") == [
        (f"'{name}", "", "row, with comma", f'\'{name} "quoted"')
    ]


def test_a_fold_becomes_a_split_and_proxies_say_that_they_are(corpus) -> None:
    given = [clip(i, fold=1 + i % 3, split=None, emotion="sadness", label_source="acted") for i in range(6)]
    done = corpus(*given, fold=3, proxy_dimensions=True)
    found = manifests.read(done.manifest).utterances
    assert [u.split for u in found] == ["development", "train", "test"] * 2
    assert {u.label_source for u in found} == {"proxy"}
    assert set(done.report["counts"]) == {"fold1", "fold2", "fold3", "total"}
    with pytest.raises(InputError, match="--fold 4: this corpus has folds 1 to 3"):
        corpus(*given, fold=4)


def test_odd_lengths_are_flagged(corpus, tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "wav"
    write_wav(folder / "0.wav", 0.05)
    write_wav(folder / "1.wav", 61, rate=8000)
    write_wav(folder / "2.wav", 1.0)
    done = corpus(clip(0), clip(1), clip(2, start=0.5, end=1.5), write=False)
    assert [(row[0], row[2]) for row in rows(done, "flagged.csv")] == [
        ("u0", "shorter than 0.1 s"),
        ("u1", "longer than 60 s"),
        ("u2", "ends after its audio"),
    ]


def test_verification_finds_silence_and_cut_off_files(corpus, tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "wav"
    write_wav(folder / "0.wav", 1.0)
    soundfile.write(folder / "1.wav", np.zeros(RATE), RATE)
    (folder / "2.wav").write_bytes((folder / "0.wav").read_bytes()[: 44 + 2 * RATE // 2])
    done = corpus(clip(0), clip(1), clip(2), write=False, verify_audio=True)
    flags = {row[0]: row[2] for row in rows(done, "flagged.csv")}
    assert flags == {"u1": "audio without sound", "u2": "audio damaged, part of it left out"}
    assert done.report["total"]["hours"] == pytest.approx(2.5 / 3600, abs=1e-4)


def test_verification_goes_on_where_it_stopped_and_repeats_what_changed(
    corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "out" / preparation.VERIFIED
    corpus(clip(0), clip(1), clip(2), verify_audio=True)
    lines = results.read_text().splitlines(keepends=True)
    assert len([line for line in lines if line.strip()]) == 3
    results.write_text("".join(lines[:2]) + lines[2][:25])  # killed in the middle of a line
    write_wav(tmp_path / "corpus" / "wav" / "0.wav", 0.9, seed=9)  # changed since
    decoded = []
    stream = audio.stream
    monkeypatch.setattr(audio, "stream", lambda path: decoded.append(Path(path).name) or stream(path))
    done = corpus(clip(0), clip(1), clip(2), verify_audio=True)
    unfinished = json.loads(lines[2])["audio"].split("/")[1]
    assert sorted(decoded) == sorted({"0.wav", unfinished})
    assert done.report["splits"]["train"]["hours"] == pytest.approx((0.9 + 0.6 + 0.7) / 3600, abs=1e-4)
    decoded.clear()
    corpus(clip(0), clip(1), clip(2), verify_audio=True)
    assert decoded == []


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    for number in range(70):  # more than one chunk
        write_wav(tmp_path / f"{number}.wav", 0.05, number)
    names = [f"{number}.wav" for number in range(72)]
    one = audio_files.examine(tmp_path, names, verify=True, jobs=1)
    assert audio_files.examine(tmp_path, names, verify=True, jobs=2) == one
    assert sum(facts.digest is not None for facts in one.values()) == 70


@pytest.mark.parametrize(
    ("subtype", "rate", "channels"),
    [("PCM_16", 16_000, 1), ("PCM_24", 44_100, 2), ("FLOAT", 8_000, 1), ("PCM_U8", 48_000, 2)],
)
def test_the_quick_header_reader_agrees_with_libsndfile(
    tmp_path: Path, subtype: str, rate: int, channels: int
) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((1234, channels), 0.1), rate, subtype)
    data = (tmp_path / "a.wav").read_bytes()
    assert audio_files.plain_wav(data[:512], len(data)) in (None, (1234 / rate, rate, channels))
    if subtype == "PCM_16":
        assert audio_files.plain_wav(data[:512], len(data)) is not None


def test_the_quick_header_reader_leaves_everything_doubtful_to_the_decoder(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(b"\1\0" * 800)
    data = (tmp_path / "a.wav").read_bytes()
    assert audio_files.plain_wav(data[:512], len(data)) == (0.05, RATE, 1)
    chunk = b"LIST" + (5).to_bytes(4, "little") + b"INFOx\0"
    longer = data[:36] + chunk + data[36:]
    assert audio_files.plain_wav(longer[:512], len(longer)) == (0.05, RATE, 1)
    doubtful = [
        data[:-2],
        data + b"xx",
        b"RIFX" + data[4:],
        data[:20] + b"\2" + data[21:],
        data[:30],
        data[:32] + b"\0\0" + data[34:],
    ]
    assert [audio_files.plain_wav(bad[:512], len(bad)) for bad in doubtful] == [None] * 6


def test_the_audio_root_is_relative_where_both_can_move_together(corpus, tmp_path: Path) -> None:
    done = corpus(clip(0))
    assert manifests.read(done.manifest).header.audio_root == "../corpus"
    assert done.report["audio_root"] == "../corpus"
    tmp_path.joinpath("moved").mkdir()
    (tmp_path / "corpus").rename(tmp_path / "moved" / "corpus")
    (tmp_path / "out").rename(tmp_path / "moved" / "out")
    manifests.check_audio(manifests.read(tmp_path / "moved" / "out" / "manifest.jsonl"))


def test_no_utterance_at_all_is_an_error_that_says_what_was_left_out(corpus) -> None:
    reading = Reading(Header("toy"))
    for number in range(3):
        reading.drop(f"row {number}", "no label")
    with pytest.raises(InputError, match=r"no utterance of 'toy' found in .*left out: no label: 3\. Is this"):
        corpus(reading=reading)
    with pytest.raises(InputError, match="top folder"):
        corpus(reading=Reading(Header("toy")))


def test_a_file_that_may_not_be_read_is_the_users_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: Path) -> Reading:
        raise PermissionError(13, "Permission denied", "labels.csv")

    monkeypatch.setattr(preparation, "reader_named", lambda name: SimpleNamespace(read=read))
    with pytest.raises(InputError, match=r"no permission to read labels\.csv"):
        prepare("toy", tmp_path, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make this folder"):
        prepare("toy", tmp_path, tmp_path / "file" / "out")


def test_the_report_fits_on_a_screen(corpus) -> None:
    done = corpus(*map(clip, range(8)))
    assert len(done.screen().splitlines()) < 24
    assert "corpus" not in done.report["failures"]


def run_prepare(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(["prepare", *arguments])
    except SystemExit as error:
        code = error.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_lists_every_corpus_with_a_line_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_prepare(capsys, "--help")
    assert code == 0
    for name in preparation.READERS:
        line = next(line for line in out.splitlines() if line.startswith(f"  {name} "))
        assert len(line.split()) > 4
        assert "not part of" not in line


@pytest.mark.parametrize("name", preparation.READERS)
def test_every_corpus_has_a_reader_whose_options_do_not_clash(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run_prepare(capsys, name, "--help")
    assert code == 0
    assert "--verify-audio" in out


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import sys; from multimodal_ser.cli import main\n"
        "try: main(['prepare', 'table', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'transformers', 'matplotlib'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_exit_codes_tell_success_wrong_input_and_failed_items_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        write_wav(tmp_path / "wav" / f"{number}.wav", seed=number)
    table = tmp_path / "labels.csv"
    table.write_text("file,arousal\n" + "".join(f"wav/{number}.wav,{number + 1}\n" for number in range(3)))
    output = str(tmp_path / "out")
    assert run_prepare(capsys, "table", str(table), "-o", output, "--scale", "1-7")[0] == 0
    code, _, error = run_prepare(capsys, "tabel", str(table), "-o", output)
    assert (code, "did you mean 'table'?" in error) == (2, True)
    assert run_prepare(capsys, "table", str(table), "-o", output)[0] == 2
    (tmp_path / "wav" / "1.wav").unlink()
    code, out, error = run_prepare(
        capsys, "table", str(table), "--output-dir", output, "--scale", "1-7", "--jobs", "2"
    )
    assert code == 3
    assert "audio missing: 1" in error
    assert "1  audio missing" in out
    assert run_prepare(capsys, "table", str(table), "-o", output, "--scale", "1-7", "--allow-partial")[0] == 0
    assert run_prepare(capsys, "table", str(table), "-o", output, "--jobs", "0")[0] == 2
    assert not math.isnan(json.loads((tmp_path / "out" / "prepare.json").read_text())["total"]["hours"])


def test_doubts_about_what_is_left_out_are_forgotten(corpus, tmp_path: Path) -> None:
    reading = Reading(Header("toy", "1"))
    reading.flag("u1", "tied votes")
    reading.flag("u2", "tied votes")
    (folder := tmp_path / "corpus" / "wav").mkdir(parents=True)
    (folder / "2.wav").write_bytes(b"")
    prepared = corpus(clip(1), clip(2), reading=reading)
    assert kept(prepared) == ["u1"]
    assert [row[0] for row in rows(prepared, "flagged.csv")] == ["u1"]
