#!/usr/bin/env python3
"""Passes one TCP connection at a time on, and writes down both directions.

    tee.py READY_FILE UPSTREAM_HOST:PORT OUT_PREFIX

Writes the port it listens on into READY_FILE. Of connection N the bytes of the
client go to OUT_PREFIX.N.c, those of the server to OUT_PREFIX.N.s: an account of
what was said that owes nothing to the recorder under test.
"""
import os
import socket
import sys
import threading


def pump(source, sink, path):
    with open(path, "wb", buffering=0) as log:
        while True:
            data = source.recv(65536)
            if not data:
                break
            log.write(data)
            sink.sendall(data)
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main():
    ready, upstream, prefix = sys.argv[1:4]
    host, port = upstream.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", 0))
    with open(ready + ".part", "w", encoding="ascii") as f:
        f.write("127.0.0.1:%d\n" % listener.getsockname()[1])
    os.rename(ready + ".part", ready)
    number = 0
    while True:
        client, _ = listener.accept()
        number += 1
        server = socket.create_connection((host, int(port)))
        back = threading.Thread(target=pump, args=(server, client, "%s.%d.s" % (prefix, number)))
        back.start()
        pump(client, server, "%s.%d.c" % (prefix, number))
        back.join()
        client.close()
        server.close()
        open("%s.%d.done" % (prefix, number), "w").close()


main()
