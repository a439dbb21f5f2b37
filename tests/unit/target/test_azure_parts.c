/* SPDX-License-Identifier: Apache-2.0 */
/* Names, sizes, settings, layouts and subnets of the azure target: all that needs nobody
 * else. */
#include "check_target.h"

#include "base/text.h"
#include "target/azure_names.h"
#include "target/azure_target.h"

static void test_names(void **unused)
{
    (void)unused;
    static const char *const CASES[][2] = {
        {"web1", "web1"}, {"web_1.lab", "web-1-lab"}, {"-x-", "x"}, {"___", "vm"},
        {"", "vm"},       {"a..b", "a--b"},           {"0", "0"},
    };
    char name[AZURE_NAME_BYTES], part[AZURE_NAME_BYTES], long_name[200];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        azure_name_clean(CASES[i][0], name);
        assert_string_equal(name, CASES[i][1]);
        assert_ok(azure_name_check(name, &err), err);
    }
    memset(long_name, 'n', sizeof long_name);
    long_name[199] = 0;
    azure_name_clean(long_name, name);
    assert_int_equal(strlen(name), AZURE_VM_NAME_MAX);
    azure_name_test(long_name, "t_1", name);
    assert_int_equal(strlen(name), AZURE_VM_NAME_MAX);
    assert_true(text_ends_with(name, "n-t-1"));
    azure_name_test(long_name, long_name, name);
    assert_ok(azure_name_check(name, &err), err);
    azure_name_part(name, "disk", 59, part);
    assert_true(strlen(part) <= 80);
    assert_fails(azure_name_check("a.b", &err), FAIL_INPUT, err);
    assert_fails(azure_name_check("", &err), FAIL_INPUT, err);
    assert_fails(azure_name_check(long_name, &err), FAIL_INPUT, err);
}

static void test_sizes(void **unused)
{
    (void)unused;
    char why[AZURE_WHY_BYTES];
    const struct azure_size fits = {.name = "S2",
                                    .cpus = 2,
                                    .max_data_disks = 4,
                                    .max_nics = 2,
                                    .memory_bytes = 8 * GIB,
                                    .gen1 = true,
                                    .premium_disks = true,
                                    .restricted_zones = "2"};
    const struct azure_size_need need = {
        .cpus = 2, .data_disks = 4, .nics = 2, .memory_bytes = 8 * GIB, .zone = "1"};
    azure_size_why_not(&fits, &need, why);
    assert_string_equal(why, "");
    struct azure_size_need more[8];
    for (size_t i = 0; i < ARRAY_COUNT(more); i++)
        more[i] = need;
    more[0].cpus++;
    more[1].data_disks++;
    more[2].nics++;
    more[3].memory_bytes++;
    more[4].is_gen2 = true;
    more[5].zone = "2";
    static const char *const WORDS[] = {"cores",  "data disks", "network cards",
                                        "memory", "UEFI",       "zone 2"};
    for (size_t i = 0; i < ARRAY_COUNT(WORDS); i++) {
        azure_size_why_not(&fits, &more[i], why);
        assert_non_null(strstr(why, WORDS[i]));
    }
    struct azure_size other = fits;
    other.is_restricted = true;
    azure_size_why_not(&other, &need, why);
    assert_non_null(strstr(why, "not offered"));
    other = fits;
    other.premium_disks = false;
    more[6].premium_disks = true;
    azure_size_why_not(&other, &more[6], why);
    assert_non_null(strstr(why, "premium"));
    other = fits;
    other.cpus = 4;
    other.memory_bytes = GIB;
    assert_true(azure_size_is_smaller(&fits, &other));
    other.cpus = 2;
    assert_true(azure_size_is_smaller(&other, &fits));
    assert_false(azure_size_is_smaller(&fits, &fits));
}

static void test_subnets(void **unused)
{
    (void)unused;
    static const char *const NAMES[] = {"GatewaySubnet", "web", "AzureBastionSubnet",
                                        "Apps"};
    assert_string_equal(azure_subnet_pick("WEB", NAMES, 4), "web");
    assert_string_equal(azure_subnet_pick("front", NAMES, 4), "Apps");
    assert_string_equal(azure_subnet_pick("x", NAMES, 2), "web");
    assert_null(azure_subnet_pick("x", NAMES, 1));
    assert_null(azure_subnet_pick("x", NAMES, 0));
}

static const struct target_azure_options OPTIONS = {
    .name = "cloud", .subnet = "default", .test_subnet = "lab"};

static bool parse(const char *text, struct azure_wish *ret, struct err *err)
{
    struct machine_def machine;
    make_machine(&machine, 2, MIB);
    (void)snprintf(machine.name, sizeof machine.name, "m_1");
    memset(ret, 0, sizeof *ret);
    return azure_wish_parse(&OPTIONS, &machine, text, text ? strlen(text) : 0, ret, err);
}

static void test_settings(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    AUTO(free) struct azure_wish *wish = xcalloc(1, sizeof *wish);
    assert_ok(parse(NULL, wish, &err), err);
    assert_string_equal(wish->vm_name, "m-1");
    assert_string_equal(wish->os_type, "Linux");
    assert_string_equal(wish->disks[1].sku, "StandardSSD_LRS");
    assert_string_equal(wish->nics[0].subnet, "default");
    assert_ok(parse("{\"other\": {\"vm_name\": \"x\"}}", wish, &err), err);
    assert_string_equal(wish->vm_name, "m-1");
    assert_ok(parse("{\"m_1\": {\"vm_name\": \"db\", \"zone\": \"3\", \"tags\": {\"a\": "
                    "\"\", \"A\": \"2\"}, \"nics\": [{\"test_ip\": \"10.9.0.7\"}], "
                    "\"disks\": [{}, {\"replica\": \"upload\", \"sku\": "
                    "\"Premium_LRS\"}]}}",
                    wish, &err),
              err);
    assert_string_equal(wish->vm_name, "db");
    assert_string_equal(wish->zone, "3");
    assert_int_equal(wish->tag_count, 1);
    assert_string_equal(wish->tags[0].value, "2");
    assert_string_equal(wish->nics[0].test_ip, "10.9.0.7");
    assert_string_equal(wish->nics[0].test_subnet, "lab");
    assert_int_equal(wish->disks[0].replica, AZURE_WISH_AUTO);
    assert_int_equal(wish->disks[1].replica, AZURE_WISH_UPLOAD);
    assert_string_equal(wish->disks[0].sku, "StandardSSD_LRS");
    assert_string_equal(wish->disks[1].sku, "Premium_LRS");
}

/* Each mistake is named, with the machine. */
static void test_bad_settings(void **unused)
{
    (void)unused;
    static const char *const CASES[][2] = {
        {"[]", "object of machines"},
        {"{", "settings"},
        {"{\"m_1\": 7}", "must be an object"},
        {"{\"m_1\": {\"size\": \"x\"}}", "size"},
        {"{\"m_1\": {\"vm_name\": \"a b\"}}", "write 'a-b'"},
        {"{\"m_1\": {\"vm_size\": \"a/../b\"}}", "Standard_D4s_v5"},
        {"{\"m_1\": {\"os_type\": \"DOS\"}}", "Linux, Windows"},
        {"{\"m_1\": {\"zone\": \"12\"}}", "zones are 1, 2 and 3"},
        {"{\"m_1\": {\"nics\": [{}, {}]}}", "'nics' has 2 entries"},
        {"{\"m_1\": {\"nics\": [{\"ip\": \"10.0.0\"}]}}", "no IPv4 address"},
        {"{\"m_1\": {\"nics\": [{\"subnet\": \"/subscriptions/x\"}]}}", "name alone"},
        {"{\"m_1\": {\"nics\": [4]}}", "entry 1 of 'nics'"},
        {"{\"m_1\": {\"disks\": [{}, {\"sku\": \"Gold\"}]}}", "entry 2 of 'disks'"},
        {"{\"m_1\": {\"disks\": [{\"replica\": \"tape\"}]}}", "page-blob"},
        {"{\"m_1\": {\"tags\": {\"kedge-role\": \"x\"}}}", "our own"},
        {"{\"m_1\": {\"tags\": {\"a/b\": \"x\"}}}", "no name of a tag"},
        {"{\"m_1\": {\"tags\": {\"a\": 1}}}", "must be a text"},
    };
    AUTO(free) struct azure_wish *wish = xcalloc(1, sizeof *wish);
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct err err = ERR_INIT;
        if (parse(CASES[i][0], wish, &err))
            fail_msg("%s is taken", CASES[i][0]);
        if (!strstr(err.text, CASES[i][1]))
            fail_msg("%s: '%s' does not say '%s'", CASES[i][0], err.text, CASES[i][1]);
    }
}

static void test_kinds(void **unused)
{
    (void)unused;
    static const struct {
        uint64_t disk_bytes;
        enum azure_replica_wish wish;
        bool ok;
        enum azure_kind kind;
    } CASES[] = {
        {MIB, AZURE_WISH_AUTO, true, AZURE_PAGE_BLOB},
        {8 * TIB - MIB, AZURE_WISH_AUTO, true, AZURE_PAGE_BLOB},
        {8 * TIB - MIB + 512, AZURE_WISH_AUTO, true, AZURE_UPLOAD},
        {8 * TIB, AZURE_WISH_PAGE_BLOB, false, AZURE_PAGE_BLOB},
        {32 * TIB - GIB, AZURE_WISH_AUTO, true, AZURE_UPLOAD},
        {33 * TIB, AZURE_WISH_AUTO, false, AZURE_UPLOAD},
        {GIB, AZURE_WISH_UPLOAD, true, AZURE_UPLOAD},
        {MIB, AZURE_WISH_UPLOAD, false, AZURE_UPLOAD},
        {20 * MIB, AZURE_WISH_UPLOAD, true, AZURE_UPLOAD},
    };
    struct machine_def machine;
    AUTO(free) struct azure_wish *wish = xcalloc(1, sizeof *wish);
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct err err = ERR_INIT;
        enum azure_kind kind;
        make_machine(&machine, 1, CASES[i].disk_bytes);
        wish->disks[0].replica = CASES[i].wish;
        bool ok = azure_choose_kind(wish, &machine, 0, &kind, &err);
        if (ok != CASES[i].ok || (ok && kind != CASES[i].kind))
            fail_msg("case %zu: %s", i, ok ? "other kind" : err.text);
        if (!ok)
            assert_int_equal(err.kind, FAIL_LIMIT);
    }
}

static void test_layout(void **unused)
{
    (void)unused;
    struct machine_def machine;
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    AUTO(buf_release) struct buf again = {0};
    make_machine(&machine, 2, MIB);
    AUTO(azure_layout_free) struct azure_layout *layout = azure_layout_new(&machine);
    layout->disks[1].kind = AZURE_UPLOAD;
    layout->disks[1].is_sealed = layout->disks[0].is_made = true;
    layout->disks[0].resize_to_bytes = 3 * MIB;
    (void)snprintf(layout->disks[1].upload_id, ARM_ID_BYTES, "/subscriptions/s/d");
    layout->test_count = 1;
    (void)snprintf(layout->tests[0].test, MACHINE_NAME_BYTES, "t1");
    (void)snprintf(layout->tests[0].snapshots[0], PAGE_SNAPSHOT_BYTES, "2026-11-22T10");
    layout->tests[0].stage = AZURE_FROZEN;
    layout->tests[0].nic_count = 1;
    layout->has_vm = true;
    layout->vm.stage = AZURE_RUNS;
    azure_layout_print(layout, &text);
    AUTO(azure_layout_free)
    struct azure_layout *back = azure_layout_parse(buf_text(&text), text.bytes, &err);
    if (!back)
        fail_msg("%s", err.text);
    azure_layout_print(back, &again);
    assert_string_equal(buf_text(&text), buf_text(&again));
    assert_int_equal(back->disks[0].resize_to_bytes, 3 * MIB);
    assert_true(azure_layout_is_migrated(back));
    assert_non_null(azure_layout_test(back, "t1"));
    azure_layout_drop_set(back, azure_layout_test(back, "t1"));
    assert_int_equal(back->test_count, 0);
    /* Cut anywhere, or with a word changed, it is refused and not guessed at. */
    for (size_t cut = 0; cut + 2 < text.bytes; cut += 7)
        assert_fails((azure_layout_free(azure_layout_parse(buf_text(&text), cut, &err)),
                      err.kind == FAIL_NONE),
                     FAIL_CORRUPT, err);
    static const char *const WORDS[] = {"\"upload\"", "\"runs\"", "\"version\": 1",
                                        "\"test\": \"t1\"", "\"disk_bytes\": 1048576"};
    for (size_t i = 0; i < ARRAY_COUNT(WORDS); i++) {
        AUTO(free) char *bad = xstrdup(buf_text(&text));
        char *at = strstr(bad, WORDS[i]);
        assert_non_null(at);
        at[strlen(WORDS[i]) - 2] = '/';
        assert_fails((azure_layout_free(azure_layout_parse(bad, text.bytes, &err)),
                      err.kind == FAIL_NONE),
                     FAIL_CORRUPT, err);
    }
}

static void test_options(void **unused)
{
    (void)unused;
    struct err err = ERR_INIT;
    struct target *target = NULL;
    struct target_azure_options good = {
        .name = "cloud",
        .subscription = "22222222-2222-2222-2222-222222222222",
        .resource_group = "rg",
        .location = "westeurope",
        .credential_file = "/nowhere.json",
        .replica_container = "https://acc.blob.core.windows.net/replicas",
        .replica_credential_file = "/nowhere.json",
        .storage_account_id = "/subscriptions/22222222-2222-2222-2222-222222222222/"
                              "resourceGroups/g/providers/"
                              "Microsoft.Storage/storageAccounts/acc",
        .network_id = "/subscriptions/22222222-2222-2222-2222-222222222222/"
                      "resourceGroups/g/providers/Microsoft.Network/"
                      "virtualNetworks/v",
        .subnet = "default",
        .evidence_dir = "/nowhere",
    };
    struct target_azure_options bad[8];
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        bad[i] = good;
    bad[0].location = "";
    bad[1].network_id = good.storage_account_id;
    bad[2].license_type = "Free";
    bad[3].zone = "1";
    bad[3].availability_set_id =
        "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/g/providers/"
        "Microsoft.Compute/availabilitySets/a";
    bad[4].disk_sku = "Gold";
    bad[5].replica = "tape";
    bad[6].storage_account_id = NULL;
    bad[7].replica_container = "ftp://x";
    static const char *const WORDS[] = {
        "location", "network_id", "license_type",       "exclude",
        "disk_sku", "replica",    "storage_account_id", "container"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        if (target_azure_open(&bad[i], &target, &err))
            fail_msg("case %zu is taken", i);
        assert_int_equal(err.kind, FAIL_INPUT);
        if (!strstr(err.text, WORDS[i]))
            fail_msg("'%s' does not name '%s'", err.text, WORDS[i]);
        err_clear(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_subnets),      cmocka_unit_test(test_settings),
        cmocka_unit_test(test_bad_settings), cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_layout),       cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
