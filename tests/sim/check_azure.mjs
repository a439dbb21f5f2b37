// SPDX-License-Identifier: Apache-2.0
// Validates recorded exchanges with Resource Manager (of the simulator's --record) against the published specifications, by
// the npm package oav. What was accepted must be valid in request and answer; of what was refused the answer is checked.
// node check_azure.mjs FOLDER_OF_OAV FOLDER_OF_SPECIFICATIONS RECORD_FOLDER...
import { createRequire } from 'node:module';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const [oavFolder, directory, ...records] = process.argv.slice(2);
const { LiveValidator } = createRequire(`${oavFolder}/`)(oavFolder);
const COMPUTE = 'compute/resource-manager/Microsoft.Compute';
const NETWORK = 'network/resource-manager/Microsoft.Network/stable/2024-01-01';
const validator = new LiveValidator({
  directory,
  swaggerPathsPattern: [
    `${COMPUTE}/DiskRP/stable/2024-03-02/disk.json`, `${COMPUTE}/DiskRP/stable/2024-03-02/snapshot.json`,
    `${COMPUTE}/ComputeRP/stable/2024-07-01/virtualMachine.json`, `${COMPUTE}/ComputeRP/stable/2024-07-01/computeRPCommon.json`,
    ...['networkInterface', 'virtualNetwork', 'networkSecurityGroup', 'privateEndpoint'].map((name) => `${NETWORK}/${name}.json`),
  ],
  git: { shouldClone: false },
  isPathCaseSensitive: false,
});
await validator.initialize();

// Not in the folder of specifications, or in no specification at all (polls of operations).
const UNSPECIFIED = [/\/(disk)?operations\//i, /\/operationResults\//i, /Microsoft\.Compute\/skus\b/i, /Microsoft\.Authorization\//i,
  /Microsoft\.Storage\//i, /^\/subscriptions\/?$/i, /^\/subscriptions\/[^/]+(\/resourceGroups(\/[^/]+(\/resources)?)?|\/resources)?\/?$/i];
const covered = new Map();
const unchecked = new Map();
let bad = 0;
const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);

function report(file, live, side, result) {
  if (result.isSuccessful) return;
  const refused = Number(live.liveResponse.statusCode) >= 400;
  const errors = (result.errors ?? []).filter((e) => !(refused && e.code === 'INVALID_RESPONSE_CODE'));
  if (errors.length === 0 && !result.runtimeException) return;
  bad += 1;
  console.log(`${file}: ${live.liveRequest.method} ${live.liveRequest.url.replace(/\?.*/, '')} -> ${live.liveResponse.statusCode}: ${side}`);
  for (const e of errors) console.log(`    ${e.code}: ${e.message} ${e.pathsInPayload ?? ''}`);
  if (result.runtimeException) console.log(`    ${result.runtimeException.code}: ${result.runtimeException.message}`);
}

for (const folder of records) {
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.json')).sort()) {
    const live = JSON.parse(readFileSync(join(folder, file)));
    const { pathname } = new URL(live.liveRequest.url);
    const refused = Number(live.liveResponse.statusCode) >= 400;
    const unspecified = UNSPECIFIED.find((pattern) => pattern.test(pathname));
    if (unspecified) {
      count(unchecked, `${live.liveRequest.method} ${pathname.replace(/.*\/providers\//, '').replace(/[0-9a-f]{8}-[0-9a-f-]+/g, '*')}`);
      continue;
    }
    const result = await validator.validateLiveRequestResponse(live);
    if (refused && result.requestValidationResult.runtimeException) continue;       // a request that no specification has
    if (!refused) report(`${basename(folder)}/${file}`, live, 'request', result.requestValidationResult);
    report(`${basename(folder)}/${file}`, live, 'response', result.responseValidationResult);
    count(covered, result.requestValidationResult.operationInfo?.operationId);
  }
}
for (const [name, times] of [...covered].sort()) console.log(`validated ${times} x ${name}`);
for (const [name, times] of [...unchecked].sort()) console.log(`no specification for ${times} x ${name}`);
console.log(`${bad} violations`);
process.exit(bad === 0 && covered.size > 0 ? 0 : 1);
