"""Layer reports of encoders that have learned nothing: how many claims are wrongly supported?

    python recipes/layer_relevance/random_encoders.py MANIFEST WORK_FOLDER SEED...

Each seed is one encoder of HuBERT-base's size with random weights, saved as a checkpoint and measured as any
other by `multimodal-ser layers`, on the shortest clips of every speaker.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from multimodal_ser.audio_store import decode
from multimodal_ser.cli import main
from multimodal_ser.manifests import read, write

CLIPS = 12  # of every speaker


def shortest(manifest: Path, folder: Path) -> Path:
    """A manifest of the shortest clips of every speaker, beside the one that it is taken from."""
    every = read(manifest)
    by_speaker = defaultdict(list)
    for utterance, samples in zip(every.utterances, decode(every).lengths, strict=True):
        by_speaker[utterance.speaker].append((int(samples), utterance.id))
    kept = {name for clips in by_speaker.values() for _, name in sorted(clips)[:CLIPS]}
    path = manifest.with_name(f"{folder.name}_shortest.jsonl")
    write(path, every.header, [u for u in every.utterances if u.id in kept])
    return path


def untrained(seed: int, folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        torch.manual_seed(seed)
        HubertModel(HubertConfig()).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    work, seeds = Path(sys.argv[2]), [int(seed) for seed in sys.argv[3:]]
    clips = shortest(Path(sys.argv[1]), work)
    wrong = []
    for seed in seeds:
        encoder, output = untrained(seed, work / f"encoder{seed}"), work / f"layers{seed}"
        if not (output / "results.json").is_file():
            main(["layers", str(clips), "--encoder", str(encoder), "-o", str(output), "--device", "cpu"])
        (found,) = json.loads((output / "results.json").read_text(encoding="utf-8"))["encoders"].values()
        wrong += [f"{seed}: {one['claim']}" for one in found["conclusions"] if one["verdict"] == "supported"]
    print(f"{len(seeds)} encoders, wrongly supported: {len(wrong)}", *wrong, sep="\n  ")
