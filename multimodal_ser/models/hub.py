"""Model folders and the model hub: which files are published, and nothing else.

A folder is uploaded by a list of names. So what lies beside a model by chance, such as predictions, a
manifest or transcripts, stays here.
"""

import os
from pathlib import Path

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoder_folder import SETTINGS, WEIGHTS
from multimodal_ser.models.pretrained import HUB_NAME, find_pretrained, hub_errors, hub_reason

CARD, FACTS = "README.md", "card.json"
CALIBRATION = "calibration.json"
LICENCES = "licences.json"  # of the weights and the data behind them
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
PUBLISHED = (SETTINGS, WEIGHTS, CALIBRATION, CARD, FACTS, LICENCES, *_TOKENIZER)


def found_folder(name: str | os.PathLike, revision: str | None = None) -> Path:
    """A model folder as it is; owner/name of the hub by way of its cache."""
    folder = Path(name)
    if folder.exists() or not HUB_NAME.fullmatch(os.fspath(name)):
        return folder
    return find_pretrained(os.fspath(name), revision, PUBLISHED)


def push_folder(
    folder: Path, name: str, private: bool = True, token: str | None = None, revision: str | None = None
) -> str:
    """Upload a model folder as the repository `name` (owner/name), made if it is not there; its address."""
    if not (folder / CARD).is_file():
        raise InputError(
            f"{folder} has no {CARD}: a model without a card is not published. `train` writes one, "
            "for a finished run too"
        )
    from huggingface_hub import CommitOperationAdd, HfApi

    files = [folder / file for file in PUBLISHED if (folder / file).is_file()]
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    try:
        made = hub.create_repo(name, private=private, exist_ok=True)
        hub.create_commit(
            made.repo_id,
            [CommitOperationAdd(path.name, path) for path in files],
            commit_message="Model folder of multimodal_ser",
            revision=revision,
        )
    except hub_errors() as error:
        raise InputError(
            f"{name}: the model hub does not take it ({hub_reason(error)}). Check the name, the connection, "
            "and that you are logged in: `hf auth login`"
        ) from error
    return str(made)
