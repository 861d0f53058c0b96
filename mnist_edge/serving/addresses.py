"""Where a service listens, under which names it is called, and whether a client needs a token."""

from __future__ import annotations

import ipaddress
import secrets
import socket

from mnist_edge.errors import StageError

# Most connections that wait in the system until they are accepted.
BACKLOG = 4096
LOCAL_NAMES = ("localhost", "ip6-localhost")


def token_for(host: str, token: str | None) -> str | None:
    """The token that clients must send: the given one, else a new one if other machines can connect; None for none.

    Raises:
        UsageError: the given token cannot be sent.
    """
    from mnist_edge.serving.access import check_token  # needs the extra serve

    if token is not None:
        return check_token(token)
    return None if is_loopback(host) else secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str) -> frozenset[str]:
    """Names by which a browser may call this machine, besides its IP addresses."""
    own = socket.gethostname().lower()
    return frozenset({*LOCAL_NAMES, own, f"{own}.local", host.lower()})


def authority(host: str, port: int) -> str:
    """Host and port of an address that is printed."""
    shown = host if host not in ("0.0.0.0", "::") else socket.gethostname()
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Open a listening socket.

    Raises:
        StageError: the port is in use, or the host is not an address of this machine; names ``option`` for the port.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise cannot_listen(host, port, option, error) from error


def cannot_listen(host: str, port: int, option: str, error: OSError) -> StageError:
    """The error of a port that cannot be listened on."""
    return StageError(
        f"{host}:{port} cannot be listened on: {error.strerror or error}.", f"Choose another {option} or --host."
    )
