"""Pages: what is filled in stays text, and a page needs nothing from elsewhere."""

import base64
import math

import jinja2
import pytest
from markupsafe import Markup

from multimodal_ser import report


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """A folder of templates beside the frame of every page."""
    (tmp_path / "page.html").write_text((report.TEMPLATES / "page.html").read_text())
    monkeypatch.setattr(report, "TEMPLATES", tmp_path)
    return tmp_path


def test_values_are_text_and_never_markup(templates):
    (templates / "a.html").write_text('<p title="{{ name }}">{{ name }}</p>')
    filled = report.fill("a.html", name='"><script>alert(1)</script>')
    assert "<script" not in filled
    assert filled.count("&lt;script&gt;") == 2
    assert '"&#34;&gt;' in filled


def test_a_name_that_a_template_does_not_get_is_an_error(templates):
    (templates / "a.html").write_text("{{ ccc }}")
    with pytest.raises(jinja2.UndefinedError, match="'ccc' is undefined"):
        report.fill("a.html", cc=1)


def test_the_frame_forbids_loading_anything_and_knows_light_and_dark(templates):
    (templates / "a.html").write_text(
        '{% extends "page.html" %}{% block title %}t{% endblock %}{% block body %}b{% endblock %}'
    )
    page = report.fill("a.html")
    assert "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'" in page
    assert "script-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert '<html lang="en">' in page


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "shown"),
    [
        (0.12345, 3, False, "0.123"),
        (-0.5, 2, False, "−0.50"),
        (0.5, 2, True, "+0.50"),
        (-1e-9, 3, False, "0.000"),
        (-1e-9, 3, True, "0.000"),
        (None, 3, False, "–"),
        (math.nan, 3, True, "–"),
    ],
)
def test_numbers_have_a_true_minus_no_negative_zero_and_a_dash_for_nothing(value, decimals, sign, shown):
    assert report.number(value, decimals, sign) == shown


def test_shares_and_counts():
    assert report.share(0.9) == "90.0%"
    assert report.share(None) == "–"
    assert report.count(12_345) == "12,345"


def test_an_interval_stands_behind_its_estimate_or_is_left_out():
    found = report.interval({"value": 0.5, "low": 0.25, "high": 0.75}, 2)
    assert found == Markup('0.50 <span class="interval">[0.25, 0.75]</span>')
    assert report.interval({"value": 0.5, "low": None, "high": None}, 2) == "0.50"
    assert report.interval({"value": None, "low": None, "high": None}) == "–"
    assert report.interval(None) == "–"


def test_an_embedded_image_is_the_whole_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(range(256)))
    address = report.embedded(path)
    assert address.startswith("data:image/png;base64,")
    assert base64.b64decode(address.split(",")[1]) == bytes(range(256))
