"""The loop: exact resume, the best model, the whole batch, and what happens when something goes wrong."""

import json
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from torch import Tensor, nn

from multimodal_ser import training as module
from multimodal_ser.audio_store import decode
from multimodal_ser.data import Batch, Collate, Examples
from multimodal_ser.errors import InputError
from multimodal_ser.losses import concordance, concordance_loss
from multimodal_ser.objectives.objective import Gather, Objective
from multimodal_ser.run_folder import Progress, RunFolder
from multimodal_ser.training import Stopped, TrainingConfig, train

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_seconds": 3.0,
    "learning_rate": 0.01,
    "patience": None,
    "checkpoint_steps": 2,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk is of use at a power cut only, and makes half of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Listener(Objective):
    """Level and length of a recording, through a small network with dropout, to the three dimensions."""

    whole_batch = True

    def __init__(self, dropout: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3))
        self.before_step: Callable[[int], None] = lambda _: None
        self.steps = 0

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        if self.training:
            self.steps += 1
            self.before_step(self.steps)
        lengths = batch.lengths / 16_000
        level = (batch.waveforms.square().sum(1) / batch.lengths).clamp(min=1e-9).log() / 10
        return {"said": self.model(torch.stack([level, lengths], dim=1)), "targets": batch.targets}

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": concordance_loss(outputs["said"], outputs["targets"])}

    @torch.inference_mode()
    def validate(self, batches: Iterable[Batch], gather: Gather) -> dict[str, float]:
        rows = [self.outputs(batch) for batch in batches]
        said, targets = (gather(torch.cat([row[name] for row in rows])) for name in ("said", "targets"))
        found = concordance(said, targets)
        return {"score": float(found.mean()), "arousal": float(found[0]), "undefined": float("nan")}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Examples, Examples]:
    """Training and development utterances."""
    folder = tmp_path_factory.mktemp("corpus")
    path = small_runs.write_corpus(folder)
    parts = [small_runs.split(path, name) for name in ("train", "development")]
    first, second = (Examples(part, decode(part, folder / "cache"), seed=0) for part in parts)
    return first, second


Run = Callable[..., tuple[Listener, Progress]]


@pytest.fixture
def run(examples: tuple[Examples, Examples], tmp_path: Path) -> Run:
    """Train a listener in a folder, or go on with it."""

    def running(
        name: str = "run",
        objective: Listener | None = None,
        before_step: Callable[[int], None] | None = None,
        described: dict | None = None,
        **changes: Any,
    ) -> tuple[Listener, Progress]:
        objective = objective or Listener()
        if before_step is not None:
            objective.before_step = before_step
        config = TrainingConfig(**{**SETTINGS, **changes})
        progress = train(objective, *examples, Collate(), config, tmp_path / name, described)
        return objective, progress

    return running


def weights(objective: Objective) -> Tensor:
    return torch.cat([p.detach().flatten() for p in objective.parameters()])


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text("utf-8").splitlines()]


class Killed(BaseException):
    """Stands for a kill: nothing behind it runs."""


def kill_in_step(number: int) -> Callable[[int], None]:
    def killing(step: int) -> None:
        if step == number:
            raise Killed

    return killing


def assert_same(tmp_path: Path, one: tuple[Listener, Progress], other: tuple[Listener, Progress]) -> None:
    assert torch.equal(weights(one[0]), weights(other[0]))
    assert one[1] == other[1]
    texts = [(tmp_path / name / "history.jsonl").read_bytes() for name in ("whole", "run")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("kill", [3, 6])
def test_a_run_with_averaged_weights_is_resumed_exactly(run: Run, tmp_path: Path, kill: int) -> None:
    whole = run("whole", averaging=0.8)
    with pytest.raises(Killed):
        run(before_step=kill_in_step(kill), averaging=0.8)
    assert_same(tmp_path, whole, run(averaging=0.8))


def test_what_is_kept_is_the_mean_of_the_weights_with_a_decay_that_rises(run: Run) -> None:
    seen: list[Tensor] = []
    objective = Listener(dropout=0.0)
    averaged, progress = run(
        objective=objective, before_step=lambda _: seen.append(weights(objective)), averaging=0.5, epochs=1
    )
    plain, _ = run("plain", Listener(dropout=0.0), epochs=1)
    path = [*seen, weights(plain)]  # the mean takes no part in training
    assert len(path) == progress.step + 1
    mean = path[0]
    for step, after in enumerate(path[1:], start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * after
    assert torch.allclose(weights(averaged), mean, atol=1e-6)
    assert not torch.allclose(weights(averaged), weights(plain), atol=1e-4)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("kill", [1, 3, 5, 6, 9])
def test_a_run_killed_in_a_step_and_resumed_ends_like_one_that_was_not(
    run: Run, tmp_path: Path, kill: int, accumulation: int
) -> None:
    whole = run("whole", accumulation=accumulation)
    with pytest.raises(Killed):
        run(before_step=kill_in_step(kill * (1 if accumulation == 1 else 6)), accumulation=accumulation)
    assert_same(tmp_path, whole, run(accumulation=accumulation))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("what", ["keep_best", "note", "save"])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_run_killed_beside_any_write_and_resumed_ends_like_one_that_was_not(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, count: int, is_after: bool
) -> None:
    # Every step is a checkpoint, so one lies between the last step of an epoch and its validation.
    whole = run("whole", checkpoint_steps=1)
    calls = []
    write = getattr(RunFolder, what)

    def killing(*arguments: Any) -> None:
        calls.append(what)
        if len(calls) == count and not is_after:
            raise Killed
        write(*arguments)
        if len(calls) == count:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, what, killing)
        with pytest.raises(Killed):
            run(checkpoint_steps=1)
    assert_same(tmp_path, whole, run(checkpoint_steps=1))


def test_a_run_may_be_killed_again_and_again(run: Run, tmp_path: Path) -> None:
    whole = run("whole")
    for _ in range(30):
        try:
            resumed = run(before_step=kill_in_step(3))
            break
        except Killed:
            pass
    assert_same(tmp_path, whole, resumed)


def test_a_line_that_was_cut_off_is_written_again(run: Run, tmp_path: Path) -> None:
    whole = run("whole")
    with pytest.raises(Killed):
        run(before_step=kill_in_step(6))
    with (tmp_path / "run" / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 8, "epo')
    assert_same(tmp_path, whole, run())


def test_the_last_step_is_not_taken_twice(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """max_steps ends within an epoch, and the kill comes behind the checkpoint of that step."""
    whole = run("whole", max_steps=2)
    assert whole[1].step == 2

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "_measure", killed)
        with pytest.raises(Killed):
            run(max_steps=2)
    assert_same(tmp_path, whole, run(max_steps=2))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops_and_the_run_goes_on_from_there(
    run: Run, tmp_path: Path, number: signal.Signals
) -> None:
    whole = run("whole", checkpoint_steps=100)
    before = signal.getsignal(number)

    def stop(step: int) -> None:
        if step == 6:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match="saved at step 6; the same command goes on from there"):
        run(before_step=stop, checkpoint_steps=100)
    assert signal.getsignal(number) is before
    resumed = run(checkpoint_steps=100)
    assert resumed[0].steps == whole[0].steps - 6
    assert_same(tmp_path, whole, resumed)


def test_a_finished_run_is_not_trained_again(run: Run, tmp_path: Path) -> None:
    first = run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    again = run(before_step=kill_in_step(1))
    assert again[1] == first[1]
    assert torch.equal(weights(again[0]), weights(first[0]))
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before


def test_other_settings_do_not_go_on_with_a_run(run: Run, examples: tuple, tmp_path: Path) -> None:
    run(max_steps=2, described={"loss": {"weight": 1, "kinds": ("a", "b")}, "model": {"width": 3}})
    described = {"loss": {"weight": 2, "kinds": ("a", "b")}, "model": {}}
    with pytest.raises(InputError) as caught:
        run(max_steps=3, learning_rates={"model.0.": 1e-3}, described=described)
    said = str(caught.value)
    for part in (
        "holds a run with other settings",
        "loss.weight was 1 and is now 2",
        "training.max_steps was 2 and is now 3",
        "training.learning_rates.model.0. was None and is now 0.001",
        "model.width was 3 and is now None",
        "--restart",
    ):
        assert part in said
    assert "kinds" not in said


def test_other_utterances_do_not_go_on_with_a_run(run: Run, examples: tuple, tmp_path: Path) -> None:
    run(max_steps=2)
    fewer = examples[0].with_utterances(examples[0].utterances[::-1])
    with pytest.raises(InputError, match="the training or development utterances are others"):
        train(
            Listener(),
            fewer,
            examples[1],
            Collate(),
            TrainingConfig(**SETTINGS, max_steps=2),
            tmp_path / "run",
        )


def test_what_changes_no_number_may_change_in_a_run(run: Run, tmp_path: Path) -> None:
    whole = run("whole")
    with pytest.raises(Killed):
        run(before_step=kill_in_step(6))
    resumed = run(checkpoint_steps=3)
    assert torch.equal(weights(resumed[0]), weights(whole[0]))


class Scripted(Listener):
    """Scores as given, one per validation."""

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.scores = list(scores)
        self.seen: list[Tensor] = []

    def validate(self, batches: Iterable[Batch], gather: Gather) -> dict[str, float]:
        assert not self.training
        assert len(list(batches)) > 0
        self.seen.append(weights(self).clone())
        return {"score": self.scores[len(self.seen) - 1]}


def test_the_weights_of_the_best_validation_are_kept(run: Run, tmp_path: Path) -> None:
    objective, progress = run(objective=Scripted(0.1, 0.3, 0.2, 0.3), epochs=4)
    assert (progress.best_score, progress.best_step, progress.stale) == (0.3, objective.steps // 2, 2)
    assert torch.equal(weights(objective), objective.seen[1])
    assert [line["score"] for line in history(tmp_path / "run")] == [0.1, 0.3, 0.2, 0.3]
    assert not objective.training


def test_training_stops_when_the_score_has_not_risen_for_a_while(run: Run) -> None:
    objective, progress = run(objective=Scripted(0.3, 0.1, 0.2, 0.25, 0.9), epochs=5, patience=3)
    assert progress.epoch == 4
    assert progress.finished
    assert torch.equal(weights(objective), objective.seen[0])


def test_a_score_that_is_not_a_number_is_never_the_best(run: Run, tmp_path: Path) -> None:
    nan = float("nan")
    objective, progress = run(objective=Scripted(nan, 0.1, nan), epochs=3)
    assert progress.best_score == 0.1
    assert torch.equal(weights(objective), objective.seen[1])
    assert [line["score"] for line in history(tmp_path / "run")] == [None, 0.1, None]
    with pytest.raises(InputError, match="the score was undefined in every validation"):
        run("none", objective=Scripted(nan, nan, nan))


def test_history_has_a_line_per_epoch_with_mean_losses(run: Run, tmp_path: Path) -> None:
    _, progress = run()
    lines = history(tmp_path / "run")
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [progress.step // 3 * n for n in (1, 2, 3)]
    assert all(0 < line["train_loss"] < 2 for line in lines)
    assert {line["undefined"] for line in lines} == {None}
    assert progress.best_score == max(line["score"] for line in lines)


def test_the_listener_learns_arousal_so_the_loop_optimises(run: Run, tmp_path: Path) -> None:
    run(epochs=20, objective=Listener(dropout=0.0))
    lines = history(tmp_path / "run")
    assert lines[-1]["train_loss"] < lines[0]["train_loss"] - 0.2
    assert lines[-1]["arousal"] > 0.6


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_divergence_names_step_and_utterances_and_keeps_nothing(run: Run, tmp_path: Path, what: str) -> None:
    objective = Listener()
    honest = objective.losses

    def diverging(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = honest(outputs)["loss"]
        if objective.steps == 6:
            # At 0 the square root is 0 and its gradient is not finite.
            loss = loss * torch.nan if what == "loss" else loss + (loss - loss).sqrt() * 1e30
        return {"loss": loss}

    objective.losses = diverging
    with pytest.raises(InputError, match=r"training diverged in step 6 \(epoch 2\).*u0\d\d.*learning_rate"):
        run(objective=objective)
    found = RunFolder(tmp_path / "run").checkpoints.latest()
    assert found.state["progress"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in found.weights.values())


def test_out_of_memory_goes_on_in_parts_with_an_equal_result(run: Run, tmp_path: Path) -> None:
    refused = []

    def refuse_once(step: int) -> None:
        if step == 1:
            refused.append(step)
            raise torch.OutOfMemoryError("tried to allocate 1 TB")

    resumed, progress = run(before_step=refuse_once)
    assert refused == [1]
    assert progress.accumulation == 2
    whole, _ = run("whole", accumulation=2)
    assert torch.equal(weights(resumed), weights(whole))


def test_frozen_parts_stay_bit_equal_and_rates_of_parts_hold(run: Run) -> None:
    objective = Listener()
    objective.model[0].requires_grad_(False)
    before = weights(objective.model[0]).clone()
    last = weights(objective.model[3]).clone()
    run(objective=objective)
    assert torch.equal(weights(objective.model[0]), before)
    assert not torch.equal(weights(objective.model[3]), last)
    still = Listener()
    before = weights(still.model[3]).clone()
    run("rates", objective=still, learning_rates={"model.3.": 0.0})
    assert torch.equal(weights(still.model[3]), before)


def test_without_development_data_the_training_data_are_scored(
    examples: tuple[Examples, Examples], tmp_path: Path
) -> None:
    config = TrainingConfig(**{**SETTINGS, "max_steps": 2})
    objective = Listener()
    counted: list[int] = []

    def counting(batches: Iterable[Batch], gather: Gather) -> dict[str, float]:
        counted.append(sum(batch.size for batch in batches))
        return {"score": 0.5}

    objective.validate = counting
    train(objective, examples[0], None, Collate(), config, tmp_path / "run")
    assert counted == [len(examples[0])]


def test_runs_with_other_precision_follow_each_other_in_one_process(run: Run) -> None:
    first, _ = run("a")
    half, progress = run("b", precision="bf16")
    assert progress.step == 12 or progress.finished
    assert {p.dtype for p in half.parameters()} == {torch.float32}, "weights stay in single precision"
    assert not torch.equal(weights(half), weights(first))
    assert torch.equal(weights(run("c")[0]), weights(first))


def test_fp16_on_a_cpu_is_refused_and_not_ignored(run: Run) -> None:
    with pytest.raises(InputError, match="precision fp16 needs a GPU; on a CPU use bf16 or fp32"):
        run(precision="fp16")


def test_trackers_that_are_unknown_or_missing_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"unknown tracker 'tensorbord' \(did you mean 'tensorboard'\?\)"):
        run(trackers=("tensorbord",))
    monkeypatch.setattr("multimodal_ser.processes.get_available_trackers", lambda: [])
    with pytest.raises(InputError, match=r"'tensorboard' is not installed; .*\[track\]"):
        run(trackers=("tensorboard",))


def test_tensorboard_gets_every_epoch(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra [track] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(trackers=("tensorboard",))
    (folder,) = {path.parent for path in (tmp_path / "run").rglob("events.out.tfevents*")}
    events = EventAccumulator(os.fspath(folder))
    events.Reload()
    said = [event.value for event in events.Scalars("score")]
    assert said == pytest.approx([line["score"] for line in history(tmp_path / "run")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp8"}, "precision = 'fp8'; allowed: fp32, bf16, fp16"),
        ({"schedule": "step"}, "schedule = 'step'; allowed: constant, linear, cosine"),
        ({"device": "cuda"}, "device = 'cuda'; allowed: auto, cpu"),
        ({"epochs": 0}, "epochs = 0: at least 1"),
        ({"max_steps": 0}, "max_steps = 0: at least 1"),
        ({"patience": 0}, "patience = 0: at least 1"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0: not negative"),
        ({"seed": -1}, "seed = -1: not negative"),
        ({"averaging": 1.0}, "averaging = 1.0: between 0 and 1, such as 0.99, or null for none"),
        ({"warmup": 1.5}, "warmup = 1.5: a share of all steps, 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingConfig(**changes)


def test_every_batch_is_seen_once_per_epoch_and_another_epoch_has_another_order(
    run: Run, examples: tuple[Examples, Examples]
) -> None:
    seen: list[str] = []
    objective = Listener()
    outputs = objective.outputs

    def noting(batch: Batch) -> dict[str, Tensor]:
        if objective.training:
            seen.extend(batch.ids)
        return outputs(batch)

    objective.outputs = noting
    run(objective=objective)
    ids = sorted(u.id for u in examples[0].utterances)
    epochs = [seen[start : start + len(ids)] for start in range(0, len(seen), len(ids))]
    assert [sorted(epoch) for epoch in epochs] == [ids] * 3
    assert epochs[0] != epochs[1]


def test_the_same_seed_gives_the_same_model_and_another_seed_another(run: Run) -> None:
    first, again, other = run("a"), run("b"), run("c", seed=1)
    assert torch.equal(weights(first[0]), weights(again[0]))
    assert not torch.equal(weights(first[0]), weights(other[0]))


# Trains five steps and saves the loss of each, as seen by every process, with the weights behind them.
FIVE_STEPS = """
import sys
from pathlib import Path

import small_runs
import torch
from multimodal_ser import config as experiment
from multimodal_ser.objectives.supervised import Supervised
from multimodal_ser.processes import processes

manifest, folder, accumulation = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
traces = []
losses = Supervised.losses

def noting(self, outputs):
    found = losses(self, outputs)
    if self.training:
        traces.append(float(found["loss"]))
    return found

Supervised.losses = noting
run = small_runs.configured(
    manifest,
    model=small_runs.WITHOUT_DROPOUT,
    loss={"hide": 0.0},
    training={"max_steps": 5, "accumulation": accumulation},
)
encoder = experiment.build_text
def without_dropout(*arguments):
    made = encoder(*arguments)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return made
experiment.build_text = without_dropout
experiment.run(run, folder)
torch.save(traces, f"{folder}/trace{processes(True).process_index}")
"""


@pytest.mark.slow  # starts six processes, each with its own torch
@pytest.mark.parametrize("accumulation", [1, 4])
def test_two_processes_lose_what_one_loses_in_each_of_five_steps(tmp_path: Path, accumulation: int) -> None:
    manifest = small_runs.write_corpus(tmp_path / "corpus")
    script = tmp_path / "five_steps.py"
    script.write_text(FIVE_STEPS, encoding="utf-8")
    alone = small_runs.python(script, manifest, tmp_path / "one", "1")
    assert alone.returncode == 0, alone.stderr
    small_runs.two_processes(script, manifest, tmp_path / "two", str(accumulation))
    wanted = torch.tensor(torch.load(tmp_path / "one" / "trace0"))
    assert len(wanted) == 5
    for rank in (0, 1):
        found = torch.tensor(torch.load(tmp_path / "two" / f"trace{rank}"))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    scores = [history(tmp_path / name)[-1]["score"] for name in ("one", "two")]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
