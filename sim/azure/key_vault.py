# SPDX-License-Identifier: Apache-2.0
"""Key vaults, data plane 7.5: secrets and RSA keys with versions, soft delete and access policies. The form of requests and
answers is that of the published secrets.json and keys.json; tests/sim/test_azure_vault.py proves it against them."""
import base64
import binascii
import threading
import time
import uuid

from . import control
from .refusal import Refusal
from .server import Answer, Routes

routes = Routes()
VERSIONS = ("7.5",)
DAYS = 90
VALUE_MAX = 25 * 1024
PAGE = 25
ALL = {"secrets": ["get", "list", "set", "delete", "recover", "purge"],
       "keys": ["get", "list", "create", "update", "delete", "recover", "purge", "wrapKey", "unwrapKey", "rotate"]}
CODES = {"secrets": "SecretNotFound", "keys": "KeyNotFound"}
PADDINGS = ("RSA-OAEP-256", "RSA-OAEP")


class VaultRefusal(Refusal):
    """With the innererror that says more than "Forbidden"."""

    def __init__(self, status, code, message, inner):
        super().__init__(status, code, message)
        self.inner = inner

    def error(self):
        return {**super().error(), "innererror": {"code": self.inner}}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refusal(400, "BadParameter", "The request body is invalid: 'value' is not base64url.") from None


class Version:
    def __init__(self, attributes=None, tags=None):
        self.id, self.created = uuid.uuid4().hex, int(time.time())
        self.updated, self.tags = self.created, dict(tags or {})
        self.enabled, self.nbf, self.exp = True, None, None
        self.value = self.content_type = self.key = None
        self.take(attributes or {})

    def take(self, attributes):
        for name in ("enabled", "nbf", "exp"):
            if name in attributes:
                setattr(self, name, attributes[name])
        self.updated = int(time.time())

    def attributes(self):
        given = {"enabled": self.enabled, "nbf": self.nbf, "exp": self.exp, "created": self.created, "updated": self.updated,
                 "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": DAYS}
        return {name: value for name, value in given.items() if value is not None}

    def usable(self, what, name, operation):
        now = time.time()
        if not self.enabled or (self.exp and self.exp < now) or (self.nbf and self.nbf > now):
            inner = ("SecretDisabled" if what == "secrets" else "KeyDisabled") if not self.enabled else "ForbiddenByPolicy"
            raise VaultRefusal(403, "Forbidden", f"Operation {operation} is not allowed on a disabled or expired "
                                                 f"{what[:-1]}: '{name}'.", inner)


class Vault:
    """items: {"secrets": {name: [Version, .. newest last]}, "keys": ..}; deleted: the same."""

    def __init__(self, settings):
        unknown = set(settings) - {"name", "policies", "page"}
        if unknown:
            raise ValueError(f"key_vaults: unknown {sorted(unknown)}")
        self.name, self.policies, self.page = settings["name"], settings.get("policies"), settings.get("page", PAGE)
        self.items, self.deleted = {"secrets": {}, "keys": {}}, {"secrets": {}, "keys": {}}
        self.lock = threading.RLock()

    def allow(self, caller, what, operation):
        if self.policies is None:
            return
        if operation not in self.policies.get(caller.get("appid"), {}).get(what, []):
            raise VaultRefusal(403, "Forbidden", f"The user, group or application 'appid={caller.get('appid')}' does not have "
                                                 f"{what} {operation} permission on key vault '{self.name}'.", "AccessDenied")

    def versions(self, what, name):
        for known, versions in self.items[what].items():
            if known.lower() == name.lower():
                return versions
        raise Refusal(404, CODES[what], f"A {what[:-1]} with (name/id) {name} was not found in this key vault.")

    def version(self, what, name, version):
        versions = self.versions(what, name)
        if not version:
            return versions[-1]
        for one in versions:
            if one.id == version:
                return one
        raise Refusal(404, CODES[what], f"A {what[:-1]} with (name/id) {name}/{version} was not found in this key vault.")

    def add(self, what, name, version):
        if any(known.lower() == name.lower() for known in self.deleted[what]):
            raise VaultRefusal(409, "Conflict", f"{what[:-1].title()} {name} is currently in a deleted but recoverable state, "
                                                "and its name cannot be reused.", "ObjectIsDeletedButRecoverable")
        self.items[what].setdefault(name, []).append(version)
        return version


class Vaults:
    def __init__(self, settings):
        self.list = [Vault(one) for one in settings] or [Vault({"name": "kv1"})]

    def of(self, request):
        label = request.host.split(".")[0].lower()
        return next((vault for vault in self.list if vault.name == label), self.list[0])


@control.route("POST", "/vault/policies")
def _policies(lab, request):
    """{"vault"?, "client", "secrets": [..], "keys": [..]}"""
    vault = next(v for v in lab.vaults.list if v.name == request.get("vault", lab.vaults.list[0].name))
    with vault.lock:
        if vault.policies is None:
            vault.policies = {client["id"]: ALL for client in lab.config["clients"]}
        vault.policies[request["client"]] = {"secrets": request.get("secrets", []), "keys": request.get("keys", [])}
    return {}


# ---- answers ----

def secret_bundle(request, name, version, value=True):
    bundle = {"id": f"{request.base_url}/secrets/{name}/{version.id}", "attributes": version.attributes(), "tags": version.tags}
    if version.content_type is not None:
        bundle["contentType"] = version.content_type
    return {"value": version.value, **bundle} if value else bundle


def key_bundle(request, name, version):
    numbers = version.key.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    jwk = {"kid": f"{request.base_url}/keys/{name}/{version.id}", "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"],
           "n": encode(numbers.n.to_bytes(size, "big")), "e": encode(numbers.e.to_bytes(3, "big"))}
    return {"key": jwk, "attributes": version.attributes(), "tags": version.tags}


def key_item(request, name, version):
    return {"kid": f"{request.base_url}/keys/{name}/{version.id}", "attributes": version.attributes(), "tags": version.tags}


def page(request, vault, entries, path):
    """One page of entries; where the next begins is opaque to the caller."""
    text = request.query.get("$skiptoken", "")
    start = int(text) if text.isdigit() else 0
    limit = request.query.get("maxresults", str(vault.page))
    if not limit.isdigit() or not 1 <= int(limit) <= 25:
        raise Refusal(400, "BadParameter", "Invalid maxresults.")
    end, answer = start + int(limit), {"value": entries[start:start + int(limit)]}
    if end < len(entries):
        answer["nextLink"] = f"{request.base_url}{path}?api-version={VERSIONS[0]}&$skiptoken={end}&maxresults={limit}"
    return Answer(200, answer)


def on(method, pattern, what, operation):
    """The handler gets the vault, locked, and is called only for those whom the policy allows."""
    def register(handler):
        @routes.on(method, pattern, audience="vault", versions=VERSIONS)
        def guarded(request):
            vault = request.lab.vaults.of(request)
            with vault.lock:
                vault.allow(request.caller, what, operation)
                return handler(vault, request, **request.params)
        return guarded
    return register


# ---- both kinds ----

def _bundle(request, what, name, version):
    return secret_bundle(request, name, version, value=False) if what == "secrets" else key_bundle(request, name, version)


def _deleted(request, what, name, version, since):
    return {**_bundle(request, what, name, version), "recoveryId": f"{request.base_url}/deleted{what}/{name}",
            "deletedDate": since, "scheduledPurgeDate": since + DAYS * 86400}


def register_kind(what):
    item = (lambda r, n, v: secret_bundle(r, n, v, value=False)) if what == "secrets" else key_item

    @on("GET", f"/{what}/{{name}}/versions", what, "list")
    def versions(vault, request, name):
        return page(request, vault, [item(request, name, v) for v in vault.versions(what, name)], f"/{what}/{name}/versions")

    @on("GET", f"/{what}", what, "list")
    def listing(vault, request):
        def newest(name, version):
            entry = item(request, name, version)
            key = "id" if what == "secrets" else "kid"
            return {**entry, key: entry[key].rsplit("/", 1)[0]}
        return page(request, vault, [newest(n, v[-1]) for n, v in sorted(vault.items[what].items())], f"/{what}")

    @on("DELETE", f"/{what}/{{name}}", what, "delete")
    def delete(vault, request, name):
        versions, now = vault.versions(what, name), int(time.time())
        del vault.items[what][name]
        vault.deleted[what][name] = (versions, now)
        return Answer(200, _deleted(request, what, name, versions[-1], now))

    @on("GET", f"/deleted{what}/{{name}}", what, "get")
    def get_deleted(vault, request, name):
        if name not in vault.deleted[what]:
            raise Refusal(404, CODES[what], f"Deleted {name} was not found in this key vault.")
        versions, since = vault.deleted[what][name]
        return Answer(200, _deleted(request, what, name, versions[-1], since))

    @on("DELETE", f"/deleted{what}/{{name}}", what, "purge")
    def purge(vault, _request, name):
        if vault.deleted[what].pop(name, None) is None:
            raise Refusal(404, CODES[what], f"Deleted {name} was not found in this key vault.")
        return Answer(204)

    @on("POST", f"/deleted{what}/{{name}}/recover", what, "recover")
    def recover(vault, request, name):
        if name not in vault.deleted[what]:
            raise Refusal(404, CODES[what], f"Deleted {name} was not found in this key vault.")
        vault.items[what][name] = vault.deleted[what].pop(name)[0]
        return Answer(200, _bundle(request, what, name, vault.items[what][name][-1]))

    @on("PATCH", f"/{what}/{{name}}/{{version}}", what, "set" if what == "secrets" else "update")
    def update(vault, request, name, version):
        one, body = vault.version(what, name, version), request.json()
        one.take(body.get("attributes", {}))
        one.tags = body.get("tags", one.tags)
        return Answer(200, _bundle(request, what, name, one))


register_kind("secrets")
register_kind("keys")


# ---- secrets ----

@on("PUT", "/secrets/{name}", "secrets", "set")
def set_secret(vault, request, name):
    body = request.json()
    if not isinstance(body.get("value"), str) or len(body["value"]) > VALUE_MAX:
        raise Refusal(400, "BadParameter", "The secret value is missing, or larger than 25k characters.")
    version = Version(body.get("attributes"), body.get("tags"))
    version.value, version.content_type = body["value"], body.get("contentType")
    vault.add("secrets", name, version)
    return Answer(200, secret_bundle(request, name, version))


@on("GET", "/secrets/{name}", "secrets", "get")
def get_newest_secret(vault, request, name):
    return get_secret_of(vault, request, name, "")


@on("GET", "/secrets/{name}/{version}", "secrets", "get")
def get_secret(vault, request, name, version):
    return get_secret_of(vault, request, name, version)


def get_secret_of(vault, request, name, version):
    one = vault.version("secrets", name, version)
    one.usable("secrets", name, "get")
    return Answer(200, secret_bundle(request, name, one))


# ---- keys ----

def new_key(bits):
    from cryptography.hazmat.primitives.asymmetric import rsa      # python3-cryptography, only where keys are made
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def padding_of(algorithm):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    if algorithm not in PADDINGS:
        raise Refusal(400, "BadParameter", f"Key and alg '{algorithm}' are not compatible with this operation here.")
    digest = hashes.SHA256() if algorithm == "RSA-OAEP-256" else hashes.SHA1()
    return padding.OAEP(mgf=padding.MGF1(digest), algorithm=digest, label=None)


@on("POST", "/keys/{name}/create", "keys", "create")
def create_key(vault, request, name):
    body = request.json()
    if body.get("kty") not in ("RSA", "RSA-HSM"):
        raise Refusal(400, "BadParameter", "The simulator makes RSA keys only.")
    bits = body.get("key_size", 2048)
    if bits not in (2048, 3072, 4096):
        raise Refusal(400, "BadParameter", "key_size is not 2048, 3072 or 4096.")
    version = Version(body.get("attributes"), body.get("tags"))
    version.key = new_key(bits)
    vault.add("keys", name, version)
    return Answer(200, key_bundle(request, name, version))


@on("POST", "/keys/{name}/rotate", "keys", "rotate")
def rotate_key(vault, request, name):
    version = Version()
    version.key = new_key(vault.versions("keys", name)[-1].key.key_size)
    vault.add("keys", name, version)
    return Answer(200, key_bundle(request, name, version))


@on("GET", "/keys/{name}", "keys", "get")
def get_newest_key(vault, request, name):
    return Answer(200, key_bundle(request, name, vault.version("keys", name, "")))


@on("GET", "/keys/{name}/{version}", "keys", "get")
def get_key(vault, request, name, version):
    return Answer(200, key_bundle(request, name, vault.version("keys", name, version)))


def transformed(vault, request, name, version, operation):
    one, body = vault.version("keys", name, version), request.json()
    one.usable("keys", name, operation)
    way, value = padding_of(body.get("alg")), decode(body.get("value", ""))
    try:
        value = one.key.public_key().encrypt(value, way) if operation == "wrapKey" else one.key.decrypt(value, way)
    except ValueError:
        raise Refusal(400, "BadParameter", f"The parameter is incorrect: {operation} failed.") from None
    return Answer(200, {"kid": f"{request.base_url}/keys/{name}/{one.id}", "value": encode(value)})


@on("POST", "/keys/{name}/{version}/wrapkey", "keys", "wrapKey")
def wrap_key(vault, request, name, version):
    return transformed(vault, request, name, version, "wrapKey")


@on("POST", "/keys/{name}/{version}/unwrapkey", "keys", "unwrapKey")
def unwrap_key(vault, request, name, version):
    return transformed(vault, request, name, version, "unwrapKey")
