"""What layer reports cost: pooled extraction against a plain forward, and the probes of many utterances.

Extraction: an encoder of HuBERT-base's size with random weights over batches of noise, once as it is and once
with all layers pooled and written as `layers` does; the smaller of several repetitions of each, in turn,
in CPU seconds of this process, which other programs on the machine do not change much.
Probes: random features of half precision in a file that is read as a memory map; every layer, three
dimensions with their permuted copies and all penalties in nested folds. Peak RSS is that of this process,
pages of the file that the system keeps in memory included.

    OMP_NUM_THREADS=1 python recipes/benchmarks/layers.py extraction
    OMP_NUM_THREADS=1 python recipes/benchmarks/layers.py probes --utterances 50000
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from multimodal_ser.analysis import controls
from multimodal_ser.analysis.extraction import pooled
from multimodal_ser.analysis.probes import probe_layers, speaker_folds
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder

SAMPLE_RATE = 16_000  # samples per second
UTTERANCES_PER_SPEAKER = 50


@torch.inference_mode()
def extraction(name: str, clips: int, seconds: float, repetitions: int) -> tuple[float, float]:
    """CPU seconds of a plain forward and of one with pooling and writing."""
    torch.manual_seed(0)
    encoder = HubertEncoder.from_config(PUBLISHED[name]).eval()
    waveforms = 0.1 * torch.randn(clips, round(seconds * SAMPLE_RATE))
    lengths = torch.full((clips,), waveforms.shape[1])
    shape = (clips, encoder.num_layers + 1, 2 * encoder.width)
    plain, whole = [], []
    with tempfile.NamedTemporaryFile() as file:
        features = np.memmap(file.name, dtype=np.float16, mode="w+", shape=shape)
        encoder(waveforms, lengths)  # the first pass allocates
        for _ in range(repetitions):
            start = time.process_time()
            encoder(waveforms, lengths)
            plain.append(time.process_time() - start)
            start = time.process_time()
            features[:] = pooled(encoder(waveforms, lengths)).numpy()
            features.flush()
            whole.append(time.process_time() - start)
    return min(plain), min(whole)


def probes(utterances: int, layers: int, width: int, copies: int, folder: Path) -> float:
    """Seconds of all probes."""
    generator = np.random.default_rng(0)
    path = folder / "features.float16"
    features = np.memmap(path, dtype=np.float16, mode="w+", shape=(utterances, layers, width))
    for start in range(0, utterances, 5_000):
        part = features[start : start + 5_000]
        part[:] = generator.standard_normal(part.shape, dtype=np.float32)
    features.flush()
    features = np.memmap(path, dtype=np.float16, mode="r", shape=features.shape)
    speakers = [f"s{n // UTTERANCES_PER_SPEAKER}" for n in range(utterances)]
    labels = generator.uniform(0, 1, (utterances, 3))
    begun = time.perf_counter()
    permuted = controls.permuted(labels, speakers, within=False, copies=copies).reshape(utterances, -1)
    probe_layers(features, np.concatenate([labels, permuted], axis=1), speaker_folds(speakers))
    return time.perf_counter() - begun


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("extraction", "probes"))
    parser.add_argument("--encoder", choices=PUBLISHED, default="facebook/hubert-base-ls960")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--utterances", type=int, default=50_000)
    parser.add_argument("--layers", type=int, default=13)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--copies", type=int, default=20, help="of permuted labels")
    arguments = parser.parse_args()
    if arguments.what == "extraction":
        plain, whole = extraction(
            arguments.encoder, arguments.clips, arguments.seconds, arguments.repetitions
        )
        print(
            f"plain forward {plain:.2f} s of CPU, with pooling and writing {whole:.2f} s: "
            f"{whole / plain:.3f} times"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        sizes = arguments.utterances, arguments.layers, arguments.width
        seconds = probes(*sizes, arguments.copies, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{' x '.join(map(str, sizes))}, {3 * (1 + arguments.copies)} targets: {seconds:.0f} s, "
        f"peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
