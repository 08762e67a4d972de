"""The app on a socket, until the process is told to end."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from pipeline.errors import ParamsError

#: Connections that may wait to be accepted.
BACKLOG = 2048
#: Seconds that a connection may stay open without a request.
IDLE_S = 30
#: Seconds for the requests in hand once the process is told to end.
LAST_S = 30


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        ParamsError: the host is none of this machine, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    # A name that no host can have is not an error of the system.
    except (OSError, UnicodeError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "no such host"
        raise ParamsError(
            f"--host {host} --port {port}: no server can listen there ({why}); name another port, or an address of "
            "this machine."
        ) from None


def address(listening: socket.socket) -> str:
    """Where a listening socket is reached, `http://127.0.0.1:8000`."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if listening.family == socket.AF_INET6 else f"http://{host}:{port}"


def is_local(listening: socket.socket) -> bool:
    """Whether only this machine reaches a listening socket."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def run(app: FastAPI, listening: socket.socket, ready: Callable[[], object]) -> None:
    """Answer until SIGTERM or Ctrl-C: then nothing new is accepted, and what is in hand is answered.

    Args:
        ready: called once either of these ends the server in order.
    """
    running = server(app)

    def end(*_: object) -> None:
        # Also when it has ended in order: uvicorn then raises the signal again for whoever handled it before.
        running.should_exit = True

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, end)
    ready()
    running.run(sockets=[listening])


def server(app: FastAPI) -> uvicorn.Server:
    """The server as it is tested: no other reader of HTTP, no log of its own for requests."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=LAST_S,
        )
    )
