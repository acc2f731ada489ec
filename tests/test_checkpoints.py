"""Checkpoints are whole or absent, whenever their writer is killed."""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from multimodal_ser import checkpoints as module
from multimodal_ser.checkpoints import Checkpoint, Checkpoints, whole


def checkpoint_of(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    weights = {"a.weight": torch.randn(3, 4, generator=generator), "b": torch.tensor(step)}
    optimizer = {
        "state": {0: {"exp_avg": torch.full((3, 4), float(step)), "step": torch.tensor(float(step))}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0]}],
        "random": [torch.get_rng_state()],
    }
    return Checkpoint(weights, optimizer, {"step": step, "loss": 0.1 + 0.2})


def assert_is(found: Checkpoint | None, step: int) -> None:
    assert found is not None
    wanted = checkpoint_of(step)
    assert found.state == wanted.state
    assert all(torch.equal(found.weights[name], wanted.weights[name]) for name in wanted.weights)
    assert torch.equal(found.optimizer["state"][0]["exp_avg"], wanted.optimizer["state"][0]["exp_avg"])
    assert found.optimizer["param_groups"] == wanted.optimizer["param_groups"]
    assert torch.equal(found.optimizer["random"][0], wanted.optimizer["random"][0])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "c").save(7, checkpoint_of(7))
    assert_is(Checkpoints(tmp_path / "c").latest(), 7)
    assert Checkpoints(tmp_path / "c").latest_state() == checkpoint_of(7).state


def test_before_the_first_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "c").latest() is None
    assert Checkpoints(tmp_path / "c").latest_state() is None


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    for step in (9, 10, 100):
        saved.save(step, checkpoint_of(step))
    assert names(tmp_path) == ["step-00000010", "step-00000100"]
    assert_is(saved.latest(), 100)


def test_a_step_that_is_saved_again_is_replaced(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    saved.save(5, checkpoint_of(4))
    saved.save(5, checkpoint_of(5))
    assert names(tmp_path) == ["step-00000005"]
    assert_is(saved.latest(), 5)


class Killed(BaseException):
    """Stands for a kill: nothing behind it runs."""


CALLS = {
    "making a folder": (module.tempfile, "mkdtemp"),
    "writing weights": (module, "save_file"),
    "writing the optimizer": (module.torch, "save"),
    "writing the state": (module, "write_json"),
    "moving": (os, "replace"),
    "removing": (shutil, "rmtree"),
}


def killed_at(call: Callable, count: int, is_after: bool) -> Callable:
    done = 0

    def killing(*arguments: Any, **options: Any) -> Any:
        nonlocal done
        done += 1
        if done < count:
            return call(*arguments, **options)
        if is_after:
            call(*arguments, **options)
        raise Killed

    return killing


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("step", [2, 3], ids=["same step again", "new step"])
def test_killed_at_any_moment_of_saving_a_whole_checkpoint_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, what: str, count: int, is_after: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of use at a power cut only, and slow
    for earlier in (1, 2):
        Checkpoints(tmp_path).save(earlier, checkpoint_of(earlier))
    place, name = CALLS[what]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed_at(getattr(place, name), count, is_after))
        with contextlib.suppress(Killed):
            Checkpoints(tmp_path).save(step, checkpoint_of(step))
    found = Checkpoints(tmp_path).latest()
    assert found is not None
    assert_is(found, found.state["step"])
    Checkpoints(tmp_path).save(4, checkpoint_of(4))
    assert_is(Checkpoints(tmp_path).latest(), 4)
    assert len(names(tmp_path)) == 2, "nothing is left over"
    assert all(name.startswith("step-") for name in names(tmp_path))


def test_a_folder_that_is_half_removed_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    for step in (1, 2):
        saved.save(step, checkpoint_of(step))
    (tmp_path / ".removing-x").mkdir()
    os.replace(tmp_path / "step-00000002", tmp_path / ".removing-x" / "step-00000002")
    assert_is(saved.latest(), 1)
    saved.tidy()
    assert names(tmp_path) == ["step-00000001"]


def test_others_may_read_what_the_umask_allows(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(1, checkpoint_of(1))
    folder = tmp_path / "step-00000001"
    (tmp_path / "usual").mkdir()
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(1, checkpoint_of(1))
    torch.save({"optimizer": Path("x")}, tmp_path / "step-00000001" / "optimizer.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        Checkpoints(tmp_path).latest()


def test_shared_and_strided_weights_become_independent_and_contiguous() -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    made = whole({"a": shared, "b": shared, "c": shared.T})
    assert len({tensor.data_ptr() for tensor in made.values()}) == 3
    assert all(tensor.is_contiguous() for tensor in made.values())
    assert torch.equal(made["c"], shared.T)
