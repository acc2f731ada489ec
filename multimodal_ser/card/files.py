"""The two files of a card in a model folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_ser.cache import hash_bytes, write_json, write_text
from multimodal_ser.card.facts import SCHEMA_VERSION, with_evaluation
from multimodal_ser.card.text import card_text
from multimodal_ser.errors import InputError
from multimodal_ser.models.hub import CARD, FACTS


def write_card(folder: str | os.PathLike, facts: Mapping[str, Any]) -> Path:
    """Write the facts and what they say; a hash of the text tells later whether somebody has changed it."""
    text = card_text(facts)
    write_json(Path(folder) / FACTS, {**facts, "card_hash": hash_bytes(text.encode())})
    write_text(Path(folder) / CARD, text)
    return Path(folder) / CARD


def add_evaluation(folder: str | os.PathLike, report: Mapping[str, Any]) -> str:
    """Put what an evaluation measured on the card of a model folder; returns a line about what was done.

    A card that somebody has changed by hand stays as it is; the facts are kept in any case.
    """
    folder = Path(folder)
    if not (folder / FACTS).is_file():
        return f"no model card in {folder}: the figures stand in metrics.json alone"
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if facts.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{folder / FACTS}: schema_version {facts.get('schema_version')!r}; this version of "
            f"multimodal_ser reads {SCHEMA_VERSION}"
        )
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
        f"{card} was changed by hand and stays so; the new figures are in {FACTS}. "
        "Remove it to have it made anew"
    )
