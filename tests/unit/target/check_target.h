/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of targets share: a temporary folder, a machine, a model of a disk. */
#ifndef CHECK_TARGET_H
#define CHECK_TARGET_H

#include "base/file.h"
#include "target/target.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define assert_ok(call, err)                                                             \
    do {                                                                                 \
        if (!(call))                                                                     \
            fail_msg("%s: %s (%s)", #call, (err).text, err_kind_name((err).kind));       \
    } while (0)
#define assert_fails(call, want, err)                                                    \
    do {                                                                                 \
        if (call)                                                                        \
            fail_msg("%s succeeds", #call);                                              \
        if ((err).kind != (want))                                                        \
            fail_msg("%s: kind %s, not %s: %s", #call, err_kind_name((err).kind),        \
                     err_kind_name(want), (err).text);                                   \
        err_clear(&(err));                                                               \
    } while (0)

static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline void fill_random(uint8_t *data, size_t data_bytes, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i + 8 <= data_bytes; i += 8) {
        uint64_t v = next_random(&state);
        memcpy(data + i, &v, 8);
    }
}

static inline void make_temp_dir(char out[64])
{
    (void)snprintf(out, 64, "/tmp/kedge-target-XXXXXX");
    if (!mkdtemp(out))
        fail_msg("no temporary folder");
}

static inline void drop_temp_dir(const char *dir)
{
    struct err err = ERR_INIT;
    assert_ok(file_remove_tree(dir, &err), err);
}

static inline void make_machine(struct machine_def *machine, size_t disk_count,
                                uint64_t disk_bytes)
{
    memset(machine, 0, sizeof *machine);
    machine->id = id_random();
    (void)snprintf(machine->name, sizeof machine->name, "m1");
    machine->cpus = 1;
    machine->memory_bytes = 32 * MIB;
    (void)snprintf(machine->machine_type, sizeof machine->machine_type, "pc");
    machine->disk_count = disk_count;
    for (size_t i = 0; i < disk_count; i++) {
        machine->disks[i].disk_bytes = disk_bytes;
        (void)snprintf(machine->disks[i].bus, sizeof machine->disks[i].bus, "ide");
    }
}

static inline struct target *open_local(const char *dir, enum local_format format,
                                        bool plain_writes)
{
    struct err err = ERR_INIT;
    struct target *target = NULL;
    struct target_local_options options = {
        .dir = dir, .format = format, .accel = "tcg", .plain_writes = plain_writes};
    assert_ok(target_local_open(&options, &target, &err), err);
    return target;
}

#endif
