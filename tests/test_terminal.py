"""A wish to stop is noted once; the bar says what was heard."""

import os
import signal
import threading

import numpy as np
import pytest

from multimodal_ser.terminal import interruptions, training_bar


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handler_before_is_back_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptions() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        assert signal.getsignal(number) is before, "a second one acts at once"
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait() -> None:
    # A process that was begun in the background of a shell may have been told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _interrupt_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt_twice() -> None:
    with interruptions() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_in_another_thread_signals_are_left_alone() -> None:
    noted: list[bool] = []

    def work() -> None:
        with interruptions() as asked:
            noted.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [False]


def test_the_bar_says_loss_and_padding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multimodal_ser.terminal.LOG_INTERVAL", 0.0)
    with training_bar(10, 4) as advance:
        advance(0.125, np.array([4.0, 4.0]))
        advance(0.25, np.array([4.0, 0.0]))
    said = capsys.readouterr().err
    assert "5/10" in said
    assert "loss 0.125" in said
    assert "padding 0%" in said
    assert "padding 25%" in said


def test_processes_that_are_not_the_first_on_their_machine_show_no_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with training_bar(10, 0) as advance:
        advance(0.1, np.array([1.0]))
    assert capsys.readouterr().err == ""
