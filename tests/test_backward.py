"""Gradients over accumulation steps and processes are those of the whole batch."""

from collections.abc import Callable
from pathlib import Path

import pytest
import small_runs
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.losses import concordance_loss
from multimodal_ser.objectives.backward import (
    Step,
    backward,
    backward_within_memory,
    is_out_of_memory,
    spans,
)
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.processes import new_accelerator

SAMPLES = 6


class Toy(Objective):
    """A small network on raw samples, in double precision."""

    def __init__(self, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(SAMPLES, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3)
        ).double()
        self.register_buffer("constant", torch.ones(1))

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        return {"said": self.model(batch.waveforms), "targets": batch.targets, "indices": batch.indices}


class Concordance(Toy):
    """A loss over the whole batch."""

    whole_batch = True

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = concordance_loss(outputs["said"], outputs["targets"])
        return {"loss": 2 * loss, "half": loss}


class MeanSquare(Toy):
    """A loss that is a mean over utterances."""

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": (outputs["said"] - outputs["targets"]).square().mean()}


def batch_of(size: int, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    waveforms = torch.randn(size, SAMPLES, generator=generator, dtype=torch.float64)
    targets = torch.rand(size, 3, generator=generator, dtype=torch.float64)
    targets[0, 1] = torch.nan  # not labelled
    return Batch(
        waveforms=waveforms,
        lengths=torch.full((size,), SAMPLES),
        token_ids=None,
        token_mask=None,
        targets=targets,
        class_shares=torch.zeros(size, 0),
        frame_labels=None,
        indices=torch.arange(size),
        ids=tuple(f"u{n}" for n in range(size)),
    )


@pytest.fixture
def accelerator() -> Accelerator:
    return new_accelerator("fp32", True, (), ".")


def gradients(objective: Objective) -> Tensor:
    return torch.cat([p.grad.flatten() for p in objective.parameters()])


def backward_in(
    accelerator: Accelerator, objective: Objective, batch: Batch, parts: int
) -> tuple[Tensor, dict[str, Tensor]]:
    losses = backward(accelerator, Step(objective), objective, batch, parts)
    return gradients(objective), losses


@pytest.mark.parametrize("parts", [2, 4, 7, 100])
@pytest.mark.parametrize("kind", [Concordance, MeanSquare])
def test_gradients_in_parts_are_those_of_the_whole_batch(
    accelerator: Accelerator, kind: type[Toy], parts: int
) -> None:
    batch = batch_of(10)
    if kind is MeanSquare:
        batch = batch._replace(targets=batch.targets.nan_to_num(0.5))
    whole = kind()
    loss = whole.losses(whole.outputs(batch))["loss"]
    loss.backward()
    found, losses = backward_in(accelerator, kind(), batch, parts)
    torch.testing.assert_close(found, gradients(whole), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(losses["loss"], loss.detach(), rtol=1e-12, atol=0)


def test_the_mean_of_concordance_over_parts_would_be_another_gradient() -> None:
    batch = batch_of(10)
    whole, naive = Concordance(), Concordance()
    whole(batch)["loss"].backward()
    for part in spans(10, 4):
        (naive(batch.rows(part))["loss"] / 4).backward()
    assert (gradients(naive) - gradients(whole)).norm() > 0.1 * gradients(whole).norm()


@pytest.mark.parametrize("parts", [1, 4])
def test_with_dropout_the_second_pass_meets_the_dropout_of_the_first(
    accelerator: Accelerator, parts: int
) -> None:
    batch = batch_of(10)
    one_graph = Concordance(dropout=0.5)
    torch.manual_seed(7)
    rows = [one_graph.outputs(batch.rows(part)) for part in spans(10, parts)]
    merged = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    one_graph.losses(merged)["loss"].backward()
    two_passes = Concordance(dropout=0.5)
    torch.manual_seed(7)
    found, _ = backward_in(accelerator, two_passes, batch, parts)
    torch.testing.assert_close(found, gradients(one_graph), rtol=1e-12, atol=1e-14)
    torch.manual_seed(8)
    other = Concordance(dropout=0.5)
    assert not torch.allclose(backward_in(accelerator, other, batch, parts)[0], found), "dropout is active"


def test_gradients_add_up_until_they_are_taken(accelerator: Accelerator) -> None:
    objective = Concordance()
    first, _ = backward_in(accelerator, objective, batch_of(6), 3)
    first = first.clone()
    again, _ = backward_in(accelerator, objective, batch_of(6), 1)
    torch.testing.assert_close(again, 2 * first, rtol=1e-12, atol=1e-14)


def test_losses_are_detached(accelerator: Accelerator) -> None:
    for parts in (1, 2):
        _, losses = backward_in(accelerator, Concordance(), batch_of(6), parts)
        assert set(losses) == {"loss", "half"}
        assert not any(loss.requires_grad for loss in losses.values())
        assert losses["loss"] == 2 * losses["half"]


@pytest.mark.parametrize(("size", "parts"), [(10, 4), (3, 8), (1, 1), (7, 7)])
def test_spans_cover_all_rows_in_nearly_equal_runs(size: int, parts: int) -> None:
    made = spans(size, parts)
    assert [row for span in made for row in range(size)[span]] == list(range(size))
    lengths = [span.stop - span.start for span in made]
    assert len(made) == min(size, parts)
    assert max(lengths) - min(lengths) <= 1


def short_of_memory(objective: Toy, largest: int, error: Callable[[str], BaseException]) -> Toy:
    """The same objective, on a device on which not more than `largest` utterances fit."""
    outputs = objective.outputs

    def refusing(batch: Batch) -> dict[str, Tensor]:
        if batch.size > largest:
            torch.rand(5)  # what was drawn before memory ran out must not count
            raise error("can't allocate memory: you tried to allocate 1 TB")
        return outputs(batch)

    objective.outputs = refusing
    return objective


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_out_of_memory_halves_the_parts_and_changes_nothing_else(
    accelerator: Accelerator, error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    batch = batch_of(10)
    roomy = Concordance(dropout=0.5)
    torch.manual_seed(3)
    wanted, _ = backward_in(accelerator, roomy, batch, 4)
    tight = short_of_memory(Concordance(dropout=0.5), 3, error)
    torch.manual_seed(3)
    _, parts = backward_within_memory(accelerator, Step(tight), tight, batch, 1)
    assert parts == 4
    assert torch.equal(gradients(tight), wanted)
    assert capsys.readouterr().err.count("out of memory: going on with each batch in") == 2


def test_a_failure_halfway_through_the_backward_pass_leaves_no_gradient_behind(
    accelerator: Accelerator,
) -> None:
    batch = batch_of(10)
    wanted, _ = backward_in(accelerator, Concordance(), batch, 4)
    tight = Concordance()
    calls = []
    outputs = tight.outputs

    def failing_once(part: Batch) -> dict[str, Tensor]:
        calls.append(part.size)
        if len(calls) == 4:  # the second part of the second pass
            raise torch.OutOfMemoryError
        return outputs(part)

    tight.outputs = failing_once
    _, parts = backward_within_memory(accelerator, Step(tight), tight, batch, 2)
    assert parts == 4
    assert torch.equal(gradients(tight), wanted)


def test_when_single_utterances_do_not_fit_the_error_says_what_can_be_done(accelerator: Accelerator) -> None:
    tight = short_of_memory(Concordance(), 0, torch.OutOfMemoryError)
    with pytest.raises(InputError, match=r"out of memory with single utterances, for example u0.*bf16"):
        backward_within_memory(accelerator, Step(tight), tight, batch_of(4), 1)


def test_another_error_is_not_taken_for_lack_of_memory(accelerator: Accelerator) -> None:
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    objective = short_of_memory(Concordance(), 0, lambda _: RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        backward_within_memory(accelerator, Step(objective), objective, batch_of(4), 1)


# Run by each of two processes: prints the gradient and the losses of its share of a batch of five.
SHARE = """
import sys
import torch
from test_backward import Concordance, MeanSquare, batch_of, gradients
from multimodal_ser.objectives.backward import Step, backward, gather_rows
from multimodal_ser.processes import anywhere, new_accelerator

accelerator = new_accelerator("fp32", True, (), ".")
assert accelerator.num_processes == 2
rank = accelerator.process_index
found = {}
for kind in (Concordance, MeanSquare):
    for parts in (1, 3):
        batch = batch_of(5)
        batch = batch._replace(targets=batch.targets.nan_to_num(0.5))
        names = ("waveforms", "lengths", "targets", "indices", "ids")
        mine = batch._replace(**{name: getattr(batch, name)[rank::2] for name in names})
        objective = kind()
        module = accelerator.prepare(Step(objective))
        losses = backward(accelerator, module, objective, mine, parts)
        found[f"{kind.__name__} {parts}"] = (gradients(objective), losses["loss"])
found["rows"] = gather_rows(accelerator, torch.arange(rank + 1) + 10 * rank)
found["anywhere"] = torch.tensor([anywhere(accelerator, rank == 1), anywhere(accelerator, False)])
torch.save(found, sys.argv[1] + str(rank))
"""


@pytest.mark.slow  # starts two processes
def test_two_processes_with_uneven_shares_have_the_gradients_of_one(tmp_path: Path) -> None:
    script = tmp_path / "share.py"
    script.write_text(SHARE, encoding="utf-8")
    small_runs.two_processes(script, tmp_path / "found")
    found = [torch.load(tmp_path / f"found{rank}", weights_only=True) for rank in (0, 1)]
    batch = batch_of(5)
    batch = batch._replace(targets=batch.targets.nan_to_num(0.5))
    for kind in (Concordance, MeanSquare):
        whole = kind()
        loss = whole(batch)["loss"]
        loss.backward()
        for parts in (1, 3):
            for rank in (0, 1):
                gradient, said = found[rank][f"{kind.__name__} {parts}"]
                torch.testing.assert_close(gradient, gradients(whole), rtol=1e-12, atol=1e-14)
                torch.testing.assert_close(said, loss.detach(), rtol=1e-12, atol=0)
    assert found[0]["rows"].tolist() == found[1]["rows"].tolist() == [0, 10, 11]
    assert found[0]["anywhere"].tolist() == found[1]["anywhere"].tolist() == [True, False]
