"""Ports of this machine's loopback interface that are there in another network namespace, too."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000


@contextmanager
def relayed(namespace: str, ports: list[int]) -> Iterator[None]:
    """Answer on those ports of 127.0.0.1 in the network namespace of that name as on this machine's own.

    :raises OSError: there is no such namespace, or a port is taken there.
    """
    listeners: list[socket.socket] = []
    trouble: list[OSError] = []

    def listen() -> None:  # in a thread of its own: that one goes over, and a socket stays where it was made
        try:
            with open(f"/run/netns/{namespace}") as net:
                if ctypes.CDLL(None, use_errno=True).setns(net.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            listeners.extend(socket.create_server(("127.0.0.1", port)) for port in ports)
        except OSError as error:
            trouble.append(error)

    opener = threading.Thread(target=listen)
    opener.start()
    opener.join()
    if trouble:
        raise trouble[0]
    for listener, port in zip(listeners, ports, strict=True):
        threading.Thread(target=_serve, args=(listener, port), daemon=True).start()
    try:
        yield
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _serve(listener: socket.socket, port: int) -> None:
    while True:
        try:
            inside, _ = listener.accept()
        except OSError:
            return
        try:
            outside = socket.create_connection(("127.0.0.1", port))
        except OSError:
            inside.close()
            continue
        for one, other in ((inside, outside), (outside, inside)):
            threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
