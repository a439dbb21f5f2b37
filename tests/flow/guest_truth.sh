#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the guest knows about itself: after each recovery point the replica, as disks of that guest, has
# clean file systems and every record up to the instant of the snapshot, on two disks the same instant.
# Through a reset, a clean restart and a kill of QEMU.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir "$DIR/guest"
"$GUEST/make-guest.sh" "$DIR/guest" --root-fill-mib 30 --data-fill-mib 10 >/dev/null
start_guest --rate 100 --churn-kib 2048
kedge init "$DIR/k" >/dev/null
start_kedged
kedge source add lab qemu --qmp "$DIR/guest/prod.qmp" --scratch-dir "$DIR/guest"
kedge target add here local --dir "$DIR/replicas" --accel tcg
kedge replicate lab prod --target here
wait_first_delta
check_replica 0
before=$(records)

for i in 1 2 3; do
    sleep 2
    kedge sync prod >/dev/null
    check_replica $((before + 1))
    now=$(records)
    say "recovery point $i: $now records"
    before=$now
done
kind() { state '.last_cycles[0].kind'; }

say "reset of the guest: change tracking goes on"
"$GUEST/guest-qmp.pl" "$DIR/guest/prod.qmp" system_reset >/dev/null
sleep 5
kedge sync prod >/dev/null
[ "$(kind)" != resync ] || fail "a reset of the guest cost the change tracking"
check_replica "$before"

say "clean restart of QEMU: persistent bitmaps come back"
"$GUEST/guest-qmp.pl" "$DIR/guest/prod.qmp" quit >/dev/null
while [ -e "$DIR/guest/prod.pid" ]; do sleep 0.1; done
start_guest --rate 100 --churn-kib 2048
sleep 1
kedge sync prod >/dev/null
[ "$(kind)" != resync ] || fail "a clean restart of QEMU cost the change tracking"
check_replica "$before"

say "QEMU killed: tracking is lost, said so, and repaired by content hash"
kill -9 "$(guest_pid)"
rm -f "$DIR/guest/prod.pid" "$DIR/guest/prod.qmp"
sleep 0.5
start_guest --rate 100 --churn-kib 2048
status=0
kedge sync prod 2>"$DIR/said" || status=$?
[ "$status" = 6 ] && grep -q 'change tracking .* lost' "$DIR/said" ||
    fail "lost tracking was not noticed: exit $status, $(cat "$DIR/said")"
[ "$(state .status)" = 'Repair pending' ] || fail "the state is $(state .status)"
kedge resync prod >/dev/null
[ "$(kind)" = resync ] || fail "the cycle was $(kind)"
same=$(state '.last_cycles[0].same_bytes') content=$(state '.last_cycles[0].content_bytes')
say "resync: $same bytes were the same, $content bytes sent"
[ "$same" -gt "$content" ] || fail "the resync sent more than it skipped"
check_replica "$before"

say "the daemon killed in the middle of a cycle under load"
for _ in 1 2 3; do
    kedge sync prod --no-wait >/dev/null 2>&1 || true # the one that was interrupted goes on
    sleep 0.2
    kill -9 "$KEDGED_PID"
    wait "$KEDGED_PID" 2>/dev/null || true
    start_kedged
done
for _ in $(seq 100); do
    [ "$(state .job)" = null ] && break
    sleep 0.2
done
kedge sync prod >/dev/null
check_replica "$before"
kedge verify prod | grep -q 'equal: true' || fail "verify"
say "ok"
