"""Counts what tools do, in a process of its own: no crash of a host makes it forget.

A connection brings one line. `?` is answered with all lines before it; every other line is kept and answered with `ok`.
A peer that is killed before its line is whole has said nothing. It ends when its standard input does.
"""

import os
import socket
import sys
import threading


def end_with_the_parent():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_the_parent, daemon=True).start()
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
kept = []
while True:
    connection, _ = server.accept()
    try:
        with connection, connection.makefile("rw") as peer:
            line = peer.readline()
            if line == "?\n":
                peer.write("".join(kept))
            elif line.endswith("\n"):
                kept.append(line)
                peer.write("ok\n")
    except OSError:
        pass  # It was killed; what it said whole is kept.
