"""End to end against the chain that one writes first: seconds of an episode with its transcript, in turns.

    python recipes/benchmarks/naive.py WORK [--minutes 2] [--rounds 3] [--backends torch-fp32 ort-int8]

Both take the same recording (mp3, 44.1 kHz, stereo), the same segments and words, and networks of the same
size with the same random weights: DistilHuBERT, and a text encoder of the size of MiniLM-L6. The naive chain
reads the whole file with librosa, pads segments to batches of eight in their order, and runs the forward of
transformers, eager and in single precision, for sound and words. Ours is `Engine.score`, which also finds
speech and summarises; int8 runs without its gate, since random weights say nothing of accuracy. Models are
loaded beforehand; everything runs on one thread. Prints JSON: ratios are taken within a round.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.backends.files import ONNX_FOLDER, graph_path
from multimodal_ser.backends.running import REFERENCE, BackedModel
from multimodal_ser.bench.sizes import random_model
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.export.clips import noise
from multimodal_ser.export.graphs import write_parts
from multimodal_ser.export.precision import quantize
from multimodal_ser.models.ser import SerModel
from multimodal_ser.podcast.engine import Engine
from multimodal_ser.podcast.jobs import jobs_of

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves the script's own folder out

from padding import plain_network
from turns import Ways, processor_seconds, spread

BATCH = 8  # segments, in the naive chain
CLIPS = 4  # that calibrate int8


def make_model(work: Path) -> Path:
    """A model folder with its graphs, int8 calibrated on noise: speed does not ask for more."""
    folder = work / "model"
    graphs = folder / ONNX_FOLDER
    if not graph_path(graphs, "text", "int8").is_file():
        random_model("distilhubert").save_pretrained(folder)
        graphs.mkdir(exist_ok=True)
        parts = write_parts(SerModel.from_pretrained(folder), graphs)
        quantize(graphs, parts, noise(0, CLIPS).measuring)
    return folder


def engine_of(folder: Path, backend: str) -> Engine:
    """Scoring by a backend, whatever its gate would say of random weights."""
    engine = Engine(folder, device="cpu")
    if backend != REFERENCE:
        predictor = engine.rater.predictor
        predictor.model = BackedModel(predictor.model, backend, folder / ONNX_FOLDER).eval()
    return engine


class Naive:
    """librosa, padding, and the forward of transformers."""

    def __init__(self, model: SerModel) -> None:
        from transformers import AutoModel, BertConfig

        words = model.text.model
        self.model = model
        self.hubert = plain_network(model.audio, "eager")
        settings = BertConfig(**words.config.to_dict())
        self.bert = AutoModel.from_config(
            settings, attn_implementation="eager", add_pooling_layer=False
        ).eval()
        self.bert.load_state_dict(words.state_dict())
        self.head = nn.Linear(model.audio.width + model.text.width, 3)

    @torch.inference_mode()
    def score(self, media: Path, spans: list[tuple[float, float]], texts: list[str]) -> Tensor:
        """Three values for every segment."""
        import librosa

        sound = torch.from_numpy(librosa.load(media, sr=SAMPLE_RATE)[0])
        said = []
        for first in range(0, len(spans), BATCH):
            clips = [sound[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)] for a, b in spans[first:][:BATCH]]
            waveforms = nn.utils.rnn.pad_sequence(clips, batch_first=True)
            lengths = torch.tensor([len(clip) for clip in clips])
            mask = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()
            heard = self.hubert(waveforms, attention_mask=mask).last_hidden_state.mean(1)
            ids, is_word = self.model.text.tokenize(texts[first:][:BATCH])
            read = self.bert(input_ids=ids, attention_mask=is_word.long()).last_hidden_state.mean(1)
            said.append(self.head(torch.cat([heard, read], 1)))
        return torch.cat(said)


def run(options: argparse.Namespace) -> dict:
    torch.set_num_threads(1)
    media = options.work / "episode.mp3"
    episode = make_episode(
        media, minutes=options.minutes, seed=0, sample_rate=44_100, channels=2, transcripts=("vtt",)
    )
    folder = make_model(options.work)
    (job,) = jobs_of([media])
    engines = {name: engine_of(folder, name) for name in options.backends}
    segments = next(iter(engines.values())).score(job).segments
    naive = Naive(SerModel.from_pretrained(folder))
    spans, texts = [(s.start, s.end) for s in segments], [s.text for s in segments]
    ways: Ways = {"naive": lambda: naive.score(media, spans, texts)}
    ways |= {name: lambda engine=engine: engine.score(job) for name, engine in engines.items()}
    return {
        "seconds_of_sound": round(episode.seconds, 1),
        "segments": len(segments),
        **measured(ways, episode.seconds, options.rounds),
        "load": os.getloadavg()[0],
    }


def measured(ways: Ways, seconds: float, rounds: int) -> dict[str, dict]:
    """By way: how many times real time on one core, and how many times as fast as the first."""
    spent = processor_seconds(ways, rounds)
    first = next(iter(spent.values()))
    return {
        name: {
            "processor_seconds": round(statistics.median(times), 2),
            "times_real_time_per_core": round(seconds / statistics.median(times), 1),
            **spread("times_as_fast", (base / mine for base, mine in zip(first, times, strict=True))),
        }
        for name, times in spent.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for model, corpus and sound")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["torch-fp32", "ort-fp32", "ort-int8"])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(json.dumps(run(options), indent=2))


if __name__ == "__main__":
    main()
