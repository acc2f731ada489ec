"""No connection leaves this machine: `multimodal-ser --offline VERB`, or MULTIMODAL_SER_OFFLINE=1.

Model hubs' own switches are set, so that their clients look into their caches at once. Behind them stands an
audit hook of the interpreter, which sees every name looked up and every address connected to from Python, and
which nothing can take away again. Addresses of this machine stay reachable: training processes meet there.
"""

import functools
import ipaddress
import os
import socket
import sys
from typing import Any

VARIABLE = "MULTIMODAL_SER_OFFLINE"
_SWITCHES = (VARIABLE, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_XET")
_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOCAL_NAMES = ("", "localhost", "localhost.localdomain", "ip6-localhost")


class OfflineError(ConnectionError):
    """A connection was asked for and --offline forbids it."""


def forbid_connections() -> None:
    """From now on no Python code of this process, nor of those it starts, reaches another machine."""
    os.environ.update(dict.fromkeys(_SWITCHES, "1"))
    _hook()


def forbid_if_asked() -> None:
    """`forbid_connections` where the environment asks for it, as in a worker of an offline run."""
    if switches():
        forbid_connections()


def switches() -> dict[str, str]:
    """The variables that make a process on another machine offline too; none if this one is not."""
    is_asked = os.environ.get(VARIABLE, "0").lower() not in ("", "0", "false", "no")
    return dict.fromkeys(_SWITCHES, "1") if is_asked else {}


@functools.cache  # hooks add up
def _hook() -> None:
    sys.addaudithook(_refuse)


def _refuse(event: str, details: tuple[Any, ...]) -> None:
    if event in _LOOK_UPS:
        if not _is_local(details[0]) and details[0] not in (None, socket.gethostname()):
            raise OfflineError(f"--offline: the name {_text(details[0])!r} was looked up; nothing was sent")
    elif event in _CONNECTIONS:
        address = details[1] if len(details) > 1 else None
        if isinstance(address, tuple) and not _is_local(address[0]):  # AF_UNIX addresses are no tuples
            raise OfflineError(f"--offline: a connection to {address[0]}:{address[1]} was asked for")


def _is_local(host: Any) -> bool:
    host = _text(host)
    if host in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host or "")
