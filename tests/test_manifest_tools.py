"""Manifests are shown, filtered, merged, moved and drawn; no id, speaker or file is mixed up."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from multimodal_ser import manifests
from multimodal_ser.cli import main
from multimodal_ser.corpora import manifest_tools as tools
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, Manifest
from multimodal_ser.utterances import Utterance

CLIPS = [
    Utterance("1", "one", audio="a/1.wav", speaker="03", split="train", emotion="anger", valence=0.2, fold=1),
    Utterance("2", "one", audio="a/2.wav", speaker="04", split="train", emotion="no_agreement", valence=0.9),
    Utterance(
        "3",
        "one",
        audio="a/3.wav",
        speaker="03",
        split="test",
        arousal=0.5,
        meta={"room": "hall", "take": 10},
    ),
    Utterance("4", "one", text="=words", split="test1", meta={"room": "yard"}),
]
MANIFEST = Manifest(Header("one", "1", "wav", "free"), CLIPS)


def ids(manifest: Manifest) -> list[str]:
    return [utterance.id for utterance in manifest.utterances]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("split=train", ["1", "2"]),
        ("split=train,test1", ["1", "2", "4"]),
        ("split!=train", ["3", "4"]),
        (" emotion = anger ", ["1"]),
        ("emotion=", ["3", "4"]),
        ("emotion!=", ["1", "2"]),
        ("valence>0.2", ["2"]),
        ("valence>=0.2", ["1", "2"]),
        ("valence<0.9", ["1"]),
        ("valence<=0.9", ["1", "2"]),
        ("valence!=", ["1", "2"]),
        ("fold=1", ["1"]),
        ("meta.room=hall", ["3"]),
        ("meta.take>9", ["3"]),
        ("meta.room!=hall", ["1", "2", "4"]),
        ("text==words", ["4"]),
        ("speaker=03", ["1", "3"]),
    ],
)
def test_a_condition_selects_what_it_says(text: str, kept: list[str]) -> None:
    assert ids(tools.filtered(MANIFEST, keep=[text])) == kept
    remaining = [name for name in ids(MANIFEST) if name not in kept]
    assert ids(tools.filtered(MANIFEST, drop=[text])) == remaining


def test_conditions_add_up() -> None:
    assert ids(tools.filtered(MANIFEST, keep=["split=train,test", "speaker=03"], drop=["valence>0"])) == ["3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["split=dev"]}, r"no utterance fulfils 'split=dev'; values of split: test, test1, train"),
        ({"keep": ["speaker=9"]}, r"values of speaker: \(none\), 03, 04|values of speaker: .*03, 04"),
        ({"drop": ["id!="]}, "no utterance is left after --drop id!="),
        ({"keep": ["splt=train"]}, r"unknown field 'splt' \(did you mean 'split'\?\); fields: id"),
        ({"keep": ["meta=1"]}, r"meta with a name: meta\.NAME"),
        ({"keep": ["id.x=1"]}, "unknown field 'id.x'"),
        ({"keep": ["train"]}, "not a condition: 'train'; write FIELD=VALUE"),
        ({"drop": ["valence>high"]}, "'high' is not a number"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_answered_with_what_can(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tools.filtered(MANIFEST, **options)


def write_corpus(folder: Path, name: str, *utterances: Utterance) -> Path:
    for position, utterance in enumerate(u for u in utterances if u.audio):
        path = folder / "wav" / utterance.audio
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(1600 * (1 + position), 0.1), 16000)
    root = "wav" if any(u.audio for u in utterances) else None
    manifests.write(folder / "manifest.jsonl", Header(name, "1", root, f"licence of {name}"), utterances)
    return folder / "manifest.jsonl"


def other(number: int) -> Utterance:
    return Utterance(f"{number}", "two", audio=f"a/{number}.wav", speaker="03", split="train")


def test_two_corpora_with_the_same_ids_speakers_and_files_stay_apart(tmp_path: Path) -> None:
    paths = [
        write_corpus(tmp_path / "one", "one", *CLIPS),
        write_corpus(tmp_path / "two", "two", other(1), other(2)),
    ]
    both = tools.merged([manifests.read(path) for path in paths], tmp_path / "both")
    manifests.write(tmp_path / "both" / "m.jsonl", both.header, both.utterances)
    found = manifests.read(tmp_path / "both" / "m.jsonl")
    assert ids(found) == ["one/1", "one/2", "one/3", "one/4", "two/1", "two/2"]
    assert [u.speaker for u in found.utterances] == ["one/03", "one/04", "one/03", None, "two/03", "two/03"]
    assert found.audio_path(found.utterances[4]).resolve() == tmp_path / "two" / "wav" / "a" / "1.wav"
    manifests.check_audio(found)
    assert (found.header.corpus, found.header.licence) == ("one+two", "licence of one+licence of two")
    third = write_corpus(tmp_path / "three", "three", Utterance("1", "three", text="t"))
    again = tools.merged([found, manifests.read(third)], tmp_path)
    assert ids(again)[-2:] == ["two/2", "three/1"], "a second merge does not put the name twice"


def test_parts_of_one_corpus_keep_their_ids_and_may_not_share_one(tmp_path: Path) -> None:
    first, second = (
        Manifest(MANIFEST.header, CLIPS[:2], tmp_path),
        Manifest(MANIFEST.header, CLIPS[2:], tmp_path),
    )
    assert ids(tools.merged([first, second], tmp_path)) == ["1", "2", "3", "4"]
    with pytest.raises(InputError, match="two manifests of 'one' hold the id '2'"):
        tools.merged([first, Manifest(MANIFEST.header, CLIPS[1:], tmp_path)], tmp_path)
    with pytest.raises(InputError, match=r"'one' declares no audio_root; give it one first: .*--audio-root"):
        tools.merged([Manifest(Header("one"), CLIPS[:2]), second], tmp_path)


@pytest.mark.parametrize(
    ("root", "output", "written"),
    [
        ("data/corpus", "data/out", "../corpus"),
        ("data", "data/out", ".."),
        ("data/out/wav", "data/out", "wav"),
        ("data/out", "data/out", "."),
        ("data/a/b/c", "data/out", "../a/b/c"),
        ("corpora/msp", "work/manifests/msp", None),
    ],
)
def test_a_root_is_written_relative_only_if_it_lies_near(
    tmp_path: Path, root: str, output: str, written: str | None
) -> None:
    expected = written if written is not None else (tmp_path / root).as_posix()
    assert tools.written_root(tmp_path / root, tmp_path / output) == expected


def test_a_root_that_shares_nothing_but_the_disk_is_written_whole() -> None:
    assert tools.written_root(Path("/somewhere"), Path("/elsewhere")) == "/somewhere"


def test_showing_counts_every_split_and_draws_ten_lines_by_seed(tmp_path: Path) -> None:
    many = Manifest(
        MANIFEST.header, [Utterance(f"u{i}", "one", text=f"t{i}", split="train") for i in range(50)]
    )
    lines = tools.shown(many).splitlines()
    chosen = [json.loads(line)["id"] for line in lines[-10:]]
    assert len(set(chosen)) == 10
    assert tools.shown(many) == tools.shown(many)
    assert [json.loads(line)["id"] for line in tools.shown(many, seed=1).splitlines()[-10:]] != chosen
    shown = tools.shown(MANIFEST, {f"a/{i}.wav": 36.0 for i in (1, 2, 3)})
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line.strip()}
    assert rows["train"][1:4] == ["2", "0.02", "2"]
    assert rows["total"][1:4] == ["4", "0.03", "2"]
    assert "train & test share 1 (03)" in shown


def test_a_figure_is_written_or_the_lack_of_labels_said(tmp_path: Path) -> None:
    tools.draw(MANIFEST, tmp_path / "labels.png")
    data = (tmp_path / "labels.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert (data[:8], width > 800, height > 200) == (b"\x89PNG\r\n\x1a\n", True, True)
    with pytest.raises(InputError, match="'one' has no arousal, valence or dominance to draw"):
        tools.draw(Manifest(MANIFEST.header, CLIPS[3:]), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def run_manifest(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["manifest", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_verb_shows_filters_moves_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_corpus(tmp_path / "one", "one", *CLIPS)
    code, out, _ = run_manifest(capsys, path)
    assert (code, "anger 1" in out) == (0, True)
    (tmp_path / "one" / "wav").rename(tmp_path / "new")
    target = tmp_path / "far" / "train.jsonl"
    code, out, _ = run_manifest(
        capsys, path, "--keep", "split=train", "--audio-root", tmp_path / "new", "-o", target
    )
    assert (code, "(2 utterances)" in out) == (0, True)
    moved = manifests.read(target)
    assert moved.header.audio_root == "../new"
    manifests.check_audio(moved)
    for arguments, message in (
        ((path, "-o", tmp_path / "x.csv"), "must end in .jsonl"),
        ((path, target, "--audio-root", tmp_path), "--audio-root belongs to one manifest"),
        ((path, "--keep", "split=dev"), "no utterance fulfils"),
        ((tmp_path / "none.jsonl",), "no such manifest"),
    ):
        code, _, error = run_manifest(capsys, *arguments)
        assert (code, message in error) == (2, True), error
