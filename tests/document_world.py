"""A folder with miniatures of all that the documents' commands name, and how a command is run in it."""

import contextlib
import csv
import http.server
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import soundfile
from documents import PROGRAM, ROOT
from fake_msp_podcast import invent, write_tree
from scripts import load_script
from tiny_checkpoints import (
    save_distilbert,
    save_hubert,
    save_openai_whisper,
    save_ser_model,
    save_whisper,
    tiny_changes,
)

from multimodal_ser.cli import main
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.manifests import Manifest, read, write
from multimodal_ser.models.packaged import STARTER_FOLDER

SPEAKERS, UTTERANCES = 9, 7  # of the synthetic corpus: every split has somebody, layers have enough
FEED = "https://example.org/podcast.xml"
# What stands for something that the reader has, and what it is here.
STANDS_FOR = {
    "MODEL": "starter",
    "NAME": "owner/name",
    "MANIFEST": "prepared/manifest.jsonl",
    "manifest.jsonl": "prepared/manifest.jsonl",
    "RUN": "runs/small",
    "ENCODER": "checkpoints/hubert",
    "FOLDER": "weights",
    "experiment.yaml": "recipes/synthetic/text.yaml",
    "ntu-spml/distilhubert": "checkpoints/hubert",
    "MODEL/onnx": "onnx",
}
STEPS = ("training.max_steps=2", "training.batch_seconds=20", "training.device=cpu", "data.cache=cache")


def make_world(folder: Path) -> None:
    """Recordings, corpora, checkpoints and models in the smallest size."""
    for name in ("recipes", "data_manifests"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "episodes").mkdir(parents=True)
    make_episode(folder / "episode.mp3", minutes=0.5, seed=3, transcripts=("vtt",))
    make_episode(folder / "talk.wav", minutes=0.5, seed=4, sample_rate=16_000, transcripts=("vtt", "rttm"))
    for name in ("episode.mp3", "episode.vtt"):
        shutil.copyfile(folder / name, folder / "episodes" / name.replace("episode", "first"))
    clips = [*invent(90, test3=2, speakers=24)]
    write_tree(folder, clips, version="1.12", seconds=1.0)
    options = {"speakers": SPEAKERS, "utterances": UTTERANCES, "seed": 0, "workers": 1}
    prepared = prepare("synthetic", folder / "corpus", folder / "prepared", options=options, jobs=1)
    known = read(prepared.manifest)
    write(folder / "prepared" / "few.jsonl", known.header, known.utterances[:3])
    _write_labels(folder / "labels.csv", known)
    (folder / "checkpoints").mkdir()
    save_hubert(folder / "checkpoints" / "hubert")
    save_whisper(folder / "checkpoints" / "whisper")
    save_distilbert(folder / "checkpoints" / "text")
    save_openai_whisper(folder / "checkpoints" / "whisper.pt")


def add_models(folder: Path) -> None:
    """Run folders that stand for those of the reader."""
    for name in ("first", "large"):
        shutil.copytree(STARTER_FOLDER, folder / "runs" / name / "model")
    save_ser_model(folder / "runs" / "small" / "model")


def _write_labels(path: Path, known: Manifest) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["audio", "speaker", "text", "arousal", "valence", "dominance"])
        for u in known.utterances:
            ratings = (1 + 6 * x for x in (u.arousal, u.valence, u.dominance))
            table.writerow([os.path.relpath(known.audio_path(u), path.parent), u.speaker, u.text, *ratings])


class World:
    """Runs what a page shows, in the folder that the process is in."""

    def __init__(self, patch: pytest.MonkeyPatch, address: str) -> None:
        self.patch = patch
        self.address = address  # of a server that has the feed and its episode

    def shell(self, command: str) -> None:
        """Run one command; it must end well."""
        if command.startswith("sbatch"):  # what one job of the array does
            command = re.search("'(.*)'", command)[1].replace("$SLURM_ARRAY_TASK_ID/8", "1/8")
        before, bar, after = command.partition(" | ")
        if bar:  # a recorder before, which is a recording here
            sound = soundfile.read("talk.wav", dtype="int16")[0].tobytes()
            self.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sound)))
        words = shlex.split(after or before)
        if words[0] == "python":
            code = self._script(Path(words[1]), [self._here(word) for word in words[2:]])
        elif words[0] == PROGRAM:
            code = self._ours(words[1:])
        else:
            code = subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode
        assert code == 0, f"`{command}` ended with {code}"

    def _script(self, path: Path, arguments: Sequence[str]) -> int:
        self.patch.setattr("sys.argv", [path.name, *arguments])
        return load_script(path.resolve()).main() or 0

    def _ours(self, words: Sequence[str]) -> int:
        if words[0] == "--offline":  # cannot be taken back in a process, so not in this one
            command = [sys.executable, "-m", "multimodal_ser", *words[:1], *self._small(words[1:])]
            return subprocess.run(command, check=False).returncode
        try:
            return main(self._small(words))
        except SystemExit as stopped:  # as after --help
            return stopped.code or 0

    def _here(self, word: str) -> str:
        key, equals, value = word.partition("=")
        if equals and value in STANDS_FOR:
            return f"{key}={STANDS_FOR[value]}"
        return STANDS_FOR.get(word, word.replace(FEED, f"{self.address}/podcast.xml"))

    def _small(self, words: Sequence[str]) -> list[str]:
        """The arguments with other paths, and what makes the work small; the last of two values counts."""
        verb, *rest = words
        rest = [self._here(word) for word in rest]
        if "--help" in rest:
            return [verb, *rest]
        if verb == "train":
            tiny = tiny_changes(Path(rest[0]), {path.stem: path for path in Path("checkpoints").iterdir()})
            rest += [word for change in (*tiny, *STEPS) for word in ("--set", change)]
        elif verb == "prepare":
            sizes = ["--speakers", str(SPEAKERS), "--utterances", str(UTTERANCES)]
            rest += sizes if rest[0] == "synthetic" else ["--allow-partial"]
        elif verb == "layers" and rest[0] != "compare":
            if "--split" in rest:  # its speakers are too few here
                rest = [*rest[: rest.index("--split")], *_behind(rest, "--split")]
            rest += ["--device", "cpu", "--random-encoders", "3", "--sentence-encoder", "checkpoints/text"]
        elif verb == "transcribe":
            rest[0] = "prepared/few.jsonl"
        rest += MORE.get(verb, [])
        return [verb, *rest]


MORE = {
    "score": ["--jobs", "1", "--speech", "energy"],
    "transcribe": ["--model", "checkpoints/whisper.pt", "--jobs", "1", "--no-cache", "--speech", "energy"],
    "bench": ["--seconds", "1", "--rounds", "1", "--threads", "1"],
}


def _behind(words: Sequence[str], option: str) -> Iterator[str]:
    """What follows an option and its values."""
    rest = iter(words[words.index(option) + 1 :])
    for word in rest:
        if word.startswith("-"):
            yield word
            yield from rest


@contextlib.contextmanager
def podcast(folder: Path) -> Iterator[str]:
    """A server with a feed of one episode; `saved.xml` is a copy of the feed."""
    files = {"/episode.mp3": (folder / "episode.mp3").read_bytes()}

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[self.path])))
            self.end_headers()
            self.wfile.write(files[self.path])

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    address = f"http://127.0.0.1:{server.server_port}"
    item = (
        "<title>Talk</title><pubDate>Tue, 03 Feb 2026 10:00:00 +0000</pubDate>"
        f"<enclosure url='{address}/episode.mp3' type='audio/mpeg' length='0'/>"
    )
    feed = f"<rss version='2.0'><channel><title>P</title><item>{item}</item></channel></rss>"
    files["/podcast.xml"] = feed.encode()
    (folder / "saved.xml").write_text(feed, encoding="utf-8")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
