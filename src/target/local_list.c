/* SPDX-License-Identifier: Apache-2.0 */
/* What there is in the target's folder: replicas, tests and files by their layouts.
 * Folders without one are somebody else's. Changes nothing, and needs no lock: a layout
 * is replaced as a whole. */
#include "target/local.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/text.h"
#include "target/local_layout.h"

struct listing {
    target_each each;
    void *ctx;
};

static bool list_one(const struct local_layout *layout, void *ctx, struct err *err)
{
    const struct listing *listing = ctx;
    struct target_item item = {.machine = &layout->machine,
                               .is_migrated = layout->is_migrated};
    if (!listing->each(listing->ctx, &item, err))
        return false;
    for (size_t i = 0; i < layout->test_count; i++) {
        item.test_name = layout->tests[i].name;
        if (!listing->each(listing->ctx, &item, err))
            return false;
    }
    return true;
}

/* The names first: each() may change the folder. */
static char **folder_names(const char *dir, size_t *ret_count, struct err *err)
{
    DIR *stream = opendir(dir);
    size_t count = 0, cap = 0;
    char **names = NULL;
    *ret_count = 0;
    if (!stream) {
        (void)err_errno(err, errno, "list folder '%s'", dir);
        return NULL;
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        struct err no_machine = ERR_INIT;
        if (!text_check_name("machine", entry->d_name, &no_machine))
            continue;
        if (count == cap) {
            cap = cap ? 2 * cap : 16;
            names = xrealloc(names, cap, sizeof *names);
        }
        names[count++] = xstrdup(entry->d_name);
    }
    (void)closedir(stream);
    *ret_count = count;
    return names ? names : xcalloc(1, sizeof *names);
}

static bool for_each_layout(const struct local *local,
                            bool (*each)(const struct local_layout *layout, void *ctx,
                                         struct err *err),
                            void *ctx, struct err *err)
{
    size_t count;
    char **names = folder_names(local->dir, &count, err);
    bool ok = names != NULL;
    for (size_t i = 0; i < count; i++) {
        struct err why = ERR_INIT;
        AUTO(local_layout_free)
        struct local_layout *layout =
            ok ? local_layout_read(local->dir, names[i], &why) : NULL;
        if (layout)
            ok = each(layout, ctx, err);
        else if (ok && why.kind != FAIL_GONE)
            log_debug("layout_not_read", "text=\"%s\"", why.text);
        free(names[i]);
    }
    free(names);
    return ok;
}

bool local_list(struct target *target, target_each each, void *ctx, struct err *err)
{
    struct listing listing = {.each = each, .ctx = ctx};
    return for_each_layout((const struct local *)target, list_one, &listing, err);
}

/* ---- files ---- */

struct inventory {
    target_each_thing each;
    void *ctx;
};

static bool tell_file(const struct inventory *inventory,
                      const struct local_layout *layout, const char *path,
                      const char *role, struct err *err)
{
    struct stat st;
    char id[ID_TEXT_BYTES];
    if (stat(path, &st) != 0)
        return true; /* it went meanwhile */
    struct target_thing thing = {.kind = S_ISBLK(st.st_mode) ? "device" : "file",
                                 .name = strrchr(path, '/') + 1,
                                 .id = path,
                                 .machine = layout->machine.name,
                                 .machine_id = id_text(&layout->machine.id, id),
                                 .role = role,
                                 .state = "",
                                 .size_bytes = (uint64_t)st.st_size,
                                 .allocated_bytes = (uint64_t)st.st_blocks * 512,
                                 .is_known = true};
    return inventory->each(inventory->ctx, &thing, err);
}

static bool tell_files(const struct local_layout *layout, void *ctx, struct err *err)
{
    for (size_t i = 0; i < layout->disk_count; i++)
        for (size_t k = 0; k < layout->disks[i].chain_count; k++) {
            AUTO(free)
            char *path = local_layout_file(layout, i, layout->disks[i].generations[k]);
            if (!tell_file(ctx, layout, path, layout->is_migrated ? "vm" : "replica",
                           err))
                return false;
        }
    for (size_t i = 0; i < layout->test_count; i++) {
        char role[MACHINE_NAME_BYTES + 8];
        AUTO(free) char *dir = local_layout_test_dir(layout, layout->tests[i].name);
        (void)snprintf(role, sizeof role, "test-%s", layout->tests[i].name);
        for (size_t k = 0; k < layout->disk_count; k++) {
            AUTO(buf_release) struct buf path = {0};
            buf_printf(&path, "%s/disk%zu.qcow2", dir, k);
            if (!tell_file(ctx, layout, buf_text(&path), role, err))
                return false;
        }
    }
    return true;
}

bool local_inventory(struct target *target, target_each_thing each, void *ctx,
                     struct err *err)
{
    struct inventory inventory = {.each = each, .ctx = ctx};
    return for_each_layout((const struct local *)target, tell_files, &inventory, err);
}
