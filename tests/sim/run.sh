#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All tests of the simulators, one after the other; a skipped one says why.
cd "$(dirname "$(readlink -f "$0")")" || exit 1
status=0
for test in test_model.py test_nfc.py test_http.py test_cycle.py test_pyvmomi.py schema.sh \
    test_azure_model.py test_azure_disks.py test_azure_faults.py test_azure_sdk.py test_azure_contract.py \
    test_azure_vault.py; do
    echo "== $test: $(sed -n 's/"""$//; s/^"""//p; 3{s/^# //p;}' "$test" | head -1)"
    case $test in
    *.py) /usr/bin/python3 -W ignore "$test" ;;
    *) ./"$test" ;;
    esac
    code=$?
    [ $code = 0 ] || [ $code = 77 ] || status=1
done
exit $status
