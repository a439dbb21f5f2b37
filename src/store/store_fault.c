/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that misbehaves on purpose, in front of a good one: what a network, a provider
 * or a disk does on a bad day, repeatable by its seed. Usable in demonstrations too: with
 * a trigger file a person switches the bad day on and off.
 *
 * The n-th call of a store misbehaves or not as a pure function of (seed, n), so one
 * thread sees the same run every time. Must never misbehave in close.
 */
#include "store/store.h"

#include "base/clock.h"
#include "base/file.h"

#include <stdatomic.h>

struct store_fault {
    struct store base;
    /* Set by store_fault_new, never changed. */
    struct store *inner; /* owned */
    struct store_fault_options options;
    char *trigger_path; /* owned; NULL: always */
    /* Atomic. */
    _Atomic uint64_t calls;
};

static struct store_fault *fault_of(struct store *store)
{
    return (struct store_fault *)store;
}

/* splitmix64: every input bit reaches every output bit. */
static uint64_t mix(uint64_t v)
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

/* Counts the call; true when it is one that misbehaves (after the delay). *ret_dice is
 * random, but the same for the same seed and call. */
static bool is_bad_call(struct store_fault *f, uint64_t *ret_dice)
{
    uint64_t call = atomic_fetch_add(&f->calls, 1);
    *ret_dice = mix(mix(f->options.seed) ^ call);
    if (call < f->options.after_calls ||
        *ret_dice % 1000000 >= f->options.rate_per_million)
        return false;
    if (f->trigger_path && !file_exists(f->trigger_path))
        return false;
    if (f->options.delay_ms)
        clock_sleep_ms(f->options.delay_ms);
    return true;
}

/* true when the options say that an ordinary bad call fails. */
static bool fails(const struct store_fault *f, const char *verb, const char *name,
                  struct err *err)
{
    if (f->options.kind == FAIL_NONE)
        return false;
    (void)err_set(err, f->options.kind, "%s '%s': fault store told to fail", verb, name);
    return true;
}

static bool bad_put(struct store_fault *f, const char *name, const uint8_t *data,
                    size_t data_bytes, enum store_put_mode mode, struct err *err)
{
    uint64_t bytes = 0;
    struct err size_err = ERR_INIT;
    bool exists =
        mode == STORE_IF_ABSENT && store_size(f->inner, name, &bytes, &size_err);
    if (f->options.drop_after_ack && !exists)
        return true;
    if (f->options.torn_put && !exists) {
        if (store_put(f->inner, name, data, data_bytes / 2, mode, err))
            (void)err_set(err, f->options.kind ? f->options.kind : FAIL_IO,
                          "put '%s': fault store kept a part only", name);
        return false;
    }
    if (!f->options.drop_after_ack && !f->options.torn_put && fails(f, "put", name, err))
        return false;
    return store_put(f->inner, name, data, data_bytes, mode, err);
}

static bool fault_put(struct store *store, const char *name, const uint8_t *data,
                      size_t data_bytes, enum store_put_mode mode, struct err *err)
{
    struct store_fault *f = fault_of(store);
    uint64_t dice;
    if (is_bad_call(f, &dice))
        return bad_put(f, name, data, data_bytes, mode, err);
    return store_put(f->inner, name, data, data_bytes, mode, err);
}

static bool fault_get(struct store *store, const char *name, uint64_t offset_bytes,
                      uint8_t *data, size_t data_bytes, size_t *ret_bytes,
                      struct err *err)
{
    struct store_fault *f = fault_of(store);
    uint64_t dice;
    bool is_bad = is_bad_call(f, &dice);
    if (is_bad && !f->options.corrupt_get && fails(f, "get", name, err))
        return false;
    if (!store_get(f->inner, name, offset_bytes, data, data_bytes, ret_bytes, err))
        return false;
    if (is_bad && f->options.corrupt_get && *ret_bytes) {
        uint64_t bit = mix(dice) % (8 * (uint64_t)*ret_bytes);
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    return true;
}

static bool fault_size(struct store *store, const char *name, uint64_t *ret_bytes,
                       struct err *err)
{
    struct store_fault *f = fault_of(store);
    uint64_t dice;
    if (is_bad_call(f, &dice) && fails(f, "size of", name, err))
        return false;
    return store_size(f->inner, name, ret_bytes, err);
}

static bool fault_list(struct store *store, const char *prefix,
                       bool (*each)(void *ctx, const char *name, uint64_t bytes,
                                    struct err *err),
                       void *ctx, struct err *err)
{
    struct store_fault *f = fault_of(store);
    uint64_t dice;
    if (is_bad_call(f, &dice) && fails(f, "list", prefix, err))
        return false;
    return store_list(f->inner, prefix, each, ctx, err);
}

static bool fault_remove(struct store *store, const char *name, struct err *err)
{
    struct store_fault *f = fault_of(store);
    uint64_t dice;
    if (is_bad_call(f, &dice) && fails(f, "remove", name, err))
        return false;
    return store_remove(f->inner, name, err);
}

static void fault_close(struct store *store)
{
    struct store_fault *f = fault_of(store);
    store_close(f->inner);
    free(f->trigger_path);
    free(f);
}

static const struct store_ops FAULT_OPS = {
    .kind = "fault",
    .put = fault_put,
    .get = fault_get,
    .size = fault_size,
    .list = fault_list,
    .remove = fault_remove,
    .close = fault_close,
};

struct store *store_fault_new(struct store *inner,
                              const struct store_fault_options *options)
{
    struct store_fault *f = xcalloc(1, sizeof *f);
    f->base.ops = &FAULT_OPS;
    f->inner = inner;
    f->options = *options;
    f->trigger_path = options->trigger_path ? xstrdup(options->trigger_path) : NULL;
    f->options.trigger_path = f->trigger_path;
    return &f->base;
}
