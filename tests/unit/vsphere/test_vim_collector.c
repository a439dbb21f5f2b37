/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties in pages and tasks by updates, against servers that behave in turn: objects
 * that vanish, tokens that never end, sessions and connections lost while waiting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "vim_script.h"
#include "vsphere/vim_inventory.h"
#include "vsphere/vim_snapshot.h"

#define MACHINES 250

/* ---- an inventory of MACHINES machines, some of which vanish between two calls ---- */

struct fleet {
    bool is_gone[MACHINES];
    bool pages_by_itself; /* tokens, 7 objects a page */
    bool never_ends;
    bool repeats; /* each object twice, and one nobody asked for */
    atomic_uint retrieves;
    char rest[64 * 1024]; /* what the next Continue answers */
};

static void answer_view(struct served_reply *reply)
{
    AUTO(buf_release) struct buf inner = {0};
    buf_append_text(&inner, "<returnval><objects><obj type=\"ContainerView\">v</obj>"
                            "<propSet><name>view</name><val>");
    for (int i = 0; i < MACHINES; i++)
        buf_printf(&inner,
                   "<ManagedObjectReference type=\"VirtualMachine\">vm-%d"
                   "</ManagedObjectReference>",
                   i);
    buf_append_text(&inner, "</val></propSet></objects></returnval>");
    vim_script_respond(reply, "RetrievePropertiesEx", buf_text(&inner));
}

static void put_object(struct buf *out, unsigned long i)
{
    buf_printf(out,
               "<objects><obj type=\"VirtualMachine\">vm-%lu</obj><propSet><name>name"
               "</name><val>m%lu</val></propSet></objects>",
               i, i);
}

/* The objects that the request names, or the fault that one of them is not there. */
static bool answer_objects(struct fleet *fleet, const char *body,
                           struct served_reply *reply)
{
    AUTO(buf_release) struct buf inner = {0};
    AUTO(buf_release) struct buf rest = {0};
    unsigned told = 0;
    atomic_fetch_add(&fleet->retrieves, 1);
    for (const char *at = strstr(body, ">vm-"); at; at = strstr(at + 1, ">vm-")) {
        unsigned long i = strtoul(at + 4, NULL, 10);
        if (fleet->is_gone[i]) {
            vim_script_fault(reply, "ManagedObjectNotFound", "gone");
            return true;
        }
        struct buf *to = fleet->pages_by_itself && told >= 7 ? &rest : &inner;
        put_object(to, i);
        if (fleet->repeats)
            put_object(to, i);
        told++;
    }
    AUTO(buf_release) struct buf all = {0};
    buf_append_text(&all, "<returnval>");
    if (rest.bytes || fleet->never_ends)
        buf_append_text(&all, "<token>t</token>");
    buf_append_text(&all, buf_text(&inner));
    if (fleet->repeats)
        put_object(&all, 9999);
    buf_append_text(&all, "</returnval>");
    vim_script_respond(reply, "RetrievePropertiesEx", buf_text(&all));
    (void)snprintf(fleet->rest, sizeof fleet->rest, "<returnval>%s</returnval>",
                   buf_text(&rest));
    return true;
}

static bool answer_fleet(struct vim_script *script, const char *method, const char *body,
                         struct served_reply *reply)
{
    struct fleet *fleet = script->arg;
    if (strcmp(method, "CreateContainerView") == 0)
        vim_script_respond(
            reply, method,
            strstr(body, "VirtualMachine")
                ? "<returnval type=\"ContainerView\">session[52a]52b</returnval>"
                : "<returnval type=\"ContainerView\">none</returnval>");
    else if (strcmp(method, "DestroyView") == 0)
        vim_script_respond(reply, method, "");
    else if (strcmp(method, "ContinueRetrievePropertiesEx") == 0)
        vim_script_respond(reply, method,
                           fleet->never_ends ? "<returnval><token>t</token></returnval>"
                                             : fleet->rest);
    else if (strstr(body, ">session[52a]52b<"))
        answer_view(reply);
    else if (strstr(body, ">none<"))
        vim_script_respond(reply, method,
                           "<returnval><objects><obj type=\"ContainerView\">none</obj>"
                           "</objects></returnval>");
    else
        return answer_objects(fleet, body, reply);
    return true;
}

struct seen {
    unsigned count[MACHINES];
    unsigned total;
};

static bool see_machine(void *arg, const struct vim_machine *machine, struct err *err)
{
    struct seen *seen = arg;
    (void)err;
    unsigned long i = strtoul(machine->ref.id + 3, NULL, 10);
    assert_true(i < MACHINES);
    seen->count[i]++;
    seen->total++;
    return true;
}

static bool walk(struct fleet *fleet, struct seen *seen, struct err *err)
{
    struct vim_script script = {.answer = answer_fleet, .arg = fleet};
    vim_script_start(&script);
    struct vim *vim = vim_script_login(&script);
    struct vim_visitor visitor = {.arg = seen, .machine = see_machine};
    bool ok = vim_inventory_walk(vim, &visitor, NULL, err);
    vim_close(vim);
    vim_script_stop(&script);
    return ok;
}

static void test_each_machine_once_whatever_the_pages(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        struct fleet *fleet = xcalloc(1, sizeof *fleet);
        fleet->pages_by_itself = round & 1;
        fleet->repeats = round & 2;
        struct seen seen = {0};
        struct err err = ERR_INIT;
        if (!walk(fleet, &seen, &err))
            fail_msg("%s", err.text);
        assert_int_equal(seen.total, MACHINES);
        for (int i = 0; i < MACHINES; i++)
            assert_int_equal(seen.count[i], 1);
        assert_int_equal(atomic_load(&fleet->retrieves), 3); /* 100 + 100 + 50 */
        free(fleet);
    }
}

static void test_machines_that_vanished_are_left_out(void **state)
{
    (void)state;
    struct fleet *fleet = xcalloc(1, sizeof *fleet);
    static const int gone[] = {0, 1, 57, 99, 100, 249};
    for (size_t i = 0; i < ARRAY_COUNT(gone); i++)
        fleet->is_gone[gone[i]] = true;
    struct seen seen = {0};
    struct err err = ERR_INIT;
    assert_true(walk(fleet, &seen, &err));
    assert_int_equal(seen.total, MACHINES - ARRAY_COUNT(gone));
    for (int i = 0; i < MACHINES; i++)
        assert_int_equal(seen.count[i], !fleet->is_gone[i]);
    assert_true(atomic_load(&fleet->retrieves) < 80);
    free(fleet);
}

static void test_an_answer_that_never_ends(void **state)
{
    (void)state;
    struct fleet *fleet = xcalloc(1, sizeof *fleet);
    fleet->never_ends = true;
    struct seen seen = {0};
    struct err err = ERR_INIT;
    assert_false(walk(fleet, &seen, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    free(fleet);
}

/* ---- a task that a script plays ---- */

struct play {
    const char *const *updates; /* one for each WaitForUpdatesEx */
    size_t count;
    atomic_size_t waited;
    atomic_uint collectors;
    atomic_uint destroyed;
};

static void answer_update(struct vim_script *script, struct play *play,
                          struct served_reply *reply)
{
    size_t at = atomic_fetch_add(&play->waited, 1);
    const char *update = at < play->count ? play->updates[at] : "silence";
    if (strcmp(update, "silence") == 0) {
        clock_sleep_ms(100);
        vim_script_respond(reply, "WaitForUpdatesEx", "");
    } else if (strcmp(update, "cut") == 0) {
        reply->manner = SERVE_NOTHING;
    } else if (strcmp(update, "503") == 0) {
        reply->status = 503;
    } else if (strcmp(update, "expire") == 0) {
        atomic_store(&script->is_expired, true);
        vim_script_fault(reply, "NotAuthenticated", "");
    } else if (strcmp(update, "lost") == 0) {
        vim_script_fault(reply, "ManagedObjectNotFound", "no such collector");
    } else {
        AUTO(buf_release) struct buf inner = {0};
        buf_printf(&inner,
                   "<returnval><version>%zu</version><filterSet><filter "
                   "type=\"PropertyFilter\">f</filter><objectSet>%s</objectSet>"
                   "</filterSet></returnval>",
                   at, update);
        vim_script_respond(reply, "WaitForUpdatesEx", buf_text(&inner));
    }
}

static bool answer_task(struct vim_script *script, const char *method, const char *body,
                        struct served_reply *reply)
{
    struct play *play = script->arg;
    (void)body;
    if (strcmp(method, "CreateSnapshot_Task") == 0) {
        vim_script_respond(reply, method, "<returnval type=\"Task\">task-1</returnval>");
    } else if (strcmp(method, "CreatePropertyCollector") == 0) {
        atomic_fetch_add(&play->collectors, 1);
        vim_script_respond(reply, method,
                           "<returnval type=\"PropertyCollector\">own</returnval>");
    } else if (strcmp(method, "CreateFilter") == 0) {
        vim_script_respond(reply, method,
                           "<returnval type=\"PropertyFilter\">f</returnval>");
    } else if (strcmp(method, "DestroyPropertyCollector") == 0) {
        atomic_fetch_add(&play->destroyed, 1);
        vim_script_respond(reply, method, "");
    } else if (strcmp(method, "WaitForUpdatesEx") == 0) {
        answer_update(script, play, reply);
    } else {
        return false;
    }
    return true;
}

static void add_percent(void *arg, unsigned percent)
{
    buf_printf(arg, "%u ", percent);
}

struct task_case {
    const char *const *updates;
    size_t count;
    enum err_kind kind;
    const char *progress;
    const char *holds; /* in the error */
    unsigned collectors;
};

static void run_task(const struct task_case *test)
{
    struct play play = {.updates = test->updates, .count = test->count};
    struct vim_script script = {.answer = answer_task, .arg = &play};
    vim_script_start(&script);
    struct vim *vim = vim_script_login(&script);
    AUTO(buf_release) struct buf progress = {0};
    struct vim_wait wait = {
        .deadline_ms = 4000, .on_progress = add_percent, .arg = &progress};
    struct vim_ref vm = {"VirtualMachine", "vm-1"};
    struct vim_ref snapshot = {0};
    struct vim_snapshot_spec spec = {.name = "s"};
    struct err err = ERR_INIT;
    bool ok = vim_snapshot_create(vim, &vm, &spec, &wait, &snapshot, &err);
    if (err.kind != test->kind)
        fail_msg("%s: %s", test->updates[0], err.text);
    if (ok)
        assert_string_equal(snapshot.id, "snapshot-9");
    else if (!strstr(err.text, test->holds))
        fail_msg("'%s' is not in '%s'", test->holds, err.text);
    assert_string_equal(wait.task.id, "task-1"); /* to pick it up later */
    assert_string_equal(buf_text(&progress), test->progress);
    assert_int_equal(atomic_load(&play.collectors), test->collectors);
    vim_close(vim);
    vim_script_stop(&script);
}

#define INFO(inner)                                                                      \
    "<kind>modify</kind><obj type=\"Task\">task-1</obj><changeSet><name>info</name>"     \
    "<op>assign</op><val xsi:type=\"TaskInfo\"><key>task-1</key>" inner                  \
    "</val></changeSet>"
#define RUNNING(percent) INFO("<state>running</state><progress>" #percent "</progress>")
#define DONE                                                                             \
    INFO("<state>success</state><result type=\"VirtualMachineSnapshot\" "                \
         "xsi:type=\"ManagedObjectReference\">snapshot-9</result>")
#define FAILED                                                                           \
    INFO("<state>error</state><error><fault xsi:type=\"NoDiskSpace\"><datastore>ds1"     \
         "</datastore></fault><localizedMessage>full</localizedMessage></error>")

static void test_task_to_its_end(void **state)
{
    (void)state;
    static const char *const plain[] = {INFO("<state>queued</state>"),
                                        RUNNING(5),
                                        "silence",
                                        RUNNING(5),
                                        RUNNING(95),
                                        DONE};
    static const char *const at_once[] = {DONE};
    static const char *const failed[] = {RUNNING(50), FAILED};
    static const char *const silent_error[] = {INFO("<state>error</state>")};
    static const char *const odd[] = {RUNNING(-3), RUNNING(300), DONE};
    const struct task_case cases[] = {
        {plain, 6, FAIL_NONE, "5 95 ", "", 1},
        {at_once, 1, FAIL_NONE, "", "", 1},
        {failed, 2, FAIL_NO_SPACE, "50 ", "NoDiskSpace: full (ds1); free or add space",
         1},
        {silent_error, 1, FAIL_IO, "", "task-1", 1},
        {odd, 3, FAIL_NONE, "", "", 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        run_task(&cases[i]);
}

static void test_waiting_survives_losses(void **state)
{
    (void)state;
    static const char *const expired[] = {RUNNING(5), "expire", "lost", RUNNING(60),
                                          DONE};
    static const char *const cut[] = {RUNNING(5), "cut", DONE};
    static const char *const restart[] = {"503", "503", DONE};
    const struct task_case cases[] = {
        {expired, 5, FAIL_NONE, "5 60 ", "", 2},
        {cut, 3, FAIL_NONE, "5 ", "", 2},
        {restart, 3, FAIL_NONE, "", "", 3},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        run_task(&cases[i]);
}

static void test_waiting_ends_with_a_reason(void **state)
{
    (void)state;
    static const char *const stuck[] = {RUNNING(95)};
    static const char *const gone[] = {
        "<kind>leave</kind><obj type=\"Task\">task-1</obj>"};
    static const char *const lost[] = {"lost"};
    const struct task_case cases[] = {
        {stuck, 1, FAIL_TRANSIENT, "95 ", "task 'task-1' (95 %): no end after 4 s", 1},
        {gone, 1, FAIL_GONE, "", "task-1", 1},
        {lost, 1, FAIL_GONE, "", "task-1", 1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        run_task(&cases[i]);
}

static void test_task_is_picked_up_again(void **state)
{
    (void)state;
    static const char *const updates[] = {RUNNING(40), DONE};
    struct play play = {.updates = updates, .count = 2};
    struct vim_script script = {.answer = answer_task, .arg = &play};
    vim_script_start(&script);
    struct vim *vim = vim_script_login(&script);
    struct vim_ref task = {"Task", "task-1"};
    struct vim_ref result = {0};
    struct err err = ERR_INIT;
    assert_true(vim_task_wait(vim, &task, NULL, &result, &err));
    assert_string_equal(result.id, "snapshot-9");
    assert_int_equal(atomic_load(&play.destroyed), 1);
    vim_close(vim);
    vim_script_stop(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_machine_once_whatever_the_pages),
        cmocka_unit_test(test_machines_that_vanished_are_left_out),
        cmocka_unit_test(test_an_answer_that_never_ends),
        cmocka_unit_test(test_task_to_its_end),
        cmocka_unit_test(test_waiting_survives_losses),
        cmocka_unit_test(test_waiting_ends_with_a_reason),
        cmocka_unit_test(test_task_is_picked_up_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
