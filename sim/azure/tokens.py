# SPDX-License-Identifier: Apache-2.0
"""Access tokens: a token endpoint for convenience (client secret), and the check of every request's bearer token:
ours, or an issuer's whose public keys are configured."""
import hmac
import json
import threading
import time
import urllib.parse
import urllib.request
import uuid

from . import certs, rsa
from .refusal import Refusal
from .server import Answer, Routes

AUDIENCES = {"arm": ("https://management.azure.com", "https://management.core.windows.net"),
             "vault": ("https://vault.azure.net",),
             "storage": ("https://storage.azure.com",)}
SKEW_S = 300                            # what the services allow between clocks
routes = Routes()


class Tokens:
    def __init__(self, config):
        self._tenant, self._seconds = config["tenant"], config["token_seconds"]
        self._clients = {client["id"]: client for client in config["clients"]}
        self._issuer = f"https://sts.windows.net/{self._tenant}/"
        self._key, self._lock = rsa.Key(), threading.Lock()
        self._keys = {self._issuer: [self._key.jwk()]}
        for issuer in config["issuers"]:
            self._keys[issuer["issuer"]] = self._published(issuer)
        self._revoked_before, self.skipped_s = 0.0, 0.0

    @staticmethod
    def _published(issuer):
        if issuer["jwks_file"]:
            with open(issuer["jwks_file"], encoding="utf-8") as file:
                return json.load(file)["keys"]
        with urllib.request.urlopen(issuer["jwks_url"], context=certs.client_context(issuer["ca_file"]),
                                    timeout=20) as answer:
            return json.load(answer)["keys"]

    def now(self):
        return time.time() + self.skipped_s

    def jwks(self):
        return {"keys": [self._key.jwk()]}

    def revoke(self):
        """Every token given until now is refused from now on."""
        with self._lock:
            self._revoked_before = time.time()

    def rotate_secret(self, client_id, secret):
        with self._lock:
            self._clients[client_id]["secret"] = secret

    def issue(self, client, audience, seconds=None):
        now = self.now()
        seconds = self._seconds if seconds is None else seconds
        # iat_exact: so that a token made in the same second as a revocation is told from one made before it.
        claims = {"iss": self._issuer, "aud": audience, "iat": int(now), "nbf": int(now), "exp": int(now) + seconds,
                  "appid": client["id"], "oid": client["object_id"], "sub": client["object_id"], "tid": self._tenant,
                  "ver": "1.0", "uti": uuid.uuid4().hex, "iat_exact": time.time()}
        head = rsa.encode(json.dumps({"typ": "JWT", "alg": "RS256", "kid": self._key.id}).encode())
        signed = f"{head}.{rsa.encode(json.dumps(claims).encode())}"
        return f"{signed}.{rsa.encode(self._key.sign(signed.encode()))}"

    def client(self, client_id, secret):
        client = self._clients.get(client_id)
        if client is None:
            raise _no_token(400, "unauthorized_client", f"AADSTS700016: Application with identifier '{client_id}' was "
                                                        "not found in the directory.")
        if not hmac.compare_digest(client["secret"].encode(), secret.encode()):
            raise _no_token(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        return client

    def check(self, request, audience):
        """The token's claims. Raises a Refusal with 401."""
        head = request.headers.get("Authorization")
        if not head:
            raise self._challenge(audience, "AuthenticationFailed", "Authentication failed. The 'Authorization' header "
                                  "is missing.")
        scheme, _, text = head.partition(" ")
        if scheme.lower() != "bearer" or text.count(".") != 2:
            raise self._challenge(audience, "AuthenticationFailedInvalidHeader",
                                  "Authentication failed. The 'Authorization' header is in an invalid format.")
        try:
            head, body, signature = text.split(".")
            kid = json.loads(rsa.decode(head)).get("kid")
            claims = json.loads(rsa.decode(body))
            keys = [k for k in self._keys.get(claims.get("iss"), []) if k.get("kty") == "RSA"
                    and kid in (None, k.get("kid"))]
            good = any(rsa.verify(key, f"{head}.{body}".encode(), rsa.decode(signature)) for key in keys)
        except (ValueError, AttributeError, KeyError):
            good, claims = False, {}
        if not good:
            raise self._challenge(audience, "InvalidAuthenticationToken", "The access token is invalid: its signature "
                                  "or its issuer is not known.")
        return self._check_claims(claims, audience)

    def _check_claims(self, claims, audience):
        given = claims.get("aud")
        given = given if isinstance(given, list) else [given]
        if not any(isinstance(g, str) and g.rstrip("/") in AUDIENCES[audience] for g in given):
            raise self._challenge(audience, "InvalidAuthenticationTokenAudience",
                                  f"The access token has been obtained for wrong audience or resource '{given[0]}'. It "
                                  f"should exactly match one of the allowed audiences '{AUDIENCES[audience][0]}/'.")
        now, expires = self.now(), claims.get("exp")
        if not isinstance(expires, (int, float)) or expires < now or claims.get("iat_exact", claims.get("iat", now)) < \
                self._revoked_before:
            raise self._challenge(audience, "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier "
                                  "than current UTC time.")
        if claims.get("nbf", 0) > now + SKEW_S:
            raise self._challenge(audience, "InvalidAuthenticationToken", "The access token is not yet valid.")
        return claims

    def _challenge(self, audience, code, message):
        if audience == "vault":
            value = (f'Bearer authorization="https://login.microsoftonline.com/{self._tenant}", '
                     'resource="https://vault.azure.net"')
            return Refusal(401, "Unauthorized", message, headers={"WWW-Authenticate": value})
        value = (f'Bearer authorization_uri="https://login.microsoftonline.com/{self._tenant}", error="invalid_token", '
                 f'error_description="{message}"')
        return Refusal(401, code, message, headers={"WWW-Authenticate": value})


class _TokenRefusal(Refusal):
    def body(self):
        return {"error": self.code, "error_description": self.message, "error_codes": [],
                "correlation_id": str(uuid.uuid4())}


def _no_token(status, code, message):
    return _TokenRefusal(status, code, message)


@routes.on("POST", "/{tenant}/oauth2/v2.0/token", audience=None)
def token(request):
    """RFC 6749 §4.4 as Entra ID has it."""
    form = dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    if form.get("grant_type") != "client_credentials":
        raise _no_token(400, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
    if "client_secret" not in form:
        raise _no_token(401, "invalid_client", "AADSTS7000216: 'client_assertion', 'client_secret' or 'request' is "
                                               "required; the simulator takes client_secret only.")
    client = request.lab.tokens.client(form.get("client_id", ""), form["client_secret"])
    scope = form.get("scope", "")
    audience = scope.removesuffix("/.default")
    known = [a for group in AUDIENCES.values() for a in group]
    if not scope.endswith("/.default") or audience.rstrip("/") not in known:
        raise _no_token(400, "invalid_scope", f"AADSTS1002012: The provided value for scope {scope} is not valid.")
    seconds = request.lab.config["token_seconds"]
    return Answer(200, {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds,
                        "access_token": request.lab.tokens.issue(client, audience)}, {"Cache-Control": "no-store"})


@routes.on("GET", "/{tenant}/discovery/v2.0/keys", audience=None)
def keys(request):
    return Answer(200, request.lab.tokens.jwks())


@routes.on("GET", "/{tenant}/v2.0/.well-known/openid-configuration", audience=None)
def discovery(request):
    base = f"{request.base_url}/{request.params['tenant']}"
    return Answer(200, {"issuer": f"https://sts.windows.net/{request.params['tenant']}/",
                        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                        "token_endpoint": f"{base}/oauth2/v2.0/token", "jwks_uri": f"{base}/discovery/v2.0/keys"})
