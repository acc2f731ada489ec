"""Figures of an evaluation against scikit-learn, closed forms and planted truth."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics
from stub_evaluation import READINGS, SPEAKERS, N, Stub, corpus, evaluate_everything, labels_of, manifest_of

from multimodal_ser import metrics
from multimodal_ser.data import Examples
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import evaluate, measure, screen, table
from multimodal_ser.evaluation.figures import intervals_figure, read_table
from multimodal_ser.evaluation.groups import subgroups
from multimodal_ser.evaluation.page import write_page
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.evaluation.transcript_kinds import kinds_of, transcripts
from multimodal_ser.inference import CALIBRATION, calibrate
from multimodal_ser.labels import DIMENSIONS, MSP_SCALE


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """One whole evaluation: its folder, its report, its utterances."""
    return evaluate_everything(tmp_path_factory.mktemp("evaluation"))


def measured_of(utterances, predictor=None, **options):
    predictor = predictor or Stub()
    said = predictor.predict(Examples(manifest_of(utterances), None))
    return measure(said, utterances, predictor, **options), said


def test_figures_of_every_reading_equal_numpy_and_scikit_learn(evaluated):
    folder, report, _ = evaluated
    with (folder / "predictions_test.csv").open() as file:
        rows = list(csv.DictReader(file))
    for reading in READINGS:
        for name in DIMENSIONS:
            x = np.array([float(r[name if reading == "fused" else f"{reading}_{name}"]) for r in rows])
            y = np.array([float(r[f"label_{name}"]) for r in rows])
            found = report["sets"]["test"]["readings"][reading][name]
            ccc = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
            assert found["ccc"]["value"] == pytest.approx(ccc, abs=1e-6)
            assert found["pearson"]["value"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
            rmse = sklearn_metrics.root_mean_squared_error(y, x)
            assert found["rmse"]["value"] == pytest.approx(rmse, abs=1e-6)
            assert (found["mean"], found["spread"]) == pytest.approx((x.mean(), x.std()), abs=1e-6)
            assert (found["label_mean"], found["label_spread"]) == pytest.approx(
                (y.mean(), y.std()), abs=1e-6
            )
            assert found["ccc"]["low"] < ccc < found["ccc"]["high"]


def test_intervals_and_differences_are_those_of_the_speaker_bootstrap():
    utterances = corpus()
    found, said = measured_of(utterances)
    speakers = [u.speaker for u in utterances]
    y = labels_of(utterances, "valence")
    one = metrics.bootstrap(metrics.ccc_of, said["valence"], y, speakers)
    assert found["readings"]["fused"]["valence"]["ccc"] == pytest.approx(vars(one), abs=1e-12)
    both = metrics.bootstrap_difference(metrics.ccc_of, said["valence"], said["audio_valence"], y, speakers)
    assert found["differences"]["fused - audio"]["valence"]["ccc"] == pytest.approx(vars(both), abs=1e-12)


def test_mean_ccc_and_its_difference_are_means_over_the_dimensions():
    found, _ = measured_of(corpus())
    for reading in READINGS:
        values = [found["readings"][reading][name]["ccc"]["value"] for name in DIMENSIONS]
        assert found["mean_ccc"][reading]["value"] == pytest.approx(np.mean(values))
    differences = found["differences"]["fused - text"]
    values = [differences[name]["ccc"]["value"] for name in DIMENSIONS]
    assert differences["mean"]["ccc"]["value"] == pytest.approx(np.mean(values))


def test_unlabelled_utterances_count_for_nothing_in_that_dimension():
    utterances = corpus()
    holes = [replace(u, valence=None) if i % 3 == 0 else u for i, u in enumerate(utterances)]
    found, _ = measured_of(holes)
    kept, _ = measured_of([u for u in holes if u.valence is not None])
    assert found["readings"]["fused"]["valence"]["utterances"] == N - N // 3
    for name, measure_name in (("valence", "ccc"), ("valence", "rmse")):
        assert found["readings"]["fused"][name][measure_name]["value"] == pytest.approx(
            kept["readings"]["fused"][name][measure_name]["value"], abs=1e-12
        )


def test_another_scale_changes_what_has_a_unit_and_nothing_else(tmp_path):
    utterances = corpus()
    unit, _ = measured_of(utterances)
    seven, _ = measured_of(utterances, scale=MSP_SCALE)
    for reading in READINGS:
        for name in DIMENSIONS:
            a, b = unit["readings"][reading][name], seven["readings"][reading][name]
            assert b["ccc"] == pytest.approx(a["ccc"], abs=1e-9)
            assert b["rmse"]["value"] == pytest.approx(6 * a["rmse"]["value"])
            assert b["mean"] == pytest.approx(1 + 6 * a["mean"])
            assert b["label_spread"] == pytest.approx(6 * a["label_spread"])
    first, second = (x["intervals"]["dimensions"]["arousal"] for x in (unit, seven))
    assert second["width"] == pytest.approx(6 * first["width"])
    assert (second["covered"], second["levels"]) == (first["covered"], first["levels"])
    evaluate(Stub(), manifest_of(utterances), ["test"], tmp_path, scale=MSP_SCALE)
    rows = read_table(tmp_path / "predictions_test.csv")
    assert rows["label_arousal"].to_numpy() == pytest.approx(1 + 6 * labels_of(utterances, "arousal"))
    assert set(rows["scale"]) == {"1-7"}


def test_one_speaker_gives_estimates_without_intervals():
    found, _ = measured_of([replace(u, speaker="only") for u in corpus()])
    ccc = found["readings"]["fused"]["arousal"]["ccc"]
    assert np.isfinite(ccc["value"])
    assert np.isnan(ccc["low"])


def test_coverage_is_counted_per_set_group_speaker_and_level():
    utterances = []
    for i, u in enumerate(corpus()):
        # Half the men are 0.25 off, everybody else 0.15: inside the interval of 0.2, outside that of 0.1.
        off = 0.25 if u.gender == "male" and i % 4 == 1 else 0.15
        said = [0.65, 0.5 + off, 0.5 - off]  # arousal is never further off than 0.15
        labels = dict.fromkeys(DIMENSIONS, 0.5)
        utterances.append(replace(u, text=" ".join(map(str, said)), **labels))
    found, _ = measured_of(utterances)
    valence = found["intervals"]["dimensions"]["valence"]
    assert found["intervals"]["promised"] == 0.9
    assert valence["covered"]["value"] == 0.75
    assert valence["covered"]["low"] < 0.75 < valence["covered"]["high"]
    assert valence["width"] == pytest.approx(0.4)
    assert valence["levels"] == [{"promised": 0.5, "covered": 0.0}, {"promised": 0.9, "covered": 0.75}]
    # Speakers 1 and 5 are the men who are off.
    assert valence["speakers"]["speakers"] == SPEAKERS
    assert (valence["speakers"]["lowest"], valence["speakers"]["median"]) == (0, 1)
    assert valence["speakers"]["below_promise"] == 0.25
    genders = found["subgroups"]["gender"]
    assert genders["female"]["valence"]["covered"] == 1
    assert genders["male"]["valence"]["covered"] == 0.5
    assert genders["male"]["arousal"]["covered"] == 1


def test_a_calibration_keeps_half_widths_that_cover_at_every_level(tmp_path):
    utterances = corpus("development")
    stub = Stub()
    calibrate(stub, Examples(manifest_of(utterances), None), tmp_path)
    kept = json.loads((tmp_path / CALIBRATION).read_text())
    assert kept == stub.calibration
    levels = kept["levels"]
    assert (
        levels["radius"]["audio"]["valence"][levels["coverage"].index(0.9)]
        == kept["radius"]["audio"]["valence"]
    )
    found, _ = measured_of(utterances, stub)
    for level in found["intervals"]["dimensions"]["dominance"]["levels"]:
        rank = math.ceil((N + 1) * level["promised"])  # of N residuals, all of which are different
        assert level["covered"] == pytest.approx(rank / N)


def test_a_model_without_calibration_reports_no_coverage():
    found, _ = measured_of(corpus(), Stub(calibration=None))
    assert "intervals" not in found
    assert intervals_figure(found) is None


def test_subgroups_are_measured_on_their_own_utterances(evaluated):
    _, report, utterances = evaluated
    found = report["sets"]["test"]["subgroups"]
    said = pd.DataFrame([[float(x) for x in u.text.split()] for u in utterances], columns=DIMENSIONS)
    men = np.array([u.gender == "male" for u in utterances])
    expected = metrics.ccc(said["arousal"][men], labels_of(utterances, "arousal")[men])
    assert found["gender"]["male"]["arousal"]["ccc"]["value"] == pytest.approx(expected, abs=1e-9)
    assert found["gender"]["male"]["speakers"] == SPEAKERS // 2
    assert found["speaker"]["in training"]["utterances"] == N // 2
    assert found["speaker"]["new"]["utterances"] == N // 2
    assert list(found) == ["gender", "speaker"], "every transcript has three words and the same source"


def test_length_quartiles_are_seconds_where_there_is_audio_and_words_elsewhere():
    utterances = [replace(u, text="w " * (1 + i)) for i, u in enumerate(corpus())]
    seconds = [1.0 + i % 40 for i in range(N)]
    by_seconds = subgroups(utterances, seconds)["seconds"]
    assert list(by_seconds) == ["up to 10.8", "10.8 to 20.5", "20.5 to 30.2", "over 30.2"]
    assert [int(member.sum()) for member in by_seconds.values()] == [30, 30, 30, 30]
    assert max(s for s, m in zip(seconds, by_seconds["up to 10.8"], strict=True) if m) == 10
    by_words = subgroups(utterances, [0.0, *seconds[1:]])["words"]
    assert list(by_words) == ["up to 31", "31 to 60", "60 to 90", "over 90"]
    assert np.sum(list(by_words.values()), axis=0).tolist() == [1] * N


def test_groups_that_are_too_small_have_no_figure_and_lengths_that_are_equal_no_quartiles():
    utterances = [replace(u, gender="female" if i < 5 else "male") for i, u in enumerate(corpus())]
    found, _ = measured_of(utterances, seconds=[2.0] * N)
    assert found["subgroups"]["gender"]["female"]["arousal"] == {"utterances": 5}
    assert "seconds" not in found["subgroups"]


def test_a_speaker_is_known_only_in_the_corpus_of_the_training():
    one = corpus(n=1)[0]
    training = TrainingData.of(manifest_of([replace(one, split="train")]))
    assert training.familiarity(one) == "in training"
    assert training.familiarity(replace(one, corpus="other")) == "new"
    foreign = TrainingData.of(manifest_of([replace(one, split="train", corpus="other")]))
    assert foreign.familiarity(one) == "new"
    assert training.familiarity(replace(one, speaker=None)) == "unknown"


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("train", "NOT A TEST: the model was trained on 120"),
        ("development", "NOT A TEST: the model was chosen and calibrated by 120"),
        ("test", "no utterance of this set was trained on or chosen by"),
    ],
)
def test_the_protocol_says_whether_a_set_is_a_test(tmp_path, split, said):
    manifest = manifest_of(
        *(corpus(name, seed) for seed, name in enumerate(("train", "development", "test")))
    )
    report = evaluate(Stub(), manifest, [split], tmp_path, training=TrainingData.of(manifest))
    assert said in report["sets"][split]["protocol"]["selection"]
    assert said in screen(report["sets"][split])
    assert report["sets"][split]["protocol"]["training"]["speakers_in_training"] == SPEAKERS


def test_without_training_data_the_protocol_claims_nothing(tmp_path):
    report = evaluate(Stub(), manifest_of(corpus()), ["test"], tmp_path)
    assert report["sets"]["test"]["protocol"]["selection"].startswith("not known")
    assert "in training" not in screen(report["sets"]["test"])


def test_the_protocol_names_corpus_set_formula_transcripts_and_labels(evaluated):
    _, report, _ = evaluated
    stated = report["sets"]["test"]["protocol"]
    assert (stated["corpus"], stated["version"], stated["set"]) == ("made", "1", "test")
    assert (stated["utterances"], stated["speakers"], stated["without_speaker"]) == (N, SPEAKERS, 0)
    assert stated["labelled"] == dict.fromkeys(DIMENSIONS, N)
    assert stated["transcripts"] == {"reference": N}
    assert stated["labels"] == {"planted": N}
    assert "population variance" in stated["ccc"]
    assert stated["intervals"] == "95%, 2000 resamples of speakers"


def test_empty_transcripts_leave_the_voice_and_asr_is_compared_where_it_exists(evaluated):
    _, report, utterances = evaluated
    found = report["sets"]["test"]
    assert list(found["transcripts"]) == ["asr:tiny", "empty", "shuffled"]
    empty = found["transcripts"]["empty"]["readings"]["fused"]["readings"]["empty"]
    assert empty["valence"]["ccc"] == found["readings"]["audio"]["valence"]["ccc"]
    asr = found["transcripts"]["asr:tiny"]
    assert asr["utterances"] == N // 2
    assert list(asr["readings"]) == ["fused", "text"]
    having = [u for u in utterances if "asr:tiny" in u.transcripts]
    for kind, source in (("given", "reference"), ("asr:tiny", "asr:tiny")):
        said = [float(u.transcripts[source].split()[1]) for u in having]
        value = asr["readings"]["fused"]["readings"][kind]["valence"]["ccc"]["value"]
        assert value == pytest.approx(metrics.ccc(said, labels_of(having, "valence")), abs=1e-9)
    difference = asr["readings"]["fused"]["differences"]["given - asr:tiny"]["valence"]["ccc"]
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    shuffled = found["transcripts"]["shuffled"]["readings"]["text"]["readings"]["shuffled"]
    assert abs(shuffled["valence"]["ccc"]["value"]) < 0.25


def test_shuffling_leaves_nobody_the_own_words_and_the_silent_silent():
    utterances = [replace(u, text="" if i < 10 else f"{i}") for i, u in enumerate(corpus())]
    texts = transcripts(utterances, "shuffled", seed=3).texts
    assert texts[:10] == [""] * 10
    assert all(text != u.text for text, u in zip(texts[10:], utterances[10:], strict=True))
    assert sorted(texts) == sorted(u.text for u in utterances)


def test_kinds_of_transcripts_are_found_named_and_refused():
    utterances = corpus()
    assert kinds_of(utterances, ["asr", "given"]) == ["given", "asr:tiny"]
    assert kinds_of([replace(u, text=None, transcripts=None) for u in utterances], ["all"]) == ["given"]
    with pytest.raises(InputError, match=r"'asr:tony' \(did you mean 'asr:tiny'\?\)"):
        kinds_of(utterances, ["asr:tony"])
    two = [replace(utterances[0], transcripts={"asr:a": "x", "asr:b": "y"})]
    with pytest.raises(InputError, match="this set has asr:a, asr:b: name one"):
        kinds_of(two, ["asr"])
    none = [replace(u, transcripts=None) for u in utterances]
    with pytest.raises(InputError, match="this set has none; `multimodal-ser transcribe` makes one"):
        kinds_of(none, ["asr"])


@pytest.mark.parametrize(
    ("changes", "kept"),
    [({"audio": None}, ["fused", "text"]), ({"text": None, "text_source": None}, ["fused", "audio"])],
)
def test_a_reading_without_anything_to_read_has_no_row(changes, kept):
    measured, _ = measured_of(corpus(**changes))
    assert list(measured["readings"]) == kept


def test_a_model_that_only_hears_runs_once(tmp_path):
    stub = Stub(("audio",))
    report = evaluate(stub, manifest_of(corpus()), ["test", "test"], tmp_path, ["all"])
    assert stub.calls == 1
    assert report["sets"]["test"]["transcripts"] == {}
    assert report["sets"]["test"]["differences"] == {}


def test_class_figures_equal_scikit_learn():
    classes = ("anger", "neutral", "sadness")
    generator = np.random.default_rng(2)
    utterances = []
    for u in corpus():
        shares = dict(zip(classes, generator.dirichlet(np.ones(3)).tolist(), strict=True))
        label = str(generator.choice([*classes, "fear", "neutral"]))
        utterances.append(replace(u, emotion=label, meta=u.meta | {"shares": shares}))
    found, said = measured_of(utterances, Stub(classes=classes))
    found = found["classes"]
    kept = [i for i, u in enumerate(utterances) if u.emotion in classes]
    labels = [utterances[i].emotion for i in kept]
    predicted = [classes[i] for i in said[[f"share_{c}" for c in classes]].to_numpy()[kept].argmax(1)]
    assert (found["utterances"], found["other_or_no_label"]) == (len(kept), N - len(kept))
    expected = {
        "weighted_accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "unweighted_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "weighted_f1": sklearn_metrics.f1_score(labels, predicted, average="weighted"),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value)
        assert found[name]["low"] < value < found[name]["high"]
    assert found["confusion"] == sklearn_metrics.confusion_matrix(labels, predicted).tolist()
    assert found["most_frequent_class"]["class"] == "neutral"
    assert found["most_frequent_class"]["weighted_accuracy"] == labels.count("neutral") / len(labels)


def test_always_the_same_class_has_an_unweighted_accuracy_without_any_doubt():
    classes = ("anger", "neutral", "sadness")
    shares = dict(zip(classes, (0.2, 0.5, 0.3), strict=True))
    utterances = [
        replace(u, emotion=classes[min(i % 7, 2)], meta=u.meta | {"shares": shares})
        for i, u in enumerate(corpus())
    ]
    found, _ = measured_of(utterances, Stub(classes=classes))
    assert found["classes"]["unweighted_accuracy"] == pytest.approx(
        dict.fromkeys(("value", "low", "high"), 1 / 3)
    )


def test_classes_are_compared_between_transcripts_too(tmp_path):
    class Reader(Stub):
        """Takes the class from the transcript, and says anger where there is none."""

        def predict(self, examples):
            return (
                super()
                .predict(examples)
                .assign(
                    share_anger=[0.5] * len(examples),
                    share_neutral=[
                        float(bool(u.text) and float(u.text.split()[0]) > 0.5) for u in examples.utterances
                    ],
                )
            )

    shares = {"anger": 0.5, "neutral": 0.5}
    utterances = [
        replace(
            u,
            emotion="neutral" if float(u.text.split()[0]) > 0.5 else "anger",
            meta=u.meta | {"shares": shares},
            **dict.fromkeys(DIMENSIONS),
        )
        for u in corpus()
    ]
    stub = Reader(classes=("anger", "neutral"))
    report = evaluate(stub, manifest_of(utterances), ["test"], tmp_path, ["empty", "asr"])
    found = report["sets"]["test"]["transcripts"]
    assert found["empty"]["classes"]["given"]["weighted_accuracy"]["value"] == 1
    angry = sum(u.emotion == "anger" for u in utterances) / N
    assert found["empty"]["classes"]["empty"]["weighted_accuracy"]["value"] == pytest.approx(angry)
    assert found["empty"]["classes"]["empty"]["unweighted_accuracy"]["value"] == 0.5
    having = [u for u in utterances if "asr:tiny" in u.transcripts]
    right = [(float(u.transcripts["asr:tiny"].split()[0]) > 0.5) == (u.emotion == "neutral") for u in having]
    heard = found["asr:tiny"]["classes"]["asr:tiny"]
    assert (heard["utterances"], heard["weighted_accuracy"]["value"]) == (
        N // 2,
        pytest.approx(np.mean(right)),
    )
    assert "2 classes, 120 utterances: weighted accuracy 1.00" in screen(report["sets"]["test"])
    page = write_page(tmp_path).read_text()
    assert "given, where there is asr:tiny" in page
    assert "always “anger”" in page or "always “neutral”" in page


def test_a_set_without_labels_is_predicted_once(tmp_path):
    stub = Stub()
    evaluate(stub, manifest_of(corpus(**dict.fromkeys(DIMENSIONS))), ["test"], tmp_path, ["all"])
    assert stub.calls == 1


def test_calibration_bins_lie_on_the_planted_line():
    utterances = []
    for u in corpus(n=400):
        said = [0.5 + 2 * (getattr(u, name) - 0.5) for name in DIMENSIONS]  # twice as far out as the label
        utterances.append(replace(u, text=" ".join(map(str, said))))
    found, _ = measured_of(utterances)
    bins = found["calibration"]["arousal"]
    assert len(bins) == 10
    assert sum(b["utterances"] for b in bins) == 400
    assert all(b["utterances"] == pytest.approx(40, abs=1) for b in bins)
    for one in bins:
        assert one["label"]["value"] == pytest.approx(0.5 + (one["said"] - 0.5) / 2, abs=1e-9)
        assert one["label"]["low"] <= one["label"]["value"] <= one["label"]["high"]


def test_speakers_are_listed_with_their_own_figures(evaluated):
    folder, _, utterances = evaluated
    rows = read_table(folder / "speakers_test.csv").set_index("speaker")
    assert list(rows.index) == [f"s{i}" for i in range(SPEAKERS)]
    own = [u for u in utterances if u.speaker == "s3"]
    said = [float(u.text.split()[0]) for u in own]
    assert rows.loc["s3", "utterances"] == len(own)
    assert rows.loc["s3", "arousal"] == pytest.approx(np.mean(said), abs=1e-6)
    expected = metrics.ccc(said, labels_of(own, "arousal"))
    assert rows.loc["s3", "ccc_arousal"] == pytest.approx(expected, abs=1e-6)


def test_tables_align_and_say_whose_intervals_they_show(evaluated):
    _, report, _ = evaluated
    measured = report["sets"]["test"]
    lines = table(measured["readings"], measured["protocol"]).splitlines()
    assert lines[0] == (
        "CCC on made 1, test: 120 utterances of 8 speakers (4 of them in training); "
        "intervals 95%, 2000 resamples of speakers"
    )
    assert [line.split()[0] for line in lines[3:]] == list(READINGS)
    assert len({len(line) for line in lines[2:]}) == 1
