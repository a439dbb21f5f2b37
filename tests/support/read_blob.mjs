// SPDX-License-Identifier: Apache-2.0
// Reads a page blob with a client that nobody of ours wrote, to compare.
//   node read_blob.mjs PACKAGE CONTAINER_URL NAME SAS_FILE OUT_FILE [SNAPSHOT]
// PACKAGE: the folder of the npm package @azure/storage-blob. The SAS is in a file: a command
// line is no place for it. Prints "RANGES SNAPSHOTS": how many of each the blob has.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, url, name, sasFile, outFile, snapshot] = process.argv.slice(2);
const { ContainerClient } = createRequire(`${folder}/`)(folder);
const sas = readFileSync(sasFile, "utf8").trim();

const container = new ContainerClient(`${url}?${sas}`);
const blob = container.getPageBlobClient(name);
await (snapshot ? blob.withSnapshot(snapshot) : blob).downloadToFile(outFile);
const ranges = (await blob.getPageRanges()).pageRange ?? [];
let snapshots = 0;
for await (const item of container.listBlobsFlat({ prefix: name, includeSnapshots: true }))
  snapshots += item.name === name && item.snapshot ? 1 : 0;
console.log(ranges.length, snapshots);
