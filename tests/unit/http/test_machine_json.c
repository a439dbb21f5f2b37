/* SPDX-License-Identifier: Apache-2.0 */
/* A definition goes to JSON and back whole, and what is not one is refused. */
#include "http/machine_json.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define FILL(field) fill(field, sizeof(field))

/* As long as it may be, with what JSON must escape. */
static void fill(char *text, size_t bytes)
{
    memset(text, 'x', bytes - 1);
    memcpy(text, "\"\\\n\x7f", 4);
    text[bytes - 1] = 0;
}

static struct machine_def *largest(void)
{
    struct machine_def *m = xcalloc(1, sizeof *m);
    m->id = id_random();
    FILL(m->name);
    FILL(m->key);
    m->cpus = UINT32_MAX;
    m->memory_bytes = INT64_MAX;
    m->firmware = FIRMWARE_UEFI;
    FILL(m->machine_type);
    m->is_running = true;
    FILL(m->host);
    FILL(m->kernel);
    FILL(m->initrd);
    FILL(m->kernel_args);
    m->disk_count = MACHINE_MAX_DISKS;
    for (size_t i = 0; i < m->disk_count; i++) {
        struct machine_disk *disk = &m->disks[i];
        disk->id = id_random();
        FILL(disk->key);
        FILL(disk->label);
        disk->disk_bytes = 512 * (i + 1);
        FILL(disk->bus);
        FILL(disk->serial);
        FILL(disk->datastore);
    }
    m->nic_count = MACHINE_MAX_NICS;
    for (size_t i = 0; i < m->nic_count; i++) {
        FILL(m->nics[i].mac);
        FILL(m->nics[i].model);
        FILL(m->nics[i].network);
    }
    return m;
}

static void round_trip(const struct machine_def *m)
{
    struct err err = ERR_INIT;
    AUTO(free) struct machine_def *back = xcalloc(1, sizeof *back);
    AUTO(json_free) json_t *json = machine_to_json(m);
    /* Through text: that is how it is kept. */
    AUTO(free) char *text = json_dumps(json, 0);
    AUTO(json_free) json_t *parsed = json_loads(text, 0, NULL);
    assert_non_null(parsed);
    if (!machine_from_json(parsed, back, &err))
        fail_msg("%s", err.text);
    AUTO(json_free) json_t *again = machine_to_json(back);
    assert_true(json_equal(json, again));
    assert_int_equal(back->disk_count, m->disk_count);
    assert_int_equal(back->nic_count, m->nic_count);
    assert_true(id_equal(&back->id, &m->id));
    assert_string_equal(back->host, m->host);
    for (size_t i = 0; i < m->disk_count; i++) {
        assert_string_equal(back->disks[i].datastore, m->disks[i].datastore);
        assert_int_equal(back->disks[i].disk_bytes, m->disks[i].disk_bytes);
    }
}

static void largest_and_smallest_come_back(void **state)
{
    (void)state;
    AUTO(free) struct machine_def *all = largest();
    AUTO(free) struct machine_def *least = xcalloc(1, sizeof *least);
    round_trip(all);
    text_copy(least->name, sizeof least->name, "m");
    least->cpus = 1;
    round_trip(least);
}

/* Empty texts are left out, so definitions from before a field was there still read. */
static void what_is_not_known_is_left_out(void **state)
{
    (void)state;
    AUTO(free) struct machine_def *m = xcalloc(1, sizeof *m);
    text_copy(m->name, sizeof m->name, "m");
    m->cpus = 1;
    m->disk_count = 1;
    AUTO(json_free) json_t *json = machine_to_json(m);
    assert_null(json_object_get(json, "host"));
    assert_null(json_object_get(json, "id"));
    json_t *disk = json_array_get(json_object_get(json, "disks"), 0);
    assert_null(json_object_get(disk, "datastore"));
    assert_non_null(json_object_get(disk, "disk_bytes"));
}

static void refuse(json_t *json, const char *named)
{
    struct err err = ERR_INIT;
    AUTO(free) struct machine_def *back = xcalloc(1, sizeof *back);
    back->cpus = 77;
    AUTO(json_free) json_t *owned = json;
    assert_false(machine_from_json(owned, back, &err));
    assert_true(err.kind == FAIL_INPUT || err.kind == FAIL_LIMIT);
    if (!strstr(err.text, named))
        fail_msg("'%s' does not name '%s'", err.text, named);
    assert_int_equal(back->cpus, 77); /* untouched */
}

static json_t *with(const char *key, json_t *value)
{
    AUTO(free) struct machine_def *m = largest();
    json_t *json = machine_to_json(m);
    assert_int_equal(json_object_set_new(json, key, value), 0);
    return json;
}

static json_t *with_disk(const char *key, json_t *value)
{
    AUTO(free) struct machine_def *m = largest();
    json_t *json = machine_to_json(m);
    json_t *disk = json_array_get(json_object_get(json, "disks"), 3);
    assert_int_equal(json_object_set_new(disk, key, value), 0);
    return json;
}

static json_t *long_text(size_t bytes)
{
    AUTO(free) char *text = xcalloc(1, bytes + 1);
    memset(text, 'y', bytes);
    return json_string(text);
}

static void what_does_not_fit_is_refused(void **state)
{
    AUTO(free) struct machine_def *m = largest();
    (void)state;
    refuse(with("host", long_text(sizeof m->host)), "'host'");
    refuse(with("name", long_text(sizeof m->name)), "'name'");
    refuse(with("kernel_args", long_text(sizeof m->kernel_args)), "'kernel_args'");
    refuse(with_disk("datastore", long_text(sizeof m->disks[0].datastore)), "disk 3");
    refuse(with_disk("serial", long_text(sizeof m->disks[0].serial)), "'serial'");
    refuse(with("cpus", json_integer(0)), "'cpus'");
    refuse(with("cpus", json_integer(1LL << 32)), "'cpus'");
    refuse(with("memory_bytes", json_integer(-1)), "memory_bytes");
    refuse(with("firmware", json_string("UEFI")), "'firmware'");
    refuse(with("id", json_string("0102")), "'id'");
    refuse(with("is_running", json_string("yes")), "is_running");
    refuse(with("host", json_integer(1)), "host");
    refuse(with("hosts", json_string("x")), "hosts"); /* unknown */
    refuse(with_disk("dataStore", json_string("x")), "dataStore");
    refuse(with("disks", json_object()), "disks");
    refuse(with("nics", json_string("none")), "nics");
    json_t *many = machine_to_json(m);
    assert_int_equal(json_array_append_new(json_object_get(many, "disks"), json_object()),
                     0);
    refuse(many, "61 disks");
    json_t *cards = machine_to_json(m);
    assert_int_equal(json_array_append_new(json_object_get(cards, "nics"), json_object()),
                     0);
    refuse(cards, "11 network cards");
    json_t *hole = machine_to_json(m);
    assert_int_equal(json_array_set_new(json_object_get(hole, "disks"), 5, json_null()),
                     0);
    refuse(hole, "disk 5");
    static const char *const NEEDED[] = {"name", "cpus", "memory_bytes", "disks"};
    for (size_t i = 0; i < ARRAY_COUNT(NEEDED); i++) {
        json_t *less = machine_to_json(m);
        assert_int_equal(json_object_del(less, NEEDED[i]), 0);
        refuse(less, NEEDED[i]);
    }
    refuse(json_array(), "object");
    refuse(json_null(), "object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_and_smallest_come_back),
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
