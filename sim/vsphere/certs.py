# SPDX-License-Identifier: Apache-2.0
"""Self-signed certificates, made with the openssl command, and their fingerprints."""
import hashlib
import os
import ssl
import subprocess


class Certificate:
    def __init__(self, path, key_path):
        self.path, self.key_path = path, key_path
        with open(path, encoding="ascii") as file:
            der = ssl.PEM_cert_to_DER_cert(file.read())
        self.sha1, self.sha256 = (self._colons(hashlib.new(kind, der)) for kind in ("sha1", "sha256"))

    @staticmethod
    def _colons(digest):
        text = digest.hexdigest().upper()
        return ":".join(text[i:i + 2] for i in range(0, len(text), 2))

    def server_context(self, max_version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key_path)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_3 if max_version == "1.3" else ssl.TLSVersion.TLSv1_2
        return context


def make(folder, name, host_names, addresses):
    """A certificate and key in folder/name.pem and name.key; an existing pair is used again."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path, key_path = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    if not os.path.exists(path):
        names = dict.fromkeys(["localhost", *host_names])
        addresses = dict.fromkeys(["127.0.0.1", *addresses])
        san = ",".join([f"DNS:{n}" for n in names if n.isascii()] + [f"IP:{a}" for a in addresses])
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "3650",
                        "-subj", f"/O=Simulated vSphere/CN={name}.invalid", "-addext", f"subjectAltName={san}",
                        "-keyout", key_path, "-out", path], check=True, capture_output=True)
        os.chmod(key_path, 0o600)
    return Certificate(path, key_path)
