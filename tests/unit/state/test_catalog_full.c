/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full disk under the catalog: a tiny tmpfs in a mount namespace of our own. What does
 * not fit is FAIL_NO_SPACE and has not happened, what was done stays, and work goes on
 * when there is room again. Skipped (77) where we may not mount.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "state/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#define VALUE_BYTES 20000
#define TRIES       500

static char dir[] = "/tmp/kedge-full-XXXXXX";

static void key_of(unsigned i, char out[32])
{
    (void)snprintf(out, 32, "key-%u", i);
}

static char *big_value(void)
{
    char *value = xcalloc(VALUE_BYTES + 1, 1);
    memset(value, 'v', VALUE_BYTES);
    return value;
}

/* Sets settings until there is no room; returns how many are done. */
static unsigned fill(struct catalog *catalog)
{
    AUTO(free) char *value = big_value();
    for (unsigned i = 0; i < TRIES; i++) {
        char key[32];
        struct err err = ERR_INIT;
        key_of(i, key);
        if (catalog_setting_set(catalog, key, value, &err))
            continue;
        if (err.kind != FAIL_NO_SPACE || !strstr(err.text, "; free space"))
            fail_msg("%s: %s", err_kind_name(err.kind), err.text);
        return i;
    }
    fail_msg("the disk is never full");
    return 0;
}

static void assert_holds(struct catalog *catalog, unsigned count)
{
    for (unsigned i = 0; i < count + 1; i++) {
        char key[32];
        struct err err = ERR_INIT;
        AUTO(free) char *value = NULL;
        key_of(i, key);
        bool is_set = catalog_setting_get(catalog, key, &value, &err);
        if (is_set != (i < count))
            fail_msg("%s: %s", key, is_set ? "is set" : err.text);
        assert_true(!is_set || strlen(value) == VALUE_BYTES);
    }
}

/* Goes on after a failure that it should have heeded. */
static bool stubborn_change(void *ctx, struct err *err)
{
    AUTO(free) char *value = big_value();
    struct err ignored = ERR_INIT;
    bool failed = false;
    for (unsigned i = 0; i < TRIES; i++) {
        char key[32];
        (void)snprintf(key, sizeof key, "stubborn-%u", i);
        if (!catalog_setting_set(ctx, key, value, &ignored))
            failed = true;
    }
    assert_true(failed);
    (void)!catalog_setting_set(ctx, "small", "1", &ignored);
    (void)err;
    return true;
}

static void full_disk(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(free) char *path = file_join(dir, "catalog.db");
    AUTO(free) char *ballast = file_join(dir, "ballast");
    int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(posix_fallocate(fd, 0, 1 << 20), 0);
    (void)close(fd);
    struct catalog *catalog = catalog_open(path, &err);
    if (!catalog)
        fail_msg("%s", err.text);
    unsigned count = fill(catalog);
    assert_holds(catalog, count);
    assert_false(catalog_transaction(catalog, stubborn_change, catalog, &err));
    AUTO(free) char *value = NULL;
    assert_false(catalog_setting_get(catalog, "small", &value, &err));
    assert_false(catalog_setting_get(catalog, "stubborn-0", &value, &err));
    assert_int_equal(unlink(ballast), 0); /* room again: goes on without a restart */
    err_clear(&err);
    if (!catalog_setting_set(catalog, "small", "1", &err))
        fail_msg("%s", err.text);
    catalog_close(catalog);
    catalog = catalog_open(path, &err); /* whole */
    if (!catalog)
        fail_msg("%s", err.text);
    assert_holds(catalog, count);
    assert_true(catalog_setting_get(catalog, "small", &value, &err));
    catalog_close(catalog);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=3m") != 0) {
        print_message("skipped: mounting a small tmpfs: %s\n", strerrordesc_np(errno));
        (void)rmdir(dir);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_disk)};
    int failed = cmocka_run_group_tests_name("catalog_full", tests, NULL, NULL);
    (void)umount2(dir, MNT_DETACH);
    (void)rmdir(dir);
    return failed;
}
