// SPDX-License-Identifier: Apache-2.0
// The yardstick of azure_pages.py: plain parallel Put Page of 4 MiB by the npm package
// @azure/storage-blob.
//   node azure_pages.mjs PACKAGE CONTAINER_URL KEY_FILE NAME MIB CONCURRENCY
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, url, keyFile, name, mibText, concurrencyText] = process.argv.slice(2);
const { ContainerClient, StorageSharedKeyCredential } = createRequire(`${folder}/`)(folder);
const MIB = 1024 * 1024;
const PUT = 4 * MIB;
const bytes = Number(mibText) * MIB;
const account = new URL(url).pathname.split("/")[1];
const key = readFileSync(keyFile, "utf8").trim();
const container = new ContainerClient(url, new StorageSharedKeyCredential(account, key));
const blob = container.getPageBlobClient(name);
const data = randomBytes(PUT);

await blob.create(bytes);
const begun = process.hrtime.bigint();
let next = 0;
async function lane() {
  while (next < bytes) {
    const at = next;
    next += PUT;
    const count = Math.min(PUT, bytes - at);
    await blob.uploadPages(data.subarray(0, count), at, count);
  }
}
await Promise.all(Array.from({ length: Number(concurrencyText) }, lane));
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
console.log(JSON.stringify({ mib: Number(mibText), seconds: Number(seconds.toFixed(3)) }));
