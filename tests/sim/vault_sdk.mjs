// SPDX-License-Identifier: Apache-2.0
// A vault through the vendor's own clients, as far as they and the simulator go:
//   node vault_sdk.mjs SECRETS_PACKAGE KEYS_PACKAGE URL TOKEN_FILE
// Prints "ok" at the end; NODE_EXTRA_CA_CERTS names the certificate.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { randomBytes } from "node:crypto";

const [secretsFolder, keysFolder, url, tokenFile] = process.argv.slice(2);
const { SecretClient } = createRequire(`${secretsFolder}/`)(secretsFolder);
const { KeyClient, CryptographyClient } = createRequire(`${keysFolder}/`)(keysFolder);
const token = readFileSync(tokenFile, "utf8").trim();
const credential = { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3600e3 }) };
const options = { serviceVersion: "7.5", disableChallengeResourceVerification: true, retryOptions: { maxRetries: 0 } };

const secrets = new SecretClient(url, credential, options);
const first = await secrets.setSecret("sdk", "one", { tags: { a: "b" }, contentType: "text/plain" });
const second = await secrets.setSecret("sdk", "two");
assert.equal((await secrets.getSecret("sdk")).value, "two");
assert.equal((await secrets.getSecret("sdk", { version: first.properties.version })).value, "one");
const versions = [];
for await (const one of secrets.listPropertiesOfSecretVersions("sdk")) versions.push(one.version);
assert.deepEqual(new Set(versions), new Set([first, second].map((s) => s.properties.version)));
await secrets.updateSecretProperties("sdk", second.properties.version, { enabled: false });
await assert.rejects(secrets.getSecret("sdk"), { statusCode: 403 });
await secrets.updateSecretProperties("sdk", second.properties.version, { enabled: true });
const deletion = await secrets.beginDeleteSecret("sdk", { intervalInMs: 10 });
await deletion.pollUntilDone();
await assert.rejects(secrets.getSecret("sdk"), { statusCode: 404, code: "SecretNotFound" });
await assert.rejects(secrets.setSecret("sdk", "three"), { statusCode: 409 });
const recovery = await secrets.beginRecoverDeletedSecret("sdk", { intervalInMs: 10 });
await recovery.pollUntilDone();
assert.equal((await secrets.getSecret("sdk")).value, "two");

const keys = new KeyClient(url, credential, options);
const key = await keys.createRsaKey("sdk", { keySize: 2048 });
const clear = randomBytes(64);
const { result } = await new CryptographyClient(key.id, credential, options).wrapKey("RSA-OAEP-256", clear);
const rotated = await keys.rotateKey("sdk");
assert.notEqual(rotated.properties.version, key.properties.version);
const old = new CryptographyClient(key.id, credential, options);
assert.deepEqual(Buffer.from((await old.unwrapKey("RSA-OAEP-256", result)).result), clear);
await assert.rejects(new CryptographyClient(rotated.id, credential, options).unwrapKey("RSA-OAEP-256", result), { statusCode: 400 });
assert.equal((await keys.getKey("sdk")).properties.version, rotated.properties.version);
console.log("ok");
