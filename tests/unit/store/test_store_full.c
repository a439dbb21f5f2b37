/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full disk: a tiny tmpfs in a mount namespace of our own. A put that has no room is
 * FAIL_NO_SPACE, leaves the old object and no litter, and works again when there is room.
 * Skipped (77) where we may not mount.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/pool.h"
#include "store/store.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

static char dir[] = "/tmp/kedge-full-XXXXXX";

static void assert_old_is_there(struct store *store)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf got = {0};
    if (!store_get_all(store, "a/old", 100, &got, &err))
        fail_msg("%s", err.text);
    assert_string_equal(buf_text(&got), "the old content");
}

static bool count_one(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    (void)name;
    (void)bytes;
    (void)err;
    ++*(size_t *)ctx;
    return true;
}

static void full_disk(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(store_close) struct store *store = store_dir_open(dir, &err);
    if (!store)
        fail_msg("%s", err.text);
    const char *old = "the old content";
    assert_true(store_put(store, "a/old", (const uint8_t *)old, strlen(old),
                          STORE_REPLACE, &err));
    AUTO(pool_free) struct pool *pool = pool_new(1, 3 * MIB);
    uint8_t *data = pool_take(pool, NULL, &err);
    static const size_t SHIFTS[] = {0, 1}; /* direct and plain */
    for (size_t i = 0; i < ARRAY_COUNT(SHIFTS); i++) {
        assert_false(store_put(store, "a/old", data + SHIFTS[i], 3 * MIB - 1,
                               STORE_REPLACE, &err));
        assert_int_equal(err.kind, FAIL_NO_SPACE);
        assert_non_null(strstr(err.text, "; "));
        assert_old_is_there(store);
        assert_false(store_put(store, "b/c/new", data + SHIFTS[i], 3 * MIB - 1,
                               STORE_IF_ABSENT, &err));
        assert_int_equal(err.kind, FAIL_NO_SPACE);
        AUTO(free) char *folder = file_join(dir, "b");
        assert_false(file_exists(folder)); /* made for nothing: gone again */
    }
    size_t count = 0;
    assert_true(store_list(store, "", count_one, &count, &err));
    assert_int_equal(count, 1);
    /* Nothing of the failed puts holds room: what fits is put, and again after a remove.
     */
    for (int i = 0; i < 3; i++) {
        if (!store_put(store, "b/c/new", data, MIB + MIB / 2, STORE_IF_ABSENT, &err))
            fail_msg("%s", err.text);
        assert_true(store_remove(store, "b/c/new", &err));
    }
    pool_give(pool, data);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=2m") != 0) {
        print_message("skipped: mounting a small tmpfs: %s\n", strerrordesc_np(errno));
        (void)rmdir(dir);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_disk)};
    int failed = cmocka_run_group_tests_name("store_full", tests, NULL, NULL);
    (void)umount2(dir, MNT_DETACH);
    (void)rmdir(dir);
    return failed;
}
