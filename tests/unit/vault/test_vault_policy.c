/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator steers on a whole vault: blackout windows (asked for, from a file,
 * overridden), the throttle and its calendar, how stop ends what runs, who did what, a
 * clock that is set back, what is left over and what is not ours.
 */
#include "world.h"

#include "base/zone.h"
#include "store/store.h"
#include "vault/debts.h"
#include "vault/keeper.h"
#include "vault/vault_impl.h"

#define SECOND_MS ((uint64_t)1000)
#define HOUR_MS   ((uint64_t)3600000)

static int set_up(void **state)
{
    int result = world_set_up(state);
    struct world *w = *state;
    w->timezone = "UTC";
    world_reopen(w);
    return result;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* A window that began this minute and lasts two hours. */
static const char *window_now(char out[64])
{
    struct err err = ERR_INIT;
    AUTO(zone_close) struct zone *utc = zone_open("UTC", &err);
    struct zone_time now = zone_local(utc, clock_wall_ms());
    (void)snprintf(out, 64, "%s;%u:%02u;2h", zone_weekday_name(now.weekday),
                   now.second / 3600, now.second / 60 % 60);
    return out;
}

/* The events whose name is `event`; the last one's text goes to ret (may be NULL). */
static size_t count_events(struct world *w, const char *event, char ret[256],
                           const char *who)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *all = vault_events(w->vault, 0, 0, &err);
    size_t i, count = 0;
    json_t *one;
    json_array_foreach(json_object_get(all, "events"), i, one)
    {
        if (strcmp(text_of(one, "event"), event) != 0 ||
            (who && strcmp(text_of(one, "who"), who) != 0))
            continue;
        count++;
        if (ret)
            (void)snprintf(ret, 256, "%s", text_of(one, "text"));
    }
    return count;
}

static void wait_event(struct world *w, const char *event, size_t at_least)
{
    for (int i = 0; i < 500; i++) {
        if (count_events(w, event, NULL, NULL) >= at_least)
            return;
        clock_sleep_ms(20);
    }
    fail_msg("no event '%s'", event);
}

static void set_windows(struct world *w, const char *windows)
{
    struct err err = ERR_INIT;
    if (!vault_blackout_set(w->vault, windows, &err))
        fail_msg("%s", err.text);
}

static void wait_cycle(struct world *w)
{
    for (int i = 0; i < 500; i++) {
        AUTO(json_free) json_t *view = world_show(w);
        if (json_is_object(json_object_get(view, "cycle")))
            return;
        clock_sleep_ms(10);
    }
    fail_msg("no cycle runs");
}

/* ---- blackout ---- */

static void test_running_cycles_finish_and_none_start(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    char window[64];
    assert_true(vault_throttle_set(w->vault, 1500000, &err));
    uint64_t job = world_replicate(w);
    wait_cycle(w);
    set_windows(w, window_now(window));
    world_expect_job(w, job, "succeeded"); /* the initial cycle ran on to its end */
    world_expect_state(w, "delta-sync");
    assert_true(vault_throttle_set(w->vault, 0, &err));
    uint64_t sync = world_ask(w, OP_SYNC);
    clock_sleep_ms(1500);
    AUTO(json_free) json_t *view = world_show(w);
    assert_true(json_is_null(json_object_get(view, "cycle")));
    assert_int_equal(json_array_size(json_object_get(view, "last_cycles")), 1);
    AUTO(json_free) json_t *waits = vault_job(w->vault, sync, &err);
    assert_string_equal(text_of(waits, "state"), "queued");
    set_windows(w, "");
    world_expect_job(w, sync, "succeeded");
    assert_int_equal(count_events(w, "blackout_began", NULL, NULL), 1);
    assert_int_equal(count_events(w, "blackout_ended", NULL, NULL), 1);
    world_reopen(w); /* the windows are kept, also that there are none */
    AUTO(json_free) json_t *blackout = vault_blackout_get(w->vault, &err);
    assert_string_equal(text_of(blackout, "windows"), "");
}

static void test_a_migrate_inside_fails_with_the_time(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    char window[64];
    uint64_t job = 0;
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    set_windows(w, window_now(window));
    AUTO(json_free) json_t *plain = json_pack("{s:b}", "shutdown", 0);
    assert_false(vault_operate(w->vault, "src", OP_MIGRATE, plain, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, window));
    assert_non_null(strstr(err.text, "possible from "));
    assert_non_null(strstr(err.text, " +00:00"));
    AUTO(json_free) json_t *view = world_show(w);
    assert_string_equal(text_of(view, "state"), "delta-sync");
    assert_string_equal(text_of(view, "migration_status"), "Failed");
    uint64_t failed =
        (uint64_t)json_integer_value(json_object_get(view, "migration_job"));
    AUTO(json_free) json_t *row = vault_job(w->vault, failed, &err);
    assert_string_equal(text_of(row, "state"), "failed");
    assert_string_equal(text_of(row, "operation"), "migrate");
    assert_non_null(
        strstr(text_of(json_object_get(row, "error"), "text"), "possible from"));
    assert_int_equal(count_events(w, "operation_refused", NULL, NULL), 1);
    if (access("/usr/bin/qemu-system-x86_64", X_OK) != 0)
        return;
    AUTO(json_free)
    json_t *over = json_pack("{s:b, s:b, s:i, s:s}", "shutdown", 0, "override_blackout",
                             1, "boot_deadline_ms", 800, "marker", "never printed");
    vault_act_as("uid:1234");
    if (!vault_operate(w->vault, "src", OP_MIGRATE, over, NULL, &job, &err))
        fail_msg("%s", err.text);
    vault_act_as("");
    world_expect_job(w, job, "succeeded");
    world_expect_state(w, "migrated");
    assert_int_equal(count_events(w, "blackout_overridden", NULL, "uid:1234"), 1);
    AUTO(json_free) json_t *done = vault_job(w->vault, job, &err);
    assert_string_equal(text_of(done, "status"), "Completed with info");
    world_expect_job(w, world_ask(w, OP_COMPLETE), "succeeded");
}

static void write_file(const char *path, const char *text)
{
    struct err err = ERR_INIT;
    if (!file_write_durable(path, text, strlen(text), 0600, &err))
        fail_msg("%s", err.text);
}

static void expect_windows(struct world *w, const char *expected)
{
    struct err err = ERR_INIT;
    for (int i = 0; i < 300; i++) {
        AUTO(json_free) json_t *view = vault_blackout_get(w->vault, &err);
        if (strcmp(text_of(view, "windows"), expected) == 0)
            return;
        clock_sleep_ms(20);
    }
    fail_msg("the windows never became '%s'", expected);
}

static void test_the_file_is_followed(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    char path[PATH_BYTES], text[256];
    (void)snprintf(path, sizeof path, "%s/GatewayDataWorker.json", w->dir);
    set_windows(w, "Sunday;1:00;1h");
    w->blackout_file = path; /* not there yet */
    world_reopen(w);
    expect_windows(w, "Sunday;1:00;1h");
    write_file(path, "{\n    \n    \"BlackoutWindows\": \"Monday;7:00;7h | "
                     "Tuesday;8:00;1d7h\"\n    \n}\n");
    expect_windows(w, "Monday;7:00;7h | Tuesday;8:00;1d7h");
    assert_false(vault_blackout_set(w->vault, "", &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, path));
    /* malformed: told once, with window and character; what was set stays */
    write_file(path, "{\"BlackoutWindows\": \"Monday;7:00;7h | Tuesday;8:00;soon\"}");
    wait_event(w, "blackout_refused", 1);
    assert_int_equal(count_events(w, "blackout_refused", text, NULL), 1);
    assert_non_null(strstr(text, "window 2, character 31 at 'soon'"));
    assert_non_null(strstr(text, path));
    clock_sleep_ms(2 * SECOND_MS);
    assert_int_equal(count_events(w, "blackout_refused", NULL, NULL), 1);
    expect_windows(w, "Monday;7:00;7h | Tuesday;8:00;1d7h");
    write_file(path, "{\"BlackoutWindows\": \"Friday;13:00;8m\"}");
    expect_windows(w, "Friday;13:00;8m");
    assert_int_equal(unlink(path), 0);
    expect_windows(w, "Sunday;1:00;1h"); /* those of the catalog again */
}

/* ---- throttle ---- */

static uint64_t rate_now(struct world *w)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *view = vault_throttle_get(w->vault, &err);
    return (uint64_t)json_integer_value(json_object_get(view, "bytes_per_second"));
}

static void test_the_lower_bound_holds(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    assert_true(vault_throttle_set(w->vault, 5000000, &err));
    assert_int_equal(rate_now(w), 5000000);
    assert_true(vault_throttle_calendar_set(w->vault, "* 3000000", &err));
    assert_int_equal(rate_now(w), 3000000);
    AUTO(json_free) json_t *view = vault_throttle_get(w->vault, &err);
    assert_string_equal(text_of(view, "rule"), "* 3000000");
    assert_true(vault_throttle_calendar_set(w->vault, "* 9000000", &err));
    assert_int_equal(rate_now(w), 5000000);
    assert_true(vault_throttle_set(w->vault, 0, &err));
    assert_int_equal(rate_now(w), 9000000);
    assert_false(vault_throttle_calendar_set(w->vault, "Mon-Fry 1M", &err));
    assert_int_equal(rate_now(w), 9000000);
    world_reopen(w);
    assert_int_equal(rate_now(w), 9000000);
    assert_true(vault_throttle_calendar_set(w->vault, "", &err));
    assert_int_equal(rate_now(w), 0);
    assert_true(count_events(w, "throttle_set", NULL, NULL) >= 4);
}

/* What waits at a low rate leaves at the new one within two seconds. */
static void test_a_change_takes_effect_at_once(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    assert_true(vault_throttle_calendar_set(w->vault, "* 1000", &err));
    uint64_t job = world_replicate(w);
    wait_cycle(w);
    clock_sleep_ms(500);
    uint64_t before_ms = clock_mono_ms();
    assert_true(vault_throttle_calendar_set(w->vault, "", &err));
    world_expect_job(w, job, "succeeded");
    assert_true(clock_mono_ms() - before_ms < 2 * SECOND_MS + 1000); /* and the rest */
}

/* ---- cancel ---- */

static void test_cancel_what_waits_and_what_runs(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    char window[64];
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    set_windows(w, window_now(window));
    uint64_t waits = world_ask(w, OP_SYNC); /* held back by the window */
    assert_true(vault_job_cancel(w->vault, waits, &err));
    world_expect_job(w, waits, "canceled");
    assert_false(vault_job_cancel(w->vault, waits, &err)); /* twice */
    assert_int_equal(err.kind, FAIL_CONFLICT);
    set_windows(w, "");
    world_write(w, 4 * MIB, 1 * MIB, 8);
    assert_true(vault_throttle_set(w->vault, 1000, &err));
    uint64_t runs = world_ask(w, OP_SYNC);
    wait_cycle(w);
    err_clear(&err);
    assert_true(vault_job_cancel(w->vault, runs, &err));
    world_expect_job(w, runs, "canceled");
    assert_true(vault_throttle_set(w->vault, 0, &err));
    world_expect_state(w, "delta-sync");
    world_expect_job(w, world_ask(w, OP_SYNC), "succeeded"); /* its extents again */
    world_expect_equal(w);
    uint64_t resync = world_ask(w, OP_RESYNC);
    err_clear(&err);
    if (!vault_job_cancel(w->vault, resync, &err))
        assert_non_null(strstr(err.text, ";")); /* says what to do instead */
    world_expect_job(w, resync, "succeeded");
    assert_int_equal(count_events(w, "cancel_asked", NULL, NULL), 2);
}

/* ---- stop ---- */

static void test_stop_lets_a_delta_finish(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    world_write(w, 4 * MIB, 2 * MIB, 7);
    assert_true(vault_throttle_set(w->vault, 1000000, &err));
    uint64_t sync = world_ask(w, OP_SYNC);
    wait_cycle(w);
    uint64_t stop = world_ask(w, OP_STOP);
    world_expect_state(w, "stop-in-progress");
    world_expect_job(w, stop, "succeeded");
    world_expect_job(w, sync, "succeeded");
    assert_null(vault_show(w->vault, "src", &err));
    /* it can be replicated again */
    assert_true(vault_throttle_set(w->vault, 0, &err));
    world_expect_job(w, world_replicate(w), "succeeded");
    world_expect_equal(w);
}

static void test_stop_ends_an_initial_cycle_at_once(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    assert_true(vault_throttle_set(w->vault, 1000, &err)); /* would take an hour */
    uint64_t job = world_replicate(w);
    wait_cycle(w);
    uint64_t before_ms = clock_mono_ms();
    world_expect_job(w, world_ask(w, OP_STOP), "succeeded");
    assert_true(clock_mono_ms() - before_ms < 10 * SECOND_MS);
    world_expect_job(w, job, "canceled");
}

/* ---- who ---- */

static void test_who_did_what(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    char text[256];
    uint64_t job = 0;
    vault_act_as("uid:42");
    job = world_replicate(w);
    world_expect_job(w, job, "succeeded");
    AUTO(json_free) json_t *row = vault_job(w->vault, job, &err);
    assert_string_equal(text_of(row, "who"), "uid:42");
    assert_int_equal(json_array_size(json_object_get(row, "steps")), 2);
    world_wait_idle(w);
    uint64_t pause = world_ask(w, OP_PAUSE);
    world_expect_job(w, pause, "succeeded");
    assert_int_equal(count_events(w, "operation_asked", text, "uid:42"), 1);
    assert_string_equal(text, "pause; delta-sync -> pause-in-progress");
    assert_true(count_events(w, "state_changed", text, "uid:42") >= 1);
    assert_string_equal(text, "pause-in-progress -> paused");
    /* refusals: unknown machine, wrong state, the same twice */
    assert_false(vault_operate(w->vault, "nobody", OP_STOP, NULL, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    err_clear(&err);
    assert_false(vault_operate(w->vault, "src", OP_PAUSE, NULL, NULL, &job, &err));
    assert_int_equal(err.kind, FAIL_CONFLICT);
    assert_non_null(strstr(err.text, "paused already"));
    assert_int_equal(count_events(w, "operation_refused", text, "uid:42"), 2);
    assert_true(vault_operate(w->vault, "src", OP_RESUME, NULL, "once", &job, &err));
    uint64_t again = 0;
    assert_true(vault_operate(w->vault, "src", OP_RESUME, NULL, "once", &again, &err));
    assert_int_equal(job, again);
    world_expect_job(w, job, "succeeded");
    AUTO(json_free) json_t *view = world_show(w);
    size_t refused = json_array_size(json_object_get(view, "refused_operations"));
    size_t allowed = json_array_size(json_object_get(view, "allowed_operations"));
    assert_int_equal(refused + allowed, OP_COUNT);
    vault_act_as("");
}

/* ---- the clock ---- */

static void test_a_clock_that_is_set_back(void **state)
{
    struct world *w = *state;
    char text[256];
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    uint64_t wall_ms = clock_wall_ms(), mono_ms = clock_mono_ms();
    struct machine *machine = w->vault->machines;
    (void)pthread_mutex_lock(&w->vault->lock);
    uint64_t next_ms = machine->next_cycle_ms = wall_ms + 5 * HOUR_MS;
    (void)pthread_mutex_unlock(&w->vault->lock);
    struct keeper *real = w->vault->keeper; /* the thread keeps its own */
    w->vault->keeper = NULL;
    struct err err = ERR_INIT;
    assert_true(keeper_prepare(w->vault, &(struct vault_options){0}, &err));
    keeper_clock(w->vault, wall_ms, mono_ms);
    keeper_clock(w->vault, wall_ms + 30000, mono_ms + SECOND_MS); /* forward: nothing */
    keeper_clock(w->vault, wall_ms - 2 * HOUR_MS + 30000, mono_ms + 2 * SECOND_MS);
    keeper_stop(w->vault);
    w->vault->keeper = real;
    (void)pthread_mutex_lock(&w->vault->lock);
    uint64_t moved_ms = next_ms - machine->next_cycle_ms;
    (void)pthread_mutex_unlock(&w->vault->lock);
    assert_in_range(moved_ms, 2 * HOUR_MS, 2 * HOUR_MS + 2 * SECOND_MS);
    assert_int_equal(count_events(w, "clock_set_back", text, NULL), 1);
    assert_non_null(strstr(text, "2h"));
    /* set back while nobody looked: no cycle is further away than the longest interval */
    (void)pthread_mutex_lock(&w->vault->lock);
    machine->next_cycle_ms = wall_ms + 1000 * HOUR_MS;
    machine->is_dirty = true;
    (void)pthread_mutex_unlock(&w->vault->lock);
    while (record_dirty(w->vault))
        ;
    world_reopen(w);
    AUTO(json_free) json_t *view = world_show(w);
    uint64_t shown_ms =
        (uint64_t)json_integer_value(json_object_get(view, "next_cycle_at_ms"));
    assert_in_range(shown_ms, wall_ms + HOUR_MS, wall_ms + 13 * HOUR_MS);
}

/* ---- orphans ---- */

static void put(struct store *store, const char *name)
{
    struct err err = ERR_INIT;
    if (!store_put(store, name, (const uint8_t *)"x", 1, STORE_REPLACE, &err))
        fail_msg("%s", err.text);
}

static bool has(struct store *store, const char *name)
{
    struct err err = ERR_INIT;
    uint64_t bytes;
    return store_size(store, name, &bytes, &err);
}

static void make_dir(const char *parent, const char *name)
{
    struct err err = ERR_INIT;
    AUTO(free) char *path = file_join(parent, name);
    assert_true(file_make_dirs(path, &err));
}

static bool has_dir(const char *parent, const char *name)
{
    AUTO(free) char *path = file_join(parent, name);
    return file_exists(path);
}

static void test_only_what_was_ours_goes(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    static const char foreign[] = "0123456789abcdef0123456789abcdef";
    char gone[ID_TEXT_BYTES], live[ID_TEXT_BYTES], name[128];
    world_expect_job(w, world_replicate(w), "succeeded");
    AUTO(json_free) json_t *first = world_show(w);
    (void)snprintf(gone, sizeof gone, "%s", text_of(first, "id"));
    world_expect_job(w, world_ask(w, OP_STOP), "succeeded");
    world_expect_job(w, world_replicate(w), "succeeded");
    world_wait_idle(w);
    AUTO(json_free) json_t *second = world_show(w);
    (void)snprintf(live, sizeof live, "%s", text_of(second, "id"));
    struct store *log = w->vault->log_store, *states = w->vault->state_store;
    AUTO(free) char *maps = file_join(w->data, "maps");
    /* ours and left over; beside it what is live, foreign, and no name of ours */
    (void)snprintf(name, sizeof name, "%s/00000000000000000001/seg/0-0-ab", gone);
    put(log, name);
    put(states, name);
    (void)snprintf(name, sizeof name, "%s/7/seg/0-0-ab", foreign);
    put(log, name);
    put(states, name);
    put(log, "backup/of/somebody");
    put(log, "notes");
    make_dir(maps, gone);
    make_dir(maps, "somebody");
    make_dir(w->replicas, "somebody");
    AUTO(json_free) json_t *list = vault_orphans(w->vault, &err);
    assert_int_equal(json_array_size(json_object_get(list, "orphans")), 5);
    AUTO(json_free) json_t *removed = vault_orphans_clean(w->vault, &err);
    assert_int_equal(json_array_size(json_object_get(removed, "orphans")), 3);
    assert_true(has(log, name) && has(states, name));
    assert_true(has(log, "backup/of/somebody") && has(log, "notes"));
    assert_true(has_dir(maps, "somebody") && has_dir(w->replicas, "somebody"));
    assert_false(has_dir(maps, gone));
    assert_true(has_dir(maps, live));
    (void)snprintf(name, sizeof name, "%s/00000000000000000001/seg/0-0-ab", gone);
    assert_false(has(log, name) || has(states, name));
    assert_int_equal(count_events(w, "orphan_removed", NULL, NULL), 3);
    world_write(w, 5 * MIB, 4096, 3);
    world_expect_job(w, world_ask(w, OP_VERIFY), "succeeded");
    AUTO(json_free) json_t *after = vault_orphans(w->vault, &err);
    assert_int_equal(json_array_size(json_object_get(after, "orphans")), 2);
}

/* A test that the machine does not know any more; one that it knows stays. */
static void test_a_forgotten_test_machine(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (access("/usr/bin/qemu-system-x86_64", X_OK) != 0)
        skip();
    world_expect_job(w, world_replicate(w), "succeeded");
    static const char *const names[] = {"kept", "lost"};
    for (size_t i = 0; i < 2; i++) {
        AUTO(json_free)
        json_t *options = json_pack("{s:s, s:i, s:s}", "name", names[i],
                                    "boot_deadline_ms", 500, "marker", "never printed");
        if (!vault_operate(w->vault, "src", OP_TEST_MIGRATE, options, NULL, &job, &err))
            fail_msg("%s", err.text);
        world_expect_job(w, job, "succeeded");
    }
    world_wait_idle(w);
    (void)pthread_mutex_lock(&w->vault->lock);
    (void)json_array_remove(w->vault->machines->tests, 1);
    (void)pthread_mutex_unlock(&w->vault->lock);
    AUTO(json_free) json_t *removed = vault_orphans_clean(w->vault, &err);
    const json_t *list = json_object_get(removed, "orphans");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(text_of(json_array_get(list, 0), "what"),
                        "test 'lost' at target 'dst'");
    char tests[PATH_BYTES + 32];
    (void)snprintf(tests, sizeof tests, "%s/src/tests", w->replicas);
    assert_true(has_dir(tests, "kept"));
    assert_false(has_dir(tests, "lost"));
    world_expect_job(w, world_ask(w, OP_TEST_CLEANUP), "succeeded");
}

static size_t count_owed(struct world *w)
{
    struct err err = ERR_INIT;
    size_t count = 0, i;
    json_t *orphan;
    AUTO(json_free) json_t *list = vault_orphans(w->vault, &err);
    json_array_foreach(json_object_get(list, "orphans"), i, orphan) count +=
        strcmp(text_of(orphan, "kind"), "source records") == 0;
    return count;
}

static void clean_orphans(struct world *w)
{
    struct err err = ERR_INIT;
    json_t *cleaned = vault_orphans_clean(w->vault, &err);
    if (!cleaned)
        fail_msg("%s", err.text);
    json_free(cleaned);
}

/* Records of ours at a source that does not answer are written down, survive a restart,
 * and are done with when it answers; a machine that is replicated again keeps its own. */
static void test_a_debt_is_paid_later(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    char socket[PATH_BYTES];
    struct id id = id_random();
    (void)snprintf(socket, sizeof socket, "%s/qmp", w->dir);
    write_file(socket, ""); /* there, but nobody listens */
    AUTO(json_free)
    json_t *options = json_pack("{s:s, s:s}", "qmp", socket, "scratch_dir", w->dir);
    if (!vault_source_add(w->vault, "mute", "qemu", options, &err))
        fail_msg("%s", err.text);
    struct machine *old = machine_new("old", &id);
    (void)snprintf(old->source, sizeof old->source, "mute");
    world_expect_job(w, world_replicate(w), "succeeded");
    *old->def = *w->vault->machines->def;
    (void)snprintf(old->def->key, sizeof old->def->key, "old");
    if (!debt_add(w->vault, old, &err))
        fail_msg("%s", err.text);
    assert_int_equal(count_owed(w), 1);
    clean_orphans(w);
    assert_int_equal(count_owed(w), 1);
    world_reopen(w);
    assert_int_equal(count_owed(w), 1);
    assert_int_equal(unlink(socket), 0); /* the VM is gone, and all that was in it */
    clean_orphans(w);
    assert_int_equal(count_owed(w), 0);
    assert_int_equal(count_events(w, "orphan_removed", NULL, NULL), 1);
    /* of a machine that is in the list: dropped without a look at its source */
    (void)snprintf(old->source, sizeof old->source, "src");
    (void)snprintf(old->def->key, sizeof old->def->key, "%s",
                   w->vault->machines->def->key);
    assert_true(debt_add(w->vault, old, &err));
    clean_orphans(w);
    assert_int_equal(count_owed(w), 0);
    assert_int_equal(count_events(w, "orphan_removed", NULL, NULL), 1);
    machine_free(old);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, world_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_running_cycles_finish_and_none_start),
        CASE(test_a_migrate_inside_fails_with_the_time),
        CASE(test_the_file_is_followed),
        CASE(test_the_lower_bound_holds),
        CASE(test_a_change_takes_effect_at_once),
        CASE(test_cancel_what_waits_and_what_runs),
        CASE(test_stop_lets_a_delta_finish),
        CASE(test_stop_ends_an_initial_cycle_at_once),
        CASE(test_who_did_what),
        CASE(test_a_clock_that_is_set_back),
        CASE(test_only_what_was_ours_goes),
        CASE(test_a_forgotten_test_machine),
        CASE(test_a_debt_is_paid_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
