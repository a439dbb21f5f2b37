/* SPDX-License-Identifier: Apache-2.0 */
/* The plan out of the tables, and the tables themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "doctor/peering.h"

static json_t *plan_of(const char *cloud, const char *from, const char *to)
{
    struct err err = ERR_INIT;
    struct peering_request request = {
        .cloud = cloud, .source_region = from, .target_region = to};
    json_t *plan = peering_plan(&request, &err);
    if (!plan)
        fail_msg("%s", err.text);
    return plan;
}

static const char *community(const json_t *plan, const char *list, size_t i)
{
    const json_t *item = json_array_get(json_object_get(plan, list), i);
    return json_string_value(json_object_get(item, "community"));
}

static bool has_address(const json_t *plan, const char *address)
{
    const json_t *item;
    size_t i;
    json_array_foreach(json_object_get(plan, "internet"), i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "address")), address) == 0)
            return true;
    }
    return false;
}

static void the_route_filter_has_both_regions_and_entra(void **state)
{
    (void)state;
    AUTO(json_free) json_t *plan = plan_of("public", "eastus", "westeurope");
    assert_int_equal(json_array_size(json_object_get(plan, "communities")), 3);
    assert_string_equal(community(plan, "communities", 0), "12076:51004");
    assert_string_equal(community(plan, "communities", 1), "12076:51002");
    assert_string_equal(community(plan, "communities", 2), "12076:5060");
    assert_string_equal(community(plan, "storage_communities", 0), "12076:52004");
    assert_string_equal(community(plan, "storage_communities", 1), "12076:52002");
    assert_true(has_address(plan, "management.azure.com"));
    assert_false(has_address(plan, "management.usgovcloudapi.net"));
    assert_string_equal(json_string_value(json_object_get(plan, "appliance_json")),
                        "\"EnableProxyBypassList\": \"true\"");
}

static void the_government_cloud_has_its_own(void **state)
{
    (void)state;
    AUTO(json_free) json_t *plan = plan_of("usgov", "US Gov Virginia", "usgovarizona");
    assert_string_equal(community(plan, "communities", 0), "12076:51105");
    assert_string_equal(community(plan, "communities", 1), "12076:51106");
    assert_string_equal(community(plan, "communities", 2), "12076:5160");
    assert_true(has_address(plan, "management.usgovcloudapi.net"));
    assert_false(has_address(plan, "management.azure.com"));
    const json_t *rule = json_array_get(json_object_get(plan, "microsoft_peering"), 0);
    assert_string_equal(json_string_value(json_object_get(rule, "rule")),
                        ".*.blob.core.usgovcloudapi.net");
}

static void one_region_is_named_once(void **state)
{
    (void)state;
    AUTO(json_free) json_t *plan = plan_of("public", "East US 2", "EASTUS2");
    assert_int_equal(json_array_size(json_object_get(plan, "communities")), 2);
    assert_int_equal(json_array_size(json_object_get(plan, "storage_communities")), 1);
    AUTO(json_free) json_t *india = plan_of("public", "India South", "southindia");
    assert_string_equal(community(india, "communities", 0), "12076:51019");
}

/* The vendor's warning: the gateway account must not be caught. */
static void private_peering_bypasses_one_account_only(void **state)
{
    struct err err = ERR_INIT;
    struct peering_request request = {.cloud = "public",
                                      .source_region = "eastus",
                                      .target_region = "eastus",
                                      .log_account = "lsasite1"};
    (void)state;
    AUTO(json_free) json_t *plan = peering_plan(&request, &err);
    const json_t *rules = json_object_get(plan, "private_peering");
    assert_int_equal(json_array_size(rules), 1);
    assert_string_equal(json_string_value(json_array_get(rules, 0)),
                        "lsasite1.blob.core.windows.net");
}

static void assert_unknown(const char *cloud, const char *region, const char *part)
{
    struct err err = ERR_INIT;
    struct peering_request request = {
        .cloud = cloud, .source_region = region, .target_region = "eastus"};
    assert_null(peering_plan(&request, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    if (!strstr(err.text, part))
        fail_msg("'%s' is not in: %s", part, err.text);
}

static void an_unknown_region_gives_near_names(void **state)
{
    (void)state;
    assert_unknown("public", "eastus3", "near names are eastus, eastus2");
    assert_unknown("public", "east-usa", "eastus");
    assert_unknown("public", "usgovvirginia", "no BGP community is known"); /* cloud */
    assert_unknown("public", "", "routing requirements");
    assert_unknown("public", "%s%n", "routing requirements");
    assert_unknown("mars", "eastus", "known are public and usgov");
}

static const char *const COMMUNITIES[] = {
#define PEERING_SOURCE(page, date)
#define REGION(cloud, name, title, regional, storage) regional,
#define SERVICE(cloud, name, community)               community,
#define PEERED(cloud, domain, is_data)
#define INTERNET(cloud, address, is_optional)
#include "doctor/regions.def"
};

static void every_community_is_one_and_of_one_region(void **state)
{
    (void)state;
    assert_true(ARRAY_COUNT(COMMUNITIES) > 40);
    for (size_t i = 0; i < ARRAY_COUNT(COMMUNITIES); i++) {
        assert_int_equal(strncmp(COMMUNITIES[i], "12076:5", 7), 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(COMMUNITIES[i], COMMUNITIES[j]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_route_filter_has_both_regions_and_entra),
        cmocka_unit_test(the_government_cloud_has_its_own),
        cmocka_unit_test(one_region_is_named_once),
        cmocka_unit_test(private_peering_bypasses_one_account_only),
        cmocka_unit_test(an_unknown_region_gives_near_names),
        cmocka_unit_test(every_community_is_one_and_of_one_region),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
