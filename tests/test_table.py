"""A user's table in any format becomes the same utterances; usual mistakes get a message that mends them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from multimodal_ser.corpora import table
from multimodal_ser.corpora.reading import Reading
from multimodal_ser.errors import InputError
from multimodal_ser.utterances import Utterance, problems_of

HEADER = [
    "uid",
    "FileName",
    "SpkrID",
    "Sex",
    "Split_Set",
    "Transcript",
    "EmoClass",
    "EmoAct",
    "EmoVal",
    "EmoDom",
]
ROWS = [
    ["0012", "a/0012.wav", "007", "Female", "Train", "None", "angry", "3.7", "4", "7"],
    ["NA", "b/0012.wav", "1e3", "m", "Validation", 'Well, "he" said; so', "Joy", "1", "", "2.5"],
    ["-x", "c.wav", "Unknown", "", "Test1", "", "", "", "NaN", ""],
]
EXPECTED = [
    Utterance(
        id="0012", corpus="mine", audio="a/0012.wav", speaker="007", gender="female", split="train",
        text="None", text_source="reference", emotion="anger", arousal=0.45, valence=0.5, dominance=1.0,
        label_source="rated",
    ),
    Utterance(
        id="NA", corpus="mine", audio="b/0012.wav", speaker="1e3", gender="male", split="development",
        text='Well, "he" said; so', text_source="reference", emotion="happiness", arousal=0.0, dominance=0.25,
        label_source="rated",
    ),
    Utterance(id="-x", corpus="mine", audio="c.wav", split="test1"),
]  # fmt: skip


def quoted(rows: list[list[str]], delimiter: str) -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in f'{delimiter}"') else text

    return "".join(delimiter.join(map(cell, row)) + "\n" for row in rows)


def write_csv(folder: Path, *lines: str, name: str = "mine.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.fixture(params=["csv", "semicolon", "tsv", "excel", "jsonl", "parquet"])
def same_table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same three rows in six formats."""
    rows = [HEADER, *ROWS]
    if request.param == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {name: [row[i] or None for row in ROWS] for i, name in enumerate(HEADER)}
        columns["EmoAct"], columns["EmoDom"] = [3.7, 1.0, None], [7.0, 2.5, float("nan")]
        parquet.write_table(pyarrow.table(columns), tmp_path / "mine.parquet")
        return tmp_path / "mine.parquet"
    if request.param == "jsonl":
        numbers = {"EmoAct": float, "EmoDom": float}
        records = [
            {
                name: numbers.get(name, str)(cell) if cell else None
                for name, cell in zip(HEADER, row, strict=True)
            }
            for row in ROWS
        ]
        return write_csv(tmp_path, *map(json.dumps, records), name="mine.jsonl")
    delimiter, name, encoding, end = {
        "csv": (",", "mine.csv", "utf-8", "\n"),
        "semicolon": (";", "mine.csv", "utf-8", "\r\n"),
        "tsv": ("\t", "mine.tsv", "utf-8-sig", "\n"),
        "excel": ("\t", "mine.txt", "utf-16", "\r\n"),
    }[request.param]
    path = tmp_path / name
    path.write_bytes(quoted(rows, delimiter).replace("\n", end).encode(encoding))
    return path


def test_every_format_gives_the_same_utterances(same_table: Path) -> None:
    reading = table.read(same_table, scale=["1-7"], column=["id=uid"])
    assert reading.utterances == EXPECTED
    assert not reading.dropped
    assert all(problems_of(utterance) == [] for utterance in reading.utterances)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").touch()
    with pytest.raises(
        InputError, match="reading Parquet needs pyarrow; install it with `pip install pyarrow`"
    ):
        table.read(tmp_path / "x.parquet")


def test_a_yaml_file_says_the_same_as_flags_and_flags_win(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "clip,who,pleasant,mood", "x.wav,7,2,rage", "y.wav,8,-3,fine")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "columns: {audio: clip, speaker: who, valence: pleasant, emotion: mood}\n"
        "scale: {valence: -3..3}\nemotions: {rage: anger, fine: neutral}\ncorpus: lab\nversion: 1.10\n"
        "meta: [who]\naudio_suffix: ''\n"
    )
    reading = table.read(path, mapping=mapping)
    assert [(u.valence, u.emotion, u.speaker, u.meta) for u in reading.utterances] == [
        (0.833333333333333, "anger", "7", {"who": "7"}),
        (0.0, "neutral", "8", {"who": "8"}),
    ]
    assert (reading.header.corpus, reading.header.version) == ("lab", "1.10")
    flags: dict[str, Any] = {
        "scale": ["valence=-4..4"],
        "emotion": ["rage=frustration"],
        "corpus_name": "hall",
    }
    reading = table.read(path, mapping=mapping, **flags)
    assert [(u.valence, u.emotion, u.corpus) for u in reading.utterances] == [
        (0.75, "frustration", "hall"),
        (0.125, "neutral", "hall"),
    ]


def test_two_files_with_one_stem_and_stretches_of_one_file_get_ids_of_their_own(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path, "path,start,end", "a/1.wav,,", "b/1.wav,,", "c.v2.flac,0,1.5", "c.v2.flac,1.5,2", "noext,,"
    )
    ids = [u.id for u in table.read(path).utterances]
    assert ids == ["a/1", "b/1", "c.v2_0", "c.v2_1.5", "noext"]


def test_paths_of_other_systems_and_absolute_paths_below_the_root_are_understood(tmp_path: Path) -> None:
    wav = tmp_path / "wav"
    path = write_csv(tmp_path, "file", "sub\\a", "./b", f"{wav}/c", "/elsewhere/d")
    reading = table.read(path, audio_root=str(wav), audio_suffix=".wav")
    assert [u.audio for u in reading.utterances] == ["sub/a.wav", "b.wav", "c.wav", "/elsewhere/d.wav"]
    assert Path(reading.header.audio_root) == wav


def test_a_relative_audio_root_counts_from_where_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mapping.yaml").write_text("audio_root: wav")
    path = write_csv(tmp_path, "file", "a")
    assert Path(table.read(path, mapping=tmp_path / "mapping.yaml").header.audio_root) == tmp_path / "wav"
    monkeypatch.chdir("/")
    assert Path(table.read(path, audio_root="wav").header.audio_root) == Path("/wav")


def test_numbers_may_have_a_decimal_comma(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "file;arousal", "a.wav;3,7", "b.wav;4.6")
    assert [u.arousal for u in table.read(path, scale=["1-7"]).utterances] == [0.45, 0.6]


def test_a_table_is_split_by_speaker_when_asked(tmp_path: Path) -> None:
    lines = [f"{speaker}_{i}.wav,{speaker}" for speaker in range(10) for i in range(5)]
    path = write_csv(tmp_path, "file,speaker", *lines, "unknown.wav,")
    reading = table.read(path, split_by_speaker="0.6,0.2,0.2", split_seed=1)
    splits = {
        name: {u.speaker for u in reading.utterances if u.split == name}
        for name in ("train", "development", "test")
    }
    assert {name: len(speakers - {None}) for name, speakers in splits.items()} == {
        "train": 6,
        "development": 2,
        "test": 2,
    }
    assert reading.utterances[-1].split == "train", "an unknown speaker may be anybody"
    assert reading.utterances == table.read(path, split_by_speaker="0.6,0.2,0.2", split_seed=1).utterances
    assert reading.utterances != table.read(path, split_by_speaker="0.6,0.2,0.2", split_seed=2).utterances


def test_rows_that_make_no_sense_are_dropped_with_their_line(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path,
        "file,text,arousal,start,end,fold",
        "a.wav,fine,3,0,1,1",
        "b.wav,Well, I never,3,0,1,1",
        "c.wav,words,high,0,1,1",
        "d.wav,words,3,2,1,1",
        "e.wav,words,3,0,1,1.5",
        ",,3,,,",
        "",
        "g.wav,words",
    )
    reading = table.read(path, scale=["1-7"])
    assert [u.id for u in reading.utterances] == ["a", "g"]
    assert [(r.id, r.reason) for r in reading.dropped] == [
        ("line 3", "row cannot be read"),
        ("c", "not a number"),
        ("d", "start and end make no sense"),
        ("e", "fold is not a whole number from 1"),
        ("mine_000007", "neither audio nor text"),
    ]
    assert all(remark.failed for remark in reading.dropped)
    assert "7 cells under 6 columns; is a quote missing?" in reading.dropped[0].detail
    assert reading.dropped[1].detail == "line 4: arousal = 'high'"


def test_broken_json_lines_are_dropped_with_their_line(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path, '{"text": "a"}', '{"text": ', "[1]", '{"text": "b", "arousal": 4}', name="m.jsonl"
    )
    reading = table.read(path, scale=["1-7"])
    assert [u.text for u in reading.utterances] == ["a", "b"]
    assert [r.id for r in reading.dropped] == ["line 2", "line 3"]


def test_one_stray_rating_is_clamped_and_many_mean_a_wrong_range(tmp_path: Path) -> None:
    good = [f"{i}.wav,{1 + i % 5}" for i in range(250)]
    reading = table.read(write_csv(tmp_path, "file,valence", *good, "x.wav,5.5", "y.wav,0"), scale=["1-5"])
    assert [(r.id, r.detail) for r in reading.flagged] == [
        ("x", "valence = 5.5, 1-5"),
        ("y", "valence = 0, 1-5"),
    ]
    assert [u.valence for u in reading.utterances[-2:]] == [1.0, 0.0]
    with pytest.raises(
        InputError,
        match=r"102 of 252 values of 'valence' lie outside the declared range 1-3: .* from 0 to 5\.5\.",
    ):
        table.read(write_csv(tmp_path, "file,valence", *good, "x.wav,5.5", "y.wav,0"), scale=["1-3"])


def test_a_windows_1252_table_is_read_and_said_to_be_one(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "text", "Müller’s café", encoding="cp1252")
    reading = table.read(path)
    assert reading.utterances[0].text == "Müller’s café"
    assert "mine.csv was read as cp1252, not UTF-8" in reading.notes


def test_the_columns_that_were_understood_and_those_that_were_not_are_said(tmp_path: Path) -> None:
    reading = table.read(write_csv(tmp_path, "file,colour,act", "a.wav,red,4"), scale=["1-7"])
    assert reading.notes == ["columns: audio = file, arousal = act; not used: colour"]


MISTAKES = {
    "no column of audio or text": (
        ["name,valence", "a,3"], {"scale": ["1-7"]},
        r"no column with audio paths and none with text; columns found: name, valence\. .*--column audio="),
    "a column that is not there": (
        ["file,valence", "a,3"], {"column": ["audio=fil"]},
        r"no column 'fil' \(meant as audio\) \(did you mean 'file'\?\); columns found: file, valence"),
    "a field that is not there": (
        ["file", "a"], {"column": ["audoi=file"]},
        r"unknown field 'audoi' \(did you mean 'audio'\?\); fields: id, audio"),
    "two columns that may mean one field": (
        ["filename,path", "a,b"], {},
        "the columns filename and path may all mean audio; say which with --column audio="),
    "two columns of one name": (["file,x,x", "a,1,2"], {}, "two columns are called 'x'"),
    "no range declared": (
        ["file,arousal,val", "a,1,2"], {"scale": ["arousal=1-7"]},
        "range of valence is not declared; add --scale"),
    "a range that is none": (["file,arousal", "a,1"], {"scale": ["7"]}, "not a scale: '7'"),
    "a dimension that is none": (
        ["file,arousal", "a,1"], {"scale": ["valance=1-7"]}, "did you mean 'valence'"),
    "words for emotions that nobody knows": (
        ["file,emotion", "a,rage", "b,angry", "c,gloom"], {},
        r"unknown emotions 'gloom', 'rage'; say what each means with --emotion 'gloom=CLASS'\. Classes: "),
    "an option that is no pair": (["file", "a"], {"emotion": ["rage"]}, "not NAME=VALUE: 'rage'"),
    "a header without rows": (["file,arousal"], {"scale": ["1-7"]}, "the table has no rows"),
    "an empty file": ([""], {}, "the file is empty"),
    "a delimiter of two characters": (["file", "a"], {"delimiter": "::"}, "--delimiter '::': one character"),
    "shares that do not add up": (
        ["file", "a"], {"split_by_speaker": "0.8,0.1"}, r"not three shares that add up to 1: '0\.8,0\.1'"),
    "too few speakers": (
        ["file,speaker", "a,1", "b,2"], {"split_by_speaker": "0.8,0.1,0.1"},
        "2 speakers are known: too few for 3 splits"),
    "a mapping that is not there": (
        ["file", "a"], {"mapping": Path("no.yaml")}, "--mapping: no such file: no.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_what_mends_it(tmp_path: Path, mistake: str) -> None:
    lines, options, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        table.read(write_csv(tmp_path, *lines), **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("column: {a: b}", r"unknown key 'column' \(did you mean 'columns'\?\); keys: columns, scale"),
        ("columns: [a, b]", "columns in the mapping file must be a list of NAME: VALUE"),
        ("- a", "expected keys and values"),
        ("a: [", "not YAML"),
        ("meta: x", "meta must be a list of columns"),
        ("label_source: guessed", "label_source 'guessed': one of rated, acted"),
        ("columns: !!python/object/apply:os.system ['true']", "columns in the mapping file"),
    ],
)
def test_a_mistake_in_the_mapping_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mapping.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        table.read(write_csv(tmp_path, "file", "a"), mapping=tmp_path / "mapping.yaml")


def test_a_path_that_is_no_table_is_answered_with_the_tables_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such table"):
        table.read(tmp_path / "labels.csv")
    with pytest.raises(InputError, match="give the table itself; tables in this folder: none"):
        table.read(tmp_path)
    assert isinstance(table.read(write_csv(tmp_path, "file", "a").parent), Reading)
    write_csv(tmp_path, "file", "a", name="other.tsv")
    with pytest.raises(InputError, match=r"tables in this folder: mine\.csv, other\.tsv"):
        table.read(tmp_path)
    with pytest.raises(
        InputError, match=r"labels\.xlsx: not a table that can be read; suffixes known: \.csv"
    ):
        table.read(write_csv(tmp_path, "x", name="labels.xlsx"))
    with pytest.raises(InputError, match="git lfs pull"):
        table.read(write_csv(tmp_path, "version https://git-lfs.github.com/spec/v1", name="stub.csv"))
