/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test migration and its clean-up. A test that a restart of ours interrupted is rolled
 * back, not begun again: the VM may have been what brought the host down.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vault/ops.h"

#define BOOT_DEADLINE_MS ((uint64_t)5 * 60 * 1000)

struct test_options test_options_of(const struct work *work, const char *name)
{
    return (struct test_options){
        .test_name = name,
        .network = option_text(work, "network", "isolated"),
        .start = true,
        .marker = option_text(work, "marker", work->machine->marker),
        .boot_deadline_ms = option_u64(work, "boot_deadline_ms", BOOT_DEADLINE_MS),
    };
}

/* "test-<job>" unless a name was given: the same one when the step runs again. */
static void test_name_of(const struct work *work, char out[MACHINE_NAME_BYTES])
{
    const char *given = option_text(work, "name", "");
    if (*given)
        text_copy(out, MACHINE_NAME_BYTES, given);
    else
        (void)snprintf(out, MACHINE_NAME_BYTES, "test-%llu",
                       (unsigned long long)work->job->id);
}

static json_t *tests_copy(struct work *work)
{
    LOCK_GUARD(&work->vault->lock);
    return json_deep_copy(work->machine->tests);
}

static bool has_test(struct work *work, const char *name)
{
    AUTO(json_free) json_t *tests = tests_copy(work);
    size_t i;
    json_t *test;
    json_array_foreach(tests, i, test)
    {
        const char *known = json_string_value(json_object_get(test, "name"));
        if (known && strcmp(known, name) == 0)
            return true;
    }
    return false;
}

static bool roll_back(struct work *work, struct machine_io *io, const char *name,
                      struct err *err)
{
    if (!target_test_cleanup(io->target, io->def, name, err))
        return err_wrap(err, "roll back the interrupted test '%s'", name);
    return err_set(err, FAIL_CONFLICT,
                   "test '%s' of machine '%s' was interrupted by a restart and rolled "
                   "back; ask for test-migrate again",
                   name, work->machine->name);
}

static void tell_started(struct work *work, const struct vm_info *info)
{
    char took[TEXT_HUMAN_BYTES];
    if (info->how_booted[0])
        vault_event(work->vault, work->machine, work->job, "info", "test_started",
                    "test machine '%s' booted in %s (%s)", info->name,
                    text_duration(info->boot_ms, took), info->how_booted);
    else
        vault_event(work->vault, work->machine, work->job, "warning", "test_started",
                    "test machine '%s' runs, its boot was not proved; see its screen",
                    info->name);
}

/* The clone has the recovery point; deltas may go on while it boots. */
static void let_go(void *ctx)
{
    work_let_go(ctx);
}

bool step_test_start(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    char name[MACHINE_NAME_BYTES];
    struct vm_info info = {0};
    test_name_of(work, name);
    if (!machine_io_open(work, IO_KEY | IO_TARGET, &io, err))
        return false;
    if (has_test(work, name))
        return work->job->was_interrupted ||
               err_set(err, FAIL_CONFLICT,
                       "machine '%s' has a test '%s' already; give another name or clean "
                       "it up first",
                       work->machine->name, name);
    if (work->job->was_interrupted)
        return roll_back(work, &io, name, err);
    struct test_options options = test_options_of(work, name);
    options.on_cloned = let_go;
    options.on_cloned_ctx = work;
    if (!replica_make_whole(&io, err))
        return false;
    if (!target_test_start(io.target, io.def, &options, &work->cancel, &info, err)) {
        struct err late = ERR_INIT;
        if (!target_test_cleanup(io.target, io.def, name, &late))
            vault_event(work->vault, work->machine, work->job, "warning",
                        "test_cleanup_failed", "%s", late.text);
        return false;
    }
    json_t *tests = tests_copy(work);
    json_t *test = view_vm(name, &info, clock_wall_ms());
    json_array_append(tests, test);
    machine_change(work->vault, work->machine,
                   &(struct machine_change){.trigger = ON_TESTED, .tests = tests});
    tell_started(work, &info);
    job_set_result(work, test);
    return true;
}

/* Each test leaves the list as soon as it is gone: an error keeps the others. */
bool step_test_cleanup(struct work *work, struct err *err)
{
    AUTO(machine_io_close) struct machine_io io = {0};
    const char *only = option_text(work, "name", "");
    AUTO(json_free) json_t *tests = tests_copy(work);
    if (!machine_io_open(work, IO_TARGET, &io, err))
        return false;
    size_t at = 0;
    while (at < json_array_size(tests)) {
        json_t *test = json_array_get(tests, at);
        const char *name = json_string_value(json_object_get(test, "name"));
        if (*only && strcmp(only, name) != 0) {
            at++;
            continue;
        }
        if (!target_test_cleanup(io.target, io.def, name, err))
            return err_wrap(err, "clean up test '%s'", name);
        vault_event(work->vault, work->machine, work->job, "info", "test_cleaned",
                    "test '%s' is removed, its evidence stays", name);
        json_array_remove(tests, at);
        machine_change(work->vault, work->machine,
                       &(struct machine_change){.trigger = ON_TEST_CLEANED,
                                                .tests = json_deep_copy(tests)});
    }
    return true;
}
