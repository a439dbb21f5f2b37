/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop over QueryChangedDiskAreas against every page that a host was seen to give,
 * and some that none should. The server holds the true answer and how it tells it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "vim_script.h"
#include "vsphere/vim_change.h"

#define DISK_BYTES (16 * MIB)

struct pages {
    const char *const *xml; /* one for each question, or "fault:Type" */
    size_t count;
    atomic_size_t asked;
    uint64_t starts[64];
};

static bool answer_pages(struct vim_script *script, const char *method, const char *body,
                         struct served_reply *reply)
{
    struct pages *pages = script->arg;
    if (strcmp(method, "QueryChangedDiskAreas") != 0)
        return false;
    size_t at = atomic_fetch_add(&pages->asked, 1);
    const char *start = strstr(body, "<startOffset>");
    if (at < ARRAY_COUNT(pages->starts) && start)
        pages->starts[at] = strtoull(start + 13, NULL, 10);
    if (at >= pages->count) {
        vim_script_fault(reply, "SystemError", "asked too often");
        return true;
    }
    if (strncmp(pages->xml[at], "fault:", 6) == 0) {
        vim_script_fault(reply, pages->xml[at] + 6, "no");
        return true;
    }
    AUTO(buf_release) struct buf inner = {0};
    buf_printf(&inner, "<returnval>%s</returnval>", pages->xml[at]);
    vim_script_respond(reply, method, buf_text(&inner));
    return true;
}

struct change_case {
    const char *name;
    const char *const *xml;
    size_t count;
    enum err_kind kind;
    struct extent expected[4];
    size_t expected_count;
};

static void run_case(const struct change_case *test)
{
    struct pages pages = {.xml = test->xml, .count = test->count};
    struct vim_script script = {.answer = answer_pages, .arg = &pages};
    vim_script_start(&script);
    struct vim *vim = vim_script_login(&script);
    struct vim_change_query query = {
        .vm = {"VirtualMachine", "vm-1"},
        .snapshot = {"VirtualMachineSnapshot", "snapshot-1"},
        .device_key = 2000,
        .disk_bytes = DISK_BYTES,
        .change_id = "52 de/3",
    };
    AUTO(extents_release) struct extents set = {0};
    extents_add(&set, 1, 2); /* what was there before goes, on success only */
    struct err err = ERR_INIT;
    bool ok = vim_changed_extents(vim, &query, NULL, &set, &err);
    if (err.kind != test->kind)
        fail_msg("%s: %s", test->name, err.text);
    if (ok) {
        AUTO(extents_release) struct extents expected = {0};
        for (size_t i = 0; i < test->expected_count; i++)
            extents_add(&expected, test->expected[i].start_bytes,
                        test->expected[i].end_bytes);
        if (!extents_equal(&set, &expected))
            fail_msg("%s: other extents", test->name);
        assert_int_equal(atomic_load(&pages.asked), test->count);
    } else {
        assert_int_equal(set.count, 1);
        assert_non_null(strstr(err.text, "2000"));
    }
    for (size_t i = 0; i < pages.asked && i < ARRAY_COUNT(pages.starts); i++)
        assert_true(pages.starts[i] < DISK_BYTES); /* never at the capacity */
    vim_close(vim);
    vim_script_stop(&script);
}

#define PAGE(start, length, areas)                                                       \
    "<startOffset>" #start "</startOffset><length>" #length "</length>" areas
#define AREA(start, length)                                                              \
    "<changedArea><start>" #start "</start><length>" #length "</length></changedArea>"
#define CASE(what, kind_, pages_, ...)                                                   \
    {                                                                                    \
        .name = what, .xml = pages_, .count = ARRAY_COUNT(pages_), .kind = kind_,        \
        .expected = {__VA_ARGS__},                                                       \
        .expected_count = ARRAY_COUNT(((struct extent[]){__VA_ARGS__}))                  \
    }

static void test_pages_of_every_kind(void **state)
{
    (void)state;
    static const char *const whole[] = {PAGE(0, 16777216, AREA(0, 512) AREA(4096, 512))};
    static const char *const split[] = {PAGE(0, 1048576, AREA(0, 512)),
                                        PAGE(1048576, 15728640, AREA(1048576, 512))};
    static const char *const empty_middle[] = {
        PAGE(0, 1048576, AREA(0, 512)), PAGE(1048576, 1048576, ""),
        PAGE(2097152, 14680064, AREA(16776704, 512))};
    static const char *const past_end[] = {
        PAGE(0, 99999999, AREA(16776704, 65536) AREA(16777216, 512))};
    static const char *const overlap[] = {
        PAGE(0, 16777216, AREA(4096, 8192) AREA(0, 8192) AREA(8192, 4096))};
    static const char *const unsorted_pages[] = {
        PAGE(0, 8388608, AREA(8388608, 512) AREA(512, 512)),
        PAGE(8388608, 8388608, AREA(0, 512) AREA(1024, 512))};
    static const char *const earlier_start[] = {PAGE(0, 1048576, AREA(0, 512)),
                                                PAGE(0, 16777216, AREA(0, 1024))};
    static const char *const touching[] = {
        PAGE(0, 16777216, AREA(0, 512) AREA(512, 512) AREA(2048, 0))};
    const struct change_case cases[] = {
        CASE("one page", FAIL_NONE, whole, {0, 512}, {4096, 4608}),
        CASE("two pages", FAIL_NONE, split, {0, 512}, {1048576, 1049088}),
        CASE("an empty page in the middle", FAIL_NONE, empty_middle, {0, 512},
             {16776704, 16777216}),
        CASE("beyond the capacity", FAIL_NONE, past_end, {16776704, 16777216}),
        CASE("overlapping", FAIL_NONE, overlap, {0, 12288}),
        CASE("unsorted over pages", FAIL_NONE, unsorted_pages, {0, 1536},
             {8388608, 8389120}),
        CASE("a page that starts earlier", FAIL_NONE, earlier_start, {0, 1024}),
        CASE("touching, and an empty area", FAIL_NONE, touching, {0, 1024}),
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        run_case(&cases[i]);
    static const char *const nothing[] = {PAGE(0, 16777216, "")};
    const struct change_case unchanged = {
        .name = "nothing changed", .xml = nothing, .count = 1};
    run_case(&unchanged);
}

static void test_pages_that_cannot_be(void **state)
{
    (void)state;
    static const char *const cases[] = {
        PAGE(0, 0, ""),
        PAGE(0, -512, ""),
        PAGE(0, -9223372036854775808, ""),
        PAGE(-1, 16777216, ""),
        PAGE(512, 16777216, ""), /* a hole before it */
        PAGE(0, 16777216, AREA(-512, 512)),
        PAGE(0, 16777216, AREA(0, -1)),
        PAGE(0, 16777216, "<changedArea><start>0</start></changedArea>"),
        "<startOffset>0</startOffset>",
        "",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct change_case test = {
            .name = cases[i], .xml = &cases[i], .count = 1, .kind = FAIL_CORRUPT};
        run_case(&test);
    }
    static const char *const stuck[] = {PAGE(0, 512, ""), PAGE(0, 512, "")};
    const struct change_case test = {
        .name = "no progress", .xml = stuck, .count = 2, .kind = FAIL_CORRUPT};
    run_case(&test);
}

static void test_what_faults_mean(void **state)
{
    (void)state;
    static const struct {
        const char *fault;
        enum err_kind kind;
    } cases[] = {
        {"fault:FileFault", FAIL_CORRUPT},
        {"fault:InvalidArgument", FAIL_CORRUPT},
        {"fault:NotFound", FAIL_CORRUPT},
        {"fault:MethodNotFound", FAIL_CORRUPT},
        {"fault:ManagedObjectNotFound", FAIL_GONE},
        {"fault:NoPermission", FAIL_AUTH},
        {"fault:HostNotConnected", FAIL_TRANSIENT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct change_case test = {.name = cases[i].fault,
                                         .xml = &cases[i].fault,
                                         .count = 1,
                                         .kind = cases[i].kind};
        run_case(&test);
    }
    /* In the middle: nothing of it counts. */
    static const char *const late[] = {PAGE(0, 512, AREA(0, 512)), "fault:FileFault"};
    const struct change_case test = {
        .name = "late fault", .xml = late, .count = 2, .kind = FAIL_CORRUPT};
    run_case(&test);
}

static void test_disks_that_cannot_be_asked(void **state)
{
    (void)state;
    struct vim_script script = {0};
    vim_script_start(&script);
    struct vim *vim = vim_script_login(&script);
    static const uint64_t sizes[] = {0, (uint64_t)INT64_MAX + 1};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct vim_change_query query = {.disk_bytes = sizes[i], .change_id = "*"};
        struct extents set = {0};
        struct err err = ERR_INIT;
        assert_false(vim_changed_extents(vim, &query, NULL, &set, &err));
        assert_int_equal(err.kind, FAIL_CORRUPT);
    }
    vim_close(vim);
    vim_script_stop(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_of_every_kind),
        cmocka_unit_test(test_pages_that_cannot_be),
        cmocka_unit_test(test_what_faults_mean),
        cmocka_unit_test(test_disks_that_cannot_be_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
