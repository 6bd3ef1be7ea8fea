"""Running the service until it is told to end: what is being relit then is still answered."""

from __future__ import annotations

import errno
import signal
import socket

import torch
import uvicorn

from cliplit.errors import UserError
from cliplit.serve.app import create_app
from cliplit.serve.follower import Follower
from cliplit.serve.limits import Limits

_CONNECTIONS = 512


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there (port 0: any free one); raises UserError naming the option to change."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except socket.gaierror:
        raise UserError(f"--host {host}: there is no such address on this machine; use 127.0.0.1") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--port {port}: another program listens there; choose another port") from None
        raise UserError(f"--host {host} --port {port}: {error.strerror}; choose others") from None


def run(follower: Follower, limits: Limits, listening: socket.socket) -> None:
    """Serve on ``listening`` until SIGTERM or Ctrl-C, then finish what is in flight and return."""
    torch.set_num_threads(1)  # photos share the cores; threads inside one photo would only wait for each other
    config = uvicorn.Config(
        create_app(follower, limits),
        log_level="warning",
        access_log=False,  # /metrics counts; nobody needs a line for each photo
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(limits.timeout) + 1,
    )
    # uvicorn raises the signal again when everything is answered; that shall not end this process with an error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])
