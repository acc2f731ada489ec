"""The pages of scored episodes: foreign text stays text, and nothing is loaded from elsewhere."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile_texts import HOSTILE

from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, UNIT
from multimodal_ser.podcast.pages import index_entry, write_index, write_page
from multimodal_ser.podcast.summaries import summarise
from multimodal_ser.podcast.timeline import Scored, Timeline, Values


def timeline_of(texts: tuple[str, ...], seconds: float = 60.0, speaker: str | None = None) -> Timeline:
    step = seconds / len(texts)
    segments = tuple(
        Scored(
            round(n * step, 3),
            round((n + 0.9) * step, 3),
            text,
            speaker or text,
            {d: Values(0.2 + 0.6 * n / len(texts), 0.4, 0.6, 0.1, 0.9) for d in DIMENSIONS},
            "vtt",
        )
        for n, text in enumerate(texts)
    )
    return Timeline(
        segments,
        seconds,
        UNIT,
        "en",
        {"file": "talk.mp3", "path": "../shows/a talk #1.mp3", "hash": "0"},
        {"name": "model", "hash": "abc", "readings": ["fused"], "interval_coverage": 0.9},
        {"source": "vtt", "file": "talk.vtt", "problems": ["2 x <b>overlap</b>"]},
        {"kind": "sentences", "shortest": 2.0},
        summarise(segments, seconds),
    )


class Elements(HTMLParser):
    """Start tags with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))
        self.in_script = tag == "script"
        if self.in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if self.in_script:
            self.scripts[-1] += data


def test_foreign_text_makes_no_element_and_reaches_the_page_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "talk.report.html"
    write_page(path, timeline_of(HOSTILE))
    write_page(tmp_path / "plain.report.html", timeline_of(("plain",) * len(HOSTILE), speaker="plain"))
    hostile, plain = (Elements(p.read_text(encoding="utf-8")) for p in (path, tmp_path / "plain.report.html"))
    kinds = {tag for tag, _ in plain.found}
    assert {tag for tag, _ in hostile.found} <= kinds
    assert len(hostile.scripts) == 2  # our data and our program
    assert not any(name.startswith("on") for _, attributes in hostile.found for name in attributes)
    data = json.loads(hostile.scripts[0])
    assert [segment["text"] for segment in data["segments"]] == list(HOSTILE)


def test_the_policy_allows_our_script_alone_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "talk.report.html"
    write_page(path, timeline_of(("Well.", "Yes.")))
    write_index(tmp_path / "index.html", [index_entry(tmp_path, "talk", timeline_of(("Well.",)))])
    for page in (path, tmp_path / "index.html"):
        text = page.read_text(encoding="utf-8")
        elements = Elements(text)
        policy = next(a["content"] for t, a in elements.found if a.get("http-equiv"))
        assert policy.startswith("default-src 'none'")
        digest = base64.b64encode(hashlib.sha256(elements.scripts[-1].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
        assert not re.search(r"https?:", text.replace("http://www.w3.org/2000/svg", ""))


def test_the_recording_is_joined_by_its_path_from_the_page(tmp_path: Path) -> None:
    write_page(tmp_path / "talk.report.html", timeline_of(("Well.",)))
    elements = Elements((tmp_path / "talk.report.html").read_text(encoding="utf-8"))
    assert [a["src"] for t, a in elements.found if t == "audio"] == ["../shows/a%20talk%20%231.mp3"]


def test_an_embedded_recording_is_in_the_page_and_nothing_else_may_be_played(tmp_path: Path) -> None:
    (tmp_path / "talk.mp3").write_bytes(b"sound" * 1000)
    write_page(tmp_path / "talk.report.html", timeline_of(("Well.",)), tmp_path / "talk.mp3")
    text = (tmp_path / "talk.report.html").read_text(encoding="utf-8")
    elements = Elements(text)
    (source,) = [a["src"] for t, a in elements.found if t == "audio"]
    assert base64.b64decode(source.removeprefix("data:audio/mpeg;base64,")) == b"sound" * 1000
    policy = next(a["content"] for t, a in elements.found if a.get("http-equiv"))
    assert "media-src data:;" in policy
    assert "The recording, 0.0 MB, is part of this page" in text
    write_page(tmp_path / "talk.report.html", timeline_of(("Well.",)))
    assert "media-src 'self' file:;" in (tmp_path / "talk.report.html").read_text(encoding="utf-8")


def test_a_recording_that_browsers_do_not_play_is_not_embedded(tmp_path: Path) -> None:
    (tmp_path / "talk.wma").write_bytes(b"sound")
    with pytest.raises(InputError, match=r"browsers do not play \.wma; convert it"):
        write_page(tmp_path / "talk.report.html", timeline_of(("Well.",)), tmp_path / "talk.wma")


def test_every_control_has_a_name(tmp_path: Path) -> None:
    write_page(tmp_path / "talk.report.html", timeline_of(("Well.", "Yes.")))
    text = (tmp_path / "talk.report.html").read_text(encoding="utf-8")
    for tag, attributes in Elements(text).found:
        if tag == "svg":
            assert attributes["aria-label"]
    for found in re.finditer("<input ", text):
        assert text.rfind("<label>", 0, found.start()) > text.rfind("</label>", 0, found.start())


def test_three_hours_stay_below_two_megabytes(tmp_path: Path) -> None:
    sentence = "Believe me, her relief by the river was bright and metal, and he greeted it, so I heard."
    write_page(tmp_path / "long.report.html", timeline_of((sentence,) * 2_400, 10_800.0, "Ada"))
    assert (tmp_path / "long.report.html").stat().st_size < 2_000_000


def test_the_index_links_the_pages_that_are_there_and_shows_means(tmp_path: Path) -> None:
    write_page(tmp_path / "talk.report.html", timeline_of(("Well.",)))
    episodes = [("talk", timeline_of(("Well.", "Yes."))), ("<gone>", timeline_of(("No.",)))]
    write_index(tmp_path / "index.html", [index_entry(tmp_path, *episode) for episode in episodes])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert [a["href"] for t, a in Elements(text).found if t == "a"] == ["talk.report.html"]
    assert "&lt;gone&gt;" in text
    mean = timeline_of(("Well.", "Yes.")).summary["episode"]["dimensions"]["arousal"]["mean"]
    assert f'data-value="{mean}"' in text


@pytest.mark.parametrize("texts", [("Well.",), ("", "")])
def test_an_episode_without_speakers_words_or_intervals_has_a_page(
    tmp_path: Path, texts: tuple[str, ...]
) -> None:
    made = timeline_of(texts, speaker="x")
    bare = tuple(
        replace(s, speaker=None, dimensions={d: Values() for d in DIMENSIONS}) for s in made.segments
    )
    timeline = replace(
        made,
        segments=bare,
        summary=summarise(bare, made.seconds),
        model={**made.model, "interval_coverage": None},
    )
    write_page(tmp_path / "bare.report.html", timeline)
    assert "the model was not calibrated" in (tmp_path / "bare.report.html").read_text(encoding="utf-8")
    write_page(tmp_path / "none.report.html", replace(timeline, segments=(), summary=summarise((), 60.0)))
    write_index(tmp_path / "index.html", [index_entry(tmp_path, "bare", timeline)])
