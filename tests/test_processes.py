"""One process may train with one precision after another; what accelerate would ignore is refused."""

import pytest
import torch
from accelerate.state import PartialState

from multimodal_ser.errors import InputError
from multimodal_ser.processes import anywhere, new_accelerator, processes


def test_an_accelerator_has_the_settings_it_was_asked_for_whatever_came_before() -> None:
    for precision, wanted in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        accelerator = new_accelerator(precision, True, (), ".")
        assert accelerator.mixed_precision == wanted
        assert accelerator.device == torch.device("cpu")


def test_another_device_is_possible_after_a_cpu() -> None:
    """Without a GPU there is no other device, but accelerate's memory of the wish is."""
    new_accelerator("fp32", True, (), ".")
    assert PartialState._shared_state["_cpu"] is True
    new_accelerator("fp32", False, (), ".")
    assert PartialState._shared_state["_cpu"] is False


def test_one_process_is_its_own_main_process() -> None:
    team = processes(True)
    assert (team.num_processes, team.is_main_process) == (1, True)
    accelerator = new_accelerator("fp32", True, (), ".")
    assert anywhere(accelerator, True) is True
    assert anywhere(accelerator, False) is False


def test_constants_of_a_network_are_not_sent_with_every_pass() -> None:
    assert new_accelerator("fp32", True, (), ".").ddp_handler.broadcast_buffers is False


def test_half_precision_without_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="precision fp16 needs a GPU; on a CPU use bf16 or fp32"):
        new_accelerator("fp16", True, (), ".")
