"""Pages of scored episodes in a browser: everything on them works, by mouse and by keyboard.

Needs Chromium (Debian: apt-get install chromium). With AXE_CORE=.../axe.min.js (npm install
axe-core) the pages are checked for accessibility too.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from devtools import Browser, Page, find_browser, wait
from hostile_texts import HOSTILE

from multimodal_ser import audio
from multimodal_ser.labels import DIMENSIONS, UNIT
from multimodal_ser.podcast.pages import index_entry, write_index, write_page
from multimodal_ser.podcast.summaries import summarise
from multimodal_ser.podcast.timeline import Scored, Timeline, Values

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium here: apt-get install chromium"),
]
SECONDS, COUNT = 60.0, 24
SENTENCES = ("I could not believe it.", "Well, that is how it was, and nobody said a word then.",
             "=1+1 is <b>not</b> run.", "And then we laughed.")  # fmt: skip


def timeline_of(seconds: float = SECONDS, count: int = COUNT, name: str = "talk.wav") -> Timeline:
    step = seconds / count
    rng = np.random.default_rng(0)
    segments = []
    for n in range(count):
        dimensions = {
            d: Values(0.5 + 0.3 * np.sin(n / 5 + at), voice := float(rng.uniform(0.2, 0.8)), 1 - voice,
                      0.35 + 0.3 * np.sin(n / 5 + at), 0.65 + 0.3 * np.sin(n / 5 + at))
            for at, d in enumerate(DIMENSIONS)
        }  # fmt: skip
        start, end = round(n * step, 3), round((n + 0.9) * step, 3)
        text = SENTENCES[n % len(SENTENCES)]
        segments.append(Scored(start, end, text, ("Ada", "Ben")[n // 3 % 2], dimensions, "vtt"))
    return Timeline(
        tuple(segments), seconds, UNIT, "en", {"file": name, "path": name, "hash": "0"},
        {"name": "model", "hash": "abc", "readings": ["fused", "audio", "text"], "interval_coverage": 0.9},
        {"source": "vtt", "file": "talk.vtt", "problems": []}, {"kind": "sentences", "shortest": 2.0},
        summarise(segments, seconds),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    noise = np.random.default_rng(0).normal(0, 0.01, round(SECONDS * audio.SAMPLE_RATE))
    audio.encode(made / "talk.wav", noise.astype(np.float32))
    write_page(made / "talk.report.html", timeline_of())
    (made / "whole").mkdir()
    write_page(made / "whole" / "talk.report.html", timeline_of(), made / "talk.wav")
    write_page(made / "long.report.html", timeline_of(10_800.0, 2_400, "gone.wav"))
    entries = [("talk", timeline_of()), ("long", timeline_of(10_800.0, 2_400))]
    write_index(made / "index.html", [index_entry(made, *entry) for entry in entries])
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(find_browser(), tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    opened = Page(browser, folder / "talk.report.html")
    yield opened
    browser.listen(0.2)
    assert opened.complaints() == []
    allowed = {(folder / name).as_uri() for name in ("talk.report.html", "talk.wav")}
    assert {url for url in opened.asked_for() if not url.startswith(("data:", "blob:"))} <= allowed


def line(number: int) -> str:
    return f"#transcript button:nth-child({number + 1})"


def test_a_click_on_a_segment_plays_from_there_and_the_line_follows(page: Page) -> None:
    page.wait_for("audio.readyState >= 1")
    page.click(line(7))
    page.wait_for("!audio.paused")
    start = 7 * SECONDS / COUNT
    assert start <= page.value("audio.currentTime") < start + 2
    assert page.value(f"document.querySelector('{line(7)}').getAttribute('aria-current')") == "true"
    page.wait_for(f"document.querySelector('{line(8)}').getAttribute('aria-current') === 'true'")
    assert page.value("document.querySelectorAll('#transcript [aria-current]').length") == 1
    assert page.value("audio.currentTime") >= 8 * SECONDS / COUNT - 0.01


def test_the_keyboard_alone_plays_what_a_search_found(page: Page) -> None:
    page.wait_for("audio.readyState >= 1")
    page.click("#search")
    page.write("laughed")
    page.press("Tab", 9)
    assert page.value("document.activeElement.dataset.at") == "3"  # the first with that word
    page.press("ArrowDown", 40)
    page.press("Enter", 13)
    page.wait_for(f"audio.currentTime >= {7 * SECONDS / COUNT} && !audio.paused")


def test_a_moment_and_a_place_in_a_curve_are_jumped_to(page: Page) -> None:
    page.wait_for("audio.readyState >= 1")
    page.click("#intense button")
    page.wait_for("audio.currentTime > 0 && !audio.paused")
    page.value("audio.pause()")
    page.click("#chart-valence")  # its middle
    page.wait_for("Math.abs(audio.currentTime - 30) < 2.6")
    assert page.value("audio.paused")


def test_search_leaves_the_lines_with_these_words(page: Page) -> None:
    page.click("#search")
    page.write("LAUGHED")
    lines = "[...document.querySelectorAll('#transcript button')]"
    texts = page.value(f"{lines}.filter((b) => b.offsetParent).map((b) => b.textContent)")
    assert len(texts) == COUNT / 4
    assert all("laughed" in text for text in texts)
    assert page.value("found.textContent") == f"{COUNT // 4} of {COUNT} segments"


def test_another_dimension_paints_the_lines_anew(page: Page) -> None:
    values = "[...document.querySelectorAll('#transcript .value')].map((v) => v.textContent)"
    marks = (
        "[...document.querySelectorAll('#transcript button')].map((b) => b.style.getPropertyValue('--mark'))"
    )
    before, painted = page.value(values), page.value(marks)
    page.click("input[name=dimension][value=valence]")
    assert page.value(values) == [f"{0.5 + 0.3 * np.sin(n / 5 + 1):.2f}" for n in range(COUNT)] != before
    assert page.value(marks) != painted


def test_the_table_is_sorted_by_its_columns(page: Page) -> None:
    page.click("#all summary")
    page.wait_for(f"table.tBodies[0].rows.length === {COUNT}")
    column = "[...table.tBodies[0].rows].map((r) => Number(r.cells[4].textContent))"
    page.click("#table th:nth-child(5) button")
    assert page.value(column) == sorted(page.value(column))
    page.click("#table th:nth-child(5) button")
    assert page.value(column) == sorted(page.value(column), reverse=True)
    assert page.value("table.querySelector('[aria-sort=descending]').cellIndex") == 4


def test_the_table_is_downloaded_and_no_cell_is_a_formula(page: Page, tmp_path: Path) -> None:
    page.browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#download")
    wait(lambda: (tmp_path / "talk.emotion.csv").is_file(), "the table was downloaded")
    with (tmp_path / "talk.emotion.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNT
    assert rows[2]["text"] == "'=1+1 is <b>not</b> run."
    assert float(rows[5]["arousal"]) == pytest.approx(0.5 + 0.3 * np.sin(1), abs=1e-4)


def test_hostile_names_and_words_are_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    whole = timeline_of(count=len(HOSTILE))
    segments = tuple(replace(s, text=t, speaker=t) for s, t in zip(whole.segments, HOSTILE, strict=True))
    write_page(
        tmp_path / "x.report.html", replace(whole, segments=segments, summary=summarise(segments, SECONDS))
    )
    name = "=1+1 <img src=x onerror=alert(1)>"
    write_index(tmp_path / "index.html", [index_entry(tmp_path, name, whole)])
    page = Page(browser, tmp_path / "x.report.html")
    for kind in ("words", "who"):
        shown = f"[...document.querySelectorAll('#transcript .{kind}')].map((e) => e.textContent)"
        assert page.value(shown) == list(HOSTILE)
    page.click("#all summary")
    page.wait_for(f"table.tBodies[0].rows.length === {len(HOSTILE)}")
    assert page.value("document.querySelectorAll('img, iframe, object, script:not([type])').length") <= 1
    assert page.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    index = Page(browser, tmp_path / "index.html")
    assert name in index.value("document.body.innerText")
    browser.listen(0.2)
    assert index.complaints() == []
    assert not any(event["method"] == "Page.javascriptDialogOpening" for event in browser.events)


def test_the_tab_key_reaches_every_kind_of_control_and_arrows_move_in_the_transcript(page: Page) -> None:
    reached = []
    for _ in range(60):
        page.press("Tab", 9)
        now = page.value(
            "(() => { const e = document.activeElement, group = e.closest('[id]');"
            " return e === document.body ? '' : (e.name || e.id || (group && group.id) || e.className); })()"
        )
        if reached and now in ("", reached[0]) and len(reached) > 5:
            break
        reached.append(now)
    wanted = {
        "audio",
        "dimension",
        "smooth",
        "follow",
        "search",
        "transcript",
        "intense",
        "contradictory",
        "all",
    }
    assert wanted | {"download"} <= set(reached)
    assert reached.count("transcript") == 1  # one stop, whatever the length of the episode
    page.value(f"document.querySelector('{line(0)}').focus()")
    page.press("ArrowDown", 40)
    page.press("ArrowDown", 40)
    assert page.value("document.activeElement.dataset.at") == "2"
    assert page.value("document.activeElement.tabIndex") == 0
    assert page.value(f"document.querySelector('{line(0)}').tabIndex") == -1


def test_a_recording_in_the_page_is_played_from_where_a_segment_begins(
    browser: Browser, folder: Path
) -> None:
    page = Page(browser, folder / "whole" / "talk.report.html")
    page.wait_for("audio.readyState >= 1")
    page.click(line(10))
    page.wait_for(f"audio.currentTime >= {10 * SECONDS / COUNT} && !audio.paused")
    assert page.complaints() == []
    others = {url for url in page.asked_for() if not url.startswith("data:")}
    assert others == {(folder / "whole" / "talk.report.html").as_uri()}


def test_three_hours_can_be_used_even_if_the_recording_is_gone(browser: Browser, folder: Path) -> None:
    page = Page(browser, folder / "long.report.html")
    assert page.value("document.querySelectorAll('#transcript button').length") == 2_400
    page.click(line(2_000))
    page.wait_for(f"document.querySelector('{line(2_000)}').getAttribute('aria-current') === 'true'")


def test_the_index_is_sorted_by_its_columns(browser: Browser, folder: Path) -> None:
    page = Page(browser, folder / "index.html")
    names = "[...document.querySelectorAll('#episodes tbody tr')].map((r) => r.cells[0].innerText)"
    page.click("#episodes th:nth-child(2) button")
    assert page.value(names) == ["talk", "long"]
    page.click("#episodes th:nth-child(2) button")
    assert page.value(names) == ["long", "talk"]
    assert page.complaints() == []


@pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE does not name axe.min.js")
@pytest.mark.parametrize("name", ["talk.report.html", "index.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(name: str, scheme: str, browser: Browser, folder: Path) -> None:
    page = Page(browser, folder / name)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.call("Emulation.setEmulatedMedia", features=features)
    page.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.value(Path(os.environ["AXE_CORE"]).read_text(encoding="utf-8") + "; 0")
    found = page.value(
        "axe.run().then((r) => r.violations.map((v) => ({id: v.id, impact: v.impact,"
        " nodes: v.nodes.slice(0, 5).map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary)})))"
    )
    assert page.value("axe.run().then((r) => r.passes.length)") > 10
    assert [violation for violation in found if violation["impact"] in ("serious", "critical")] == []
