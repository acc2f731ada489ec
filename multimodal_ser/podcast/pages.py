"""Pages to look at: `<name>.report.html` for an episode, `index.html` over many.

Each is one file that needs no network and lets the browser load nothing from elsewhere. They are made from
the content of `<name>.emotion.json` alone. Whatever came from media and transcripts reaches the page as
text.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from multimodal_ser.cache import write_text
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.podcast.timeline import SUFFIX, Timeline, as_json
from multimodal_ser.report import TEMPLATES, fill

PAGE_SUFFIX = ".report.html"
INDEX = "index.html"
PLAYED = {  # by browsers, without a plug-in
    ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".mp4": "audio/mp4", ".aac": "audio/aac", ".ogg": "audio/ogg",
    ".oga": "audio/ogg", ".opus": "audio/ogg", ".webm": "audio/webm", ".flac": "audio/flac",
    ".wav": "audio/wav",
}  # fmt: skip
MOST_EMBEDDED = 256 * 2**20  # bytes; browsers take addresses of 512 MB, and base64 adds a third
SPARKS = 60  # points of a small curve
DIGITS = 4  # of values on a page


def write_page(path: Path, timeline: Timeline, recording: Path | None = None) -> None:
    """The page of one episode; it holds the recording itself if that is given, and else its path."""
    content = as_json(timeline)
    speakers = list(dict.fromkeys(segment["speaker"] for segment in content["segments"]))
    coverage = content["model"]["interval_coverage"]
    policy = content["policy"]
    summary = content["summary"]
    rows = [{**summary["episode"], "who": "whole episode"}]
    rows += [{**facts, "who": facts["speaker"] or "unknown"} for facts in summary["speakers"]]
    text = fill(
        "episode.html",
        name=path.name.removesuffix(PAGE_SUFFIX),
        timeline=content,
        speakers=speakers,
        dimensions=DIMENSIONS,
        low=f"{timeline.scale.low:g}",
        high=f"{timeline.scale.high:g}",
        audio=quote(content["audio"]["path"]) if recording is None else _embedded(recording),
        embedded_megabytes=None if recording is None else f"{recording.stat().st_size / 1e6:.1f}",
        coverage=None if coverage is None else f"{coverage:.0%}",
        policy="; ".join(f"{name} {value}" for name, value in policy.items() if value is not None),
        summary=rows,
        episode=summary["episode"],
        drafted=sum(segment.is_draft for segment in timeline.segments),
        clock=clock,
        data=_as_script_data(_data(path, timeline, content, speakers)),
        **_script("episode.js"),
    )
    write_text(path, text)


def index_entry(folder: Path, name: str, timeline: Timeline) -> dict[str, Any]:
    """What the index says of an episode whose files lie in `folder`."""
    page = folder / (name + PAGE_SUFFIX)
    facts = timeline.summary["episode"]
    return {
        "name": name,
        "page": quote(page.name) if page.is_file() else None,
        "seconds": timeline.seconds,
        "scale": str(timeline.scale),
        "speakers": len({segment.speaker for segment in timeline.segments}),
        "dimensions": [
            {"name": d, "mean": facts["dimensions"][d]["mean"], "points": _spark(timeline, d)}
            for d in DIMENSIONS
        ],
        "disagreement": facts["disagreement"],
        "read_share": facts["read_share"],
    }


def write_index(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """The page over many episodes, from their entries."""
    scale = ", ".join(sorted({entry["scale"] for entry in entries})) or "0-1"
    text = fill("episodes.html", episodes=entries, scale=scale, clock=clock, **_script("episodes.js"))
    write_text(path, text)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:02:03."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _data(path: Path, timeline: Timeline, content: dict, speakers: list) -> dict[str, Any]:
    """What the script of the page needs, with short numbers."""
    segments = [
        {
            **{
                name: segment[name]
                for name in ("id", "start", "end", "text", "speaker", "text_source", "flags")
            },
            "disagreement": _short(segment["disagreement"]),
            **({"draft": True} if "is_draft" in segment else {}),
            **{
                name: {key: _short(segment["dimensions"][name][key]) for key in ("fused", "low", "high")}
                for name in DIMENSIONS
            },
        }
        for segment in content["segments"]
    ]
    return {
        "name": path.name.removesuffix(PAGE_SUFFIX) + SUFFIX.removesuffix(".json"),
        "seconds": timeline.seconds,
        "scale": [timeline.scale.low, timeline.scale.high],
        "dimensions": list(DIMENSIONS),
        "speakers": speakers,
        "segments": segments,
    }


def _as_script_data(value: Any) -> Markup:
    """JSON that stays data within a `<script>`: nothing in it can end the element or begin another."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _script(name: str) -> dict[str, Any]:
    """A script of ours and the hash by which the page allows it and no other."""
    script = (TEMPLATES / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return {"script": Markup(script), "script_hash": Markup(f"sha256-{digest}")}


def _embedded(recording: Path) -> Markup:
    """A recording as an address that holds all of it."""
    kind = PLAYED.get(recording.suffix.lower())
    if kind is None:
        raise InputError(
            f"{recording}: browsers do not play {recording.suffix or 'such files'}; convert it, or leave out "
            f"--embed-audio; played are {' '.join(PLAYED)}"
        )
    if (size := recording.stat().st_size) > MOST_EMBEDDED:
        raise InputError(
            f"{recording}: {size >> 20} MiB, too large for a page (at most {MOST_EMBEDDED >> 20}); leave out "
            "--embed-audio, and the page plays the file from where it lies"
        )
    return Markup(f"data:{kind};base64,{base64.b64encode(recording.read_bytes()).decode('ascii')}")


def _spark(timeline: Timeline, dimension: str) -> str:
    """A small curve: means over equal stretches of time in a box of 100 by 20."""
    sums = [[0.0, 0.0] for _ in range(SPARKS)]
    for segment in timeline.segments:
        value = segment.dimensions[dimension].fused
        place = (segment.start + segment.end) / 2 / timeline.seconds * SPARKS
        if value is not None:
            cell = sums[min(SPARKS - 1, int(place))]
            cell[0] += value * segment.seconds
            cell[1] += segment.seconds
    points = []
    for place, (total, weight) in enumerate(sums):
        if weight:
            unit = min(1.0, max(0.0, timeline.scale.to_unit(total / weight)))
            points.append(f"{(place + 0.5) / SPARKS * 100:.1f},{20 - 20 * unit:.1f}")
    return " ".join(points)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
