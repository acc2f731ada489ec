"""Measuring the accuracy gate of a model folder."""

import os
import time
from pathlib import Path
from typing import Any

from multimodal_ser.backends.choice import unavailable, with_backend
from multimodal_ser.backends.gate import judge, write_gate
from multimodal_ser.backends.running import BACKENDS
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor, model_folder
from multimodal_ser.manifests import Manifest

ONE_AT_A_TIME = 1e-6  # seconds of a batch: as scoring on a processor runs, without padding


def run_gate(
    folder: str | os.PathLike,
    manifest: Manifest,
    data: str,
    cache: Path | None = None,
    emulate: bool = False,
) -> dict[str, Any]:
    """Compare every backend of reduced precision with the reference on a manifest and keep the verdicts.

    emulate: judge torch's bfloat16 where the processor has none, too; the folder may go to one that does.
    """
    folder = model_folder(folder)
    reduced = [name for name, backend in BACKENDS.items() if backend.reduced and backend.way == "plain"]
    refused = {name: reason for name in reduced if (reason := unavailable(folder, name))}
    if emulate:
        refused.pop("torch-bf16", None)
    if len(refused) == len(reduced):
        raise InputError(
            "no backend can be judged here: " + "; ".join(f"{n}: {r}" for n, r in refused.items())
        )
    plain = Predictor.load(folder, "cpu")
    examples = plain.examples(manifest, cache)
    reference = plain.predict(examples, ONE_AT_A_TIME)
    verdicts = {}
    for name in (name for name in reduced if name not in refused):
        backed = with_backend(plain, folder, name)
        begin = time.process_time()
        verdicts[name] = judge(reference, backed.predict(examples, ONE_AT_A_TIME), examples.utterances)
        verdicts[name]["cpu_seconds"] = time.process_time() - begin
    write_gate(folder, verdicts, data)
    return {"verdicts": verdicts, "unavailable": refused}
