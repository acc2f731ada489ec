"""Tables as CSV, read back by the standard library."""

import csv

import numpy as np
import pytest

from multimodal_ser.csv_files import safe_cell, write_table


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text):
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a=b", "o'clock", "1-7", "'quoted'"])
def test_other_text_stays_as_it_is(text):
    assert safe_cell(text) == text


def test_a_table_comes_back_with_numbers_still_negative_and_gaps_empty(tmp_path):
    path = tmp_path / "a.csv"
    write_table(path, ["id", "n", "x"], [["=cmd()", -3, -0.25], ['a,"b"\nc', None, np.float64("nan")]])
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "n", "x"],
            ["'=cmd()", "-3", "-0.25"],
            ['a,"b"\nc', "", ""],
        ]
    assert b"\r" not in path.read_bytes()
