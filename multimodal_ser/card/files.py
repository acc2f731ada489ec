"""The two files of a card in a model folder: `README.md`, and the facts behind it in `card.json`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_ser.cache import hash_bytes, write_json, write_text
from multimodal_ser.card.facts import SCHEMA_VERSION, CardConfig, with_evaluation
from multimodal_ser.card.text import card_text
from multimodal_ser.errors import InputError
from multimodal_ser.models.hub import CARD, FACTS, LICENCES
from multimodal_ser.models.packaged import STARTER_FOLDER
from multimodal_ser.models.pretrained import read_settings
from multimodal_ser.settings import plain


def write_card(folder: str | os.PathLike, facts: Mapping[str, Any]) -> Path:
    """Write the facts and what they say; a hash of the text tells later whether somebody has changed it."""
    text = card_text(facts)
    write_json(Path(folder) / FACTS, {**facts, "card_hash": hash_bytes(text.encode())})
    write_text(Path(folder) / CARD, text)
    return Path(folder) / CARD


def carry_card(folder: str | os.PathLike, made: str | os.PathLike, author: CardConfig) -> Path:
    """Put the facts of the trained model in `made` beside a card that a person writes, which stays as it is.

    The data are under what `licences.json` in `folder` lists, since more than one training made the model.
    """
    facts, stated = read_facts(made), read_settings(Path(folder), LICENCES)["data"]
    data = {
        **facts["data"],
        "licence": "; ".join(f"{x['name']}: {x['licence'] or 'not stated'}" for x in stated),
    }
    write_json(
        Path(folder) / FACTS,
        {**facts, "author": plain(author), "data": data, "evaluations": [], "card_hash": None},
    )
    return Path(folder) / FACTS


def read_facts(folder: str | os.PathLike) -> dict[str, Any]:
    """The facts of a model folder that has a card."""
    facts = read_settings(Path(folder), FACTS)
    if facts.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{Path(folder) / FACTS}: schema_version {facts.get('schema_version')!r}; this version of "
            f"multimodal_ser reads {SCHEMA_VERSION}"
        )
    return facts


def made_from(folder: str | os.PathLike) -> str:
    """One line about what a model was trained on and who may use it; empty without a card that is known."""
    try:
        facts = read_facts(folder)
    except InputError:  # a model is scored with whatever its card is like
        return ""
    used = facts["data"]["parts"].get("training", {}).get("corpora", {})
    corpora = ", ".join(f"{name} ({count:,} utterances)" for name, count in used.items())
    licence = facts["author"]["licence"] or "not chosen"
    return f"trained on {corpora or facts['data']['corpus']}; licence of the weights: {licence}"


def add_evaluation(folder: str | os.PathLike, report: Mapping[str, Any]) -> str:
    """Put what an evaluation measured on the card of a model folder; returns a line about what was done.

    A card that somebody has written or changed by hand stays as it is; the facts are kept in any case.
    """
    folder = Path(folder)
    if folder == STARTER_FOLDER:
        return "the starter model's card belongs to the package and stays: the figures stand in metrics.json"
    if not (folder / FACTS).is_file():
        return f"no model card in {folder}: the figures stand in metrics.json alone"
    facts = read_facts(folder)
    card = folder / CARD
    is_ours = not card.is_file() or hash_bytes(card.read_bytes()) == facts.get("card_hash")
    now = with_evaluation(facts, report)
    try:
        if is_ours:
            return f"model card: {write_card(folder, now)}"
        write_json(folder / FACTS, now)
    except OSError as error:
        return f"the model card in {folder} cannot be written ({error.strerror}): figures are in metrics.json"
    return (
        f"{card} was written or changed by hand and stays so; the new figures are in {FACTS}. "
        "Remove it to have it made anew"
    )
