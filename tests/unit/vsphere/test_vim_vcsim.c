/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client against vcsim, the vCenter simulator of the govmomi library: not written by
 * us, older in its ways (no FindAllByUuid, no paging of properties), and built from
 * Debian's packages. It has no change tracking of its own: that part needs
 * KEDGE_VCSIM_DIR. Skipped without go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/vsphere_sim.h"
#include "vsphere/vim_access.h"
#include "vsphere/vim_change.h"
#include "vsphere/vim_inventory.h"
#include "vsphere/vim_snapshot.h"

static struct vcsim *vcsim;
static struct vim *vim;
static uint8_t pin[HTTP_PIN_BYTES];
static struct vim_ref vm;
static struct vim_machine *machine;
static struct err error;

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

static struct vim *log_in(const char *password_text)
{
    AUTO(secret_free)
    struct secret *password = secret_new(password_text, strlen(password_text));
    struct vim_options options = {
        .url = vcsim_url(vcsim), .user = "user", .password = password, .pin = pin};
    err_clear(&error);
    return vim_open(&options, NULL, &error);
}

static int start(void **state)
{
    (void)state;
    vcsim = vcsim_start(KEDGE_TEST_BUILD);
    struct http_endpoint_options options = {.url = vcsim_url(vcsim)};
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&options, &error);
    assert_true(http_endpoint_fingerprint(endpoint, pin, &error));
    vim = log_in("pass");
    assert_non_null(vim);
    OK(vim_machine_find(vim, VIM_FIND_NAME, "DC0_H0_VM0", NULL, &vm, &error));
    machine = vim_machine_get(vim, &vm, NULL, &error);
    assert_non_null(machine);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    vim_machine_free(machine);
    vim_close(vim);
    vcsim_stop(vcsim);
    return 0;
}

static void test_wrong_password(void **state)
{
    (void)state;
    assert_null(log_in("wrong"));
    assert_int_equal(error.kind, FAIL_AUTH);
    assert_non_null(strstr(error.text, "InvalidLogin"));
}

struct totals {
    unsigned places, hosts, datastores, networks, machines;
};

static bool count_place(void *arg, const struct vim_place *place, struct err *err)
{
    (void)err;
    assert_true(*place->name);
    ((struct totals *)arg)->places++;
    return true;
}

static bool count_host(void *arg, const struct vim_host *host, struct err *err)
{
    (void)err;
    assert_string_equal(host->version, "6.5.0");
    ((struct totals *)arg)->hosts++;
    return true;
}

static bool count_datastore(void *arg, const struct vim_datastore *datastore,
                            struct err *err)
{
    (void)err;
    assert_string_equal(datastore->datacenter, "DC0");
    assert_true(datastore->free_bytes > 0);
    ((struct totals *)arg)->datastores++;
    return true;
}

static bool count_network(void *arg, const struct vim_network *network, struct err *err)
{
    (void)network;
    (void)err;
    ((struct totals *)arg)->networks++;
    return true;
}

static bool count_machine(void *arg, const struct vim_machine *m, struct err *err)
{
    (void)err;
    assert_int_equal(m->disk_count, 1);
    assert_string_equal(m->nics[0].network, "DC0_DVPG0"); /* a port group's name */
    assert_string_equal(m->folder_path, "DC0/vm");
    ((struct totals *)arg)->machines++;
    return true;
}

static void test_inventory(void **state)
{
    (void)state;
    struct totals totals = {0};
    struct vim_visitor visitor = {&totals,         count_place,   count_host,
                                  count_datastore, count_network, count_machine};
    OK(vim_inventory_walk(vim, &visitor, NULL, &error));
    assert_int_equal(totals.places, 7);
    assert_int_equal(totals.hosts, 4);
    assert_int_equal(totals.datastores, 1);
    assert_int_equal(totals.networks, 3);
    assert_int_equal(totals.machines, 4);
}

static void test_machine(void **state)
{
    (void)state;
    assert_int_equal(machine->power, VIM_POWER_ON);
    assert_int_equal(machine->disk_count, 1);
    assert_string_equal(machine->nics[0].network, "DC0_DVPG0");
    struct vim_ref found;
    OK(vim_machine_find(vim, VIM_FIND_INSTANCE_UUID, machine->instance_uuid, NULL, &found,
                        &error));
    assert_true(vim_ref_equal(&found, &vm));
    OK(vim_machine_find(vim, VIM_FIND_UUID, machine->uuid, NULL, &found, &error));
    assert_true(vim_ref_equal(&found, &vm));
    FAILS(FAIL_GONE, vim_machine_find(vim, VIM_FIND_UUID, "none", NULL, &found, &error));
}

/* A guest's write, as vcsim-cbt takes it. */
static void guest_write(const char *offset)
{
    struct http_endpoint_options options = {.url = vcsim_url(vcsim), .pin = pin};
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&options, &error);
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "/_sim/write?vm=%s&key=%d&off=%s", machine->name,
               machine->disks[0].key, offset);
    char data[512];
    memset(data, 'x', sizeof data);
    struct http_request request = {.method = "POST",
                                   .path = buf_text(&path),
                                   .body = data,
                                   .body_bytes = sizeof data};
    AUTO(http_answer_release) struct http_answer answer = {0};
    OK(http_exchange(endpoint, &request, &answer, &error));
    if (answer.status / 100 != 2)
        fail_msg("write: %u %s", answer.status, buf_text(&answer.body));
}

static void test_changes_between_snapshots(void **state)
{
    (void)state;
    if (!vcsim_has_tracking(vcsim))
        skip();
    OK(vim_cbt_set(vim, &vm, true, NULL, &error));
    struct vim_snapshot_spec spec = {.name = "kedge <1> \"\xc3\xa9\""};
    struct vim_ref first;
    OK(vim_snapshot_create(vim, &vm, &spec, NULL, &first, &error));
    AUTO(vim_disks_free)
    struct vim_disks *disks = vim_snapshot_disks(vim, &first, NULL, &error);
    assert_int_equal(disks->count, 1);
    assert_string_not_equal(disks->items[0].change_id, "");
    guest_write("0");
    guest_write("524288");
    OK(vim_snapshot_remove(vim, &first, NULL, &error));
    struct vim_ref second;
    OK(vim_snapshot_create(vim, &vm, &spec, NULL, &second, &error));
    struct vim_change_query query = {
        .vm = vm,
        .snapshot = second,
        .device_key = disks->items[0].key,
        .disk_bytes = disks->items[0].disk_bytes,
        .change_id = disks->items[0].change_id,
    };
    AUTO(extents_release) struct extents set = {0};
    OK(vim_changed_extents(vim, &query, NULL, &set, &error));
    assert_true(extents_contain(&set, 0, 512));
    assert_true(extents_contain(&set, 524288, 524800));
    assert_true(extents_total_bytes(&set) < disks->items[0].disk_bytes);
    query.change_id = "00 00/1";
    FAILS(FAIL_CORRUPT, vim_changed_extents(vim, &query, NULL, &set, &error));
    OK(vim_snapshot_remove(vim, &second, NULL, &error));
    FAILS(FAIL_GONE, vim_snapshot_remove(vim, &second, NULL, &error));
    OK(vim_consolidate(vim, &vm, NULL, &error));
}

static void test_power(void **state)
{
    (void)state;
    OK(vim_power_off(vim, &vm, NULL, &error));
    OK(vim_power_off(vim, &vm, NULL, &error));
    FAILS(FAIL_CONFLICT, vim_guest_shutdown(vim, &vm, NULL, &error));
    OK(vim_power_on(vim, &vm, NULL, &error));
    OK(vim_guest_shutdown(vim, &vm, NULL, &error));
    struct vim_wait wait = {.deadline_ms = 20000};
    OK(vim_power_wait(vim, &vm, VIM_POWER_OFF, &wait, &error));
    OK(vim_power_on(vim, &vm, NULL, &error));
}

static void test_a_disk_comes_and_goes(void **state)
{
    (void)state;
    struct vim_attach attach = {.file_name = machine->disks[0].file_name,
                                .controller_key = machine->disks[0].controller_key,
                                .unit = 5};
    int32_t key = 0;
    OK(vim_disk_attach(vim, &vm, &attach, NULL, &key, &error));
    assert_int_not_equal(key, machine->disks[0].key);
    OK(vim_disk_detach(vim, &vm, key, NULL, &error));
}

static void test_what_it_does_not_offer(void **state)
{
    (void)state;
    struct vim_ticket ticket;
    FAILS(FAIL_CONFLICT, vim_nfc_ticket(vim, &vm, NULL, &ticket, &error));
    uint32_t version = 9;
    OK(vim_nfc_lib_version(vim, &machine->host, NULL, &version, &error));
    assert_int_equal(version, 0);
    static const char *const ids[] = {"VirtualMachine.State.CreateSnapshot"};
    struct vim_privilege_ask ask = {.entity = vm, .ids = ids, .id_count = 1};
    bool has = false;
    OK(vim_privileges_check(vim, &ask, NULL, &has, &error));
    assert_true(has);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_password),
        cmocka_unit_test(test_inventory),
        cmocka_unit_test(test_machine),
        cmocka_unit_test(test_changes_between_snapshots),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_a_disk_comes_and_goes),
        cmocka_unit_test(test_what_it_does_not_offer),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
