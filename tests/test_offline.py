"""--offline: nothing reaches another machine, this one stays reachable, started processes are bound too."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import socket, subprocess, sys
from multimodal_ser.offline import OfflineError, forbid_connections
{before}
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), timeout=5).close()
def refused(reach):
    try:
        reach()
    except OfflineError as error:
        print("refused:", error)
    else:
        print("let through")
refused(lambda: socket.socket().connect(("192.0.2.1", 80)))  # an address kept for documents
refused(lambda: socket.getaddrinfo("example.invalid", 443))
refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
from huggingface_hub import constants
print("hub offline:", constants.HF_HUB_OFFLINE)
"""
CHILD = "import multimodal_ser, socket; socket.getaddrinfo('example.invalid', 443)"


def run(program: str, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_every_way_out_of_the_machine_is_refused_and_this_machine_is_not() -> None:
    said = run(PROGRAM.format(before="forbid_connections()"))
    assert said.count("refused: --offline") == 3, said
    assert "192.0.2.1:80" in said
    assert "'example.invalid'" in said
    assert "hub offline: True" in said


def test_a_process_started_by_an_offline_run_is_bound_too() -> None:
    assert "OfflineError" in run(CHILD, MULTIMODAL_SER_OFFLINE="1")
    assert "OfflineError" not in run(CHILD, MULTIMODAL_SER_OFFLINE="0")


@pytest.mark.parametrize("arguments", [["--offline", "fetch", "ntu-spml/distilhubert", "-o"]])
def test_a_verb_that_needs_the_network_says_so_and_makes_no_folder(arguments: list[str], tmp_path) -> None:
    command = [sys.executable, "-m", "multimodal_ser", *arguments, str(tmp_path / "weights")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the model hub does not give it" in done.stderr
    assert not (tmp_path / "weights" / "ntu-spml" / "distilhubert").exists()
