#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every answer of the simulator, and every request of pyVmomi, validates against the published vim25 schema.
set -eu
here=$(dirname "$(readlink -f "$0")")
[ -n "${KEDGE_VIM25_SCHEMA:-}" ] || { echo "skipped: KEDGE_VIM25_SCHEMA does not name the vim25 schema's folder"; exit 77; }
command -v xmllint >/dev/null || { echo "skipped: xmllint is not installed"; exit 77; }
/usr/bin/python3 -c 'import pyVmomi' 2>/dev/null || { echo "skipped: python3-pyvmomi is not installed"; exit 77; }
record=$(mktemp -d)
trap 'rm -rf "$record"' EXIT
echo "recording a client that is not ours"
KEDGE_SIM_RECORD=$record/pyvmomi /usr/bin/python3 -W ignore "$here/test_pyvmomi.py"
echo "recording odd and refused requests"
KEDGE_SIM_RECORD=$record/http /usr/bin/python3 "$here/test_http.py"
echo "validating"
"$here/check_schema.py" "$record/pyvmomi"
"$here/check_schema.py" "$record/http" response
