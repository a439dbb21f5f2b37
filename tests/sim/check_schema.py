#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Validates recorded SOAP exchanges against the published vim25 schema: check_schema.py FOLDER [request|response].

KEDGE_VIM25_SCHEMA names the folder with soap-envelope-vim25.xsd. Methods that no public schema has are left out by name.
"""
import collections
import os
import pathlib
import subprocess
import sys

NOT_IN_SCHEMA = {"Fetch", "RetrieveInternalContent", "NfcGetVmFiles", "NfcRandomAccessOpenReadonly",
                 "NfcRandomAccessOpenDisk", "NfcGetServerNfcLibVersion", "unknown"}
BATCH = 200


def main():
    folder, kinds = pathlib.Path(sys.argv[1]), sys.argv[2:] or ["request", "response"]
    schema = os.environ.get("KEDGE_VIM25_SCHEMA")
    if not schema:
        print("skipped: KEDGE_VIM25_SCHEMA does not name the folder of the vim25 schema")
        return 77
    files, seen = [], collections.Counter()
    distinct = set()
    for path in sorted(folder.glob("*.xml")):
        _, method, kind = path.stem.split("-", 2)
        if kind in kinds and method not in NOT_IN_SCHEMA:
            content = path.read_bytes()
            if content not in distinct:
                distinct.add(content)
                files.append(path)
                seen[method] += 1
    failed = []
    for first in range(0, len(files), BATCH):
        run = subprocess.run(["xmllint", "--noout", "--schema", os.path.join(schema, "soap-envelope-vim25.xsd"),
                              *files[first:first + BATCH]], capture_output=True, text=True)
        failed += [line for line in run.stderr.splitlines() if not line.endswith(" validates")]
    print("\n".join(failed[:40]))
    print(f"{len(files)} messages of {len(seen)} methods checked, {sum('fails to validate' in f for f in failed)} invalid")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
