"""EmoDB's reader on miniatures of the original archive and of a flat copy, and on all 535 real clips."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multimodal_ser.corpora import emodb
from multimodal_ser.corpora.reading import Remark
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, problems_of

REAL = Path(__file__).parents[2] / "shared" / "data" / "emodb"
# Latin-1, tabs, decimal commas, padding by blanks and no-break spaces, and takes that were never released.
JUDGEMENTS = (
    "Satz\terkannt\tnatürlich\r\n"
    "03a01Fa.wav \t 90,00\xa0\t 25,00\r\n"
    "08a05Aa.wav\t100,00\t75,50 \r\n"
    "16b10Tb.wav\t95,5\t\xa060,00\r\n"
    "03a01Fd.wav\t35,00\t40,00\r\n"
    "03a02Xx.wav\tkeine\tAngabe\r\n"
    "\r\n"
)
CSV = (
    "file,speaker,gender,sentence,emotion,version,seconds,sampling_rate\r\n"
    "03a01Fa.flac,03,male,a01,happiness,a,1.8982,16000\r\n"
    "08a05Aa.flac,08,female,a05,anger,a,1.8982,16000\r\n"
    "16b10Tb.flac,16,female,b10,sadness,b,1.8982,16000\r\n"
    "09b02Ld.flac,09,female,b02,boredom,d,1.8982,16000\r\n"
)


def write_clip(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, 1600)
    soundfile.write(path, noise, 16000, subtype="PCM_16")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """The archive as its authors pack it."""
    folder = tmp_path / "download"
    for seed, name in enumerate(("16b10Tb", "03a01Fa", "08a05Aa", "17a01Fa")):
        write_clip(folder / "wav" / f"{name}.wav", seed)
    write_clip(folder / "wav" / "03a01Fa.flac", seed=7)
    (folder / "wav" / "._03a01Fa.wav").write_bytes(b"left behind by macOS")
    (folder / "erkennung.txt").write_bytes(JUDGEMENTS.encode("latin-1"))
    (folder / "erklaerung.txt").write_text("what the folders hold")
    for name, text in {
        "silb/03a01Fa.silb": "0.146250\tder\r\n0.245938\tlap-\r\n",
        "labsilb/03a01Faxx.labsilb": "signal 03a01Fa\nnfields 1\n#\n\t0.15 121 der\n",
        "lablaut/03a01Faxx.lablaut": "signal 03a01Fa\nnfields 1\n#\n\t0.05 121 d\n",
    }.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A copy with flac files beside one table."""
    folder = tmp_path / "emodb"
    for seed, name in enumerate(("03a01Fa", "08a05Aa", "16b10Tb", "15b09Ec")):
        write_clip(folder / f"{name}.flac", seed)
    (folder / "emodb.csv").write_text(CSV)
    return folder


def clip(audio: str, speaker: str, text: str, meta: dict, **known: object) -> Utterance:
    return Utterance(
        id=Path(audio).stem,
        corpus="emodb",
        audio=audio,
        speaker=speaker,
        text=text,
        text_source="reference",
        label_source="acted",
        meta={**meta, "language": "de"},
        **known,
    )


HAPPY_03 = {"speaker": "03", "text": "Der Lappen liegt auf dem Eisschrank.", "gender": "male", "fold": 3}
AFRAID_08 = {
    "speaker": "08",
    "text": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "gender": "female",
    "fold": 4,
}
SAD_16 = {
    "speaker": "16",
    "text": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
    "gender": "female",
    "fold": 1,
}
DISGUSTED_15 = {
    "speaker": "15",
    "text": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "gender": "male",
    "fold": 5,
}
ORIGINAL = [
    clip(
        "wav/03a01Fa.wav",
        **HAPPY_03,
        emotion="happiness",
        meta={"sentence": "a01", "version": "a", "age": 31, "recognised": 0.9, "natural": 0.25},
    ),
    clip(
        "wav/08a05Aa.wav",
        **AFRAID_08,
        emotion="fear",
        meta={"sentence": "a05", "version": "a", "age": 34, "recognised": 1.0, "natural": 0.755},
    ),
    clip(
        "wav/16b10Tb.wav",
        **SAD_16,
        emotion="sadness",
        meta={"sentence": "b10", "version": "b", "age": 31, "recognised": 0.955, "natural": 0.6},
    ),
]
FLAT = [
    clip(
        "03a01Fa.flac",
        **HAPPY_03,
        emotion="happiness",
        meta={"sentence": "a01", "version": "a", "age": 31},
    ),
    clip("08a05Aa.flac", **AFRAID_08, emotion="fear", meta={"sentence": "a05", "version": "a", "age": 34}),
    clip(
        "15b09Ec.flac", **DISGUSTED_15, emotion="disgust", meta={"sentence": "b09", "version": "c", "age": 25}
    ),
    clip("16b10Tb.flac", **SAD_16, emotion="sadness", meta={"sentence": "b10", "version": "b", "age": 31}),
]


def test_the_original_archive_becomes_the_literal_table(original: Path) -> None:
    assert emodb.read(original).utterances == ORIGINAL


def test_a_flat_copy_becomes_the_literal_table(flat: Path) -> None:
    assert emodb.read(flat).utterances == FLAT


def test_every_utterance_is_valid() -> None:
    assert [problems_of(utterance) for utterance in (*ORIGINAL, *FLAT)] == [[]] * 7


def test_two_files_with_one_stem_and_foreign_names_are_listed(original: Path) -> None:
    assert emodb.read(original).dropped == [
        Remark("17a01Fa", "the name does not follow the corpus' pattern", "wav/17a01Fa.wav", failed=True),
        Remark(
            "03a01Fa",
            "a second file with the same stem",
            "wav/03a01Fa.flac, kept wav/03a01Fa.wav",
        ),
    ]


def test_takes_that_were_never_released_are_counted_not_missed(original: Path) -> None:
    reading = emodb.read(original)
    assert "erkennung.txt judges 1 takes that are not in this folder" in reading.notes
    assert [(remark.id, remark.reason) for remark in reading.flagged] == [
        ("03a02Xx", "line of erkennung.txt not understood")
    ]


def test_a_table_that_contradicts_the_names_is_flagged(flat: Path) -> None:
    reading = emodb.read(flat)
    # The table calls the letter A anger: the trap of a German letter read as English.
    assert [(remark.id, remark.reason, remark.detail) for remark in reading.flagged] == [
        (
            "08a05Aa",
            "emodb.csv disagrees with the name; the name is believed",
            "08, female, a05, anger",
        ),
        ("15b09Ec", "no row in emodb.csv", ""),
    ]
    assert [remark.id for remark in reading.dropped] == ["09b02Ld"]


def test_each_fold_has_a_woman_and_a_man() -> None:
    genders: dict[int, list[str]] = {}
    for gender, _, fold in emodb.SPEAKERS.values():
        genders.setdefault(fold, []).append(gender)
    assert {fold: sorted(pair) for fold, pair in genders.items()} == {
        fold: ["female", "male"] for fold in range(1, 6)
    }


def test_another_corpus_is_not_taken_for_this_one(tmp_path: Path) -> None:
    write_clip(tmp_path / "Actor_01" / "03-01-01-01-01-01-01.wav", seed=1)
    with pytest.raises(InputError, match=r"no EmoDB clip in .*expected wav/03a01Fa\.wav"):
        emodb.read(tmp_path)


def test_a_word_that_is_no_emotion_contradicts_the_name(flat: Path) -> None:
    (flat / "emodb.csv").write_text(CSV.replace("sadness", "wistfulness"))
    details = {remark.id: remark.detail for remark in emodb.read(flat).flagged}
    assert details["16b10Tb"] == "16, female, b10, wistfulness"


def test_a_missing_column_is_named(flat: Path) -> None:
    (flat / "emodb.csv").write_text(CSV.replace("emotion", "label"))
    with pytest.raises(InputError, match=r"emodb\.csv: no column 'emotion'; columns found: file, speaker"):
        emodb.read(flat)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real EmoDB clips are not beside this checkout")
def test_all_real_clips_are_read_with_the_published_counts() -> None:
    reading = emodb.read(REAL)
    assert Counter(u.emotion for u in reading.utterances) == {
        "anger": 127,
        "boredom": 81,
        "neutral": 79,
        "happiness": 71,
        "fear": 69,
        "sadness": 62,
        "disgust": 46,
    }
    assert (reading.dropped, reading.flagged) == ([], [])
    folds = Counter(f"fold{u.fold}" for u in reading.utterances)
    assert {**folds, "total": len(reading.utterances)} == reading.expected
    assert {u.meta["sentence"] for u in reading.utterances} == set(emodb.SENTENCES)
    assert not [u.id for u in reading.utterances if problems_of(u)]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real EmoDB clips are not beside this checkout")
def test_real_clips_last_24_8_minutes() -> None:
    seconds = [soundfile.info(REAL / u.audio).duration for u in emodb.read(REAL).utterances]
    assert sum(seconds) / 60 == pytest.approx(24.8, abs=0.05)
    assert min(seconds) > 1.2
    assert max(seconds) < 9.0
