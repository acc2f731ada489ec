"""Which licences are in effect: of the code, of weights, and of the data that weights were made from.

`licences.json` stands in every run folder of `train` and `score`, and in model folders. It repeats what was
stated by those who know: a corpus' reader, a hub, a model's own file. What nobody stated is null, which means
unknown and not free.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from multimodal_ser import __version__
from multimodal_ser.cache import write_json
from multimodal_ser.errors import InputError
from multimodal_ser.inference import model_folder
from multimodal_ser.installation import DISTRIBUTION, requirements
from multimodal_ser.manifests import Header
from multimodal_ser.models.audio_branch import UNTRAINED, model_folder_of
from multimodal_ser.models.hub import FACTS
from multimodal_ser.models.hub import LICENCES as FILE
from multimodal_ser.models.pretrained import read_settings

OURS = "Apache-2.0"  # of this package's code
SCHEMA_VERSION = 1
_NAME = 60  # characters: some put the whole text of a licence where its name belongs
_FETCHED = "fetched.json"  # what `fetch` leaves beside weights
# As their pages on the hub state it.
PUBLISHED = {
    "ntu-spml/distilhubert": "Apache-2.0",
    "facebook/hubert-base-ls960": "Apache-2.0",
    "facebook/hubert-large-ll60k": "Apache-2.0",
    "sentence-transformers/all-MiniLM-L6-v2": "Apache-2.0",
    "distilbert-base-uncased": "Apache-2.0",
    "distilbert/distilbert-base-uncased": "Apache-2.0",
    "openai/whisper-base": "Apache-2.0",
}
# Networks that hear where somebody speaks and what, as `score` and `fetch` name them; by their sources.
_HELPERS = {
    re.compile(r"(faster-)?whisper[-:](tiny|base|small|medium|large|turbo)([.-].*)?"): "MIT",
    re.compile(r"silero-\d.*"): "MIT",
}

Entry = dict[str, Any]


def of_code() -> list[Entry]:
    """This package and what it always needs, as installed here."""
    ours = {"name": DISTRIBUTION, "version": __version__, "licence": OURS}
    needed = sorted((one.name for one in requirements()[""]), key=str.lower)
    return [ours, *map(_of_distribution, needed)]


def of_training(header: Header, corpora: Iterable[str], encoders: Iterable[str]) -> dict[str, Any]:
    """What a training used: its manifest's data, and the weights that it began from with their data."""
    weights, data = [], [{"name": name, "licence": header.licence} for name in sorted(set(corpora))]
    for name in encoders:
        if name in (*UNTRAINED, "small"):
            continue
        found = of_weights(name)
        weights += found["weights"]
        data += found["data"]
    return {"weights": _once(weights), "data": _once(data)}


def of_weights(name_or_folder: str | os.PathLike) -> dict[str, Any]:
    """What is known of a checkpoint, or of a run or model folder of ours."""
    name, folder = os.fspath(name_or_folder), model_folder_of(name_or_folder)
    for place in (folder, folder.parent):
        if (place / FILE).is_file() and folder.is_dir():
            return _with_own(_read(place / FILE), folder)
    licence = PUBLISHED.get(name)
    if (folder / _FETCHED).is_file():
        licence = read_settings(folder, _FETCHED).get("licence")
    shown = folder.name if folder.is_dir() else name
    return {"weights": [{"name": shown, "licence": licence}], "data": []}


def of_several(folders: Sequence[str | os.PathLike]) -> dict[str, Any]:
    """What is known of several checkpoints together; data that several were made from is listed once."""
    every = [of_weights(folder) for folder in folders]
    weights, data = ([entry for found in every for entry in found[part]] for part in ("weights", "data"))
    return {"weights": weights, "data": _once(data)}


def of_helpers(names: Iterable[str]) -> list[Entry]:
    """Recognisers and speech detectors among `names`, those that are known."""
    known = [(name, next((x for p, x in _HELPERS.items() if p.fullmatch(name)), None)) for name in names]
    return [{"name": name, "licence": licence} for name, licence in known if licence]


def of_model(name_or_folder: str | os.PathLike) -> dict[str, Any]:
    """What scoring with a model uses; a published encoder or a recogniser may be named too."""
    name = os.fspath(name_or_folder)
    if helper := of_helpers([name]):
        found: dict[str, Any] = {"weights": helper, "data": []}
    else:
        found = of_weights(name if name in PUBLISHED else model_folder(name_or_folder))
    return {"schema_version": SCHEMA_VERSION, "code": of_code(), **found}


def write(folder: str | os.PathLike, found: Mapping[str, Any]) -> None:
    """Write `licences.json` into a folder."""
    write_json(Path(folder) / FILE, {"schema_version": SCHEMA_VERSION, "code": of_code(), **found})


def listed(found: Mapping[str, Any]) -> str:
    """The lists for the screen."""
    lines = []
    for part, title in (("code", "Code"), ("weights", "Weights"), ("data", "Data behind the weights")):
        entries = found.get(part) or []
        lines.append(f"{title}:" + ("" if entries else " nothing is known"))
        width = max((len(_title(entry)) for entry in entries), default=0)
        for entry in entries:
            use = f"  ({entry['use']})" if entry.get("use") else ""
            lines.append(f"  {_title(entry):{width}}  {entry['licence'] or 'unknown: ask its source'}{use}")
            lines += [f"  {'':{width}}  {entry['by']}"] if entry.get("by") else []
    return "\n".join(lines)


def _title(entry: Entry) -> str:
    return f"{entry['name']} {entry['version']}" if entry.get("version") else entry["name"]


def _of_distribution(name: str) -> Entry:
    """What the metadata of an installed distribution say, which may be long, or nothing."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return {"name": name, "version": None, "licence": None}
    stated = about.get("License-Expression") or ""
    first = next(iter((about.get("License") or "").strip().splitlines()), "")
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    licence = stated or (first if len(first) <= _NAME else "") or ", ".join(classified) or first
    return {"name": name, "version": about["Version"], "licence": licence or None}


def _read(path: Path) -> dict[str, Any]:
    found = read_settings(path.parent, path.name)
    try:
        return {
            part: [{**entry, "licence": entry["licence"]} for entry in found[part]]
            for part in ("weights", "data")
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: lists of weights and data are wanted, each entry with a name and a licence"
        ) from error


def _with_own(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With the weights themselves, under the licence that their author chose, as their card says."""
    name = folder.parent.name if folder.name == "model" else folder.name
    if not (folder / FACTS).is_file() or any(entry["name"] == name for entry in found["weights"]):
        return found
    chosen = (read_settings(folder, FACTS).get("author") or {}).get("licence")
    use = "this model" if chosen else "this model; nobody has chosen a licence for it"
    return {**found, "weights": [{"name": name, "licence": chosen, "use": use}, *found["weights"]]}


def _once(entries: Iterable[Entry]) -> list[Entry]:
    """Each name once, the first time it is said."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry["name"], entry)
    return list(found.values())
