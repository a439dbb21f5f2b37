/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every request that the client can make, as it went over the wire, validates against the
 * published vim25 schema. The simulator records what it is sent; xmllint judges. Skipped
 * without KEDGE_VIM25_SCHEMA (the folder of the schema, which nobody may hand on) or
 * xmllint. The NFC methods are in no published schema and are left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/process.h"
#include "support/vsphere_sim.h"
#include "vsphere/vim_access.h"
#include "vsphere/vim_change.h"
#include "vsphere/vim_inventory.h"
#include "vsphere/vim_snapshot.h"
#include "vsphere/vim_soap.h"

#include <dirent.h>
#include <unistd.h>

static char record_dir[] = "/tmp/kedge-soap-XXXXXX";
static struct err error;

#define OK(call)                                                                         \
    do {                                                                                 \
        err_clear(&error);                                                               \
        if (!(call))                                                                     \
            fail_msg("%s: %s", #call, error.text);                                       \
    } while (0)

static bool pass_machine(void *arg, const struct vim_machine *m, struct err *err)
{
    (void)err;
    *(struct vim_ref *)arg = m->ref;
    return true;
}

static void ask_about_machine(struct vim *vim, const struct vim_machine *m)
{
    struct vim_ref found;
    OK(vim_machine_find(vim, VIM_FIND_UUID, m->uuid, NULL, &found, &error));
    static const char *const ids[] = {"System.View", "Datastore.Browse"};
    struct vim_privilege_ask ask = {.entity = m->ref, .ids = ids, .id_count = 2};
    bool has[2];
    OK(vim_privileges_check(vim, &ask, NULL, has, &error));
    struct vim_http_ticket http = {0};
    OK(vim_http_ticket(vim, "httpGet", "https://h/folder/a?b&c", NULL, &http, &error));
    vim_http_ticket_release(&http);
    OK(vim_keep_alive(vim, 0, NULL, &error));
    AUTO(vim_host_free) struct vim_host *host = vim_host_get(vim, &m->host, NULL, &error);
    assert_non_null(host);
}

static void change_machine(struct vim *vim, const struct vim_machine *m)
{
    OK(vim_cbt_set(vim, &m->ref, true, NULL, &error));
    struct vim_ref snapshot;
    struct vim_wait wait = {0};
    struct vim_snapshot_spec spec = {.name = "a<b>&\"c", .description = "d"};
    OK(vim_snapshot_create(vim, &m->ref, &spec, &wait, &snapshot, &error));
    if (!vim_task_cancel(vim, &wait.task, NULL, &error)) /* it has ended */
        assert_int_not_equal(error.kind, FAIL_BUG);
    struct vim_change_query query = {
        .vm = m->ref,
        .snapshot = snapshot,
        .device_key = m->disks[0].key,
        .disk_bytes = m->disks[0].disk_bytes,
        .change_id = VIM_CHANGE_ALL,
    };
    struct extents set = {0};
    if (!vim_changed_extents(vim, &query, NULL, &set, &error)) /* no tracking yet */
        assert_int_equal(error.kind, FAIL_CORRUPT);
    extents_release(&set);
    OK(vim_snapshot_remove(vim, &snapshot, NULL, &error));
    spec.is_quiesced = true;
    spec.quiesce_timeout_min = 15;
    OK(vim_snapshot_create(vim, &m->ref, &spec, NULL, &snapshot, &error));
    OK(vim_snapshot_remove(vim, &snapshot, NULL, &error));
    OK(vim_consolidate(vim, &m->ref, NULL, &error));
    struct vim_attach attach = {.file_name = m->disks[0].file_name,
                                .controller_key = m->disks[0].controller_key,
                                .unit = 9};
    int32_t key = 0;
    if (vim_disk_attach(vim, &m->ref, &attach, NULL, &key, &error))
        OK(vim_disk_detach(vim, &m->ref, key, NULL, &error));
    OK(vim_power_off(vim, &m->ref, NULL, &error));
    OK(vim_power_on(vim, &m->ref, NULL, &error));
    OK(vim_guest_shutdown(vim, &m->ref, NULL, &error));
}

static void call_everything(void)
{
    char config[512];
    (void)snprintf(config, sizeof config,
                   "{\"record_dir\": \"%s\", \"vms\": [{\"name\": \"web\", "
                   "\"disks\": [{\"size_mib\": 16}]}]}",
                   record_dir);
    struct vsphere_sim *sim = vsphere_sim_start(config);
    struct vim *vim = vsphere_sim_login(sim);
    struct vim_ref ref = {0};
    struct vim_visitor visitor = {.arg = &ref, .machine = pass_machine};
    OK(vim_inventory_walk(vim, &visitor, NULL, &error));
    AUTO(vim_machine_free)
    struct vim_machine *m = vim_machine_get(vim, &ref, NULL, &error);
    assert_non_null(m);
    ask_about_machine(vim, m);
    change_machine(vim, m);
    vim_close(vim);
    vsphere_sim_stop(sim);
}

/* What this simulator gives no reason to ask. */
static void write_request(const struct wire_type *type, const void *args)
{
    AUTO(buf_release) struct buf envelope = {0};
    AUTO(buf_release) struct buf name = {0};
    buf_printf(&name, "00000-%s-request.xml", type->name);
    OK(vim_soap_write(type, args, &envelope, &error));
    AUTO(free) char *path = file_join(record_dir, buf_text(&name));
    OK(file_write_durable(path, envelope.data, envelope.bytes, 0600, &error));
}

static void write_unasked(void)
{
    static const struct vim_ref vm = {"VirtualMachine", "vm-1"};
    struct wire_ContinueRetrievePropertiesEx next = {._this = {"PropertyCollector", "p"},
                                                     .token = "1"};
    write_request(wire_type_ContinueRetrievePropertiesEx(), &next);
    struct wire_FindByUuid find = {._this = {"SearchIndex", "s"},
                                   .uuid = "u",
                                   .vmSearch = WIRE_TRUE,
                                   .instanceUuid = WIRE_FALSE};
    write_request(wire_type_FindByUuid(), &find);
    struct wire_FetchUserPrivilegeOnEntities fetch = {
        ._this = {"AuthorizationManager", "a"}, .entities = {&vm, 1}, .userName = "u"};
    write_request(wire_type_FetchUserPrivilegeOnEntities(), &fetch);
}

/* Appends the paths of the recorded requests; NFC's are in no schema. */
static size_t find_requests(const char *paths[], size_t max, struct buf *names)
{
    DIR *dir = opendir(record_dir);
    size_t count = 0;
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (!strstr(entry->d_name, "-request.xml") || strstr(entry->d_name, "-Nfc") ||
            strstr(entry->d_name, "-RetrieveInternalContent-"))
            continue;
        assert_true(count < max);
        paths[count++] = file_join(record_dir, entry->d_name);
        buf_printf(names, "%s ", entry->d_name);
    }
    (void)closedir(dir);
    return count;
}

static void test_requests_validate(void **state)
{
    (void)state;
    static const char *const methods[] = {
        "AcquireGenericServiceTicket",
        "CancelTask",
        "ConsolidateVMDisks_Task",
        "ContinueRetrievePropertiesEx",
        "CreateContainerView",
        "CreateFilter",
        "CreatePropertyCollector",
        "CreateSnapshotEx_Task",
        "CreateSnapshot_Task",
        "CurrentTime",
        "DestroyPropertyCollector",
        "DestroyView",
        "FindAllByUuid",
        "FindByUuid",
        "FetchUserPrivilegeOnEntities",
        "HasPrivilegeOnEntities",
        "Login",
        "Logout",
        "PowerOffVM_Task",
        "PowerOnVM_Task",
        "QueryChangedDiskAreas",
        "ReconfigVM_Task",
        "RemoveSnapshot_Task",
        "RetrievePropertiesEx",
        "RetrieveServiceContent",
        "ShutdownGuest",
        "WaitForUpdatesEx",
    };
    AUTO(free)
    char *schema = file_join(getenv("KEDGE_VIM25_SCHEMA"), "soap-envelope-vim25.xsd");
    const char *paths[512] = {"xmllint", "--noout", "--schema", schema};
    AUTO(buf_release) struct buf names = {0};
    call_everything();
    write_unasked();
    size_t count = find_requests(paths + 4, ARRAY_COUNT(paths) - 5, &names);
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "-%s-request.xml", methods[i]);
        if (!strstr(buf_text(&names), name))
            fail_msg("no request of %s in %s", methods[i], buf_text(&names));
    }
    bool ok = process_run(paths, 120000, NULL, NULL, &error);
    for (size_t i = 0; i < count; i++)
        free((void *)paths[4 + i]);
    if (!ok)
        fail_msg("%s", error.text);
}

int main(void)
{
    const char *const xmllint[] = {"xmllint", "--version", NULL};
    if (!getenv("KEDGE_VIM25_SCHEMA") ||
        !process_run(xmllint, 10000, NULL, NULL, &error)) {
        (void)fprintf(stderr, "SKIP: needs KEDGE_VIM25_SCHEMA and xmllint\n");
        return 77;
    }
    if (!mkdtemp(record_dir))
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests_validate)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0 && !file_remove_tree(record_dir, &error))
        return 1;
    return failed;
}
