"""The limit counts the arithmetic that a profiler counts, and the report says what was measured."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_checkpoints import save_hubert
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from multimodal_ser import cli
from multimodal_ser.bench.limit import hubert_flops, peak
from multimodal_ser.bench.sizes import WHISPER_SIZES, random_model, random_whisper
from multimodal_ser.bench.stages import measure
from multimodal_ser.errors import InputError
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder
from multimodal_ser.models.ser import SerConfig, SerModel


@pytest.fixture(scope="module")
def distilhubert() -> HubertEncoder:
    # Where gradients may be wanted there are convolutions, which the profiler knows.
    return HubertEncoder.from_config(
        replace(PUBLISHED["ntu-spml/distilhubert"], frozen_front_end=False)
    ).eval()


@pytest.mark.parametrize("samples", [16_000, 20_333])
def test_the_formula_counts_what_the_profiler_counts_at_the_size_of_distilhubert(distilhubert, samples):
    # The profiler does not know the fused attention of processors; the plain one is two products.
    plain = sdpa_kernel(SDPBackend.MATH)
    with plain, FlopCounterMode(display=False) as counter:
        distilhubert(torch.zeros(1, samples), torch.tensor([samples]))
    assert hubert_flops(distilhubert, samples) == pytest.approx(counter.get_total_flops(), rel=1e-6)


def test_distilhubert_takes_seven_gflop_per_second_of_audio_as_was_computed_by_hand(distilhubert):
    assert hubert_flops(distilhubert, 160_000) / 10 == pytest.approx(6.99e9, rel=0.005)


def test_a_precision_without_a_measured_limit_has_none():
    assert peak("int8") is None


def test_an_unknown_size_is_refused():
    with pytest.raises(InputError, match=r"unknown size 'distilhubbert'.*distilhubert"):
        random_model("distilhubbert")


def test_percent_of_the_limit_and_ratios_follow_from_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("multimodal_ser.bench.stages.peak", lambda precision: 1e9)
    audio = HubertEncoder.from_pretrained(save_hubert(tmp_path))
    model = SerModel(SerConfig(fusion="audio", width=16, heads=2), audio).eval()
    report = measure(model, None, compare=True, seconds=1.0, rounds=2)
    stage = report["stages"]["audio torch-fp32"]
    assert stage["percent_of_limit"] == pytest.approx(100 * hubert_flops(audio, 16_000) * stage["xrt"] / 1e9)
    assert stage["seconds_per_hour"] == pytest.approx(3600 / stage["xrt"])
    assert stage["ratio_to_reference"]["clock"] == {"median": 1.0, "least": 1.0, "most": 1.0}
    assert report["unavailable"]["ort-int8"] == "it needs a model folder"
    assert all(math.isfinite(s["xrt"]) for s in report["stages"].values())


def test_the_verb_writes_figures_and_a_drawing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("multimodal_ser.bench.stages.peak", lambda precision: 1e9)
    SerModel(
        SerConfig(fusion="audio", width=16, heads=2),
        HubertEncoder.from_pretrained(save_hubert(tmp_path / "h")),
    ).save_pretrained(tmp_path / "model")
    out, figure = tmp_path / "bench.json", tmp_path / "bench.png"
    options = ["--seconds", "1", "--rounds", "1", "--json", str(out), "--figure", str(figure)]
    assert cli.main(["bench", str(tmp_path / "model"), *options]) == 0
    assert set(json.loads(out.read_text())["stages"]) == {
        "decode and resample", "speech detection", "audio torch-fp32", "fusion, all readings", "writing",
    }  # fmt: skip
    assert Path(figure).read_bytes().startswith(b"\x89PNG")
    assert "x real time" in capsys.readouterr().out


def test_recognition_is_two_stages_whose_arithmetic_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("multimodal_ser.bench.stages.peak", lambda precision: 1e9)
    monkeypatch.setattr("multimodal_ser.bench.parts.TOKENS", 3)
    monkeypatch.setattr("multimodal_ser.transcripts.openai_engine.windows_at_once", lambda dims: 1)
    monkeypatch.setitem(WHISPER_SIZES, "tiny", (64, 2, 1))
    report = measure(random_model("mel"), None, compare=False, seconds=1.0, rounds=1, whisper="tiny")
    assert report["whisper"] == "tiny"
    encoder, decoder = (report["stages"][f"ASR {half}"] for half in ("encoder", "decoder"))
    # Convolutions of 80 to 64 to 64 channels, the second with half the frames; four projections, two products
    # of attention, two layers of four times the width.
    frames, width = 1500, 64
    flops = 2 * 3 * width * (80 * 2 * frames + width * frames)
    flops += 2 * frames * 12 * width**2 + 4 * frames**2 * width
    assert encoder["percent_of_limit"] == pytest.approx(100 * flops * encoder["xrt"] / 30 / 1e9, rel=1e-6)
    assert decoder["percent_of_limit"] > 0
    with pytest.raises(InputError, match=r"unknown size of Whisper 'tinny' .did you mean 'tiny'"):
        random_whisper("tinny")


def test_a_model_or_a_size_is_wanted_and_not_both(capsys):
    assert cli.main(["bench"]) == 2
    assert "either MODEL or --size NAME" in capsys.readouterr().err


def test_emulation_without_the_gate_is_refused_and_not_ignored(capsys):
    assert cli.main(["bench", "--size", "mel", "--emulate"]) == 2
    assert "bench MODEL --gate MANIFEST --emulate" in capsys.readouterr().err
