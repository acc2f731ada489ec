"""Scoring from Python: `multimodal_ser.load()` gives a `Scorer`, whose tables are those of the command line.

import multimodal_ser

scorer = multimodal_ser.load()                       # the starter model; or a model or run folder
segments = scorer.score("episode.mp3")               # a row per segment, with the transcript that lies beside
sentences = scorer.score_text(["What a day!", "Oh no."])
"""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
import torch

from multimodal_ser.card import made_from
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, UNIT, Scale
from multimodal_ser.models.packaged import STARTER, STARTER_IS, starter_folder
from multimodal_ser.podcast.engine import Engine, EngineOptions
from multimodal_ser.podcast.jobs import jobs_of
from multimodal_ser.podcast.media import recordings
from multimodal_ser.podcast.writers import SEGMENT_COLUMNS, WORDED, rows_of

Media = str | os.PathLike


def load(
    name_or_folder: str | os.PathLike = STARTER,
    *,
    device: str = "auto",
    threads: int = 1,
    options: EngineOptions | None = None,
) -> "Scorer":
    """A model, ready to score: `starter`, or a model or run folder."""
    engine = Engine(name_or_folder, options, device=device, threads=threads)
    return Scorer(
        engine, STARTER_IS if starter_folder(name_or_folder) else made_from(engine.rater.folders[0])
    )


class Scorer:
    """A loaded model; values are in unit scale unless `scale` says otherwise, not clipped, not smoothed."""

    def __init__(self, engine: Engine, note: str = "") -> None:
        self.engine = engine
        self.note = note

    def score(
        self,
        media: Media | Sequence[Media],
        *,
        transcript: str | os.PathLike | None = None,
        speakers: str | os.PathLike | None = None,
        look_beside: bool = True,
        scale: str | Scale = UNIT,
    ) -> pd.DataFrame:
        """The segments of one or several recordings, or of folders of them; columns as in the segment table.

        transcript, speakers: files of a single recording; otherwise those that lie beside it under its name
        are taken, unless `look_beside` is false.
        """
        named = [media] if isinstance(media, str | os.PathLike) else list(media)
        jobs = jobs_of(
            recordings([Path(path) for path in named]),
            None if transcript is None else Path(transcript),
            None if speakers is None else Path(speakers),
            look_beside=look_beside,
        )
        scale = scale if isinstance(scale, Scale) else Scale.parse(scale)
        rows = [row for job in jobs for row in rows_of(self.engine.score(job).to_scale(scale))]
        numbers = [name for name in SEGMENT_COLUMNS if name not in (*WORDED, "schema_version")]
        # What is not known is NaN in a column of numbers, so that it can be averaged and drawn.
        return pd.DataFrame(rows, columns=list(SEGMENT_COLUMNS)).astype(dict.fromkeys(numbers, "float64"))

    @torch.inference_mode()
    def score_text(self, texts: Sequence[str]) -> pd.DataFrame:
        """What the words alone say, a row per text."""
        predictor = self.engine.rater.predictor
        model, device = predictor.model, predictor.device
        if "text" not in model.readings:
            raise InputError("this model hears only: it cannot read texts")
        if isinstance(texts, str):
            texts = [texts]
        ids, mask = (part.to(device) for part in model.text.tokenize(list(texts)))
        nothing = torch.zeros(len(texts), 1, device=device)
        sound = (
            (None, None)
            if model.audio is None
            else (nothing, torch.zeros(len(texts), dtype=torch.long, device=device))
        )
        said = model.read(model.encode(*sound, ids, mask), "text").dimensions.float().cpu().numpy()
        columns = {name: said[:, column] for column, name in enumerate(DIMENSIONS)}
        return pd.DataFrame({"text": list(texts), **columns})

    def __repr__(self) -> str:
        about = self.engine.rater.about()
        lines = [f"Scorer({about['name']!r}): {', '.join(DIMENSIONS)} in unit scale"]
        device = self.engine.rater.predictor.device
        lines.append(f"  readings {', '.join(about['readings'])}; weights {about['hash']}; on {device}")
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])

    def _repr_html_(self) -> str:
        """For notebooks: the same facts as a small table."""
        about = self.engine.rater.about()
        facts = {
            "model": about["name"],
            "gives": ", ".join(DIMENSIONS) + ", 0 to 1",
            "readings": ", ".join(about["readings"]),
            "weights": about["hash"],
            "runs on": str(self.engine.rater.predictor.device),
            **({"note": self.note.removeprefix("model: ")} if self.note else {}),
        }
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items()
        )
        return f"<table>{rows}</table>"
