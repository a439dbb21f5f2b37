/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each call to Resource Manager goes wrong in turn: refused, its operation fails, the
 * answer is lost after it took effect. Each ends in success or in one error, and then in
 * nothing that is not known: what the simulator holds is compared.
 */
#include "azure_rig.h"

#define DISK_BYTES MIB

static struct rig rig;
static struct machine_def machine;

/* What goes wrong; %u: after so many calls that it could have hit. */
static const char *const FAULTS[] = {
    "{\"name\": \"operation.fails\", \"count\": 1, \"after\": %u, \"code\": "
    "\"QuotaExceeded\", \"message\": \"exceeding approved quota\"}",
    "{\"name\": \"http.lost_answer\", \"method\": \"PUT\", \"count\": 1, \"after\": %u}",
    "{\"name\": \"http.lost_answer\", \"method\": \"DELETE\", \"count\": 1, \"after\": "
    "%u}",
    "{\"name\": \"http.500\", \"method\": \"PATCH\", \"count\": 1, \"after\": %u}",
};

static unsigned struck(void)
{
    unsigned sum = 0;
    size_t i;
    json_t *one;
    AUTO(json_free) json_t *list = azure_sim_control(rig.sim, "GET", "/faults", NULL);
    json_array_foreach(list, i, one) sum +=
        (unsigned)json_integer_value(json_object_get(one, "struck"));
    return sum;
}

static void switch_on(const char *format, unsigned after)
{
    char body[300];
    (void)snprintf(body, sizeof body, format, after);
    azure_sim_do(rig.sim, "/faults", body);
}

static void all_off(void)
{
    json_free(azure_sim_control(rig.sim, "DELETE", "/faults", NULL));
}

static struct test_options quick(const char *name)
{
    return (struct test_options){
        .test_name = name, .start = true, .boot_deadline_ms = 30000};
}

static void create(const char *name)
{
    struct err err = ERR_INIT;
    make_machine(&machine, 1, DISK_BYTES);
    (void)snprintf(machine.name, sizeof machine.name, "%s", name);
    machine.disks[0].id = id_random();
    assert_ok(target_replica_create(rig.target, &machine, &err), err);
}

static void assert_only_replica(void)
{
    assert_int_equal(azure_sim_made(rig.sim), 0);
    assert_int_equal(rig_snapshots(&rig), 0);
    assert_int_equal(rig_blobs(&rig), 2);
    rig_check_inventory(&rig);
}

/* One test with clean-up, during which the fault may strike once. */
static void try_test(const char *format, unsigned after)
{
    struct err err = ERR_INIT;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = quick("t");
    switch_on(format, after);
    bool ok = target_test_start(rig.target, &machine, &options, NULL, info, &err);
    if (!ok && err.kind == FAIL_BUG)
        fail_msg("%s", err.text);
    err_clear(&err);
    rig_check_inventory(&rig);
    if (!target_test_cleanup(rig.target, &machine, "t", &err)) {
        err_clear(&err);
        rig_check_inventory(&rig);
        assert_ok(target_test_cleanup(rig.target, &machine, "t", &err), err);
    }
    all_off();
    assert_only_replica();
}

static void test_tests(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    create("m1");
    for (size_t i = 0; i < ARRAY_COUNT(FAULTS); i++)
        for (unsigned after = 0;; after++) {
            unsigned before = struck();
            try_test(FAULTS[i], after);
            if (struck() == before)
                break;
        }
    assert_ok(target_remove(rig.target, &machine, &err), err);
}

static bool note_migrated(void *ctx, const struct target_item *item, struct err *err)
{
    (void)err;
    *(bool *)ctx = item->is_migrated;
    return true;
}

/* A migration that failed is taken back as a whole, and the replica takes more. */
static void check_taken_back(void)
{
    struct err err = ERR_INIT;
    bool is_migrated = true;
    assert_ok(target_list(rig.target, note_migrated, &is_migrated, &err), err);
    rig_check_inventory(&rig);
    if (is_migrated)
        return; /* the VM could not be removed: it is known */
    rig_fill(&rig, &machine, 0, 4096, 9);
}

static void try_migrate(const char *format, unsigned after)
{
    struct err err = ERR_INIT;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = quick("");
    static unsigned number; /* the simulator keeps the bytes of disks by name */
    char name[32], disk[48];
    (void)snprintf(name, sizeof name, "m2-%u", number++);
    (void)snprintf(disk, sizeof disk, "%s-disk0", name);
    create(name);
    rig_fill(&rig, &machine, 0, 8192, 4);
    switch_on(format, after);
    bool ok = target_migrate(rig.target, &machine, &options, NULL, info, &err);
    if (!ok) {
        err_clear(&err);
        check_taken_back();
        assert_ok(target_migrate(rig.target, &machine, &options, NULL, info, &err), err);
        rig_check_content(&rig, disk, DISK_BYTES, 4096, 9);
    } else
        rig_check_content(&rig, disk, DISK_BYTES, 8192, 4);
    rig_check_inventory(&rig);
    for (int i = 0; !target_complete(rig.target, &machine, &err); i++) {
        if (i == 3)
            fail_msg("%s", err.text);
        err_clear(&err);
        rig_check_inventory(&rig);
    }
    all_off();
    assert_int_equal(rig_blobs(&rig), 0);
    assert_int_equal(rig_drop_released(&rig), 3);
    assert_int_equal(azure_sim_made(rig.sim), 0);
}

static void test_migrations(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_COUNT(FAULTS); i++)
        for (unsigned after = 0;; after++) {
            unsigned before = struck();
            try_migrate(FAULTS[i], after);
            if (struck() == before)
                break;
        }
}

/* What Azure says no to for good: one error, and nothing left. */
static void test_refusals(void **unused)
{
    (void)unused;
    static const struct {
        const char *path, *body, *undo_path, *undo_body, *word;
    } CASES[] = {
        {"/faults", "{\"name\": \"vm.not_available\"}", NULL, NULL, "SkuNotAvailable"},
        {"/faults", "{\"name\": \"vm.allocation_fails\"}", NULL, NULL,
         "AllocationFailed"},
        {"/settings", "{\"quotas\": {\"disks\": 0}}", "/settings",
         "{\"quotas\": {\"disks\": 100}}", "QuotaExceeded"},
        {"/resource",
         "{\"group\": \"rg-target\", \"type\": \"Microsoft.Network/networkInterfaces\", "
         "\"name\": \"m3-nic0\", \"body\": {}}",
         NULL, NULL, "m3-nic0"},
    };
    struct err err = ERR_INIT;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = quick("");
    create("m3");
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        azure_sim_do(rig.sim, CASES[i].path, CASES[i].body);
        if (target_migrate(rig.target, &machine, &options, NULL, info, &err))
            fail_msg("%s: migrated", CASES[i].word);
        if (!strstr(err.text, CASES[i].word))
            fail_msg("'%s' does not name %s", err.text, CASES[i].word);
        err_clear(&err);
        all_off();
        if (CASES[i].undo_path)
            azure_sim_do(rig.sim, CASES[i].undo_path, CASES[i].undo_body);
        assert_only_replica();
    }
    /* Somebody else's card is still there. */
    AUTO(json_free)
    json_t *all = azure_sim_control(rig.sim, "GET", "/inventory?all=1", NULL);
    AUTO(buf_release) struct buf text = {0};
    json_print(all, &text);
    assert_non_null(strstr(buf_text(&text), "m3-nic0"));
    assert_ok(target_remove(rig.target, &machine, &err), err);
}

/* Cut short by a crash: the next process finds the set in the layout. */
static void test_cut_short(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    struct test_options options = quick("");
    create("m4");
    rig_fill(&rig, &machine, 0, 8192, 4);
    for (int went_on = 0; went_on < 2; went_on++) {
        struct err why = ERR_INIT;
        AUTO(azure_layout_free)
        struct azure_layout *layout =
            azure_layout_read(rig.container, &machine.id, machine.name, &why);
        assert_non_null(layout);
        /* As of a process that died after it had named the parts: one exists. */
        layout->has_vm = true;
        layout->vm = (struct azure_set){.stage = AZURE_NAMED, .nic_count = 1};
        const char *group = "/subscriptions/%s/resourceGroups/rg-target/providers/%s/%s";
        const char *sub = azure_sim_subscription(rig.sim);
        (void)snprintf(layout->vm.vm_id, ARM_ID_BYTES, group, sub,
                       "Microsoft.Compute/virtualMachines", "m4");
        (void)snprintf(layout->vm.disk_ids[0], ARM_ID_BYTES, group, sub,
                       "Microsoft.Compute/disks", "m4-disk0");
        (void)snprintf(layout->vm.nic_ids[0], ARM_ID_BYTES, group, sub,
                       "Microsoft.Network/networkInterfaces", "m4-nic0");
        assert_ok(azure_layout_save(rig.container, layout, &why), why);
        rig_reopen(&rig);
        if (went_on == 0)
            assert_ok(target_remove(rig.target, &machine, &err), err);
        else {
            rig_fill(&rig, &machine, 0, 4096, 6); /* makes the set useless */
            assert_ok(target_migrate(rig.target, &machine, &options, NULL, info, &err),
                      err);
            rig_check_content(&rig, "m4-disk0", DISK_BYTES, 4096, 6);
            rig_check_inventory(&rig);
            assert_ok(target_complete(rig.target, &machine, &err), err);
            assert_int_equal(rig_drop_released(&rig), 3);
        }
        if (went_on == 0)
            create("m4");
    }
    assert_int_equal(rig_blobs(&rig), 0);
}

static int begin_all(void **state)
{
    (void)state;
    rig_begin(&rig);
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tests),
        cmocka_unit_test(test_migrations),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cut_short),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
