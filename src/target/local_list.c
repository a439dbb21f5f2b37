/* SPDX-License-Identifier: Apache-2.0 */
/* What there is in the target's folder: replicas and tests by their layouts. Folders
 * without one are somebody else's. Changes nothing, and needs no lock: a layout is
 * replaced as a whole. */
#include "target/local.h"

#include <dirent.h>
#include <errno.h>

#include "base/log.h"
#include "base/text.h"
#include "target/local_layout.h"

struct listing {
    target_each each;
    void *ctx;
};

static bool list_one(const struct local_layout *layout, const struct listing *listing,
                     struct err *err)
{
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

bool local_list(struct target *target, target_each each, void *ctx, struct err *err)
{
    const struct local *local = (const struct local *)target;
    const struct listing listing = {.each = each, .ctx = ctx};
    size_t count;
    char **names = folder_names(local->dir, &count, err);
    bool ok = names != NULL;
    for (size_t i = 0; i < count; i++) {
        struct err why = ERR_INIT;
        AUTO(local_layout_free)
        struct local_layout *layout =
            ok ? local_layout_read(local->dir, names[i], &why) : NULL;
        if (layout)
            ok = list_one(layout, &listing, err);
        else if (ok && why.kind != FAIL_GONE)
            log_debug("layout_not_read", "text=\"%s\"", why.text);
        free(names[i]);
    }
    free(names);
    return ok;
}
