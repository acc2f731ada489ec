"""What a trained model itself makes of its layers and of its two branches.

- Leave one layer out: the share of one layer in the model's mix is taken away, the others keep their ratios;
  what CCC is lost, with nothing trained again. Neighbours may stand in, so little loss does not say that a
  layer holds little.
- Heard or read: CCC of the fused, the audio-only and the text-only reading on the same utterances, and what
  is lost without hearing and without reading.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser.analysis.conclusions import NOT_SUPPORTED, SUPPORTED, UNDECIDED, Verdict, shown
from multimodal_ser.analysis.relevance import Relevance, interval_of
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest
from multimodal_ser.metrics import Resampling, ccc_of, moment_rows
from multimodal_ser.models.ser import SerModel

RULE = (
    "A fused model hears a dimension more than it reads it if the interval of the CCC of its audio-only "
    "reading less that of its text-only reading lies above zero; not if it lies below; otherwise it is "
    "undecided."
)


@torch.inference_mode()
def predictions(
    predictor: Predictor, manifest: Manifest, layers: bool = True
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64] | None]:
    """What each reading says (N, 3), and what the fullest says without each layer of the mix (L, N, 3)."""
    model = predictor.model
    examples = predictor.examples(manifest)
    said = {name: np.full((len(examples), len(DIMENSIONS)), np.nan) for name in model.readings}
    count = model.audio.num_layers + 1 if layers and model.audio is not None else 0
    without = np.full((count, len(examples), len(DIMENSIONS)), np.nan)
    for batch in predictor.batches(examples):
        rows = batch.indices.cpu().numpy()
        encoding = None if model.audio is None else model.audio(batch.waveforms, batch.lengths)
        encoded = model.encode(
            batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask, encoding=encoding
        )
        for name in model.readings:
            said[name][rows] = model.read(encoded, name).dimensions.double().cpu().numpy()
        for layer in range(count):
            states = model.audio_projection(_mix_without(model, encoding.layers, layer))
            changed = encoded._replace(audio=encoded.audio._replace(states=states))
            read = model.read(changed, model.readings[0]).dimensions
            without[layer, rows] = read.double().cpu().numpy()
    return said, without if count else None


def scores(
    said: NDArray[np.float64], labels: NDArray[np.float64], resampling: Resampling
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CCC (K,) of predictions (N, K) and its draws (R, K)."""
    rows = np.stack([moment_rows(said[:, k], labels[:, k]) for k in range(labels.shape[1])], axis=1)
    return ccc_of(rows.sum(0)), ccc_of(resampling.draws(rows))


def losses_by_layer(
    said: NDArray[np.float64], without: NDArray[np.float64], labels: NDArray[np.float64],
    resampling: Resampling,
) -> Relevance:  # fmt: skip
    """What CCC is lost without each layer of the mix, (L, K)."""
    whole, draws = scores(said, labels, resampling)
    parts = [scores(one, labels, resampling) for one in without]
    return Relevance(
        np.stack([whole - value for value, _ in parts]), np.stack([draws - d for _, d in parts], axis=1)
    )


def heard_or_read(
    said: dict[str, NDArray[np.float64]],
    labels: NDArray[np.float64],
    names: tuple[str, ...],
    resampling: Resampling,
) -> tuple[dict[str, Relevance], list[Verdict]]:
    """CCC of each reading and what is lost without one branch, (1, K) each; a verdict for each dimension."""
    found = {name: scores(one, labels, resampling) for name, one in said.items()}
    shown_as = {name: Relevance(value[None], draws[:, None]) for name, (value, draws) in found.items()}
    if len(found) < 3:
        return shown_as, []
    for words, other in (("lost without hearing", "text"), ("lost without reading", "audio")):
        value, draws = (a - b for a, b in zip(found["fused"], found[other], strict=True))
        shown_as[words] = Relevance(value[None], draws[:, None])
    verdicts = []
    for k, name in enumerate(names):
        value, draws = (a[..., k] - b[..., k] for a, b in zip(found["audio"], found["text"], strict=True))
        gap = interval_of(float(value), draws)
        verdict = SUPPORTED if gap.low > 0 else NOT_SUPPORTED if gap.high < 0 else UNDECIDED
        reason = f"CCC of the audio-only less the text-only reading {shown(gap)}"
        verdicts.append(Verdict(f"{name} is heard more than it is read", verdict, (reason,)))
    return shown_as, verdicts


def _mix_without(model: SerModel, layers: tuple[torch.Tensor, ...], layer: int) -> torch.Tensor:
    """The model's mix of its layers with one of them taken out and the others' shares made to add up to 1."""
    scores_before = model.layer_mix.scores.data
    try:
        model.layer_mix.scores.data = scores_before.clone()
        model.layer_mix.scores.data[layer] = -torch.inf
        return model.layer_mix(layers)
    finally:
        model.layer_mix.scores.data = scores_before
