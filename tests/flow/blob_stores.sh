#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The life of a machine with both stores in containers of the storage service's emulator: replicate,
# deltas, a daemon killed in mid-cycle, test migration, verify, migrate, complete; and a second
# machine that is stopped. Afterwards both containers are empty, as an independent client sees them.
# KEDGE_AZURITE names the folder of the npm package azurite; without it the test is skipped.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

[ -e "${KEDGE_AZURITE:-}/dist/src/blob/main.js" ] || { echo "skipped: KEDGE_AZURITE names no azurite package"; exit 77; }
NAMES=$(dirname "$0")/blob_names.py
AZURITE_PID=
end_more() { end_child "$AZURITE_PID" KILL; }

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$DIR/tls.key" -out "$DIR/tls.pem" -days 2 \
    -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2>/dev/null
(umask 077; head -c 64 /dev/urandom | base64 -w 0 >"$DIR/account.key")
AZURITE_ACCOUNTS="lsakedge:$(cat "$DIR/account.key")" node "$KEDGE_AZURITE/dist/src/blob/main.js" \
    --blobHost 127.0.0.1 --blobPort "$port" --cert "$DIR/tls.pem" --key "$DIR/tls.key" --location "$DIR/azurite" \
    --silent --disableTelemetry >"$DIR/azurite.log" 2>&1 &
AZURITE_PID=$!
for _ in $(seq 200); do grep -q 'successfully listens' "$DIR/azurite.log" && break; sleep 0.1; done
account=https://127.0.0.1:$port/lsakedge
names() { python3 "$NAMES" "$account" "$DIR/account.key" "$DIR/tls.pem" "$1"; }

mkdir "$DIR/guest"
"$GUEST/make-guest.sh" "$DIR/guest" --root-fill-mib 30 --data-fill-mib 10 >/dev/null
start_guest --rate 100 --churn-kib 2048
kedge init "$DIR/k" >/dev/null
cat >"$DIR/access.json" <<END
{"kind": "shared-key", "key_file": "$DIR/account.key", "ca_file": "$DIR/tls.pem"}
END
sed -i '/^ *\(log\|state\)_store/d' "$KEDGE_CONFIG"
cat >>"$KEDGE_CONFIG" <<END
log_store = blob:$account/logs
log_store_credential = $DIR/access.json
state_store = blob:$account/states/site-1
state_store_credential = $DIR/access.json
END
start_kedged
kedge source add lab qemu --qmp "$DIR/guest/prod.qmp" --scratch-dir "$DIR/guest"
kedge target add here local --dir "$DIR/replicas" --accel tcg
kedge replicate lab prod --target here --marker 'kedge-guest: ready'
wait_first_delta
check_replica 0
before=$(records)
names states | grep '^site-1/' >/dev/null || fail "nothing of the machine in the state container"

say "deltas"
for _ in 1 2; do
    sleep 2
    kedge sync prod >/dev/null
    check_replica $((before + 1))
    before=$(records)
done

say "the daemon killed in the middle of a cycle"
for _ in 1 2 3; do
    kedge sync prod --no-wait >/dev/null 2>&1 || true # the one that was interrupted goes on
    sleep 0.3
    kill -9 "$KEDGED_PID"
    wait "$KEDGED_PID" 2>/dev/null || true
    start_kedged
done
for _ in $(seq 200); do
    [ "$(state .job)" = null ] && break
    sleep 0.2
done
kedge sync prod >/dev/null
check_replica "$before"
[ -z "$(names logs)" ] || fail "segments of applied cycles are left: $(names logs)"

say "test migration, verify, migrate, complete"
kedge test-migrate prod >/dev/null
kedge test-cleanup prod >/dev/null
kedge verify prod | grep -q 'equal: true' || fail "verify"
kedge migrate prod >/dev/null
kedge complete prod >/dev/null

say "a machine that is stopped in the middle of its first cycle"
truncate -s 64M "$DIR/other.raw"
head -c 48M /dev/urandom | dd of="$DIR/other.raw" conv=notrunc status=none
kedge source add other image --path "$DIR/other.raw"
kedge throttle 4M >/dev/null
kedge replicate other other --target here --no-wait >/dev/null
for _ in $(seq 100); do [ -n "$(names logs)" ] && break; sleep 0.1; done
[ -n "$(names logs)" ] || fail "no segment came"
kedge stop other >/dev/null
[ -z "$(names logs)$(names states)" ] || fail "left behind: $(names logs) $(names states)"
say "ok"
