"""Read by every process of a test's site at its start: one name leads to this machine, by a public number.

The fetcher asks public numbers only and judges this one as ever; what is another here is the network.
"""

import socket
from typing import Any

NAME, NUMBER = "on-this-machine.example", "93.184.215.14"
find, connect = socket.getaddrinfo, socket.create_connection


def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
    return find(NUMBER if str(host).rstrip(".") == NAME else host, *rest, **more)


def create_connection(address: tuple[str, int], *rest: Any, **more: Any) -> socket.socket:
    host, port = address[:2]
    return connect(("127.0.0.1" if host == NUMBER else host, port), *rest, **more)


socket.getaddrinfo = getaddrinfo
socket.create_connection = create_connection
