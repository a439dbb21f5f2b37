# SPDX-License-Identifier: Apache-2.0
"""The test's own way to page blobs of the emulator, by shared key or SAS, and a VHD's footer: written again, so that
the simulator's code does not check itself."""
import base64
import email.utils
import hashlib
import hmac
import ssl
import struct
import urllib.error
import urllib.parse
import urllib.request

VERSION = "2021-12-02"


def footer(size_bytes, cookie=b"conectix", kind=2, damage=False):
    """A footer after the VHD specification; the rest of its fields is zero."""
    data = bytearray(512)
    data[0:8] = cookie
    struct.pack_into(">IIQ", data, 8, 2, 0x00010000, 0xffffffffffffffff)
    struct.pack_into(">QQ", data, 40, size_bytes, size_bytes)
    struct.pack_into(">I", data, 60, kind)
    struct.pack_into(">I", data, 64, (0xffffffff - sum(data)) & 0xffffffff)
    if damage:
        data[100] ^= 1
    return bytes(data)


def request(method, url, headers, data, ca_file):
    context = ssl.create_default_context(cafile=ca_file)
    call = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(call, context=context, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def by_key(azurite, account, method, path, query=(), headers=(), data=None):
    """Raises when the emulator refuses."""
    query, headers = dict(query), {"x-ms-version": VERSION, "x-ms-date": email.utils.formatdate(usegmt=True),
                                   **dict(headers)}
    target = f"/{account}/{path}"
    if data is not None:
        headers["Content-Type"] = "application/octet-stream"
    named = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
    text = (f"{method}\n\n\n{len(data) if data else ''}\n\n{headers.get('Content-Type', '')}\n\n\n\n\n\n\n{named}"
            f"/{account}{target}"
            + "".join(f"\n{name}:{query[name]}" for name in sorted(query)))
    digest = hmac.new(base64.b64decode(azurite.key), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    url = f"https://127.0.0.1:{azurite.port}{target}" + ("?" + urllib.parse.urlencode(query) if query else "")
    status, answer, content = request(method, url, headers, data, azurite.ca)
    if status >= 300:
        raise RuntimeError(f"{method} {target}: {status} {content}")
    return answer, content


def page_blob(azurite, path, size_bytes, pages, last=None):
    """A VHD in account seed: pages are (offset, bytes); last: its footer, the right one when None."""
    try:
        by_key(azurite, "seed", "PUT", path.split("/")[0], {"restype": "container"})
    except RuntimeError as error:
        if "ContainerAlreadyExists" not in str(error):
            raise
    by_key(azurite, "seed", "PUT", path, (), {"x-ms-blob-type": "PageBlob",
                                              "x-ms-blob-content-length": str(size_bytes + 512)})
    for offset, data in [*pages, (size_bytes, footer(size_bytes) if last is None else last)]:
        put_page(azurite, path, offset, data)


def put_page(azurite, path, offset, data):
    by_key(azurite, "seed", "PUT", path, {"comp": "page"}, {"x-ms-page-write": "update", "x-ms-range":
                                                            f"bytes={offset}-{offset + len(data) - 1}"}, data)


def snapshot(azurite, path):
    return by_key(azurite, "seed", "PUT", path, {"comp": "snapshot"})[0]["x-ms-snapshot"]


def put_by_sas(azurite, sas, offset, data):
    """The status."""
    return request("PUT", sas + "&comp=page", {"x-ms-version": VERSION, "x-ms-page-write": "update", "Content-Type":
                   "application/octet-stream", "x-ms-range": f"bytes={offset}-{offset + len(data) - 1}"}, data,
                   azurite.ca)[0]


def get_by_sas(azurite, sas):
    status, _, content = request("GET", sas, {"x-ms-version": VERSION}, None, azurite.ca)
    return status, content
