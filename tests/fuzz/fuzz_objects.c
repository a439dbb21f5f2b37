/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoders of the cycle's objects. Byte 0 chooses: plan, journal entry, manifest, sealed
 * object, replica state. Payloads are given without their seal, which no fuzzer could get
 * past. What decodes must encode to its own bytes.
 */
#include "fuzz.h"

#include "block/names.h"
#include "block/sealed.h"

static void check(bool ok, const struct buf *again, const uint8_t *data,
                  size_t data_bytes)
{
    if (ok && (again->bytes != data_bytes || memcmp(again->data, data, data_bytes) != 0))
        abort();
}

static void one_plan(const uint8_t *data, size_t data_bytes, struct err *err)
{
    AUTO(plan_release) struct plan plan = {0};
    AUTO(buf_release) struct buf again = {0};
    bool ok = plan_decode(data, data_bytes, &plan, err);
    if (ok)
        plan_encode(&plan, &again);
    check(ok, &again, data, data_bytes);
}

static void one_journal(const uint8_t *data, size_t data_bytes, struct err *err)
{
    AUTO(journal_entry_release) struct journal_entry entry = {0};
    AUTO(buf_release) struct buf again = {0};
    bool ok = journal_entry_decode(data, data_bytes, &entry, err);
    if (ok)
        journal_entry_encode(&entry, &again);
    check(ok, &again, data, data_bytes);
}

static void one_manifest(const uint8_t *data, size_t data_bytes, struct err *err)
{
    AUTO(manifest_release) struct manifest manifest = {0};
    AUTO(buf_release) struct buf again = {0};
    bool ok = manifest_decode(data, data_bytes, &manifest, err);
    if (ok)
        manifest_encode(&manifest, &again);
    check(ok, &again, data, data_bytes);
}

static void one_sealed(const uint8_t *data, size_t data_bytes, struct err *err)
{
    static const uint8_t KEY[32] = {1};
    AUTO(secret_free) struct secret *key = secret_new(KEY, sizeof KEY);
    AUTO(buf_release) struct buf payload = {0};
    if (sealed_decode(key, SEALED_JOURNAL, "fuzz", data, data_bytes, &payload, err))
        abort(); /* a forged seal */
}

static void one_replica(const uint8_t *data, size_t data_bytes, struct err *err)
{
    struct replica_state state;
    AUTO(buf_release) struct buf again = {0};
    bool ok = replica_state_decode(data, data_bytes, &state, err);
    if (ok)
        replica_state_encode(&state, &again);
    check(ok, &again, data, data_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    static void (*const ONE[])(const uint8_t *, size_t, struct err *) = {
        one_plan, one_journal, one_manifest, one_sealed, one_replica};
    struct err err = ERR_INIT;
    if (data_bytes == 0)
        return 0;
    ONE[data[0] % ARRAY_COUNT(ONE)](data + 1, data_bytes - 1, &err);
    if (err.kind != FAIL_NONE && err.kind != FAIL_CORRUPT)
        abort();
    return 0;
}
