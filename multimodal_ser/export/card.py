"""What stands beside exported graphs for somebody who has nothing else: a card and a program."""

from pathlib import Path
from typing import Any

from multimodal_ser.cache import write_text

CARD, EXAMPLE = "MODEL_CARD.md", "example.py"

_PRECISIONS = {
    "fp32": "single precision: the network itself",
    "bf16": "weights stored in bfloat16, half the size; ONNX Runtime computes in single precision on CPUs",
    "int8": "audio branch quantised statically (convolutions and matrix products), text branch dynamically",
}
_CARD = """# Exported speech emotion model

Arousal, valence and dominance of an utterance in unit scale (0 to 1), from its sound and its words.

- weights: `{weights}`, exported by multimodal_ser {version}
- readings: {readings}{classes}
- sound: {sound}
- words: {words}

## Files

`joined.<precision>.onnx` goes from sound and words to the readings; `audio`, `text` and `fusion` are its
parts. `example.py` runs it with onnxruntime and numpy alone.

{files}

## Agreement with the network

Differences in unit scale, on {clips}. Single precision has to agree; what lower precision costs on
labelled data is for the accuracy gate to say, not for this table.

| precision | largest | mean |
| --- | --- | --- |
{table}
"""

_EXAMPLE = '''"""Score a 16-bit mono WAV of {rate} Hz: python example.py CLIP.wav [TOKEN_ID ...]"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime

FOLDER = Path(__file__).parent
record = json.loads((FOLDER / "export.json").read_text())
session = onnxruntime.InferenceSession(FOLDER / "joined.fp32.onnx", providers=["CPUExecutionProvider"])
wanted = {{given.name for given in session.get_inputs()}}

feed = {{}}
if "waveforms" in wanted:
    with wave.open(sys.argv[1]) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == ({rate}, 1, 2)
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    feed |= {{"waveforms": sound[None], "lengths": np.array([sound.size])}}
if "token_ids" in wanted:  # of tokenizer.json, without start and end markers; none: nothing was said
    ids = [int(number) for number in sys.argv[2:]][: record["longest_text"]]
    feed |= {{"token_ids": np.array([ids or [0]]), "token_mask": np.full((1, max(1, len(ids))), bool(ids))}}
names = [given.name for given in session.get_outputs()]
said = dict(zip(names, session.run(names, feed)))
print(json.dumps(dict(zip(record["dimensions"], said["dimensions"][0].tolist()))))
'''


def write_example(folder: Path, record: dict[str, Any]) -> None:
    """A program that needs onnxruntime and numpy."""
    write_text(folder / EXAMPLE, _EXAMPLE.format(rate=record["sample_rate"] or 16_000))


def write_card(folder: Path, record: dict[str, Any], parity: dict[str, Any]) -> None:
    """What the graphs are, and how far they are from the network."""
    rows = [
        f"| {name} | {report['max']:.1e} | {report['mean']:.1e} |"
        for name, report in parity["precisions"].items()
    ]
    classes = f"; classes: {', '.join(record['classes'])}" if record["classes"] else ""
    rate, longest = record["sample_rate"], record["longest_text"]
    text = _CARD.format(
        weights=record["weights"],
        version=record["multimodal_ser"],
        readings=", ".join(record["readings"]),
        classes=classes,
        sound="not heard" if rate is None else f"mono, {rate} samples per second, -1 to 1",
        words="not read" if longest is None else f"ids of the tokenizer here, at most {longest} at once",
        files="\n".join(f"- {name}: {_PRECISIONS[name]}" for name in record["precisions"]),
        clips=parity["clips"],
        table="\n".join(rows),
    )
    write_text(folder / CARD, text)
