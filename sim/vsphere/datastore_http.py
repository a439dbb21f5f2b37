# SPDX-License-Identifier: Apache-2.0
"""Datastore files over HTTPS: /folder/DIR/NAME-flat.vmdk?dcPath=DC&dsName=DS, whole or one range.

Who may: a session cookie, HTTP basic authentication, or a ticket of AcquireGenericServiceTicket. dcPath and dsName are
taken percent-encoded once or twice, since clients of the real server send them twice. A disk file that a running VM has
in its chain is refused with 500 (configuration key folder_refuses_running). Several ranges in one request are answered
with the whole file, as HTTP allows.
"""
import base64
import re
import socket
import time
import urllib.parse

from .links import Link
from .vimfault import VimFault

PIECE_BYTES = 1 << 20
RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
TICKET = re.compile(r'vmware_cgi_ticket="?([0-9A-Za-z-]+)"?')


def _account(lab, handler):
    session = lab.sessions.find(handler.cookie())
    if session is not None:
        return session.account
    ticket = TICKET.search(handler.headers.get("Cookie", ""))
    if ticket is not None:
        return lab.tickets.http_account(ticket[1], handler.command)
    scheme, _, value = handler.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, _, password = base64.b64decode(value).decode().partition(":")
        return lab.sessions.check_password(username, password)
    except (ValueError, VimFault):
        return None


def _spellings(value):
    """A name as sent, and decoded once and twice more: clients encode it twice, and names hold %2f for a slash."""
    once = urllib.parse.unquote(value)
    return {value, once, urllib.parse.unquote(once)}


def _find(lab, handler):
    """(datastore entity, path inside it) that the URL names, or (None, path)."""
    parts = urllib.parse.urlsplit(handler.path)
    path = urllib.parse.unquote(parts.path)[len("/folder/"):]
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    centers, stores = (_spellings(query.get(key, "")) for key in ("dcPath", "dsName"))
    for dc in lab.world.datacenters:
        if "" in centers or dc.name in centers:
            for datastore in dc.datastores:
                if datastore.name in stores:
                    return datastore, path
    return None, path


def _descriptor(link):
    sectors = link.capacity_bytes // 512
    name = link.path.rsplit("/", 1)[-1].removesuffix(".vmdk")
    kind, suffix = ("VMFS", "flat") if link.parent is None else ("VMFSSPARSE", "delta")
    extent = f'RW {sectors} {kind} "{name}-{suffix}.vmdk"'
    return (f'# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID=fffffffe\nparentCID=ffffffff\n'
            f'createType="vmfs"\n\n# Extent description\n{extent}\n\nddb.adapterType = "lsilogic"\n').encode()


def _in_use(lab, link):
    return any(vm.power == "poweredOn" and link in d.leaf.chain() for vm in lab.world.vms() for d in vm.disks)


def _span(header, total):
    """(start, length, status) of a Range header; status 416 when it cannot be satisfied."""
    match = RANGE.match(header or "")
    if match is None or (not match[1] and not match[2]):
        return 0, total, 200
    if not match[1]:
        length = min(int(match[2]), total)
        return total - length, length, 206 if length else 416
    start = int(match[1])
    end = min(int(match[2]) + 1, total) if match[2] else total
    return (start, end - start, 206) if start < end else (0, 0, 416)


def serve(lab, handler):
    account = _account(lab, handler)
    if account is None:
        handler.reply(401, b"", headers=[("WWW-Authenticate", 'Basic realm="VMware HTTP server"')])
        return
    broken = lab.faults.strikes("folder.error")
    if broken:
        handler.reply(broken["status"], b"", "text/plain")
        return
    for name in ("folder.slow", "datastore.slow"):
        slow = lab.faults.strikes(name)
        if slow:
            time.sleep(slow["ms"] / 1000)
    datastore, path = _find(lab, handler)
    if datastore is None:
        handler.reply(404, b"", "text/plain")
        return
    if not all(account.may(p, datastore) for p in ("Datastore.Browse", "Datastore.FileManagement")):
        handler.reply(403, b"", "text/plain")
        return
    links = datastore.storage.links
    if path in links:
        handler.reply(200, _descriptor(links[path]), "application/octet-stream")
        return
    link = links.get(path.removesuffix("-flat.vmdk") + ".vmdk") if path.endswith("-flat.vmdk") else None
    if link is None or link.parent is not None:
        handler.reply(404, b"", "text/plain")
    elif lab.world.config["folder_refuses_running"] and _in_use(lab, link):
        handler.reply(500, b"", "text/plain")
    else:
        _send(lab, handler, link)


def _send(lab, handler, link):
    total = link.capacity_bytes
    plain = lab.faults.strikes("folder.no_ranges") if "Range" in handler.headers else None
    start, length, status = _span(None if plain else handler.headers.get("Range"), total)
    handler.send_response(status)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.send_header("Content-Length", str(length))
    handler.send_header("Accept-Ranges", "bytes")
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{start + length - 1}/{total}")
    elif status == 416:
        handler.send_header("Content-Range", f"bytes */{total}")
    handler.end_headers()
    if handler.command == "HEAD" or not length:
        return
    cut = lab.faults.strikes("folder.cut")
    handler.wfile.flush()
    lab.counters.lane("folder", reads=1)
    chain = link.acquire()
    try:
        _send_bytes(lab, handler, link, start, length, cut["after_bytes"] if cut else None)
    finally:
        Link.release(chain)


def _send_bytes(lab, handler, link, start, length, cut_after):
    buffer = bytearray(min(PIECE_BYTES, length))
    sent = 0
    while sent < length:
        if cut_after is not None and sent >= cut_after:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        size = min(len(buffer), length - sent)
        if cut_after is not None:
            size = min(size, cut_after - sent)
        view = memoryview(buffer)[:size]
        link.read_into(start + sent, view)
        handler.connection.sendall(view)
        sent += size
        lab.counters.lane("folder", wire_bytes=size, disk_bytes=size)
