"""A run folder keeps what a run said, and cuts off what it will say again."""

import json
from pathlib import Path

import pytest
import torch

from multimodal_ser.errors import InputError
from multimodal_ser.run_folder import Progress, RunFolder

REST = {"optimizer": {}, "random": []}


def saved(folder: Path, settings: dict, **facts: int) -> RunFolder:
    run = RunFolder(folder)
    run.save({"w": torch.ones(2)}, REST, Progress(**facts), settings)
    return run


def epochs(run: RunFolder) -> list[int]:
    return [json.loads(line)["epoch"] for line in run.history.read_text("utf-8").splitlines()]


def test_progress_is_read_back_as_it_was(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).progress() is None
    progress = Progress(7, 2, 1, 4, 0.1 + 0.2, 6, 1, False, {"loss": 1 / 3}, 3)
    RunFolder(tmp_path).save({"w": torch.ones(2)}, REST, progress, {})
    assert RunFolder(tmp_path).progress() == progress


@pytest.mark.parametrize("epoch", [0, 1, 2, 3])
def test_history_keeps_the_epochs_that_the_checkpoint_has_seen(tmp_path: Path, epoch: int) -> None:
    run = RunFolder(tmp_path)
    run.begin(Progress())
    for number in (1, 2, 3):
        run.note({"step": 5, "epoch": number, "score": 0.5})
    with run.history.open("a", encoding="utf-8") as file:
        file.write('{"step": 5, "epoch": 4, "sco')
    run.begin(Progress(step=5, epoch=epoch))
    assert epochs(run) == [1, 2, 3][:epoch]


def test_what_is_not_a_number_is_null_in_history(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.note({"epoch": 1, "score": float("nan"), "loss": float("inf"), "step": 3})
    assert run.history.read_text("utf-8") == '{"epoch": 1, "score": null, "loss": null, "step": 3}\n'


def test_a_fresh_start_takes_away_what_a_killed_run_left(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.keep_best({"w": torch.ones(2)})
    (run.best.parent / ".best.abc.safetensors").write_bytes(b"half")
    (run.best.parent / ".writing-abc").mkdir()
    run.begin(Progress())
    assert list(run.best.parent.iterdir()) == []
    run.keep_best({"w": torch.full((2,), 3.0)})
    run.begin(Progress(step=2, best_score=0.1))
    assert run.best_weights()["w"].tolist() == [3.0, 3.0]


def test_the_same_settings_are_accepted_whatever_their_order_or_kind_of_list(tmp_path: Path) -> None:
    run = saved(tmp_path, {"a": {"x": 1, "y": (1, 2)}, "b": {}, "c": None})
    run.refuse_other_settings({"c": None, "a": {"y": [1, 2], "x": 1}, "b": {}})
    run.refuse_other_settings({"a": {"x": 1, "y": (1, 2)}})  # a part of them
    RunFolder(tmp_path / "new").refuse_other_settings({"a": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"a": {"x": 2, "y": [1]}}, "a.x was 1 and is now 2. Choose another folder"),
        ({"a": {"x": 1}}, r"a.y was \[1\] and is now None"),
        ({"a": {"x": 1, "y": [1], "z": True}}, "a.z was None and is now True"),
        ({"a": 3}, "a was None and is now 3; a.x was 1 and is now None"),
        ({"utterances": "def"}, "the training or development utterances are others, or said otherwise"),
    ],
)
def test_other_settings_are_named(tmp_path: Path, settings: dict, message: str) -> None:
    run = saved(tmp_path, {"a": {"x": 1, "y": [1]}, "ab": {"q": 1}, "utterances": "abc"})
    with pytest.raises(InputError, match=f"holds a run with other settings: {message}"):
        run.refuse_other_settings(settings)


def test_many_differences_are_counted(tmp_path: Path) -> None:
    run = saved(tmp_path, {f"k{n}": 0 for n in range(12)})
    with pytest.raises(
        InputError, match=r"; and 4 more\. Choose another folder, set them back, or start over"
    ):
        run.refuse_other_settings({f"k{n}": 1 for n in range(12)})


def test_forgetting_leaves_what_is_not_of_the_run(tmp_path: Path) -> None:
    run = saved(tmp_path, {})
    (tmp_path / "model").mkdir()
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    run.forget()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    run.forget()
