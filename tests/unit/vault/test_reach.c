/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While the stores cannot be reached no cycle starts, and what runs waits. The stores are
 * folders here; that their endpoint is gone is what a connection would have told.
 */
#include "world.h"

#include "netpath/path.h"

#define LSA "https://lsa1.kedge.test"

static void lose(void)
{
    struct err err = ERR_INIT;
    (void)err_set(&err, FAIL_TRANSIENT, "nobody answers at '%s'", LSA);
    for (int i = 0; i < 3; i++)
        path_observe(ROLE_LOG_STORE, LSA, "", 0, &err);
}

static void find_again(void)
{
    path_observe(ROLE_LOG_STORE, LSA, "10.1.0.5", 3, NULL);
}

static const char *waiting_text(const json_t *view, const char *key)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(view, "waiting"), key));
    return text ? text : "";
}

static bool has_event(struct world *w, const char *name)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *events = vault_events(w->vault, 0, 1000, &err);
    const json_t *event;
    size_t i;
    const json_t *list =
        json_is_array(events) ? events : json_object_get(events, "events");
    json_array_foreach(list, i, event)
    {
        const char *found = json_string_value(json_object_get(event, "event"));
        if (!found)
            found = json_string_value(json_object_get(event, "name"));
        if (found && strcmp(found, name) == 0)
            return true;
    }
    return false;
}

static void wait_for_event(struct world *w, const char *name)
{
    uint64_t until_ms = clock_mono_ms() + 30000;
    while (!has_event(w, name)) {
        if (clock_mono_ms() > until_ms)
            fail_msg("no event '%s'", name);
        clock_sleep_ms(20);
    }
}

static void test_no_cycle_starts_in_an_outage(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    lose();
    wait_for_event(w, "cycles_held");
    uint64_t job = world_replicate(w);
    bool is_told = false;
    for (int i = 0; i < 1500 && !is_told; i++) {
        AUTO(json_free) json_t *view = world_show(w);
        is_told = strcmp(waiting_text(view, "reason"), "network") == 0;
        if (is_told && !strstr(waiting_text(view, "text"), "lsa1.kedge.test"))
            fail_msg("%s", waiting_text(view, "text"));
        assert_false(json_is_object(json_object_get(view, "cycle")));
        clock_sleep_ms(10);
    }
    assert_true(is_told);
    find_again();
    wait_for_event(w, "cycles_go_on");
    world_expect_job(w, job, "succeeded"); /* the same one: nothing has failed */
    assert_false(has_event(w, "cycle_failed"));
    assert_true(path_role_ready(ROLE_LOG_STORE, NULL, &err));
    world_expect_equal(w);
}

static void test_the_vault_closes_in_an_outage(void **state)
{
    struct world *w = *state;
    lose();
    wait_for_event(w, "cycles_held");
    uint64_t job = world_replicate(w);
    world_reopen(w);
    find_again();
    world_expect_job(w, job, "succeeded");
}

/* More failures than a cycle has attempts, and none of them counts. */
static void test_a_running_cycle_waits(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    uint64_t job = 0;
    char source_trigger[PATH_BYTES], target_trigger[PATH_BYTES];
    (void)snprintf(source_trigger, PATH_BYTES, "%s/source-fails", w->dir);
    (void)snprintf(target_trigger, PATH_BYTES, "%s/target-fails", w->dir);
    world_add_bad_ends(w, "transient", source_trigger, target_trigger);
    assert_true(vault_throttle_set(w->vault, 400000, &err));
    if (!vault_replicate(w->vault, "bad", "src", "bad", NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    for (bool runs = false; !runs; clock_sleep_ms(10)) {
        AUTO(json_free) json_t *view = world_show(w);
        runs = json_is_object(json_object_get(view, "cycle"));
    }
    lose();
    world_touch(target_trigger, true);
    wait_for_event(w, "cycle_paused");
    assert_true(vault_throttle_set(w->vault, 0, &err));
    AUTO(json_free) json_t *view = vault_job(w->vault, job, &err);
    assert_string_equal(json_string_value(json_object_get(view, "state")), "running");
    world_touch(target_trigger, false);
    find_again();
    world_expect_job(w, job, "succeeded");
    assert_false(has_event(w, "cycle_failed"));
    world_expect_equal(w);
}

/* A private endpoint whose name turned public is told as an event, too. */
static void test_alarms_are_events(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    struct path_choice choice;
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/hosts", w->dir);
    const struct path_settings settings = {.hosts_file = path,
                                           .require_private = "log-store"};
    assert_true(file_write_durable(path, "10.1.0.5 lsa1.kedge.test\n", 25, 0600, &err));
    assert_true(path_configure(&settings, &err));
    assert_true(path_choose(ROLE_LOG_STORE, LSA, NULL, &choice, &err));
    path_choice_release(&choice);
    assert_true(
        file_write_durable(path, "203.0.113.5 lsa1.kedge.test\n", 28, 0600, &err));
    assert_true(path_configure(&settings, &err));
    assert_false(path_choose(ROLE_LOG_STORE, LSA, NULL, &choice, &err));
    wait_for_event(w, "path_public");
    wait_for_event(w, "cycles_held");
    assert_true(path_configure(&(struct path_settings){.hosts_file = path}, &err));
    wait_for_event(w, "cycles_go_on");
    assert_true(path_configure(&(struct path_settings){.proxy = NULL}, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_cycle_starts_in_an_outage, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_the_vault_closes_in_an_outage, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_a_running_cycle_waits, world_set_up,
                                        world_tear_down),
        cmocka_unit_test_setup_teardown(test_alarms_are_events, world_set_up,
                                        world_tear_down),
    };
    return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
