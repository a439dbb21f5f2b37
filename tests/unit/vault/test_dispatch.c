/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schedule inside a whole vault: who waits is told for what, who was asked for goes
 * first, one machine too many is refused, windows hold back; and everybody gets his turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "keys/keys.h"
#include "vault/vault.h"

#define MACHINES   3
#define DISK_BYTES (4 * MIB)
#define SLOW_BPS   ((uint64_t)400 * 1000)

static const char *const NAMES[MACHINES] = {"vm-a", "vm-b", "vm-c"};

struct world {
    char dir[64];
    char log[128], state[128], data[128], key[128];
    struct vault_options options;
    struct vault *vault;
};

static void make_image(const char *path, unsigned seed)
{
    AUTO(free) uint8_t *content = xcalloc(1, DISK_BYTES);
    struct err err = ERR_INIT;
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < DISK_BYTES; i++) {
        x = x * 1664525u + 1013904223u;
        content[i] = (uint8_t)(x >> 24);
    }
    if (!file_write_durable(path, content, DISK_BYTES, 0600, &err))
        fail_msg("%s", err.text);
}

static void open_vault(struct world *w)
{
    struct err err = ERR_INIT;
    w->vault = vault_open(&w->options, &err);
    if (!w->vault)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct err err = ERR_INIT;
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/kedge-dispatch-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->log, sizeof w->log, "dir:%s/log", w->dir);
    (void)snprintf(w->state, sizeof w->state, "dir:%s/state", w->dir);
    (void)snprintf(w->data, sizeof w->data, "%s/data", w->dir);
    (void)snprintf(w->key, sizeof w->key, "%s/key", w->dir);
    w->options = (struct vault_options){.data_dir = w->data,
                                        .log_store = w->log,
                                        .state_store = w->state,
                                        .key_file = w->key,
                                        .job_threads = 1,
                                        .compression = "none",
                                        .timezone = "UTC"};
    if (!keys_file_create(w->key, &err))
        fail_msg("%s", err.text);
    *state = w;
    return 0;
}

static void begin(struct world *w)
{
    struct err err = ERR_INIT;
    open_vault(w);
    for (unsigned i = 0; i < MACHINES; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s.img", w->dir, NAMES[i]);
        make_image(path, i + 1);
        AUTO(json_free)
        json_t *source = json_pack("{s:[s], s:s}", "paths", path, "name", NAMES[i]);
        if (!vault_source_add(w->vault, NAMES[i], "image", source, &err))
            fail_msg("%s", err.text);
    }
    char replicas[128];
    (void)snprintf(replicas, sizeof replicas, "%s/replicas", w->dir);
    assert_true(file_make_dirs(replicas, &err));
    AUTO(json_free) json_t *target = json_pack("{s:s}", "dir", replicas);
    if (!vault_target_add(w->vault, "dst", "local", target, &err))
        fail_msg("%s", err.text);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    vault_close(w->vault);
    assert_true(file_remove_tree(w->dir, &err));
    free(w);
    return 0;
}

static bool replicate(struct world *w, unsigned i, struct err *err)
{
    uint64_t job = 0;
    return vault_replicate(w->vault, NAMES[i], NAMES[i], "dst", NULL, NULL, &job, err);
}

static void must_replicate(struct world *w, unsigned i)
{
    struct err err = ERR_INIT;
    if (!replicate(w, i, &err))
        fail_msg("%s", err.text);
}

static json_t *show(struct world *w, unsigned i)
{
    struct err err = ERR_INIT;
    json_t *view = vault_show(w->vault, NAMES[i], &err);
    if (!view)
        fail_msg("%s", err.text);
    return view;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Until the machine has (or has no more) what is asked for. */
static json_t *show_when(struct world *w, unsigned i, const char *key, bool is_there)
{
    uint64_t until_ms = clock_mono_ms() + 30000;
    for (;;) {
        json_t *view = show(w, i);
        if (json_is_object(json_object_get(view, key)) == is_there)
            return view;
        json_free(view);
        if (clock_mono_ms() > until_ms)
            fail_msg("%s: '%s' is still %sthere", NAMES[i], key, is_there ? "not " : "");
        clock_sleep_ms(5);
    }
}

static void throttle(struct world *w, uint64_t rate_bps)
{
    struct err err = ERR_INIT;
    assert_true(vault_throttle_set(w->vault, rate_bps, &err));
}

static void test_who_waits_knows_for_what(void **state)
{
    struct world *w = *state;
    begin(w);
    throttle(w, SLOW_BPS);
    must_replicate(w, 0);
    json_free(show_when(w, 0, "cycle", true));
    must_replicate(w, 1);
    json_free(show_when(w, 1, "waiting", true));
    must_replicate(w, 2);
    AUTO(json_free) json_t *view = show_when(w, 2, "waiting", true);
    const json_t *waiting = json_object_get(view, "waiting");
    assert_string_equal(text_of(waiting, "reason"), "gateway-cycles");
    assert_string_equal(text_of(waiting, "resource"), "local");
    assert_int_equal(json_integer_value(json_object_get(waiting, "used")), 1);
    assert_int_equal(json_integer_value(json_object_get(waiting, "limit")), 1);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(waiting, "holders"), 0)),
        "vm-a");
    assert_string_equal(text_of(waiting, "after"), "vm-b");
    assert_non_null(
        strstr(text_of(waiting, "text"), "1 of 1 cycles running on gateway local: vm-a"));
    assert_string_equal(text_of(view, "status"), "Initial replication queued");
    AUTO(json_free) json_t *first = show(w, 0);
    assert_true(json_is_null(json_object_get(first, "waiting")));
    /* when the rate is known, so is the time */
    clock_sleep_ms(1200);
    AUTO(json_free) json_t *second = show(w, 1);
    assert_true(json_is_integer(
        json_object_get(json_object_get(second, "waiting"), "expected_at_ms")));
    throttle(w, 0);
    for (unsigned i = 0; i < MACHINES; i++) {
        json_free(show_when(w, i, "recovery_point", true));
        json_free(show_when(w, i, "waiting", false));
    }
}

static uint64_t cycle_started_ms(struct world *w, unsigned i, size_t index)
{
    AUTO(json_free) json_t *view = show(w, i);
    const json_t *cycle = json_array_get(json_object_get(view, "last_cycles"), index);
    return (uint64_t)json_integer_value(json_object_get(cycle, "started_ms"));
}

static void test_what_was_asked_for_goes_before_what_waits(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    begin(w);
    must_replicate(w, 2);
    json_free(show_when(w, 2, "recovery_point", true));
    json_free(show_when(w, 2, "cycle", false));
    clock_sleep_ms(300); /* its first delta */
    throttle(w, SLOW_BPS);
    must_replicate(w, 0);
    json_free(show_when(w, 0, "cycle", true));
    must_replicate(w, 1);
    json_free(show_when(w, 1, "waiting", true));
    if (!vault_operate(w->vault, "vm-c", OP_SYNC, NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    json_free(show_when(w, 2, "waiting", true));
    throttle(w, 0);
    json_free(show_when(w, 1, "recovery_point", true));
    assert_true(cycle_started_ms(w, 2, 0) <= cycle_started_ms(w, 1, 0));
}

static void test_one_machine_too_many_is_refused(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    w->options.gateway_machines = 2;
    begin(w);
    must_replicate(w, 0);
    must_replicate(w, 1);
    assert_false(replicate(w, 2, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    assert_non_null(strstr(err.text, "gateway 'local' replicates 2 of 2 machines; add a "
                                     "scale-out gateway"));
    json_free(show_when(w, 0, "recovery_point", true));
    json_free(show_when(w, 1, "recovery_point", true));
    vault_close(w->vault);
    w->vault = NULL;
    w->options.gateway_machines = 300;
    w->options.total_machines = 2;
    open_vault(w);
    err_clear(&err);
    assert_false(replicate(w, 2, &err));
    assert_non_null(strstr(err.text, "2 of 2 machines are replicating"));
    /* who was stopped makes room */
    uint64_t job = 0;
    if (!vault_operate(w->vault, "vm-a", OP_STOP, NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    err_clear(&err);
    must_replicate(w, 2);
    json_free(show_when(w, 2, "recovery_point", true));
}

static void test_windows_hold_back(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    begin(w);
    if (!vault_blackout_set(w->vault, "Monday;0:00;7d", &err))
        fail_msg("%s", err.text);
    must_replicate(w, 0);
    AUTO(json_free) json_t *view = show_when(w, 0, "waiting", true);
    const json_t *waiting = json_object_get(view, "waiting");
    assert_string_equal(text_of(waiting, "reason"), "blackout");
    clock_sleep_ms(300);
    AUTO(json_free) json_t *still = show(w, 0);
    assert_true(json_is_null(json_object_get(still, "recovery_point")));
    assert_true(json_is_null(json_object_get(still, "cycle")));
    if (!vault_blackout_set(w->vault, "", &err))
        fail_msg("%s", err.text);
    json_free(show_when(w, 0, "recovery_point", true));
}

static void test_a_plan_of_what_replicates(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    begin(w);
    AUTO(json_free) json_t *nothing = json_object();
    assert_null(vault_plan(w->vault, nothing, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    must_replicate(w, 0);
    must_replicate(w, 1);
    json_free(show_when(w, 0, "recovery_point", true));
    json_free(show_when(w, 1, "recovery_point", true));
    err_clear(&err);
    AUTO(json_free) json_t *whole = vault_plan(w->vault, nothing, &err);
    if (!whole)
        fail_msg("%s", err.text);
    assert_int_equal(json_array_size(json_object_get(whole, "machines")), 2);
    AUTO(json_free) json_t *only = json_pack("{s:s}", "machine", "vm-b");
    AUTO(json_free) json_t *one = vault_plan(w->vault, only, &err);
    if (!one)
        fail_msg("%s", err.text);
    const json_t *row = json_array_get(json_object_get(one, "machines"), 0);
    assert_int_equal(json_array_size(json_object_get(one, "machines")), 1);
    assert_string_equal(text_of(row, "name"), "vm-b");
    assert_int_equal(json_integer_value(json_object_get(row, "used_bytes")), DISK_BYTES);
    assert_true(json_integer_value(json_object_get(row, "cutover_ms")) > 0);
    AUTO(json_free) json_t *unknown = json_pack("{s:s}", "machine", "nobody");
    assert_null(vault_plan(w->vault, unknown, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    err_clear(&err);
    AUTO(json_free)
    json_t *bad = json_pack("{s:s}", "table", "name,size_gib\nvm,ten\n");
    assert_null(vault_plan(w->vault, bad, &err));
    assert_non_null(strstr(err.text, "line 2: size_gib: 'ten'"));
}

static void test_what_waits_still_waits_after_a_restart(void **state)
{
    struct world *w = *state;
    begin(w);
    throttle(w, SLOW_BPS);
    must_replicate(w, 1);
    json_free(show_when(w, 1, "cycle", true));
    must_replicate(w, 0);
    json_free(show_when(w, 0, "waiting", true));
    vault_close(w->vault);
    open_vault(w);
    /* what was under way goes on first, although "vm-a" is first by name */
    json_free(show_when(w, 1, "cycle", true));
    json_free(show_when(w, 0, "waiting", true));
    throttle(w, 0);
    json_free(show_when(w, 0, "recovery_point", true));
    json_free(show_when(w, 1, "recovery_point", true));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_waits_knows_for_what),
        TEST(test_what_was_asked_for_goes_before_what_waits),
        TEST(test_one_machine_too_many_is_refused),
        TEST(test_windows_hold_back),
        TEST(test_a_plan_of_what_replicates),
        TEST(test_what_waits_still_waits_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
