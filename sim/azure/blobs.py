# SPDX-License-Identifier: Apache-2.0
"""The few calls of the blob service that the simulator makes itself, by shared key, to a real emulator (azurite)."""
import base64
import datetime
import email.utils
import hashlib
import hmac
import http.client
import threading
import urllib.parse
import xml.etree.ElementTree as xml

from . import certs
from .refusal import Refusal

VERSION = "2021-12-02"
PIECE_BYTES = 4 << 20


class BlobError(Exception):
    def __init__(self, status, code):
        super().__init__(f"{status} {code}")
        self.status, self.code = status, code


class Account:
    """settings: name, key or key_file, endpoint (https://127.0.0.1:10443), ca_file, public_url (default:
    endpoint/name)."""

    def __init__(self, settings):
        self.settings, self.name = settings, settings["name"]
        self._endpoint = urllib.parse.urlsplit(settings["endpoint"])
        self._context = certs.client_context(settings["ca_file"]) if self._endpoint.scheme == "https" else None
        self.public_url = (settings["public_url"] or f"{settings['endpoint'].rstrip('/')}/{self.name}").rstrip("/")
        self._local = threading.local()

    def key(self):
        """Read each time: keys are rotated while we run."""
        if self.settings["key_file"]:
            with open(self.settings["key_file"], encoding="ascii") as file:
                return base64.b64decode(file.read().strip())
        return base64.b64decode(self.settings["key"])

    def blob_of(self, url):
        """(container/name, snapshot) when the address is of this account, else None."""
        split = urllib.parse.urlsplit(url)
        host_style = f"{split.scheme}://{split.netloc}"
        path = urllib.parse.unquote(split.path)
        if split.netloc.split(":")[0].split(".")[0].lower() == self.name and not split.netloc[0].isdigit():
            rest = path.lstrip("/")
        else:
            base = urllib.parse.urlsplit(self.public_url)
            if host_style.lower() != f"{base.scheme}://{base.netloc}".lower() or not path.startswith(base.path + "/"):
                return None
            rest = path[len(base.path) + 1:]
        return rest, urllib.parse.parse_qs(split.query).get("snapshot", [None])[0]

    def _connection(self):
        connection = getattr(self._local, "connection", None)
        if connection is None:
            host, port = self._endpoint.hostname, self._endpoint.port
            connection = http.client.HTTPSConnection(host, port, timeout=60, context=self._context) if self._context \
                else http.client.HTTPConnection(host, port, timeout=60)
            self._local.connection = connection
        return connection

    def call(self, method, blob, query=None, headers=None, body=b"", good=(200, 201, 202, 206)):
        """(headers, content). blob: "container" or "container/name"."""
        headers = {"x-ms-version": VERSION, "x-ms-date": email.utils.formatdate(usegmt=True), **(headers or {})}
        path = f"/{self.name}/" + urllib.parse.quote(blob)
        query = query or {}
        headers["Authorization"] = self._signature(method, path, query, headers, len(body))
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        for last in (False, True):
            connection = self._connection()
            try:
                connection.request(method, target, body if method == "PUT" else None, headers)
                answer = connection.getresponse()
                content = answer.read()
                break
            except (http.client.HTTPException, OSError):
                self._local.connection = None
                if last:
                    raise
        if answer.status not in good:
            raise BlobError(answer.status, answer.headers.get("x-ms-error-code", ""))
        return answer.headers, content

    def _signature(self, method, path, query, headers, length):
        ms = sorted((n.lower(), v) for n, v in headers.items() if n.lower().startswith("x-ms-"))
        resource = f"/{self.name}{path}" + "".join(f"\n{n.lower()}:{v}" for n, v in sorted(query.items()))
        lines = [method, "", "", str(length) if length else "", "", headers.get("Content-Type", ""), "", "", "", "", "",
                 headers.get("Range", "")] + [f"{n}:{v}" for n, v in ms]
        mac = hmac.new(self.key(), ("\n".join(lines) + "\n" + resource).encode(), hashlib.sha256).digest()
        return f"SharedKey {self.name}:{base64.b64encode(mac).decode()}"

    # ---- page blobs ----

    def size(self, blob, snapshot=None):
        headers, _ = self.call("HEAD", blob, {"snapshot": snapshot} if snapshot else None)
        if headers.get("x-ms-blob-type") != "PageBlob":
            raise BlobError(409, "InvalidBlobType")
        return int(headers["Content-Length"])

    def ranges(self, blob, snapshot=None):
        query = {"comp": "pagelist", **({"snapshot": snapshot} if snapshot else {})}
        _, content = self.call("GET", blob, query)
        return [(int(r.findtext("Start")), int(r.findtext("End")) + 1)
                for r in xml.fromstring(content).iter("PageRange")]

    def read(self, blob, start, end, snapshot=None):
        _, content = self.call("GET", blob, {"snapshot": snapshot} if snapshot else None,
                               {"Range": f"bytes={start}-{end - 1}"})
        return content

    def create(self, blob, size_bytes):
        try:
            self.call("PUT", blob.split("/")[0], {"restype": "container"})
        except BlobError as error:
            if error.code != "ContainerAlreadyExists":
                raise
        self.call("PUT", blob, None, {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(size_bytes),
                                      "Content-Type": "application/octet-stream"})

    def put(self, blob, start, data):
        self.call("PUT", blob, {"comp": "page"}, {"x-ms-page-write": "update",
                                                  "Content-Type": "application/octet-stream",
                                                  "Range": f"bytes={start}-{start + len(data) - 1}"}, data)

    def remove_container(self, container):
        self.call("DELETE", container, {"restype": "container"}, good=(202, 404))

    # ---- shared access signatures ----

    def set_policies(self, container, policies):
        """policies: (id, permission letters, end as unix seconds)."""
        root = xml.Element("SignedIdentifiers")
        for name, permissions, end in policies:
            identifier = xml.SubElement(root, "SignedIdentifier")
            xml.SubElement(identifier, "Id").text = name
            policy = xml.SubElement(identifier, "AccessPolicy")
            xml.SubElement(policy, "Start").text = _time(end - 90 * 86400)
            xml.SubElement(policy, "Expiry").text = _time(end)
            xml.SubElement(policy, "Permission").text = permissions
        body = b'<?xml version="1.0" encoding="utf-8"?>' + xml.tostring(root)
        self.call("PUT", container, {"restype": "container", "comp": "acl"}, {"Content-Type": "application/xml"}, body)

    def sas(self, blob, policy):
        """The address of a blob with a service SAS that leans on a stored policy, as the service hands it out."""
        sv = "2020-12-06"
        text = "\n".join(["", "", "", f"/blob/{self.name}/{blob}", policy, "", "", sv, "b", "", "", "", "", "", "", ""])
        mac = base64.b64encode(hmac.new(self.key(), text.encode(), hashlib.sha256).digest()).decode()
        return f"{self.public_url}/{urllib.parse.quote(blob)}?" + urllib.parse.urlencode(
            {"sv": sv, "sr": "b", "si": policy, "sig": mac})


def _time(unix_s):
    return datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")


def unreachable(account, error):
    return Refusal(500, "StorageAccountUnreachable", f"The simulator could not use storage account '{account.name}': "
                                                     f"{error}.")
