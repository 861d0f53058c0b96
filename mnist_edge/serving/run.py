"""Starting the service: it checks the settings, binds the ports, sets the limits and runs the supervisor."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import shutil
import socket
import ssl
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from mnist_edge.errors import ContentError, MissingError, UsageError, missing_extra
from mnist_edge.serving.addresses import authority, cannot_listen, is_loopback, listen, own_names, token_for
from mnist_edge.serving.settings import Settings
from mnist_edge.store.files import read_bytes

if TYPE_CHECKING:
    from mnist_edge.serving.limits import Limits

# File descriptors that a server needs besides those of connections and decoding processes: 20 for its event loop, its
# log and system libraries, and 4 for the files of a new model and of shared metrics.
OWN_DESCRIPTORS = 24
# One in this many descriptors is for connections that are refused.
REFUSED_SHARE = 16


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, and then finish the requests that have been accepted.

    Raises:
        MissingError: the extra ``serve`` or ``grpc`` is not installed, or this system cannot fork.
        UsageError: the token cannot be sent, or only one of --certfile and --keyfile is given.
        ContentError: the certificate or its key cannot be read.
        StageError: the address is in use, or is not an address of this machine.
        MnistEdgeError: a model cannot be opened.
    """
    # hasattr is how Python's documentation tests for functions that some platforms lack.
    if not hasattr(os, "fork"):
        raise MissingError("serve needs processes that fork, as Linux has.", "Run it on Linux, or in WSL.")
    with contextlib.ExitStack() as stack:
        _share_metrics(settings.workers, stack)  # before prometheus_client is imported
        _serve(settings, stack)


def _serve(settings: Settings, stack: contextlib.ExitStack) -> None:
    try:
        from mnist_edge.serving import worker
        from mnist_edge.serving.access import Access
        from mnist_edge.serving.limits import Limits
        from mnist_edge.serving.log import write_without_waiting
        from mnist_edge.serving.models import Source
        from mnist_edge.serving.supervisor import Supervisor
        from mnist_edge.vision.pictures import import_decoders
    except ImportError as error:
        raise missing_extra("The HTTP service", "serve") from error

    import_decoders()
    loopback = is_loopback(settings.host)
    token = None if settings.no_auth else token_for(settings.host, settings.token)
    _check_certificate(settings)
    listener = stack.enter_context(listen(settings.host, settings.port, "--port"))
    if settings.grpc_port is not None:
        _import_grpc()
        holder = stack.enter_context(_reserve(settings.host, settings.grpc_port))
        settings = replace(settings, grpc_port=holder.getsockname()[1])
    address = _address(settings, listener.getsockname()[1], token)
    source = Source.of(settings.workspace, settings.engine, settings.models)
    decoders = max(1, min(settings.threads, os.cpu_count() or 1))
    limits = _limits(settings, Limits(), decoders)
    allowed = frozenset(map(str.lower, settings.allow_hosts))
    access = Access(token, own_names(settings.host) | allowed, allowed)

    def started() -> None:
        if settings.grpc_port is not None:
            write_without_waiting(f"serving gRPC at {authority(settings.host, settings.grpc_port)}")
        write_without_waiting(f"serving at {address}")
        if settings.no_auth and not loopback:
            write_without_waiting("Anyone on the network can use the service: it requires no token.")

    options = worker.Options(settings, source, limits, access, listener)
    serve_one = functools.partial(worker.serve, options)
    with contextlib.suppress(KeyboardInterrupt):
        Supervisor(serve_one, listener, settings.workers, decoders, settings.grace_seconds).run(started)


def _share_metrics(workers: int, stack: contextlib.ExitStack) -> None:
    """Let several server processes share their metrics in a temporary folder, which is removed at the end."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if workers > 1:
        folder = tempfile.mkdtemp(prefix="mnist-edge-metrics-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def _limits(settings: Settings, limits: Limits, decoders: int) -> Limits:
    """The limits of one server process; connections are also limited by the system's limit on file descriptors."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    protocols = 1 if settings.grpc_port is None else 2  # HTTP and gRPC get half of the connections each
    refused = min(limits.refused, descriptors // REFUSED_SHARE)
    others = OWN_DESCRIPTORS + decoders + refused
    connections = max(1, min(settings.connections // settings.workers, descriptors - others) // protocols)
    return replace(
        limits,
        connections=connections,
        refused=refused,
        connections_per_address=max(1, min(limits.connections_per_address, 3 * connections // 4)),
        waiting=settings.queue,
        work_seconds=settings.timeout,
        batch_seconds=settings.batch_ms / 1000,
        # At least enough for one body as received and as decompressed.
        all_body_bytes=max(2 * limits.body_bytes, limits.all_body_bytes // settings.workers),
    )


def _address(settings: Settings, port: int, token: str | None) -> str:
    scheme = "http" if settings.certfile is None else "https"
    query = f"?token={quote(token, safe='')}" if token else ""
    return f"{scheme}://{authority(settings.host, port)}/{query}"


def _check_certificate(settings: Settings) -> None:
    if (settings.certfile is None) != (settings.keyfile is None):
        raise UsageError("TLS needs a certificate and its key.", "Give both --certfile and --keyfile.")
    if settings.certfile is None or settings.keyfile is None:
        return
    for path in (settings.certfile, settings.keyfile):
        read_bytes(path, 1 << 20)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certfile, settings.keyfile, password="")
    except (ssl.SSLError, OSError) as error:
        raise ContentError(
            f"{settings.certfile} and {settings.keyfile} are not a certificate and its key: {error}",
            "Give PEM files that belong together, without a passphrase.",
        ) from error


def _reserve(host: str, port: int) -> socket.socket:
    """Reserve a port that no other program listens at, so that the server processes can share it."""
    with listen(host, port, "--grpc-port") as probe:
        family, address = probe.family, probe.getsockname()
    holder = socket.socket(family)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        holder.bind(address)
    except OSError as error:
        holder.close()
        raise cannot_listen(host, port, "--grpc-port", error) from error
    return holder


def _import_grpc() -> None:
    """Import the gRPC library before the processes are forked, so that they share its memory.

    Raises:
        MissingError: the extra ``grpc`` is not installed.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log could block its threads if standard error is not read
    try:
        from mnist_edge.serving import grpc_server  # noqa: F401
    except ImportError as error:
        raise missing_extra("gRPC", "grpc") from error
