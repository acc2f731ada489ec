"""A corpus of a few tiny recordings and networks that train on it in a second; for tests of training."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from multimodal_ser import config as experiment
from multimodal_ser import settings
from multimodal_ser.manifests import Header, Manifest, read, write
from multimodal_ser.utterances import Utterance

RATE = 16_000
WORDS = ("bad sad awful", "so so", "fine then", "good great lovely")
MODEL: dict[str, Any] = {
    "width": 16,
    "heads": 2,
    "audio": {
        "encoder": "mel",
        "mel": {"width": 16, "heads": 2, "blocks": 1, "feedforward": 16, "bands": 12},
    },
    "text": {"encoder": "small", "width": 16, "blocks": 1},
}
WITHOUT_DROPOUT: dict[str, Any] = {
    **MODEL,
    "dropout": 0.0,
    "audio": {"encoder": "mel", "mel": {**MODEL["audio"]["mel"], "dropout": 0.0}},
}
TRAINING: dict[str, Any] = {
    "epochs": 3,
    "batch_seconds": 3.0,
    "patience": None,
    "device": "cpu",
    "checkpoint_steps": 2,
}


def write_corpus(folder: Path, train: int = 20, development: int = 8, seed: int = 0) -> Path:
    """Recordings of 0.2 to 0.8 s, loud where aroused, with words as pleasant as their valence."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number in range(train + development):
        arousal, valence, dominance = generator.random(3).round(3).tolist()
        length = int(generator.uniform(0.2, 0.8) * RATE)
        sound = generator.standard_normal(length) * (0.01 + 0.2 * arousal)
        sound[: length // 2] *= arousal
        soundfile.write(folder / f"{number}.wav", np.clip(sound, -1, 1), RATE, subtype="PCM_16")
        utterances.append(
            Utterance(
                id=f"u{number:03d}",
                corpus="small",
                audio=f"{number}.wav",
                speaker=f"s{number % 5}",
                split="train" if number < train else "development",
                text=WORDS[min(int(valence * 4), 3)],
                arousal=arousal,
                valence=valence,
                dominance=dominance,
                emotion="happiness" if valence > 0.5 else "sadness",
            )
        )
    path = folder / "manifest.jsonl"
    write(path, Header("small", audio_root="."), utterances)
    return path


def values(manifest: Path, **parts: Any) -> dict[str, Any]:
    """An experiment's values; `parts` go over them: `training={"seed": 1}`."""
    below = {
        "data": {"manifest": os.fspath(manifest), "cache": os.fspath(manifest.parent / "cache")},
        "model": MODEL,
        "training": TRAINING,
    }
    return settings.merged(below, parts)


def configured(manifest: Path, **parts: Any) -> experiment.RunConfig:
    """The same, as a configuration."""
    return settings.parse(experiment.RunConfig, values(manifest, **parts))


def split(path: Path, name: str, **changes: Any) -> Manifest:
    """One split of a manifest, each utterance with the given changes."""
    part = read(path).split(name)
    return replace(part, utterances=[replace(u, **changes) for u in part.utterances])


def python(*arguments: str | os.PathLike, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python on one thread, with the tests importable; what it says is kept."""
    return subprocess.run(
        [sys.executable, *map(os.fspath, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": os.fspath(Path(__file__).parent),
            "OMP_NUM_THREADS": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def two_processes(script: Path, *arguments: str | os.PathLike) -> None:
    """Run a script as two processes that train together on the CPU."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = python(*launcher, script, *arguments)
    assert done.returncode == 0, done.stderr
