"""The facts of a card, from the settings of a run, its data and what an evaluation found."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_ser import __version__
from multimodal_ser.environment import commit
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header
from multimodal_ser.models.audio_branch import UNTRAINED
from multimodal_ser.models.pretrained import HUB_NAME
from multimodal_ser.set_facts import set_facts
from multimodal_ser.utterances import Utterance

SCHEMA_VERSION = 1
# ISO 639-1, of what is spoken or written in the corpora that `prepare` knows.
LANGUAGES = {
    "crema-d": "en",
    "emobank": "en",
    "emodb": "de",
    "iemocap": "en",
    "meld": "en",
    "msp-improv": "en",
    "msp-podcast": "en",
    "ravdess": "en",
    "synthetic": "en",
}
# Settings of training that say nothing about the model that comes out.
_OF_THE_MACHINE = ("checkpoint_steps", "device", "trackers", "workers")
_UNTRAINED = ("small", "strength", *UNTRAINED)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class CardConfig:
    """What nobody but the author of a model can say about it."""

    name: str | None = None  # the title
    licence: str | None = None  # of the weights, by the hub's short name, for example cc-by-nc-4.0
    languages: tuple[str, ...] | None = None  # ISO 639-1; None = those of the corpora, where they are known
    notes: str = ""  # a paragraph under the title

    def __post_init__(self) -> None:
        if self.languages is not None:
            object.__setattr__(self, "languages", tuple(self.languages))
            if wrong := [x for x in self.languages if not _LANGUAGE.fullmatch(x)]:
                raise InputError(f"card.languages: '{wrong[0]}'; codes such as en or de are wanted")


def training_facts(
    values: Mapping[str, Any],
    branches: Sequence[str],
    header: Header,
    parts: Mapping[str, tuple[Sequence[Utterance], Sequence[float] | None]],
    parameters: Mapping[str, Any],
    progress: Any,
) -> dict[str, Any]:
    """Everything that is known when a training ends.

    values: the experiment as plain values. branches: the modalities of what was trained. parts: utterances
    and seconds of each, by what they were used for. parameters: counts of the network.
    progress: `run_folder.Progress`.
    """
    card, model, training = values["card"], values["model"], values["training"]
    corpora = sorted({u.corpus for utterances, _ in parts.values() for u in utterances})
    return {
        "schema_version": SCHEMA_VERSION,
        "multimodal_ser": __version__,
        "commit": commit(Path(__file__).parent),
        "author": {**card, "languages": card["languages"] or _languages(corpora)},
        "data": {
            "corpus": header.corpus,
            "version": header.version,
            "licence": header.licence,
            "parts": {
                name: {
                    "corpora": dict(Counter(u.corpus for u in utterances).most_common()),
                    **set_facts(utterances, seconds),
                }
                for name, (utterances, seconds) in parts.items()
            },
        },
        "model": {
            "fusion": model["fusion"],
            "classes": model["classes"],
            "encoders": {name: encoder_name(model[name]["encoder"]) for name in branches},
            "frozen": {
                name: "nothing, begun from random weights"
                if model[name]["encoder"] in _UNTRAINED
                else model[name]["frozen"]
                for name in branches
            },
            "total": parameters["total"],
            "trainable": parameters["trainable"],
        },
        "training": {
            "objective": values["objective"],
            **{name: value for name, value in training.items() if name not in _OF_THE_MACHINE},
            "augmentation": _if_any(values["data"]["augmentation"]),
            "transcripts": values["data"]["transcripts"]
            if values["data"]["transcripts"]["corrupted"]
            else None,
            "fold": values["data"]["fold"],
        },
        "selection": {
            "score": progress.best_score,
            "step": progress.best_step,
            "steps": progress.step,
            "epochs": progress.epoch,
        },
        "evaluations": [],
    }


def evaluation_facts(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a card keeps of one set of an evaluation."""
    measured = report["sets"][name]
    kept = {key: measured[key] for key in ("readings", "mean_ccc", "subgroups") if key in measured}
    intervals = measured.get("intervals")
    if intervals:
        kept["intervals"] = {
            "promised": intervals["promised"],
            "covered": {d: found.get("covered") for d, found in intervals["dimensions"].items()},
        }
    if classes := measured.get("classes"):
        kept["classes"] = {key: value for key, value in classes.items() if key != "confusion"}
    first = report["readings"][0]
    return {
        "model": report["model"],
        "multimodal_ser": report["multimodal_ser"],
        "protocol": measured["protocol"],
        **kept,
        "other_transcripts": {
            kind: found["readings"][first]["mean_ccc"][kind]
            for kind, found in (measured.get("transcripts") or {}).items()
            if first in found["readings"]
        },
    }


def with_evaluation(facts: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Facts with the sets of an evaluation in the place of earlier ones, and of those of other weights."""
    new = [evaluation_facts(report, name) for name in report["sets"]]
    replaced = {_of_set(one) for one in new}
    kept = [x for x in facts["evaluations"] if x["model"] == report["model"] and _of_set(x) not in replaced]
    return {**facts, "evaluations": [*kept, *new]}


def is_test(evaluation: Mapping[str, Any]) -> bool:
    """Whether a set is known to have had no part in training or choosing."""
    overlap = evaluation["protocol"]["training"]
    return overlap is not None and not overlap["utterances_trained_on"] + overlap["utterances_chosen_by"]


def encoder_name(name: str) -> str:
    """An encoder as it was named, without the path of a machine."""
    if HUB_NAME.fullmatch(name) and not Path(name).exists():
        return name
    is_path = "/" in name or Path(name).exists()
    return f"{Path(name).name} (a local folder)" if is_path else name


def _if_any(augmentation: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The changes to the sound, each with its probability; None if none is ever made."""
    is_on = any(isinstance(value, int | float) and value > 0 for value in augmentation.values())
    return augmentation if is_on else None


def _languages(corpora: Sequence[str]) -> list[str]:
    """Those of the corpora; none if one of them is not known."""
    found = [LANGUAGES.get(corpus) for corpus in corpora]
    return [] if None in found else sorted({language for language in found if language})


def _of_set(evaluation: Mapping[str, Any]) -> tuple[Any, ...]:
    stated = evaluation["protocol"]
    return tuple(stated[name] for name in ("corpus", "version", "set", "fold"))
