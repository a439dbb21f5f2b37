/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client against the simulated vSphere (sim/): what it discovers, every method once,
 * faults and lost sessions in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "support/vsphere_sim.h"
#include "vsphere/vim_access.h"
#include "vsphere/vim_change.h"
#include "vsphere/vim_inventory.h"
#include "vsphere/vim_snapshot.h"

static const char lab[] =
    "{\"datacenters\": [{\"name\": \"DC Z\xc3\xbcrich\", \"networks\": [\"VM Network\"],"
    " \"datastores\": [{\"name\": \"datastore1\", \"capacity_gib\": 512}],"
    " \"clusters\": [{\"name\": \"C/1\", \"hosts\": [{\"name\": \"esx-01.lab\"},"
    " {\"name\": \"esx-02.lab\", \"nfc_lib_version\": \"missing\"}]}],"
    " \"folders\": [\"Prod/Web\"],"
    " \"vms\": [{\"name\": \"web-01\", \"folder\": \"Prod/Web\", \"host\": "
    "\"esx-01.lab\","
    "  \"firmware\": \"efi\", \"cpus\": 3, \"memory_mib\": 1536, \"cbt\": true,"
    "  \"nics\": [{\"network\": \"VM Network\", \"mac\": \"00:50:56:00:00:01\"}],"
    "  \"disks\": [{\"size_mib\": 64, \"fill_mib\": 8}, {\"size_mib\": 32,"
    "   \"provisioning\": \"eager\", \"controller\": \"sata\"}]},"
    "  {\"name\": \"\xe6\x97\xa5\xe6\x9c\xac a/b %\", \"host\": \"esx-02.lab\","
    "   \"power\": \"off\", \"snapshots\": [\"one/two\"], \"disks\": [{\"size_mib\": 16,"
    "   \"mode\": \"independent_persistent\"}]},"
    "  {\"name\": \"twin\"}, {\"name\": \"twin\", \"folder\": \"Prod\"}]}],"
    " \"accounts\": [{\"username\": \"administrator@vsphere.local\","
    "   \"password\": \"p<&>\\\"' \xc3\xa9\"},"
    "  {\"username\": \"reader\", \"password\": \"r\", \"privileges\": \"readonly\"}],"
    " \"tasks\": {\"snapshot_ms\": 50}}";

static struct vsphere_sim *sim;
static struct vim *vim;
static struct vim_ref web;
static struct err error; /* of the call before */

static int open_lab(void **state)
{
    (void)state;
    sim = vsphere_sim_start(lab);
    vim = vsphere_sim_login(sim);
    assert_true(vim_machine_find(vim, VIM_FIND_NAME, "web-01", NULL, &web, &error));
    return 0;
}

static int close_lab(void **state)
{
    (void)state;
    vim_close(vim);
    vsphere_sim_stop(sim);
    return 0;
}

static int no_faults(void **state)
{
    (void)state;
    json_free(vsphere_sim_control(sim, "DELETE", "/faults", NULL));
    return 0;
}

#define OK(call)                                                                         \
    do {                                                                                 \
        err_clear(&error);                                                               \
        if (!(call))                                                                     \
            fail_msg("%s: %s", #call, error.text);                                       \
    } while (0)
#define FAILS(kind_, call)                                                               \
    do {                                                                                 \
        err_clear(&error);                                                               \
        assert_false(call);                                                              \
        if (error.kind != (kind_))                                                       \
            fail_msg("%s: %s", #call, error.text);                                       \
    } while (0)

/* ---- discovery ---- */

static bool note_place(void *arg, const struct vim_place *place, struct err *err)
{
    (void)err;
    buf_printf(arg, "%s\n", place->path);
    return true;
}

static bool note_host(void *arg, const struct vim_host *host, struct err *err)
{
    (void)err;
    buf_printf(arg, "host %s %s %s %d\n", host->path, host->version, host->connection,
               host->is_in_maintenance);
    return true;
}

static bool note_datastore(void *arg, const struct vim_datastore *datastore,
                           struct err *err)
{
    (void)err;
    buf_printf(arg, "datastore %s of %s %s %llu\n", datastore->name,
               datastore->datacenter, datastore->type,
               (unsigned long long)datastore->capacity_bytes);
    return true;
}

static bool note_network(void *arg, const struct vim_network *network, struct err *err)
{
    (void)err;
    buf_printf(arg, "network %s\n", network->name);
    return true;
}

static bool note_machine(void *arg, const struct vim_machine *m, struct err *err)
{
    (void)err;
    buf_printf(arg, "vm %s in %s %s\n", m->name, m->folder_path,
               vim_power_name(m->power));
    return true;
}

static void test_walk_tells_all_there_is(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "DC Z\xc3\xbcrich\n",
        "DC Z\xc3\xbcrich/host/C/1\n",
        "DC Z\xc3\xbcrich/vm/Prod/Web\n",
        "host DC Z\xc3\xbcrich/host/C/1/esx-01.lab 8.0.1 connected 0\n",
        "datastore datastore1 of DC Z\xc3\xbcrich VMFS 549755813888\n",
        "network VM Network\n",
        "vm web-01 in DC Z\xc3\xbcrich/vm/Prod/Web on\n",
        "vm \xe6\x97\xa5\xe6\x9c\xac a/b % in DC Z\xc3\xbcrich/vm off\n",
        "vm twin in DC Z\xc3\xbcrich/vm/Prod on\n",
    };
    AUTO(buf_release) struct buf seen = {0};
    struct vim_visitor visitor = {&seen,          note_place,   note_host,
                                  note_datastore, note_network, note_machine};
    OK(vim_inventory_walk(vim, &visitor, NULL, &error));
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++)
        if (!strstr(buf_text(&seen), lines[i]))
            fail_msg("no '%s' in\n%s", lines[i], buf_text(&seen));
}

static bool stop_at_once(void *arg, const struct vim_machine *machine, struct err *err)
{
    (void)machine;
    ++*(int *)arg;
    return err_set(err, FAIL_CONFLICT, "enough");
}

static void test_walk_stops_when_told(void **state)
{
    (void)state;
    int seen = 0;
    struct vim_visitor visitor = {.arg = &seen, .machine = stop_at_once};
    FAILS(FAIL_CONFLICT, vim_inventory_walk(vim, &visitor, NULL, &error));
    assert_int_equal(seen, 1);
}

static void test_machine_in_full(void **state)
{
    (void)state;
    AUTO(vim_machine_free)
    struct vim_machine *m = vim_machine_get(vim, &web, NULL, &error);
    assert_non_null(m);
    assert_string_equal(m->name, "web-01");
    assert_string_equal(m->firmware, "efi");
    assert_int_equal(m->cpus, 3);
    assert_int_equal(m->memory_bytes, 1536 * MIB);
    assert_true(m->is_cbt_enabled && m->is_cbt_supported && m->has_tools_running);
    assert_int_equal(m->disk_count, 2);
    assert_string_equal(m->disks[0].controller_type, "ParaVirtualSCSIController");
    assert_string_equal(m->disks[1].controller_type, "VirtualAHCIController");
    assert_int_equal(m->disks[1].disk_bytes, 32 * MIB);
    assert_true(m->disks[0].is_thin && m->disks[1].is_eagerly_scrubbed);
    assert_string_equal(m->nics[0].mac, "00:50:56:00:00:01");
    assert_string_equal(m->nics[0].network, "VM Network");
    AUTO(vim_host_free) struct vim_host *host = vim_host_get(vim, &m->host, NULL, &error);
    assert_string_equal(host->name, "esx-01.lab");
    AUTO(vim_datastore_free)
    struct vim_datastore *datastore =
        vim_datastore_get(vim, &m->datastores[0], NULL, &error);
    assert_string_equal(datastore->name, "datastore1");

    struct vim_ref other;
    OK(vim_machine_find(vim, VIM_FIND_NAME, "\xe6\x97\xa5\xe6\x9c\xac a/b %", NULL,
                        &other, &error));
    AUTO(vim_machine_free)
    struct vim_machine *n = vim_machine_get(vim, &other, NULL, &error);
    assert_int_equal(n->snapshot_count, 1);
    assert_string_equal(n->snapshots[0].name, "one/two");
    assert_true(n->snapshots[0].created_wall_ms > 0);
    assert_true(vim_disk_is_independent(&n->disks[0]));
}

static void test_machines_are_found(void **state)
{
    (void)state;
    AUTO(vim_machine_free)
    struct vim_machine *m = vim_machine_get(vim, &web, NULL, &error);
    struct vim_ref found;
    OK(vim_machine_find(vim, VIM_FIND_MOREF, web.id, NULL, &found, &error));
    OK(vim_machine_find(vim, VIM_FIND_INSTANCE_UUID, m->instance_uuid, NULL, &found,
                        &error));
    assert_true(vim_ref_equal(&found, &web));
    OK(vim_machine_find(vim, VIM_FIND_UUID, m->uuid, NULL, &found, &error));
    assert_true(vim_ref_equal(&found, &web));
    FAILS(FAIL_GONE,
          vim_machine_find(vim, VIM_FIND_NAME, "no such", NULL, &found, &error));
    FAILS(FAIL_GONE, vim_machine_find(vim, VIM_FIND_MOREF, "vm-0", NULL, &found, &error));
    FAILS(FAIL_GONE, vim_machine_find(vim, VIM_FIND_UUID, "x", NULL, &found, &error));
    FAILS(FAIL_CONFLICT,
          vim_machine_find(vim, VIM_FIND_NAME, "twin", NULL, &found, &error));
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    FAILS(FAIL_GONE, vim_machine_find(vim, VIM_FIND_MOREF, name, NULL, &found, &error));
}

/* ---- a cycle's calls ---- */

static struct vim_ref take_snapshot(const char *name)
{
    struct vim_ref snapshot = {0};
    struct vim_wait wait = {.deadline_ms = 30000};
    struct vim_snapshot_spec spec = {.name = name, .description = "<&>"};
    OK(vim_snapshot_create(vim, &web, &spec, &wait, &snapshot, &error));
    assert_string_equal(wait.task.type, "Task");
    return snapshot;
}

static void test_snapshots_and_changes(void **state)
{
    (void)state;
    struct vim_ref first = take_snapshot("kedge <1> \"\xc3\xa9\"");
    AUTO(vim_disks_free)
    struct vim_disks *before = vim_snapshot_disks(vim, &first, NULL, &error);
    assert_int_equal(before->count, 2);
    assert_string_not_equal(before->items[0].change_id, "");
    struct vim_state now;
    OK(vim_state_get(vim, &web, NULL, &now, &error));
    assert_true(vim_ref_equal(&now.current_snapshot, &first));

    struct vim_change_query query = {
        .vm = web,
        .snapshot = first,
        .device_key = before->items[0].key,
        .disk_bytes = before->items[0].disk_bytes,
        .change_id = VIM_CHANGE_ALL,
    };
    AUTO(extents_release) struct extents set = {0};
    OK(vim_changed_extents(vim, &query, NULL, &set, &error));
    assert_int_equal(extents_total_bytes(&set), 8 * MIB);

    vsphere_sim_do(sim, "/write",
                   "{\"vm\": \"web-01\", \"disk\": 0, \"writes\": ["
                   "{\"offset\": 1048576, \"length\": 512, \"byte\": 7},"
                   "{\"offset\": 67108352, \"length\": 512, \"byte\": 8}]}");
    OK(vim_snapshot_remove(vim, &first, NULL, &error));
    struct vim_ref second = take_snapshot("kedge 2");
    query.snapshot = second;
    query.change_id = before->items[0].change_id;
    static const char *const faults[] = {"cbt.small_pages", "cbt.empty_pages",
                                         "cbt.past_capacity", "cbt.overlap",
                                         "cbt.unsorted"};
    for (size_t i = 0; i <= ARRAY_COUNT(faults); i++) {
        if (i > 0) {
            char body[96];
            (void)snprintf(body, sizeof body, "{\"name\": \"%s\", \"on\": true}",
                           faults[i - 1]);
            vsphere_sim_do(sim, "/faults", body);
        }
        OK(vim_changed_extents(vim, &query, NULL, &set, &error));
        assert_true(extents_contain(&set, 1048576, 1049088));
        assert_true(extents_contain(&set, 67108352, 67108864));
        assert_true(extents_total_bytes(&set) <= MIB);
    }
    vsphere_sim_do(sim, "/faults", "{\"name\": \"cbt.truncate\", \"on\": true}");
    FAILS(FAIL_CORRUPT, vim_changed_extents(vim, &query, NULL, &set, &error));
    no_faults(state);
    query.change_id = "00 00/1";
    FAILS(FAIL_CORRUPT, vim_changed_extents(vim, &query, NULL, &set, &error));
    query.change_id = before->items[0].change_id;
    query.snapshot = first;
    FAILS(FAIL_GONE, vim_changed_extents(vim, &query, NULL, &set, &error));
    OK(vim_snapshot_remove(vim, &second, NULL, &error));
    FAILS(FAIL_GONE, vim_snapshot_remove(vim, &second, NULL, &error));
}

static void test_quiesced_snapshots(void **state)
{
    (void)state;
    struct vim_ref snapshot = {0};
    struct vim_snapshot_spec spec = {
        .name = "q", .is_quiesced = true, .quiesce_timeout_min = 5};
    OK(vim_snapshot_create(vim, &web, &spec, NULL, &snapshot, &error));
    AUTO(vim_machine_free)
    struct vim_machine *m = vim_machine_get(vim, &web, NULL, &error);
    assert_true(m->snapshots[0].is_quiesced && m->snapshots[0].is_current);
    OK(vim_snapshot_remove(vim, &snapshot, NULL, &error));
    spec.quiesce_timeout_min = 4;
    FAILS(FAIL_INPUT, vim_snapshot_create(vim, &web, &spec, NULL, &snapshot, &error));
    vsphere_sim_do(sim, "/faults",
                   "{\"name\": \"snapshot.quiesce_fails\", \"on\": true}");
    spec.quiesce_timeout_min = 0;
    FAILS(FAIL_CONFLICT, vim_snapshot_create(vim, &web, &spec, NULL, &snapshot, &error));
}

static void test_consolidation(void **state)
{
    (void)state;
    vsphere_sim_do(sim, "/faults",
                   "{\"name\": \"snapshot.leaves_consolidation\", \"on\": true}");
    struct vim_ref snapshot = take_snapshot("left");
    OK(vim_snapshot_remove(vim, &snapshot, NULL, &error));
    no_faults(state);
    struct vim_state now;
    OK(vim_state_get(vim, &web, NULL, &now, &error));
    assert_true(now.is_consolidation_needed);
    vsphere_sim_do(sim, "/faults",
                   "{\"name\": \"consolidate.fails\", \"on\": true, \"count\": 1}");
    FAILS(FAIL_TRANSIENT, vim_consolidate(vim, &web, NULL, &error));
    OK(vim_consolidate(vim, &web, NULL, &error));
    OK(vim_state_get(vim, &web, NULL, &now, &error));
    assert_false(now.is_consolidation_needed);
}

static void test_faults_of_tasks_have_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *fault;
        enum err_kind kind;
    } cases[] = {
        {"GenericVmConfigFault", FAIL_IO},
        {"TaskInProgress", FAIL_TRANSIENT},
        {"InvalidState", FAIL_CONFLICT},
        {"NoDiskSpace", FAIL_NO_SPACE},
        {"ApplicationQuiesceFault", FAIL_CONFLICT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char body[160];
        (void)snprintf(body, sizeof body,
                       "{\"name\": \"snapshot.create_fails\", \"on\": true, \"count\": 1,"
                       " \"fault\": \"%s\"}",
                       cases[i].fault);
        vsphere_sim_do(sim, "/faults", body);
        struct vim_ref snapshot = {0};
        struct vim_snapshot_spec spec = {.name = "f"};
        FAILS(cases[i].kind,
              vim_snapshot_create(vim, &web, &spec, NULL, &snapshot, &error));
    }
}

static void test_stuck_task_is_left_and_canceled(void **state)
{
    (void)state;
    vsphere_sim_do(sim, "/faults",
                   "{\"name\": \"snapshot.stuck_95\", \"on\": true, \"count\": 1,"
                   " \"seconds\": 2}");
    struct vim_ref snapshot = {0};
    struct vim_wait wait = {.deadline_ms = 500};
    struct vim_snapshot_spec spec = {.name = "stuck"};
    FAILS(FAIL_TRANSIENT,
          vim_snapshot_create(vim, &web, &spec, &wait, &snapshot, &error));
    assert_int_equal(wait.percent, 95);
    assert_true(vim_ref_is_set(&wait.task));
    struct vim_ref task = wait.task;
    struct vim_wait again = {.deadline_ms = 20000};
    OK(vim_task_wait(vim, &task, &again, &snapshot, &error));
    OK(vim_snapshot_remove(vim, &snapshot, NULL, &error));
    struct vim_ref unknown = {"Task", "task-0"};
    FAILS(FAIL_GONE, vim_task_wait(vim, &unknown, NULL, NULL, &error));
}

static void *expire_soon(void *arg)
{
    clock_sleep_ms(300);
    vsphere_sim_do(arg, "/do", "{\"action\": \"expire_sessions\"}");
    return NULL;
}

static void test_session_lost_while_waiting(void **state)
{
    (void)state;
    vsphere_sim_do(sim, "/faults",
                   "{\"name\": \"snapshot.stuck_95\", \"on\": true, \"count\": 1,"
                   " \"seconds\": 1}");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, expire_soon, sim), 0);
    struct vim_ref snapshot = take_snapshot("through an expired session");
    assert_int_equal(pthread_join(thread, NULL), 0);
    vsphere_sim_do(sim, "/do", "{\"action\": \"vcenter_restart\"}");
    OK(vim_snapshot_remove(vim, &snapshot, NULL, &error));
}

static void test_network_hiccups(void **state)
{
    (void)state;
    struct vim_state now;
    vsphere_sim_do(sim, "/faults",
                   "{\"name\": \"soap.503\", \"on\": true, \"count\": 1}");
    FAILS(FAIL_TRANSIENT, vim_state_get(vim, &web, NULL, &now, &error));
    vsphere_sim_do(sim, "/faults",
                   "{\"name\": \"soap.cut\", \"on\": true, \"count\": 1}");
    FAILS(FAIL_TRANSIENT, vim_state_get(vim, &web, NULL, &now, &error));
    OK(vim_state_get(vim, &web, NULL, &now, &error));
}

static void test_power(void **state)
{
    (void)state;
    struct vim_wait wait = {.deadline_ms = 20000};
    OK(vim_power_on(vim, &web, &wait, &error)); /* it is */
    OK(vim_guest_shutdown(vim, &web, NULL, &error));
    OK(vim_power_wait(vim, &web, VIM_POWER_OFF, &wait, &error));
    FAILS(FAIL_CONFLICT, vim_guest_shutdown(vim, &web, NULL, &error));
    OK(vim_power_off(vim, &web, &wait, &error)); /* it is */
    OK(vim_power_on(vim, &web, &wait, &error));
    wait.deadline_ms = 300;
    FAILS(FAIL_TRANSIENT, vim_power_wait(vim, &web, VIM_POWER_OFF, &wait, &error));
}

static void test_tracking_is_switched(void **state)
{
    (void)state;
    struct vim_ref twin;
    OK(vim_machine_find(vim, VIM_FIND_NAME, "\xe6\x97\xa5\xe6\x9c\xac a/b %", NULL, &twin,
                        &error));
    struct vim_state now;
    OK(vim_cbt_set(vim, &twin, true, NULL, &error));
    OK(vim_state_get(vim, &twin, NULL, &now, &error));
    assert_true(now.is_cbt_enabled);
    OK(vim_cbt_set(vim, &twin, false, NULL, &error));
    OK(vim_state_get(vim, &twin, NULL, &now, &error));
    assert_false(now.is_cbt_enabled);
}

static void test_a_disk_comes_and_goes(void **state)
{
    (void)state;
    struct vim_ref other;
    OK(vim_machine_find(vim, VIM_FIND_NAME, "\xe6\x97\xa5\xe6\x9c\xac a/b %", NULL,
                        &other, &error));
    AUTO(vim_machine_free)
    struct vim_machine *m = vim_machine_get(vim, &other, NULL, &error);
    struct vim_attach attach = {
        .file_name = m->disks[0].file_name, .controller_key = 1000, .unit = 5};
    int32_t key = 0;
    OK(vim_disk_attach(vim, &web, &attach, NULL, &key, &error));
    AUTO(vim_machine_free)
    struct vim_machine *with = vim_machine_get(vim, &web, NULL, &error);
    assert_int_equal(with->disk_count, 3);
    OK(vim_disk_detach(vim, &web, key, NULL, &error));
    OK(vim_disk_detach(vim, &web, key, NULL, &error));
    AUTO(vim_machine_free)
    struct vim_machine *without = vim_machine_get(vim, &web, NULL, &error);
    assert_int_equal(without->disk_count, 2);
}

static void test_tickets(void **state)
{
    (void)state;
    struct vim_ticket a;
    struct vim_ticket b;
    OK(vim_nfc_ticket(vim, &web, NULL, &a, &error));
    OK(vim_nfc_ticket(vim, &web, NULL, &b, &error));
    assert_string_equal(a.service, "vpxa-nfc");
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(strlen(a.ssl_thumbprint), 59);
    assert_string_not_equal(a.session_id, b.session_id);
    AUTO(vim_machine_free)
    struct vim_machine *m = vim_machine_get(vim, &web, NULL, &error);
    struct vim_nfc_disk disk = {
        .vm = web, .device_key = m->disks[0].key, .host = m->host};
    OK(vim_nfc_disk_ticket(vim, &disk, NULL, &a, &error));
    vim_ticket_wipe(&a);
    assert_string_equal(a.session_id, "");
    uint32_t version = 99;
    OK(vim_nfc_lib_version(vim, &m->host, NULL, &version, &error));
    assert_int_equal(version, 11);
    struct vim_ref other;
    OK(vim_machine_find(vim, VIM_FIND_NAME, "\xe6\x97\xa5\xe6\x9c\xac a/b %", NULL,
                        &other, &error));
    AUTO(vim_machine_free)
    struct vim_machine *n = vim_machine_get(vim, &other, NULL, &error);
    OK(vim_nfc_lib_version(vim, &n->host, NULL, &version, &error));
    assert_int_equal(version, 0); /* the host does not know the question */
    struct vim_http_ticket http = {0};
    OK(vim_http_ticket(vim, "httpGet", "https://esx-01.lab/folder/a?b=c&d", NULL, &http,
                       &error));
    assert_true(http.id->bytes > 0);
    vim_http_ticket_release(&http);
}

static void test_account_that_may_only_read(void **state)
{
    (void)state;
    AUTO(secret_free) struct secret *password = secret_new("r", 1);
    struct vim_options options = {.url = vsphere_sim_url(sim),
                                  .user = "reader",
                                  .password = password,
                                  .pin = vsphere_sim_pin(sim)};
    AUTO(vim_close) struct vim *reader = vim_open(&options, NULL, &error);
    assert_non_null(reader);
    struct vim_ref snapshot = {0};
    struct vim_snapshot_spec spec = {.name = "no"};
    assert_false(vim_snapshot_create(reader, &web, &spec, NULL, &snapshot, &error));
    assert_int_equal(error.kind, FAIL_AUTH);
    assert_non_null(strstr(error.text, "VirtualMachine.State.CreateSnapshot"));
    assert_non_null(strstr(error.text, web.id));
    static const char *const ids[] = {"VirtualMachine.State.CreateSnapshot",
                                      "System.Read"};
    struct vim_privilege_ask ask = {.entity = web, .ids = ids, .id_count = 2};
    bool has[2] = {true, false};
    OK(vim_privileges_check(reader, &ask, NULL, has, &error));
    assert_false(has[0]);
    assert_true(has[1]);
    OK(vim_privileges_check(vim, &ask, NULL, has, &error));
    assert_true(has[0]);
}

static void test_who_is_not_let_in(void **state)
{
    (void)state;
    AUTO(secret_free) struct secret *password = secret_new("wrong-Secret", 12);
    struct vim_options options = {.url = vsphere_sim_url(sim),
                                  .user = vsphere_sim_user(sim),
                                  .password = password,
                                  .pin = vsphere_sim_pin(sim)};
    assert_null(vim_open(&options, NULL, &error));
    assert_int_equal(error.kind, FAIL_AUTH);
    assert_null(strstr(error.text, "wrong-Secret"));
    uint8_t other_pin[HTTP_PIN_BYTES] = {1};
    options.pin = other_pin;
    err_clear(&error);
    assert_null(vim_open(&options, NULL, &error));
    assert_int_equal(error.kind, FAIL_AUTH);
    options.pin = NULL;
    err_clear(&error);
    assert_null(vim_open(&options, NULL, &error));
    assert_int_equal(error.kind, FAIL_AUTH);
}

static void test_a_bare_host(void **state)
{
    (void)state;
    struct vsphere_sim *host =
        vsphere_sim_start("{\"mode\": \"esxi\", \"vms\": [{\"name\": \"a\", \"disks\": "
                          "[{\"size_mib\": 16}]}]}");
    struct vim *direct = vsphere_sim_login(host);
    assert_false(vim_about(direct)->is_vcenter);
    struct vim_ref vm;
    OK(vim_machine_find(direct, VIM_FIND_NAME, "a", NULL, &vm, &error));
    struct vim_ticket ticket;
    OK(vim_nfc_ticket(direct, &vm, NULL, &ticket, &error));
    assert_string_equal(ticket.host, "");
    assert_string_equal(ticket.service, "nfc");
    AUTO(buf_release) struct buf seen = {0};
    struct vim_visitor visitor = {&seen,          note_place,   note_host,
                                  note_datastore, note_network, note_machine};
    OK(vim_inventory_walk(direct, &visitor, NULL, &error));
    assert_non_null(strstr(buf_text(&seen), "vm a in "));
    vim_close(direct);
    vsphere_sim_stop(host);
}

#define T(name) cmocka_unit_test_teardown(name, no_faults)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_walk_tells_all_there_is),
        T(test_walk_stops_when_told),
        T(test_machine_in_full),
        T(test_machines_are_found),
        T(test_snapshots_and_changes),
        T(test_quiesced_snapshots),
        T(test_consolidation),
        T(test_faults_of_tasks_have_kinds),
        T(test_stuck_task_is_left_and_canceled),
        T(test_session_lost_while_waiting),
        T(test_network_hiccups),
        T(test_power),
        T(test_tracking_is_switched),
        T(test_a_disk_comes_and_goes),
        T(test_tickets),
        T(test_account_that_may_only_read),
        T(test_who_is_not_let_in),
        T(test_a_bare_host),
    };
    return cmocka_run_group_tests(tests, open_lab, close_lab);
}
