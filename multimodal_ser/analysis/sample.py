"""The utterances that an encoder's layers are measured on, and everything that layers are compared with."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser.analysis.acoustic_table import acoustic_table, filled
from multimodal_ser.analysis.choosing import Comparison, Measured, choose
from multimodal_ser.analysis.probes import FOLDS, speaker_folds
from multimodal_ser.analysis.text_layers import embeddings
from multimodal_ser.analysis.trained_model import predictions
from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.audio_store import decode
from multimodal_ser.data import Examples
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor, chosen_device
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest
from multimodal_ser.models.text import DEFAULT_ENCODER, TextEncoder

ACOUSTIC_ROWS = 3_000  # utterances that the acoustic set is computed of, at most
HEARD, READ, SENTIMENT = "the acoustic set", "sentence embeddings", "the sentiment of the words"
FEWEST_TEXTS = 60
READ_ROWS = 20_000  # utterances whose words layers are compared with, at most


@dataclass(frozen=True)
class Sample:
    """What is measured, in the order of `manifest`."""

    manifest: Manifest
    chosen: Measured
    seconds: NDArray[np.float64]  # (N,)
    others: dict[str, Comparison]
    told: dict[str, Comparison]  # one column each: what else layers may tell, as a control
    notes: list[str]  # what was not measured, and why


def sample(
    manifest: Manifest,
    reads: bool,
    device: str = "auto",
    seed: int = 0,
    sentence_encoder: str | None = None,
    sentiment: str | None = None,
) -> Sample:
    """The utterances that can be measured, with text if the encoder `reads`."""
    usable = [u for u in manifest.utterances if u.text] if reads else manifest.utterances
    if reads and not usable:
        raise InputError(
            "no utterance of this manifest has a transcript, and a text encoder reads nothing else; "
            "`multimodal-ser transcribe` makes transcripts"
        )
    chosen = choose(usable)
    speaker_folds(chosen.speakers, FOLDS, seed)  # refuses too few speakers before anything is computed
    chosen = replace(chosen, left_out=chosen.left_out + len(manifest.utterances) - len(usable))
    wanted = Manifest(manifest.header, [usable[row] for row in chosen.rows], manifest.root)
    has_audio = [u.audio is not None for u in wanted.utterances]
    others, told, notes = {}, {}, []
    seconds = Examples(wanted, None).seconds
    if all(has_audio):
        store = decode(wanted)
        seconds = np.asarray(store.lengths) / SAMPLE_RATE
        rows = np.sort(np.random.default_rng(seed).permutation(len(store))[:ACOUSTIC_ROWS])
        others[HEARD] = Comparison(rows, filled(acoustic_table(store, rows)))
    elif reads:
        notes.append("nothing is compared with what is heard: not every utterance has audio")
    others |= _read(wanted, sentence_encoder, device, seed, notes)
    if sentiment is not None:
        others[SENTIMENT] = told[SENTIMENT] = _sentiment(wanted, sentiment, device, seed)
    return Sample(wanted, chosen, seconds, others, told, notes)


def _with_text(manifest: Manifest, seed: int) -> NDArray[np.int64]:
    """A random part of the utterances that have a transcript."""
    rows = np.flatnonzero([bool(u.text) for u in manifest.utterances])
    return np.sort(np.random.default_rng(seed).permutation(rows)[:READ_ROWS])


def _read(
    manifest: Manifest, name: str | None, device: str, seed: int, notes: list[str]
) -> dict[str, Comparison]:
    """Sentence embeddings of the transcripts; without the usual encoder a note says so."""
    rows = _with_text(manifest, seed)
    speakers = {manifest.utterances[row].speaker for row in rows}
    if len(rows) < FEWEST_TEXTS or len(speakers) < 5:
        notes.append(f"nothing is compared with what is read: {len(rows)} utterances have a transcript")
        return {}
    try:
        encoder = TextEncoder.from_pretrained(name or DEFAULT_ENCODER).eval()
    except InputError as error:
        if name is not None:
            raise
        notes.append(f"nothing is compared with what is read: {error}")
        return {}
    texts = [manifest.utterances[row].text or "" for row in rows]
    return {READ: Comparison(rows, filled(embeddings(encoder, texts, chosen_device(device))))}


@torch.inference_mode()
def _sentiment(manifest: Manifest, folder: str, device: str, seed: int) -> Comparison:
    """The valence of the words alone, as a model reads it."""
    predictor = Predictor.load(folder, device)
    if predictor.model.text is None:
        raise InputError(f"--sentiment {folder}: this model only hears; a model that reads text is wanted")
    rows = _with_text(manifest, seed)
    if len(rows) < FEWEST_TEXTS:
        raise InputError(
            f"--sentiment {folder}: {len(rows)} utterances have a transcript; {FEWEST_TEXTS} are needed"
        )
    part = Manifest(manifest.header, [manifest.utterances[row] for row in rows], manifest.root)
    said, _ = predictions(predictor, part, layers=False)
    return Comparison(rows, said["text"][:, [DIMENSIONS.index("valence")]])
