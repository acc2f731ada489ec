"""Batches: every utterance once, little padding, an order that depends on seed and epoch alone."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_runs
import torch
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from multimodal_ser.audio import load
from multimodal_ser.audio_store import decode
from multimodal_ser.batches import LEAST_SECONDS, DurationBatches
from multimodal_ser.data import (
    Batch,
    Collate,
    Draw,
    Examples,
    Feed,
    class_shares,
    hash_utterances,
    loader,
)
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, Manifest, Utterance
from multimodal_ser.models.text import TextEncoder


def podcast_lengths(count: int = 20_000, seed: int = 0) -> NDArray[np.float64]:
    """Seconds like those of MSP-Podcast: 2 to 12, 5.7 on average."""
    drawn = np.random.default_rng(seed).gamma(4.0, 1.45, 2 * count)
    return drawn[(drawn >= 2) & (drawn <= 12)][:count]


def texts(*words: str | None, **facts: object) -> Manifest:
    utterances = [Utterance(id=f"u{n}", corpus="c", text=text, **facts) for n, text in enumerate(words)]
    return Manifest(Header("c"), utterances)


@pytest.fixture
def small(tmp_path: Path) -> Manifest:
    return small_runs.split(small_runs.write_corpus(tmp_path / "corpus", 12, 2), "train")


@property_settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0, 40), min_size=8, max_size=150),
    st.floats(0.5, 200),
    st.integers(1, 8),
    st.integers(0, 3),
    st.booleans(),
)
def test_every_utterance_is_in_exactly_one_batch_and_no_batch_is_too_long(
    lengths: list[float], batch_seconds: float, smallest: int, epoch: int, shuffle: bool
) -> None:
    batches = DurationBatches(np.array(lengths), batch_seconds, 1, shuffle, smallest)
    made = batches.epoch(epoch)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) >= smallest
        padded = len(batch) * max(max(lengths[i], LEAST_SECONDS) for i in batch)
        assert padded <= batch_seconds * (1 + 1e-9) or len(batch) < 2 * smallest


def test_padding_of_podcast_like_lengths_is_under_two_percent() -> None:
    lengths = podcast_lengths()
    assert 5.5 < lengths.mean() < 5.9
    batches = DurationBatches(lengths, batch_seconds=160)
    for epoch in range(3):
        made = batches.epoch(epoch)
        padded = sum(lengths[batch].max() * len(batch) for batch in made)
        assert batches.padding(epoch) == pytest.approx(1 - lengths.sum() / padded)
        assert batches.padding(epoch) < 0.02


def test_batches_depend_on_seed_and_epoch_and_not_on_the_number_of_processes() -> None:
    lengths = podcast_lengths(3_000)
    made = DurationBatches(lengths, 160, seed=3).epoch(5)
    assert made == DurationBatches(lengths, 160, seed=3).epoch(5)
    for processes in (2, 4):
        assert made == DurationBatches(lengths, 160, seed=3, smallest=processes).epoch(5)
    assert made != DurationBatches(lengths, 160, seed=3).epoch(6)
    assert made != DurationBatches(lengths, 160, seed=4).epoch(5)


def test_an_utterance_has_other_neighbours_in_another_epoch() -> None:
    batches = DurationBatches(podcast_lengths(10_000), 160)
    one, other = ({i: set(batch) for batch in batches.epoch(n) for i in batch} for n in (0, 1))
    assert np.mean([len(one[i] & other[i]) / len(one[i]) for i in one]) < 0.25


def test_without_shuffling_the_longest_come_first_so_that_lack_of_memory_shows_at_once() -> None:
    made = DurationBatches(podcast_lengths(500), 60, shuffle=False).epoch(0)
    longest = [podcast_lengths(500)[batch].max() for batch in made]
    assert longest == sorted(longest, reverse=True)


def test_no_batch_is_a_small_rest() -> None:
    sizes = [len(batch) for batch in DurationBatches(np.full(101, 1.0), 10, shuffle=False).epoch(0)]
    assert sizes == [10] * 9 + [6, 5]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_batches_without_length_are_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="batch_seconds must be positive, received"):
        DurationBatches(np.ones(3), seconds)


def test_fewer_utterances_than_processes_are_refused() -> None:
    with pytest.raises(InputError, match="3 utterances are too few: a batch needs at least 4"):
        DurationBatches(np.ones(3), 10, smallest=4)


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_all_processes_make_up_the_batch(small: Manifest, processes: int) -> None:
    examples = Examples(small, None)
    batches = DurationBatches(examples.seconds, 2.0, smallest=processes).epoch(0)
    shares = [
        [batch.indices.tolist() for batch in loader(examples, Collate(), batches, 0, rank, processes)]
        for rank in range(processes)
    ]
    for number, batch in enumerate(batches):
        parts = [share[number] for share in shares]
        assert all(parts)
        assert sorted(index for part in parts for index in part) == sorted(batch)


def test_making_and_reading_a_loader_leaves_the_random_numbers_of_dropout_alone(small: Manifest) -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    assert len(list(loader(Examples(small, None), Collate(), [[0, 1], [2]]))) == 2
    assert torch.equal(torch.rand(3), wanted)


def add_noise(waveform: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    return waveform + generator.standard_normal(len(waveform)).astype(np.float32)


def drop_words(text: str, generator: np.random.Generator) -> str:
    return " ".join(word for word in text.split() if generator.random() < 0.5)


def changed_examples(small: Manifest, tmp_path: Path, seed: int = 0) -> Examples:
    store = decode(small, tmp_path / "cache")
    return Examples(small, store, seed=seed, change_audio=add_noise, change_text=drop_words)


def test_what_is_random_about_an_utterance_depends_on_seed_epoch_and_index_alone(
    small: Manifest, tmp_path: Path
) -> None:
    examples = changed_examples(small, tmp_path)
    forward = [examples[Draw(n, 3)] for n in range(6)]
    for n in reversed(range(6)):
        again = examples[Draw(n, 3)]
        assert np.array_equal(again[2], forward[n][2])
        assert again[3] == forward[n][3]
    assert not np.array_equal(examples[Draw(2, 4)][2], forward[2][2]), "another epoch"
    assert not np.array_equal(changed_examples(small, tmp_path, 1)[Draw(2, 3)][2], forward[2][2]), "a seed"


@pytest.mark.slow  # starts processes
def test_worker_processes_read_the_same_batches_from_the_memory_maps(small: Manifest, tmp_path: Path) -> None:
    examples = changed_examples(small, tmp_path)
    examples.store[0]  # a map that is open here must not be sent
    encoder = TextEncoder.small([u.text for u in small.utterances], 16, 1)
    collate = Collate(tokenize=encoder.tokenize)
    batches = DurationBatches(examples.seconds, 2.0).epoch(1)
    here, there = (Feed(examples, collate, workers=workers) for workers in (0, 1))
    next(iter(there(batches)))  # given up in the middle
    for epoch in (1, 2):
        for one, other in zip(here(batches, epoch), there(batches, epoch), strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.waveforms, other.waveforms)
            assert torch.equal(one.token_ids, other.token_ids)


def test_workers_are_not_sent_the_weights_of_the_text_encoder() -> None:
    encoder = TextEncoder.small(["some words"], 64, 2)
    weights = sum(p.numel() for p in encoder.parameters()) * 4
    assert len(pickle.dumps(Collate(tokenize=encoder.tokenize))) < weights / 4


def test_a_batch_is_what_load_gives_zero_behind_each_end(small: Manifest, tmp_path: Path) -> None:
    examples = Examples(small, decode(small, tmp_path / "cache"))
    (batch,) = loader(examples, Collate(), [[3, 1, 2]])
    batch = batch.to("cpu")
    for row, index in enumerate((3, 1, 2)):
        wanted = load(small.audio_path(small.utterances[index]))
        length = int(batch.lengths[row])
        assert length == len(wanted)
        assert np.array_equal(batch.waveforms[row, :length].numpy(), wanted)
        assert not batch.waveforms[row, length:].any()
    assert batch.ids == ("u003", "u001", "u002")
    assert batch.indices.tolist() == [3, 1, 2]
    u = small.utterances[3]
    assert batch.targets[0].tolist() == pytest.approx([u.arousal, u.valence, u.dominance])


def test_changed_audio_survives_beside_an_utterance_without_audio(small: Manifest, tmp_path: Path) -> None:
    small.utterances[0] = replace(small.utterances[0], audio=None)
    examples = changed_examples(small, tmp_path)
    (batch,) = loader(examples, Collate(), [[0, 1]])
    assert batch.lengths[0] == 0
    assert not batch.waveforms[0].any()
    assert np.array_equal(batch.waveforms[1].numpy(), examples[Draw(1, 0)][2])


def test_rows_of_a_batch_are_cut_to_their_longest(small: Manifest, tmp_path: Path) -> None:
    examples = Examples(small, decode(small, tmp_path / "cache"))
    order = np.argsort(-examples.store.lengths)[:6].tolist()
    (batch,) = loader(examples, Collate(), [order])
    part = batch.rows(slice(3, 5))
    assert part.size == 2
    assert part.ids == batch.ids[3:5]
    assert part.waveforms.shape == (2, int(batch.lengths[3]))
    assert torch.equal(part.targets, batch.targets[3:5])


def test_a_batch_of_texts_has_no_audio_and_what_is_not_labelled_is_nan() -> None:
    manifest = texts("hello there", None, arousal=0.25)
    encoder = TextEncoder.small(["hello there"], 16, 1)
    collate = Collate(("anger", "fear"), encoder.tokenize)
    (batch,) = loader(Examples(manifest, None, ("anger", "fear")), collate, [[0, 1]])
    assert batch.waveforms is None
    assert batch.lengths.tolist() == [0, 0]
    assert batch.token_mask.sum(1).tolist() == [2, 0]
    assert batch.targets[:, 0].tolist() == [0.25, 0.25]
    assert batch.targets[:, 1:].isnan().all()
    assert batch.class_shares.isnan().all()
    assert batch.frame_labels is None


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({"emotion": "fear"}, [0.0, 1.0]),
        ({"emotion": "neutral"}, [np.nan, np.nan]),
        ({"emotion_probs": {"anger": 0.3, "fear": 0.1, "neutral": 0.6}}, [0.75, 0.25]),
        ({"emotion_probs": {"neutral": 1.0}, "emotion": "fear"}, [np.nan, np.nan]),
        ({}, [np.nan, np.nan]),
    ],
)
def test_class_shares_are_those_among_the_classes(facts: dict, wanted: list[float]) -> None:
    shares = class_shares(Utterance(id="u", corpus="c", text="", **facts), ("anger", "fear"))
    assert shares == pytest.approx(wanted, nan_ok=True)


def test_frame_labels_are_minus_one_behind_their_end_and_where_there_are_none() -> None:
    manifest = texts("a", "b", "c")
    labels = ([1, 2, 3], None, [4])
    manifest.utterances[:] = [
        replace(u, frame_labels=x) for u, x in zip(manifest.utterances, labels, strict=True)
    ]
    (batch,) = loader(Examples(manifest, None), Collate(), [[0, 1, 2]])
    assert batch.frame_labels.tolist() == [[1, 2, 3], [-1, -1, -1], [4, -1, -1]]


def test_one_of_several_transcripts_is_drawn_each_time() -> None:
    manifest = texts("as given")
    given = {"reference": "one", "asr:x": "two"}
    manifest.utterances[0] = replace(manifest.utterances[0], transcripts=given)
    drawn = [Examples(manifest, None, choose_transcript=True)[Draw(0, epoch)][3] for epoch in range(40)]
    assert set(drawn) == {"one", "two"}
    assert Examples(manifest, None)[Draw(0, 0)][3] == "as given"


def test_texts_and_silent_utterances_count_as_long_as_it_takes_to_say_them(
    small: Manifest, tmp_path: Path
) -> None:
    small.utterances[0] = replace(small.utterances[0], audio=None, text="x" * 30)
    seconds = Examples(small, decode(small, tmp_path / "cache")).seconds
    assert seconds[0] == 2.0
    assert seconds[1] == len(load(small.audio_path(small.utterances[1]))) / 16_000
    assert Examples(texts("x" * 45, None), None).seconds.tolist() == [3.0, 0.0]


def test_empty_utterances_do_not_end_up_in_one_batch_without_end() -> None:
    sizes = [len(batch) for batch in DurationBatches(np.zeros(1_000), 10).epoch(0)]
    assert max(sizes) <= 10 / LEAST_SECONDS


def test_other_facts_about_the_same_audio(small: Manifest, tmp_path: Path) -> None:
    examples = Examples(small, decode(small, tmp_path / "cache"))
    silent = examples.with_utterances([replace(u, text="") for u in small.utterances])
    assert silent[Draw(4, 0)][3] == ""
    assert examples[Draw(4, 0)][3] != ""
    assert np.array_equal(silent[Draw(4, 0)][2], examples[Draw(4, 0)][2])


def test_the_hash_of_utterances_sees_labels_words_order_and_sets(small: Manifest) -> None:
    some = small.utterances[:3]
    seen = {
        hash_utterances(some),
        hash_utterances([replace(some[0], arousal=0.123), *some[1:]]),
        hash_utterances([replace(some[0], text="other"), *some[1:]]),
        hash_utterances(some[::-1]),
        hash_utterances(some[:2], some[2:]),
    }
    assert len(seen) == 5
    assert hash_utterances([replace(u) for u in some]) in seen


def test_batches_move_as_a_whole(small: Manifest) -> None:
    (batch,) = loader(Examples(small, None), Collate(), [[0, 1]])
    moved = batch.to("meta")
    tensors = [x for x in moved if isinstance(x, torch.Tensor)]
    assert {x.device.type for x in tensors} == {"meta"}
    assert isinstance(moved, Batch)
