/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of state/catalog.h, table by table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "state/catalog.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    struct catalog *catalog;
    char dir[32];
    char *path;
};

#define OK(call)                                                                         \
    do {                                                                                 \
        struct err err = ERR_INIT;                                                       \
        if (!(call))                                                                     \
            fail_msg("%s: %s", #call, err.text);                                         \
        assert_int_equal(err.kind, FAIL_NONE);                                           \
    } while (0)
#define FAILS(expected, part, call)                                                      \
    do {                                                                                 \
        struct err err = ERR_INIT;                                                       \
        assert_false(call);                                                              \
        if (err.kind != (expected) || !strstr(err.text, part))                           \
            fail_msg("%s: %s: %s", #call, err_kind_name(err.kind), err.text);            \
    } while (0)

static struct catalog *open_or_fail(const char *path)
{
    struct err err = ERR_INIT;
    struct catalog *catalog = catalog_open(path, &err);
    if (!catalog)
        fail_msg("%s", err.text);
    return catalog;
}

static char options[] = "{\"a\": \"it's; -- \\u0000\"}";
static char empty_json[] = "{}";

static struct catalog_end end_named(const char *name)
{
    struct catalog_end end = {.kind = "qemu", .options_json = options, .created_ms = 5};
    (void)snprintf(end.name, sizeof end.name, "%s", name);
    return end;
}

static struct catalog_machine machine_named(const char *name)
{
    struct catalog_machine row = {.id = id_random(),
                                  .source = "src",
                                  .target = "dst",
                                  .source_key = "uuid",
                                  .state = "queued",
                                  .def_json = empty_json,
                                  .key_id = id_random(),
                                  .next_cycle = 1,
                                  .created_ms = 1763786000000};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    return row;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    memcpy(f->dir, "/tmp/kedge-state-XXXXXX", 24);
    assert_non_null(mkdtemp(f->dir));
    f->path = file_join(f->dir, "catalog.db");
    f->catalog = open_or_fail(f->path);
    struct catalog_end src = end_named("src"), dst = end_named("dst");
    OK(catalog_end_add(f->catalog, CATALOG_SOURCE, &src, &err));
    OK(catalog_end_add(f->catalog, CATALOG_TARGET, &dst, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    catalog_close(f->catalog);
    bool ok = file_remove_tree(f->dir, &err);
    free(f->path);
    free(f);
    return ok ? 0 : -1;
}

static void reopen(struct fixture *f)
{
    catalog_close(f->catalog);
    f->catalog = open_or_fail(f->path);
}

static void sources_and_targets(void **state)
{
    struct fixture *f = *state;
    struct catalog *c = f->catalog;
    struct catalog_end end = end_named("src"), same_name = end_named("dst");
    FAILS(FAIL_CONFLICT, "'src'", catalog_end_add(c, CATALOG_SOURCE, &end, &err));
    OK(catalog_end_add(c, CATALOG_SOURCE, &same_name, &err)); /* another role */
    reopen(f);
    c = f->catalog;
    AUTO(catalog_end_release) struct catalog_end got = {0};
    OK(catalog_end_get(c, CATALOG_SOURCE, "src", &got, &err));
    assert_string_equal(got.name, "src");
    assert_string_equal(got.kind, "qemu");
    assert_string_equal(got.options_json, options);
    assert_int_equal(got.created_ms, 5);
    FAILS(FAIL_GONE, "'nope'", catalog_end_get(c, CATALOG_SOURCE, "nope", &got, &err));
    FAILS(FAIL_GONE, "'' OR 1=1 --'",
          catalog_end_get(c, CATALOG_SOURCE, "' OR 1=1 --", &got, &err));
    assert_string_equal(got.name, "src"); /* set on success only */
    AUTO(catalog_end_list_release) struct catalog_end_list list = {0};
    OK(catalog_end_list(c, CATALOG_SOURCE, &list, &err));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].name, "dst");
    assert_string_equal(list.items[1].name, "src");
}

static void an_end_in_use_stays(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    struct catalog_machine row = machine_named("web1");
    OK(catalog_machine_insert(c, &row, &err));
    FAILS(FAIL_CONFLICT, "'web1'", catalog_end_remove(c, CATALOG_SOURCE, "src", &err));
    FAILS(FAIL_CONFLICT, "'web1'", catalog_end_remove(c, CATALOG_TARGET, "dst", &err));
    FAILS(FAIL_GONE, "'dst'", catalog_end_remove(c, CATALOG_SOURCE, "dst", &err));
    OK(catalog_machine_delete(c, &row.id, &err));
    OK(catalog_end_remove(c, CATALOG_SOURCE, "src", &err));
    OK(catalog_end_remove(c, CATALOG_TARGET, "dst", &err));
    FAILS(FAIL_GONE, "'src'", catalog_end_remove(c, CATALOG_SOURCE, "src", &err));
}

static void a_machine_keeps_every_field(void **state)
{
    struct fixture *f = *state;
    char detail[] = "detail", def[] = "{\"d\":1}", settings[] = "{\"s\":1}";
    char runtime[] = "{\"r\":1}", wrapped[] = "abcdef", error[] = "no room; free some";
    struct catalog_machine row = machine_named("m");
    row.status_detail = detail;
    row.def_json = def;
    row.settings_json = settings;
    row.runtime_json = runtime;
    row.wrapped_key = wrapped;
    row.last_error = error;
    row.error_kind = FAIL_NO_SPACE;
    row.version = 99;
    memcpy(row.migration, "ready", 6);
    row.next_cycle = 12;
    row.recovery_point = 11;
    row.recovery_point_ms = 3;
    row.next_cycle_at_ms = 4;
    row.migrated_ms = INT64_MAX;
    OK(catalog_machine_insert(f->catalog, &row, &err));
    reopen(f);
    AUTO(catalog_machine_release) struct catalog_machine got = {0};
    OK(catalog_machine_get(f->catalog, &row.id, &got, &err));
    assert_true(id_equal(&got.id, &row.id));
    assert_true(id_equal(&got.key_id, &row.key_id));
    assert_int_equal(got.version, 1);
    assert_string_equal(got.name, "m");
    assert_string_equal(got.source, "src");
    assert_string_equal(got.source_key, "uuid");
    assert_string_equal(got.target, "dst");
    assert_string_equal(got.state, "queued");
    assert_string_equal(got.migration, "ready");
    assert_string_equal(got.status_detail, detail);
    assert_string_equal(got.def_json, def);
    assert_string_equal(got.settings_json, settings);
    assert_string_equal(got.runtime_json, runtime);
    assert_string_equal(got.wrapped_key, wrapped);
    assert_string_equal(got.last_error, error);
    assert_int_equal(got.error_kind, FAIL_NO_SPACE);
    assert_int_equal(got.next_cycle, 12);
    assert_int_equal(got.recovery_point, 11);
    assert_int_equal(got.recovery_point_ms, 3);
    assert_int_equal(got.next_cycle_at_ms, 4);
    assert_int_equal(got.created_ms, 1763786000000);
    assert_true(got.migrated_ms == INT64_MAX);
}

static void machine_names_and_references(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    struct catalog_machine a = machine_named("a"), again = machine_named("a"),
                           lost = machine_named("lost"), large = machine_named("large"),
                           got = {0};
    OK(catalog_machine_insert(c, &a, &err));
    FAILS(FAIL_CONFLICT, "'a'", catalog_machine_insert(c, &again, &err));
    memcpy(lost.source, "nope", 5);
    FAILS(FAIL_GONE, "'nope'", catalog_machine_insert(c, &lost, &err));
    large.migrated_ms = (uint64_t)INT64_MAX + 1;
    FAILS(FAIL_LIMIT, "9223372036854775808", catalog_machine_insert(c, &large, &err));
    FAILS(FAIL_GONE, "'lost'", catalog_machine_get_by_name(c, "lost", &got, &err));
    OK(catalog_machine_get_by_name(c, "a", &got, &err));
    assert_string_equal(got.status_detail, ""); /* NULL went in */
    catalog_machine_release(&got);
    AUTO(catalog_machine_list_release) struct catalog_machine_list list = {0};
    struct catalog_machine b = machine_named("0b");
    OK(catalog_machine_insert(c, &b, &err));
    OK(catalog_machine_list(c, &list, &err));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].name, "0b");
    OK(catalog_machine_delete(c, &a.id, &err));
    OK(catalog_machine_delete(c, &a.id, &err));  /* gone is fine */
    OK(catalog_machine_insert(c, &again, &err)); /* the name is free again */
}

static void an_update_needs_the_latest_version(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    struct catalog_machine row = machine_named("m"), other = machine_named("other");
    AUTO(catalog_machine_release) struct catalog_machine one = {0};
    AUTO(catalog_machine_release) struct catalog_machine two = {0};
    OK(catalog_machine_insert(c, &row, &err));
    OK(catalog_machine_insert(c, &other, &err));
    OK(catalog_machine_get(c, &row.id, &one, &err));
    OK(catalog_machine_get(c, &row.id, &two, &err));
    one.next_cycle = 7;
    memcpy(one.state, "delta", 6);
    one.created_ms = 1; /* never changes */
    OK(catalog_machine_update(c, &one, &err));
    assert_int_equal(one.version, 2);
    two.next_cycle = 8;
    FAILS(FAIL_CONFLICT, "version 2, not 1", catalog_machine_update(c, &two, &err));
    assert_int_equal(two.version, 1);
    catalog_machine_release(&two);
    OK(catalog_machine_get(c, &row.id, &two, &err));
    assert_int_equal(two.next_cycle, 7);
    assert_string_equal(two.state, "delta");
    assert_int_equal(two.created_ms, row.created_ms);
    memcpy(two.name, "other", 6);
    FAILS(FAIL_CONFLICT, "'other'", catalog_machine_update(c, &two, &err));
    memcpy(two.name, "m", 2);
    memcpy(two.target, "gone", 5);
    FAILS(FAIL_GONE, "'gone'", catalog_machine_update(c, &two, &err));
    memcpy(two.target, "dst", 4);
    OK(catalog_machine_update(c, &two, &err));
    OK(catalog_machine_delete(c, &row.id, &err));
    FAILS(FAIL_GONE, "'m'", catalog_machine_update(c, &two, &err));
}

static struct catalog_job job_of(const struct id *machine, const char *operation,
                                 const char *key)
{
    struct catalog_job job = {.machine = *machine,
                              .machine_name = "m",
                              .options_json = empty_json,
                              .created_ms = 10};
    (void)snprintf(job.operation, sizeof job.operation, "%s", operation);
    (void)snprintf(job.idempotency_key, sizeof job.idempotency_key, "%s", key);
    return job;
}

static uint64_t create_job(struct catalog *c, const struct catalog_job *job,
                           bool expect_new)
{
    uint64_t id = 0;
    bool is_new = !expect_new;
    OK(catalog_job_create(c, job, &id, &is_new, &err));
    assert_int_equal(is_new, expect_new);
    assert_true(id > 0);
    return id;
}

static void the_same_key_gives_the_same_job(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    struct id machine = id_random(), stranger = id_random();
    uint64_t id;
    bool is_new;
    struct catalog_job job = job_of(&machine, "sync", "key-1");
    uint64_t first = create_job(c, &job, true);
    job.created_ms = 999;
    assert_int_equal(create_job(c, &job, false), first);
    struct catalog_job got = {0};
    OK(catalog_job_get(c, first, &got, &err));
    assert_int_equal(got.created_ms, 10); /* the earlier one, untouched */
    catalog_job_release(&got);
    job = job_of(&machine, "migrate", "key-1");
    FAILS(FAIL_CONFLICT, "'key-1'", catalog_job_create(c, &job, &id, &is_new, &err));
    job = job_of(&stranger, "sync", "key-1");
    FAILS(FAIL_CONFLICT, "'key-1'", catalog_job_create(c, &job, &id, &is_new, &err));
    job = job_of(&machine, "sync", "");
    uint64_t second = create_job(c, &job, true); /* no key: always a new one */
    assert_true(create_job(c, &job, true) > second);
}

static void a_job_goes_its_way(void **state)
{
    struct fixture *f = *state;
    struct catalog *c = f->catalog;
    struct id machine = id_random();
    char result[] = "{\"r\":[]}", text[] = "why; what to do";
    struct catalog_job job = job_of(&machine, "sync", "k");
    job.id = create_job(c, &job, true);
    job.state = CATALOG_JOB_FAILED;
    memcpy(job.step, "copy", 5);
    job.progress_done = 5;
    job.progress_total = 50;
    job.result_json = result;
    job.error_kind = FAIL_AUTH;
    job.error_text = text;
    job.started_ms = 20;
    job.ended_ms = 30;
    memcpy(job.operation, "x", 2); /* never changes */
    OK(catalog_job_update(c, &job, &err));
    reopen(f);
    c = f->catalog;
    AUTO(catalog_job_release) struct catalog_job got = {0};
    OK(catalog_job_get(c, job.id, &got, &err));
    assert_int_equal(got.id, job.id);
    assert_true(id_equal(&got.machine, &machine));
    assert_string_equal(got.machine_name, "m");
    assert_string_equal(got.operation, "sync");
    assert_int_equal(got.state, CATALOG_JOB_FAILED);
    assert_string_equal(got.step, "copy");
    assert_int_equal(got.progress_done, 5);
    assert_int_equal(got.progress_total, 50);
    assert_string_equal(got.options_json, "{}");
    assert_string_equal(got.idempotency_key, "k");
    assert_string_equal(got.result_json, result);
    assert_int_equal(got.error_kind, FAIL_AUTH);
    assert_string_equal(got.error_text, text);
    assert_int_equal(got.created_ms, 10);
    assert_int_equal(got.started_ms, 20);
    assert_int_equal(got.ended_ms, 30);
    job.id = 12345;
    FAILS(FAIL_GONE, "12345", catalog_job_update(c, &job, &err));
    FAILS(FAIL_GONE, "12345", catalog_job_get(c, 12345, &got, &err));
    FAILS(FAIL_GONE, "18446744073709551615", catalog_job_get(c, UINT64_MAX, &got, &err));
}

static void assert_jobs(struct catalog *c, const struct catalog_job_filter *filter,
                        const char *expected)
{
    AUTO(catalog_job_list_release) struct catalog_job_list list = {0};
    AUTO(buf_release) struct buf ids = {0};
    OK(catalog_job_list(c, filter, &list, &err));
    for (size_t i = 0; i < list.count; i++)
        buf_printf(&ids, "%llu ", (unsigned long long)list.items[i].id);
    assert_string_equal(buf_text(&ids), expected);
}

static void jobs_are_listed_by_filter(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    struct id a = id_random(), b = id_random(), nobody = id_random(), none = {{0}};
    const struct id *const owners[] = {&a, &b, &a, &none, &b};
    for (size_t i = 0; i < ARRAY_COUNT(owners); i++) {
        struct catalog_job job = job_of(owners[i], "sync", "");
        job.id = create_job(c, &job, true);
        assert_int_equal(job.id, i + 1);
        job.state = (enum catalog_job_state)i; /* queued running succeeded failed ... */
        OK(catalog_job_update(c, &job, &err));
    }
    assert_jobs(c, &(struct catalog_job_filter){0}, "5 4 3 2 1 ");
    assert_jobs(c, &(struct catalog_job_filter){.limit = 2}, "5 4 ");
    assert_jobs(c, &(struct catalog_job_filter){.limit = 2, .before_id = 4}, "3 2 ");
    assert_jobs(c, &(struct catalog_job_filter){.before_id = UINT64_MAX}, "5 4 3 2 1 ");
    assert_jobs(c, &(struct catalog_job_filter){.machine = a}, "3 1 ");
    assert_jobs(c, &(struct catalog_job_filter){.active_only = true}, "2 1 ");
    assert_jobs(c, &(struct catalog_job_filter){.machine = b, .active_only = true}, "2 ");
    assert_jobs(c, &(struct catalog_job_filter){.machine = nobody}, "");
}

static bool add_many_jobs(void *ctx, struct err *err)
{
    struct id machine = id_random();
    uint64_t id;
    bool is_new;
    struct catalog_job job = job_of(&machine, "sync", "");
    job.state = CATALOG_JOB_SUCCEEDED;
    for (int i = 0; i < CATALOG_JOBS_KEPT + 5; i++)
        if (!catalog_job_create(ctx, &job, &id, &is_new, err))
            return false;
    return true;
}

static void old_jobs_go_but_not_the_active(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    struct id machine = id_random();
    struct catalog_job queued = job_of(&machine, "migrate", "");
    uint64_t active = create_job(c, &queued, true);
    OK(catalog_transaction(c, add_many_jobs, c, &err));
    AUTO(catalog_job_list_release) struct catalog_job_list list = {0};
    OK(catalog_job_list(c, &(struct catalog_job_filter){0}, &list, &err));
    assert_int_equal(list.count, CATALOG_JOBS_KEPT + 1);
    assert_int_equal(list.items[list.count - 1].id, active);
}

static bool add_many_events(void *ctx, struct err *err)
{
    struct catalog_event event = {.level = "info", .event = "e", .who = "uid:1"};
    uint64_t id;
    for (uint64_t i = 1; i <= 3000; i++) {
        event.ts_ms = i;
        if (!catalog_event_append(ctx, &event, &id, err))
            return false;
    }
    return true;
}

/* A bound that was lowered and an age that was reached never make one call delete all. */
static void retention_takes_bounded_steps(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    uint64_t id, removed = 0;
    OK(catalog_transaction(c, add_many_events, c, &err));
    OK(catalog_setting_set(c, CATALOG_EVENTS_KEPT_SETTING, "1000", &err));
    struct catalog_event event = {.ts_ms = 1, .level = "info", .event = "late"};
    AUTO(catalog_event_list_release) struct catalog_event_list list = {0};
    for (uint64_t left = 2501; left >= 1502; left -= CATALOG_FORGET_STEP - 1) {
        OK(catalog_event_append(c, &event, &id, &err));
        OK(catalog_event_list(c, 0, 0, &list, &err));
        assert_int_equal(list.count, left);
        catalog_event_list_release(&list);
    }
    /* by age: 1498..3000 are left; those before 2200 go in two steps */
    OK(catalog_event_list(c, 0, 1, &list, &err));
    uint64_t oldest = list.items[0].ts_ms;
    catalog_event_list_release(&list);
    OK(catalog_event_forget(c, oldest + 700, &removed, &err));
    assert_int_equal(removed, CATALOG_FORGET_STEP);
    OK(catalog_event_forget(c, oldest + 700, &removed, &err));
    assert_int_equal(removed, 200);
    OK(catalog_event_forget(c, oldest + 700, &removed, &err));
    assert_int_equal(removed, 0);
    OK(catalog_event_list(c, 0, 1, &list, &err));
    assert_int_equal(list.items[0].ts_ms, oldest + 700);
    assert_string_equal(list.items[0].who, "uid:1");
}

static void events_are_kept_up_to_the_bound(void **state)
{
    struct fixture *f = *state;
    struct catalog *c = f->catalog;
    char text[] = "hello";
    uint64_t id = 0, last = 9;
    struct id machine = id_random();
    OK(catalog_event_last(c, &last, &err));
    assert_int_equal(last, 0);
    OK(catalog_setting_set(c, CATALOG_EVENTS_KEPT_SETTING, "5", &err));
    struct catalog_event event = {.ts_ms = 1,
                                  .machine = machine,
                                  .machine_name = "m",
                                  .job = 3,
                                  .level = "info",
                                  .event = "cycle_done",
                                  .text = text};
    for (uint64_t i = 1; i <= 12; i++) {
        OK(catalog_event_append(c, &event, &id, &err));
        assert_int_equal(id, i);
    }
    AUTO(catalog_event_list_release) struct catalog_event_list list = {0};
    OK(catalog_event_list(c, 0, 0, &list, &err));
    assert_int_equal(list.count, 5);
    assert_int_equal(list.items[0].id, 8);
    assert_int_equal(list.items[4].id, 12);
    assert_true(id_equal(&list.items[0].machine, &machine));
    assert_string_equal(list.items[0].machine_name, "m");
    assert_int_equal(list.items[0].job, 3);
    assert_string_equal(list.items[0].level, "info");
    assert_string_equal(list.items[0].event, "cycle_done");
    assert_string_equal(list.items[0].text, "hello");
    catalog_event_list_release(&list);
    OK(catalog_event_list(c, 9, 2, &list, &err));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].id, 10);
    catalog_event_list_release(&list);
    OK(catalog_event_list(c, UINT64_MAX, 2, &list, &err));
    assert_int_equal(list.count, 0);
    OK(catalog_setting_set(c, CATALOG_EVENTS_KEPT_SETTING, "1", &err));
    OK(catalog_event_append(c, &event, &id, &err));
    reopen(f);
    c = f->catalog;
    OK(catalog_event_append(c, &event, &id, &err));
    assert_int_equal(id, 14); /* never used twice */
    OK(catalog_setting_set(c, CATALOG_EVENTS_KEPT_SETTING, "rubbish", &err));
    OK(catalog_event_append(c, &event, &id, &err)); /* the default */
    OK(catalog_event_last(c, &last, &err));
    assert_int_equal(last, 15);
}

static void settings(void **state)
{
    struct fixture *f = *state;
    AUTO(free) char *value = NULL;
    FAILS(FAIL_GONE, "'rate'", catalog_setting_get(f->catalog, "rate", &value, &err));
    OK(catalog_setting_set(f->catalog, "rate", "10", &err));
    OK(catalog_setting_set(f->catalog, "rate", "20", &err));
    reopen(f);
    OK(catalog_setting_get(f->catalog, "rate", &value, &err));
    assert_string_equal(value, "20");
    OK(catalog_setting_set(f->catalog, "rate", NULL, &err));
    OK(catalog_setting_set(f->catalog, "rate", NULL, &err));
    FAILS(FAIL_GONE, "'rate'", catalog_setting_get(f->catalog, "rate", &value, &err));
}

static void cycles(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    char text[] = "broke";
    struct catalog_machine row = machine_named("m");
    struct catalog_cycle cycle = {.machine = row.id,
                                  .cycle = 1,
                                  .kind = "initial",
                                  .state = "running",
                                  .started_ms = 1,
                                  .read_bytes = 2};
    FAILS(FAIL_GONE, "cycle 1", catalog_cycle_put(c, &cycle, &err));
    OK(catalog_machine_insert(c, &row, &err));
    OK(catalog_cycle_put(c, &cycle, &err));
    cycle = (struct catalog_cycle){.machine = row.id,
                                   .cycle = 1,
                                   .kind = "initial",
                                   .state = "failed",
                                   .started_ms = 1,
                                   .ended_ms = 2,
                                   .snapshot_ms = 3,
                                   .planned_bytes = 4,
                                   .read_bytes = 5,
                                   .zero_bytes = 6,
                                   .same_bytes = 7,
                                   .sent_bytes = 8,
                                   .stored_bytes = 9,
                                   .applied_bytes = 10,
                                   .error_text = text};
    OK(catalog_cycle_put(c, &cycle, &err));
    AUTO(catalog_cycle_list_release) struct catalog_cycle_list list = {0};
    OK(catalog_cycle_list(c, &row.id, 0, &list, &err));
    assert_int_equal(list.count, 1);
    struct catalog_cycle *got = &list.items[0];
    assert_string_equal(got->state, "failed");
    assert_string_equal(got->error_text, "broke");
    const uint64_t numbers[] = {got->started_ms,    got->ended_ms,   got->snapshot_ms,
                                got->planned_bytes, got->read_bytes, got->zero_bytes,
                                got->same_bytes,    got->sent_bytes, got->stored_bytes,
                                got->applied_bytes};
    for (uint64_t i = 0; i < ARRAY_COUNT(numbers); i++)
        assert_int_equal(numbers[i], i + 1);
    catalog_cycle_list_release(&list);
    static const uint64_t NUMBERS[] = {2, 3, CATALOG_CYCLES_KEPT,
                                       CATALOG_CYCLES_KEPT + 2};
    for (size_t i = 0; i < ARRAY_COUNT(NUMBERS); i++) {
        cycle.cycle = NUMBERS[i];
        OK(catalog_cycle_put(c, &cycle, &err));
    }
    OK(catalog_cycle_list(c, &row.id, 0, &list, &err));
    assert_int_equal(list.count, 3); /* 1 and 2 are forgotten */
    assert_int_equal(list.items[0].cycle, CATALOG_CYCLES_KEPT + 2);
    assert_int_equal(list.items[2].cycle, 3);
    catalog_cycle_list_release(&list);
    OK(catalog_cycle_list(c, &row.id, 1, &list, &err));
    assert_int_equal(list.count, 1);
    catalog_cycle_list_release(&list);
    OK(catalog_machine_delete(c, &row.id, &err)); /* with them */
    OK(catalog_cycle_list(c, &row.id, 0, &list, &err));
    assert_int_equal(list.count, 0);
}

/* ---- transactions ---- */

struct change {
    struct catalog *catalog;
    bool fail_at_end, fail_inner;
};

static bool set_inner(void *ctx, struct err *err)
{
    const struct change *change = ctx;
    if (!catalog_setting_set(change->catalog, "inner", "1", err))
        return false;
    return !change->fail_inner || err_set(err, FAIL_CANCELED, "inner");
}

static bool set_two(void *ctx, struct err *err)
{
    const struct change *change = ctx;
    struct err inner_err = ERR_INIT;
    if (!catalog_setting_set(change->catalog, "one", "1", err))
        return false;
    (void)!catalog_transaction(change->catalog, set_inner, ctx, &inner_err);
    if (!catalog_setting_set(change->catalog, "two", "2", err))
        return false;
    return !change->fail_at_end || err_set(err, FAIL_CANCELED, "at the end");
}

static void assert_set(struct catalog *c, const char *key, bool expected)
{
    AUTO(free) char *value = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_setting_get(c, key, &value, &err), expected);
}

static void a_transaction_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct change change = {.catalog = f->catalog, .fail_at_end = true};
    FAILS(FAIL_CANCELED, "at the end",
          catalog_transaction(f->catalog, set_two, &change, &err));
    assert_set(f->catalog, "one", false);
    assert_set(f->catalog, "two", false);
    assert_set(f->catalog, "inner", false);
    change = (struct change){.catalog = f->catalog, .fail_inner = true};
    OK(catalog_transaction(f->catalog, set_two, &change, &err));
    reopen(f);
    assert_set(f->catalog, "one", true);
    assert_set(f->catalog, "two", true);
    assert_set(f->catalog, "inner", false); /* undone alone */
}

struct writer {
    pthread_t thread;
    struct catalog *catalog;
    struct id machine;
    _Atomic unsigned *failures;
};

/* Everybody counts the same row up and appends events. */
static void *write_a_lot(void *ctx)
{
    struct writer *writer = ctx;
    struct err err = ERR_INIT;
    for (int done = 0; done < 25;) {
        struct catalog_machine row = {0};
        if (!catalog_machine_get(writer->catalog, &writer->machine, &row, &err))
            break;
        row.next_cycle++;
        if (catalog_machine_update(writer->catalog, &row, &err))
            done++;
        else if (err.kind != FAIL_CONFLICT)
            atomic_fetch_add(writer->failures, 1);
        catalog_machine_release(&row);
        uint64_t id;
        struct catalog_event event = {.level = "info", .event = "e"};
        if (!catalog_event_append(writer->catalog, &event, &id, &err))
            atomic_fetch_add(writer->failures, 1);
    }
    return NULL;
}

static void threads_lose_no_update(void **state)
{
    struct catalog *c = ((struct fixture *)*state)->catalog;
    struct catalog_machine row = machine_named("m"), got = {0};
    _Atomic unsigned failures = 0;
    struct writer writers[4];
    OK(catalog_machine_insert(c, &row, &err));
    for (size_t i = 0; i < ARRAY_COUNT(writers); i++) {
        writers[i] =
            (struct writer){.catalog = c, .machine = row.id, .failures = &failures};
        assert_int_equal(
            pthread_create(&writers[i].thread, NULL, write_a_lot, &writers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(writers); i++)
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    assert_int_equal(failures, 0);
    OK(catalog_machine_get(c, &row.id, &got, &err));
    assert_int_equal(got.next_cycle, 1 + 25 * ARRAY_COUNT(writers));
    assert_int_equal(got.version, 1 + 25 * ARRAY_COUNT(writers));
    catalog_machine_release(&got);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sources_and_targets),
        CASE(an_end_in_use_stays),
        CASE(a_machine_keeps_every_field),
        CASE(machine_names_and_references),
        CASE(an_update_needs_the_latest_version),
        CASE(the_same_key_gives_the_same_job),
        CASE(a_job_goes_its_way),
        CASE(jobs_are_listed_by_filter),
        CASE(old_jobs_go_but_not_the_active),
        CASE(retention_takes_bounded_steps),
        CASE(events_are_kept_up_to_the_bound),
        CASE(settings),
        CASE(cycles),
        CASE(a_transaction_is_all_or_nothing),
        CASE(threads_lose_no_update),
    };
    return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
