"""Figures and page of layer reports, drawn from results made by hand."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from devtools import Browser, Page, find_browser
from matplotlib.colors import to_rgb

from multimodal_ser.analysis.conclusions import RULES
from multimodal_ser.analysis.figures import (
    OTHER_COLOURS,
    alike_figure,
    curves_figure,
    draw_all,
    map_figure,
    overlay_figure,
)
from multimodal_ser.analysis.page import PAGE, RESULTS, best_layers, read_results, write_page
from multimodal_ser.errors import InputError

DIMENSIONS = ["arousal", "valence", "dominance"]
LAYERS = 5


def curve(peak):
    return [[v := max(0.0, 0.6 - 0.2 * abs(layer - peak)), v - 0.1, v + 0.1] for layer in range(LAYERS)]


def encoder(**more):
    """Arousal peaks at layer 1, valence at 3, dominance at 2; the last layer of valence is undefined."""
    measure = {name: curve(peak) for name, peak in zip(DIMENSIONS, (1, 3, 2), strict=True)}
    measure["valence"][-1] = [None, None, None]
    place = {name: {"best_depth": [0.5, 0.25, 0.75], "centre": [0.5, 0.4, 0.6]} for name in DIMENSIONS}
    weights = {
        name: {"normalised": {"weights": [0.2] * LAYERS}, "doubts": ["seeds differ"]} for name in DIMENSIONS
    }
    return {
        "weights": "abc", "kind": "HubertEncoder", "dimensions": DIMENSIONS, "layers": LAYERS,
        "utterances": 1200, "speakers": 30, "left_out": 4,
        "measures": {"probes": measure, "truncation": measure, "gain": measure},
        "confounders": {"speaker (balanced accuracy)": curve(0), "duration (CCC)": curve(0)},
        "comparisons": {
            "acoustic set": {
                "utterances": 90, "width": 10, "cca": curve(1), "cka": curve(1),
                "alone (CCC)": {name: [0.4321, 0.4, 0.5] for name in DIMENSIONS},
            }
        },
        "learned_weights": {"standing": "diagnostic only", **weights},
        "places": {"probes": place},
        "agreement": [
            {"dimension": "valence", "measures": ["probes", "gain"], "rank_correlation": 0.1,
             "best_layers": [3, 0], "disagree": True}
        ],
        "conclusions": [
            {"claim": "valence lies deeper", "verdict": "undecided", "reasons": ["<probes> open"]}
        ],
        "rules": list(RULES), **more,
    }  # fmt: skip


def results(**encoders):
    return {
        "schema_version": 1, "multimodal_ser": "0", "corpus": "made <up>", "corpus_version": None,
        "label_source": ["proxy"], "splits": ["test"], "pooling": "mean", "seed": 0, "encoders": encoders,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / RESULTS).write_text(json.dumps(results(first=encoder(), second=encoder())), encoding="utf-8")
    write_page(folder)
    return folder


def test_every_axis_names_its_quantity():
    figures = [curves_figure(encoder()), alike_figure(encoder()), overlay_figure({"a": encoder()})]
    for figure in figures:
        assert {axes.get_ylabel() != "" or axes.get_shared_y_axes().get_siblings(axes) != [axes]
                for axes in figure.axes} == {True}  # fmt: skip
        assert any("layer" in axes.get_xlabel() or "depth" in axes.get_xlabel() for axes in figure.axes)


def test_curves_show_the_values_and_leave_a_gap_where_there_is_none():
    lines = {line.get_label(): line.get_ydata() for line in curves_figure(encoder()).axes[0].get_lines()}
    np.testing.assert_allclose(lines["arousal"], [v for v, _, _ in curve(1)])
    assert np.isnan(lines["valence"][-1])
    assert not np.isnan(lines["valence"][:-1]).any()


def test_the_map_marks_the_best_layer_of_each_measure():
    panels = map_figure(encoder()).axes
    stars = [line.get_xdata()[0] for line in panels[0].get_lines()][:3]
    assert stars == [1, 1, 1]
    assert panels[0].images[0].get_array().max() == 1


def test_overlaid_encoders_of_different_depth_share_one_axis():
    figure = overlay_figure({"a": encoder(), "b": encoder()})
    for axes in figure.axes:
        for line in axes.get_lines()[:1]:
            assert line.get_xdata()[0] == 0
            assert line.get_xdata()[-1] == 1


def test_neighbouring_colours_differ_in_lightness_for_those_who_see_no_hue():
    lightness = [np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)) for colour in OTHER_COLOURS]
    assert min(abs(a - b) for a, b in pairwise(lightness)) > 0.1


def test_without_anything_to_compare_there_is_no_figure_of_likeness():
    assert alike_figure(encoder(comparisons={})) is None


def test_the_page_says_verdicts_rules_and_flags(folder):
    page = (folder / PAGE).read_text(encoding="utf-8")
    assert '<span class="verdict undecided">undecided</span>' in page
    assert "&lt;probes&gt; open" in page
    assert "made &lt;up&gt;" in page
    assert "Measures disagree in 1 of 1 comparisons" in page
    assert "valence: probes puts layer 3 first, gain layer 0; rank correlation of the curves 0.10" in page
    assert "proxies" in page
    assert all(rule.replace("'", "&#39;") in page for rule in RULES)
    assert "0.432" in page


def test_the_page_needs_no_other_file(folder):
    page = (folder / PAGE).read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) > 5
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)


def test_every_figure_is_there_as_png_and_svg(folder):
    names = {path.name for path in (folder / "figures").iterdir()}
    kinds = [f"{kind}_{n}" for kind in ("curves", "map", "alike") for n in (0, 1)] + ["encoders"]
    assert names == {f"{kind}.{ending}" for kind in kinds for ending in ("png", "svg")}


def test_the_same_results_give_the_same_figures(folder, tmp_path):
    draw_all({"curves_0": lambda: curves_figure(encoder())}, tmp_path)
    assert (tmp_path / "curves_0.svg").read_bytes() == (folder / "figures" / "curves_0.svg").read_bytes()


def test_the_best_layer_passes_over_undefined_ones():
    assert best_layers(encoder())["probes"]["valence"]["layer"] == 3


def test_results_that_are_missing_broken_or_of_another_kind_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file.*multimodal-ser layers MANIFEST"):
        read_results(tmp_path)
    (tmp_path / RESULTS).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"not JSON.*cut off"):
        read_results(tmp_path)
    (tmp_path / RESULTS).write_text('{"schema_version": 99}', encoding="utf-8")
    with pytest.raises(InputError, match=r"schema_version 99.*another command or version"):
        read_results(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium here: apt-get install chromium")
def test_on_a_phone_no_page_scrolls_sideways_and_wide_tables_do_in_their_box(tmp_path):
    name = "a_folder_with_a_long_name/" * 3
    entries = {name: encoder(), "second": encoder()}
    (tmp_path / RESULTS).write_text(json.dumps(results(**entries)), encoding="utf-8")
    write_page(tmp_path)
    browser = Browser(find_browser(), tmp_path / "profile")
    try:
        page = Page(browser, tmp_path / PAGE)
        page.picture(tmp_path / "phone.png", 390)
        assert page.value("document.documentElement.scrollWidth") <= 390
        boxes = page.value(
            "[...document.querySelectorAll('table')].map((table) => "
            "[table.scrollWidth, table.parentElement.clientWidth, table.parentElement.className])"
        )
        assert len(boxes) >= 4
        assert all(width <= 390 and kind == "scroll" for _, width, kind in boxes)
        assert any(table > width for table, width, _ in boxes)
        assert not page.complaints()
    finally:
        browser.close()
