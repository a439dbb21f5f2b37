/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, names, and which URLs are our own: all pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/arm_impl.h"

#define SUB   "11111111-2222-3333-4444-555555555555"
#define GROUP "/subscriptions/" SUB "/resourceGroups/g"
#define NET   "Microsoft.Network/virtualNetworks"

static void assert_id(const char *group, const char *type, const char *name,
                      const char *wanted)
{
    static const struct arm ARM = {.subscription = SUB};
    char id[ARM_ID_BYTES];
    struct err err = ERR_INIT;
    if (!arm_id(&ARM, group, type, name, id, &err)) {
        if (wanted || err.kind != FAIL_INPUT)
            fail_msg("%s", err.text);
        return;
    }
    if (!wanted)
        fail_msg("taken: %s", id);
    assert_string_equal(id, wanted);
}

static void ids_are_built(void **state)
{
    (void)state;
    assert_id("g", "Microsoft.Compute/disks", "d_1-x",
              GROUP "/providers/Microsoft.Compute/disks/d_1-x");
    assert_id("-a.(b)_", "Microsoft.Compute/virtualMachines", "vm.one_two-3",
              "/subscriptions/" SUB "/resourceGroups/-a.(b)_/providers/Microsoft.Compute/"
              "virtualMachines/vm.one_two-3");
    /* what we have no rule for is the service's to judge */
    assert_id("g", "Microsoft.Compute/images", "any thing",
              GROUP "/providers/Microsoft.Compute/images/any thing");
}

static void names_that_break_rules(void **state)
{
    (void)state;
    char long_name[500];
    memset(long_name, 'a', sizeof long_name);
    long_name[81] = 0;
    assert_id("g", "Microsoft.Compute/disks", long_name, NULL);
    assert_id("g", "Microsoft.Compute/disks", "", NULL);
    assert_id("g", "Microsoft.Compute/disks", "a.b", NULL);
    assert_id("g", "Microsoft.Compute/disks", "a/b", NULL);
    assert_id("g", "microsoft.compute/DISKS", "a.b", NULL);
    assert_id("g", "Microsoft.Compute/disks", "-a", NULL);
    assert_id("g", "Microsoft.Compute/disks", "d\xc3\xa4", NULL);
    assert_id("g", "Microsoft.Compute/snapshots", "a b", NULL);
    assert_id("g", "Microsoft.Network/networkInterfaces", "nic-", NULL);
    assert_id("g", "Microsoft.Network/networkInterfaces", "nic.", NULL);
    assert_id("g", "Microsoft.Compute/virtualMachines", "vm.", NULL);
    assert_id("g", "Microsoft.Compute/virtualMachines", "_vm", NULL);
    long_name[65] = 0;
    assert_id("g", "Microsoft.Compute/virtualMachines", long_name, NULL);
    assert_id("g", "Microsoft.Storage/storageAccounts", "Abc", NULL);
    assert_id("g", "Microsoft.Storage/storageAccounts", "ab", NULL);
    assert_id("g.", "Microsoft.Compute/disks", "d", NULL);
    assert_id("", "Microsoft.Compute/disks", "d", NULL);
    assert_id("a/../b", "Microsoft.Compute/disks", "d", NULL);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_id("g", "Microsoft.Compute/images", long_name, NULL); /* too long an id */
}

static void assert_checked(const char *id, const char *type, bool wanted)
{
    struct err err = ERR_INIT;
    bool ok = arm_id_check(id, type, &err);
    if (ok != wanted || (!ok && err.kind != FAIL_INPUT))
        fail_msg("'%s' of %s: %s", id, type, ok ? "taken" : err.text);
}

static void ids_of_users(void **state)
{
    (void)state;
    assert_checked(GROUP "/providers/" NET "/v", NET, true);
    assert_checked("/SUBSCRIPTIONS/" SUB "/resourcegroups/g/PROVIDERS/microsoft.network/"
                   "VIRTUALNETWORKS/v",
                   NET, true);
    assert_checked(GROUP "/providers/" NET "/v/subnets/default", NET "/subnets", true);
    assert_checked(GROUP "/providers/" NET "/v/subnets/default", NET, false);
    assert_checked(GROUP "/providers/" NET "/v", NET "/subnets", false);
    assert_checked(GROUP "/providers/Microsoft.Network/networkSecurityGroups/v", NET,
                   false);
    assert_checked("v", NET, false);
    assert_checked("", NET, false);
    assert_checked("/", NET, false);
    assert_checked(GROUP, NET, false);
    assert_checked(GROUP "/providers/" NET "/", NET, false);
    assert_checked(GROUP "/providers/" NET "//", NET, false);
    assert_checked(GROUP "/providers/" NET "/v/", NET, false);
    assert_checked(GROUP "/providers/" NET "/..", NET, false);
    assert_checked(GROUP "/providers/" NET "/v?x=1", NET, false);
    assert_checked(GROUP "/providers/" NET "/v#", NET, false);
    assert_checked(GROUP "/providers/" NET "/a%2fb", NET, false);
    assert_checked(GROUP "/providers/" NET "/a\nb", NET, false);
    assert_checked("/subscriptions/mine/resourceGroups/g/providers/" NET "/v", NET,
                   false);
    assert_checked("/subscriptions/" SUB "/resourceGroups//providers/" NET "/v", NET,
                   false);
    assert_checked("https://management.azure.com" GROUP "/providers/" NET "/v", NET,
                   false);
    char long_id[1000];
    (void)snprintf(long_id, sizeof long_id, GROUP "/providers/" NET "/%0900d", 1);
    assert_checked(long_id, NET, false);
}

static void parts_of_ids(void **state)
{
    (void)state;
    assert_string_equal(arm_id_name(GROUP "/providers/" NET "/v"), "v");
    assert_string_equal(arm_id_name("v"), "v");
    assert_true(arm_id_is_same("/a/B", "/A/b"));
    assert_false(arm_id_is_same("/a/b", "/a/b/"));
}

static void assert_path(const char *endpoint, const char *url, const char *wanted)
{
    const char *path = arm_own_path(endpoint, url);
    const char *got = path ? path : "refused";
    if (strcmp(got, wanted ? wanted : "refused") != 0)
        fail_msg("%s at %s: %s", url, endpoint, got);
}

static void only_our_own_urls(void **state)
{
    (void)state;
    const char *own = "https://management.azure.com";
    assert_path(own, "https://management.azure.com/a?b=c&d=%2F", "/a?b=c&d=%2F");
    assert_path(own, "https://MANAGEMENT.azure.com:443/a", "/a");
    assert_path("https://h:8443", "https://h:8443/a", "/a");
    assert_path(own, "http://management.azure.com/a", NULL);
    assert_path(own, "https://management.azure.com:8443/a", NULL);
    assert_path(own, "https://management.azure.com.evil.test/a", NULL);
    assert_path(own, "https://evil.test/management.azure.com/", NULL);
    assert_path(own, "https://management.azure.com@evil.test/a", NULL);
    assert_path(own, "https://evil.test#@management.azure.com/a", NULL);
    assert_path(own, "https://evil.test\\@management.azure.com/a", NULL);
    assert_path(own, "https://management.azure.com", NULL);
    assert_path(own, "https://management.azure.com?a", NULL);
    assert_path(own, "//management.azure.com/a", NULL);
    assert_path(own, "/a", NULL);
    assert_path(own, "", NULL);
    assert_path(own, "https:///a", NULL);
    assert_path(own, "https://management.azure.com/a b", NULL);
    assert_path(own, "https://management.azure.com/a\r\nX: y", NULL);
    assert_path(own, "https://management.azure.com/a#b", NULL);
    assert_path(own, "ftp://management.azure.com/a", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_built),     cmocka_unit_test(names_that_break_rules),
        cmocka_unit_test(ids_of_users),      cmocka_unit_test(parts_of_ids),
        cmocka_unit_test(only_our_own_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
