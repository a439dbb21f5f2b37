#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names of all blobs of a container, one a line: a client of the storage service that shares nothing
with ours. blob_names.py ACCOUNT_URL KEY_FILE CA_FILE CONTAINER (a container that is not there is empty)"""
import base64
import email.utils
import hashlib
import hmac
import pathlib
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree

account_url, key_file, ca_file, container = sys.argv[1:]
key = base64.b64decode(pathlib.Path(key_file).read_text())
account = account_url.rsplit("/", 1)[1]
path = urllib.parse.urlsplit(account_url).path + "/" + container
context = ssl.create_default_context(cafile=ca_file)
marker = ""
while True:
    query = {"comp": "list", "include": "snapshots,uncommittedblobs", "restype": "container"}
    if marker:
        query["marker"] = marker
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2024-08-04"}
    text = "GET" + "\n" * 12
    text += "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    text += f"/{account}{path}" + "".join(f"\n{name}:{query[name]}" for name in sorted(query))
    mac = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {account}:{mac}"
    url = f"{account_url}/{container}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context) as answer:
            root = xml.etree.ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        if error.code == 404:
            sys.exit(0)
        sys.exit(f"{url}: {error}: {error.read()[:300]}")
    for name in root.iter("Name"):
        print(name.text)
    marker = root.findtext("NextMarker") or ""
    if not marker:
        break
