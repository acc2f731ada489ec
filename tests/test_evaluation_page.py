"""Figures and page of an evaluation: they show what the files hold, and need nothing else."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from stub_evaluation import READINGS, N, Stub, corpus, evaluate_everything, labels_of, manifest_of

from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import evaluate
from multimodal_ser.evaluation.figures import (
    CROWD,
    calibration_figure,
    draw_set,
    intervals_figure,
    read_table,
    readings_figure,
    scatter_figure,
    speakers_figure,
)
from multimodal_ser.evaluation.page import write_page
from multimodal_ser.labels import DIMENSIONS, MSP_SCALE, Scale


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """One whole evaluation: its folder, its report, its utterances."""
    return evaluate_everything(tmp_path_factory.mktemp("evaluation"))


def axes_words(figure):
    return [(axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) for axes in figure.axes]


def test_axes_name_their_quantity_and_scale(evaluated):
    folder, report, _ = evaluated
    measured = report["sets"]["test"]
    predictions, speakers = (read_table(folder / f"{kind}_test.csv") for kind in ("predictions", "speakers"))
    scatter = axes_words(scatter_figure(predictions, measured, Scale(0, 1)))
    assert scatter[0][:2] == ("label (scale 0-1)", "prediction (scale 0-1)")
    value = measured["readings"]["fused"]["dominance"]["ccc"]["value"]
    assert scatter[2][2] == f"dominance: CCC {value:.2f}"
    assert axes_words(calibration_figure(measured, MSP_SCALE))[0][:2] == (
        "prediction (scale 1-7)",
        "mean label (scale 1-7)",
    )
    by_speaker = axes_words(speakers_figure(speakers, MSP_SCALE))
    assert by_speaker[0] == ("mean label (scale 1-7)", "mean prediction (scale 1-7)", "arousal, 8 speakers")
    assert by_speaker[3][:2] == ("CCC within a speaker", "speakers")
    assert axes_words(intervals_figure(measured))[0][:2] == (
        "promised coverage (share)",
        "measured coverage (share)",
    )
    assert readings_figure(measured).axes[0].get_xlabel() == "CCC (no unit)"


def test_the_scatter_shows_every_prediction_and_a_crowd_becomes_a_density(evaluated):
    folder, report, utterances = evaluated
    measured = report["sets"]["test"]
    predictions = read_table(folder / "predictions_test.csv")
    drawn = scatter_figure(predictions, measured, Scale(0, 1)).axes[0].collections[0].get_offsets()
    assert np.asarray(drawn)[:, 0] == pytest.approx(labels_of(utterances, "arousal"))
    crowd = pd.concat([predictions] * (CROWD // N + 1))
    figure = scatter_figure(crowd, measured, Scale(0, 1))
    counts = figure.axes[0].collections[0].get_array()
    assert counts.sum() == len(crowd)
    assert len({panel.collections[0].norm for panel in figure.axes[:3]}) == 1, "one colour, one count"


def test_rows_of_the_readings_figure_stand_where_their_values_are(evaluated):
    _, report, _ = evaluated
    measured = report["sets"]["test"]
    axes = readings_figure(measured).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [*READINGS, *(f"fused, {kind} transcripts" for kind in measured["transcripts"])]
    points = axes.lines[0].get_xdata()  # arousal, a point per row
    assert points[1] == measured["readings"]["audio"]["arousal"]["ccc"]["value"]


class Page(HTMLParser):
    """Which tags are open, and every address that the page mentions."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.images, self.words = [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        facts = dict(attributes)
        self.addresses += [facts[name] for name in ("src", "href") if name in facts]
        if tag == "img":
            self.images.append(facts)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.words.append(text)


def test_the_page_is_one_whole_file_with_figures_figures_and_protocol(evaluated):
    folder, report, _ = evaluated
    page = Page()
    text = write_page(folder).read_text()
    page.feed(text)
    assert page.open == []
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert "url(" not in text
    assert len(page.images) == 6
    assert all(len(image["alt"]) > 40 for image in page.images)
    words = " ".join(" ".join(page.words).split())
    measured = report["sets"]["test"]
    for reading in READINGS:
        for name in DIMENSIONS:
            assert f"{measured['readings'][reading][name]['ccc']['value']:.3f}" in words
    stated = measured["protocol"]
    for fact in (stated["ccc"], stated["selection"], "made, version 1", "test: 120 utterances, 8 speakers"):
        assert fact in words
    captions = text.count("<caption>")
    assert captions >= 5
    assert text.count("made 1, test") >= captions, "every table says which set it is about"


def test_several_sets_stand_on_one_page_and_in_one_table(tmp_path):
    manifest = manifest_of(corpus("test1", 1), corpus("test2", 2, **dict.fromkeys(DIMENSIONS)))
    evaluate(Stub(), manifest, ["test1", "test2"], tmp_path)
    page = write_page(tmp_path).read_text()
    assert page.index('href="#test1"') < page.index('href="#test2"') < page.index('id="test1"')
    assert {path.name for path in tmp_path.glob("*.png")} == {
        f"{kind}_test1.png"
        for kind in ("readings", "scatter", "calibration", "speakers", "intervals", "subgroups")
    }


def test_figures_come_as_svg_too_and_are_the_same_file_every_time(evaluated, tmp_path):
    unlabelled = evaluate(Stub(), manifest_of(corpus(**dict.fromkeys(DIMENSIONS))), ["test"], tmp_path)
    measured = unlabelled["sets"]["test"] | {"readings": evaluated[1]["sets"]["test"]["readings"]}
    drawn = []
    for _ in range(2):
        assert draw_set(tmp_path, "test", measured, Scale(0, 1), svg=True) == [tmp_path / "readings_test.png"]
        drawn.append([(tmp_path / f"readings_test.{kind}").read_bytes() for kind in ("png", "svg")])
    assert drawn[0] == drawn[1]


def test_a_page_needs_the_files_of_this_version(tmp_path):
    with pytest.raises(
        InputError, match=r"no such file: .*metrics.json; `multimodal-ser evaluate` writes one"
    ):
        write_page(tmp_path)
    (tmp_path / "metrics.json").write_text('{"schema_version": 99}')
    with pytest.raises(InputError, match="schema_version 99; this version of multimodal_ser reads 1"):
        write_page(tmp_path)
