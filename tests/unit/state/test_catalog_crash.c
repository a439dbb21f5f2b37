/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child writes transactions and says over a pipe which are done; it is killed -9 at a
 * random instant, 50 times. The catalog then opens and holds exactly what was said to be
 * done, or that and the one change under way, whole. With fault points compiled in: the
 * same at each of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "state/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLS        50
#define KILL_MAX_US  30000u
#define STEPS_A_RUN  100000u
#define TEXT_PADDING 600

static char dir[] = "/tmp/kedge-crash-XXXXXX";
static char *path;

struct step {
    struct catalog *catalog;
    uint64_t number;
};

/* One change over three tables: they must tell the same story ever after. */
static bool write_step(void *ctx, struct err *err)
{
    const struct step *step = ctx;
    struct catalog_machine row = {0};
    char text[TEXT_PADDING];
    uint64_t id;
    bool is_new;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    struct catalog_event event = {
        .job = step->number, .level = "info", .event = "step", .text = text};
    struct catalog_job job = {.operation = "sync", .created_ms = step->number};
    (void)snprintf(job.idempotency_key, sizeof job.idempotency_key, "key-%llu",
                   (unsigned long long)step->number);
    if (!catalog_machine_get_by_name(step->catalog, "m", &row, err))
        return false;
    row.next_cycle = step->number;
    bool ok = catalog_machine_update(step->catalog, &row, err) &&
              catalog_event_append(step->catalog, &event, &id, err) &&
              catalog_job_create(step->catalog, &job, &id, &is_new, err);
    catalog_machine_release(&row);
    return ok;
}

static void write_until_killed(uint64_t from, int ack_fd)
{
    struct err err = ERR_INIT;
    if (!fault_init(&err))
        _exit(2);
    struct step step = {.catalog = catalog_open(path, &err)};
    for (step.number = from; step.catalog && step.number < from + STEPS_A_RUN;
         step.number++)
        if (!catalog_transaction(step.catalog, write_step, &step, &err) ||
            write(ack_fd, &step.number, sizeof step.number) != sizeof step.number)
            break;
    _exit(1);
}

/* The last step that was said to be done; from - 1 when none was. */
static uint64_t run_child(uint64_t from, uint64_t kill_after_us)
{
    int fds[2], status = 0;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        write_until_killed(from, fds[1]);
    (void)close(fds[1]);
    uint64_t last = from - 1, said;
    if (kill_after_us) {
        (void)usleep((useconds_t)kill_after_us);
        (void)kill(child, SIGKILL);
    }
    while (read(fds[0], &said, sizeof said) == sizeof said)
        last = said;
    (void)close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return last;
}

/* What the catalog holds: the number of steps, the same in all three tables. */
static uint64_t count_steps(void)
{
    struct err err = ERR_INIT;
    AUTO(catalog_close) struct catalog *catalog = catalog_open(path, &err);
    if (!catalog)
        fail_msg("%s", err.text);
    AUTO(catalog_machine_release) struct catalog_machine row = {0};
    AUTO(catalog_event_list_release) struct catalog_event_list events = {0};
    AUTO(catalog_job_list_release) struct catalog_job_list jobs = {0};
    assert_true(catalog_machine_get_by_name(catalog, "m", &row, &err));
    assert_true(catalog_event_list(catalog, 0, 0, &events, &err));
    assert_true(catalog_job_list(catalog, &(struct catalog_job_filter){0}, &jobs, &err));
    uint64_t steps = row.next_cycle;
    assert_int_equal(events.count, steps);
    assert_int_equal(jobs.count, steps);
    for (uint64_t i = 0; i < steps; i++) {
        assert_int_equal(events.items[i].id, i + 1);
        assert_int_equal(events.items[i].job, i + 1);
        assert_int_equal(strlen(events.items[i].text), TEXT_PADDING - 1);
        assert_int_equal(jobs.items[steps - 1 - i].created_ms, i + 1);
    }
    return steps;
}

static bool make_catalog(void)
{
    struct err err = ERR_INIT;
    AUTO(catalog_close) struct catalog *catalog = catalog_open(path, &err);
    struct catalog_end end = {.name = "e", .kind = "image"};
    struct catalog_machine row = {
        .id = id_random(), .name = "m", .source = "e", .target = "e", .state = "delta"};
    return catalog &&
           catalog_setting_set(catalog, CATALOG_EVENTS_KEPT_SETTING, "1000000", &err) &&
           catalog_end_add(catalog, CATALOG_SOURCE, &end, &err) &&
           catalog_end_add(catalog, CATALOG_TARGET, &end, &err) &&
           catalog_machine_insert(catalog, &row, &err);
}

/* In a child: this process visits no fault point, so those of its children count from 1.
 */
static int setup(void **state)
{
    (void)state;
    int status = -1;
    assert_non_null(mkdtemp(dir));
    path = file_join(dir, "catalog.db");
    pid_t child = fork();
    if (child == 0)
        _exit(make_catalog() ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int teardown(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    free(path);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

static void kill_nine(void **state)
{
    (void)state;
    uint64_t steps = 0, seed = clock_mono_ns();
    unsigned in_doubt = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < KILLS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t done = run_child(steps + 1, 1 + (seed >> 33) % KILL_MAX_US);
        steps = count_steps();
        assert_true(steps == done || steps == done + 1);
        in_doubt += steps != done;
    }
    print_message("%u kills, %llu steps, %u done but not said\n", KILLS,
                  (unsigned long long)steps, in_doubt);
    assert_true(steps > 0);
}

static void at_each_fault_point(void **state)
{
    (void)state;
#ifndef KEDGE_FAULTS
    skip(); /* needs -Dfaults=true */
#else
    static const struct {
        const char *faults;
        uint64_t said, holds; /* steps more than before */
    } CASES[] = {
        /* The child's open migrates nothing, so visit 3 is its third step. */
        {"CATALOG_BEFORE_COMMIT=crash@3", 2, 2},
        {"CATALOG_BEFORE_COMMIT=error@3", 2, 2},
        {"CATALOG_AFTER_COMMIT=crash@3", 2, 3},
        {"CATALOG_AFTER_COMMIT=error@3:no-space", 2, 3},
    };
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        uint64_t before = count_steps();
        assert_int_equal(setenv("FAULTS", CASES[i].faults, 1), 0);
        uint64_t said = run_child(before + 1, 0);
        assert_int_equal(unsetenv("FAULTS"), 0);
        assert_int_equal(said - before, CASES[i].said);
        assert_int_equal(count_steps() - before, CASES[i].holds);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_nine),
        cmocka_unit_test(at_each_fault_point),
    };
    return cmocka_run_group_tests_name("catalog_crash", tests, setup, teardown);
}
