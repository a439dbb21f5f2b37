#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A name server whose every name is an alias of gone.privatelink.<rest>, which does not exist: what a zone
answers whose target was removed. stale_dns.py PORT, on 127.0.0.1."""
import socket
import struct
import sys


def labels(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    query, client = server.recvfrom(512)
    end, name = 12, []
    while query[end]:
        name.append(query[end + 1:end + 1 + query[end]].decode())
        end += query[end] + 1
    question = query[12:end + 5]
    target = labels(".".join(["gone", "privatelink", *name[1:]]))
    alias = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 5, len(target)) + target
    # NXDOMAIN is of the last name of the chain (RFC 6604).
    server.sendto(query[:2] + struct.pack(">HHHHH", 0x8183, 1, 1, 0, 0) + question + alias, client)
