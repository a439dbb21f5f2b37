# SPDX-License-Identifier: Apache-2.0
"""RS256 with the standard library: keys of the openssl command, signing and checking (PKCS #1 v1.5, RFC 8017 §8.2)."""
import base64
import hashlib
import subprocess

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _padded(message, size):
    tail = SHA256_INFO + hashlib.sha256(message).digest()
    return b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail


def _der(data, at):
    """(content, end) of the element at `at`."""
    length, at = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7f
        length, at = int.from_bytes(data[at:at + count], "big"), at + count
    return data[at:at + length], at + length


class Key:
    """A new private key."""

    def __init__(self):
        der = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], check=True, capture_output=True).stdout
        der = base64.b64decode(b"".join(line for line in der.splitlines() if not line.startswith(b"-----")))
        sequence, at, numbers = _der(der, 0)[0], 0, []
        while at < len(sequence):
            number, at = _der(sequence, at)
            numbers.append(int.from_bytes(number, "big"))
        _, self.n, self.e, self._d = numbers[:4]
        self.size = (self.n.bit_length() + 7) // 8
        self.id = hashlib.sha256(self.n.to_bytes(self.size, "big")).hexdigest()[:16]

    def sign(self, message):
        return pow(int.from_bytes(_padded(message, self.size), "big"), self._d, self.n).to_bytes(self.size, "big")

    def jwk(self):
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id,
                "n": encode(self.n.to_bytes(self.size, "big")), "e": encode(self.e.to_bytes(3, "big"))}


def verify(jwk, message, signature):
    n, e = (int.from_bytes(decode(jwk[part]), "big") for part in ("n", "e"))
    size = (n.bit_length() + 7) // 8
    if len(signature) != size or size < 128:
        return False
    return pow(int.from_bytes(signature, "big"), e, n).to_bytes(size, "big") == _padded(message, size)
