/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A property collector of our own with one filter; WaitForUpdatesEx in a loop. A
 * collector of our own, because two threads waiting on the session's common one disturb
 * each other: each gets the updates of both, and the version that one has seen is lost to
 * the other.
 *
 * The collector dies with the session and with a restart of the server. Then a new one is
 * made, whose first answer is the whole present state: no change is missed, only the
 * steps in between.
 */
#include "vsphere/vim_watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vsphere/vim_property.h"

#define HELD_SECONDS      20    /* how long the server holds one question */
#define HELD_SLACK_MS     20000 /* what it may take longer */
#define REPAIR_FIRST_MS   500
#define REPAIR_LONGEST_MS 10000
#define VERSION_BYTES     128

struct round {
    const struct vim_watch *watch;
    char version[VERSION_BYTES];
    bool has_changed;
    bool has_left;
};

static bool read_object(struct round *round, struct xml_reader *reader, struct err *err)
{
    const struct vim_watch *watch = round->watch;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "kind")) {
            AUTO(buf_release) struct buf kind = {0};
            if (!xml_text(reader, 32, &kind, err))
                return false;
            round->has_left = strcmp(buf_text(&kind), "leave") == 0;
        } else if (xml_is(reader, "changeSet")) {
            if (!vim_property_read(reader, watch->properties, watch->arena, watch->ret,
                                   err))
                return false;
            round->has_changed = true;
        }
    }
    return !xml_failed(reader);
}

static bool read_filter(struct round *round, struct xml_reader *reader, struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        if (xml_is(reader, "objectSet") && !read_object(round, reader, err))
            return false;
    return !xml_failed(reader);
}

static bool read_update(void *arg, struct xml_reader *reader, struct err *err)
{
    struct round *round = arg;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "version")) {
            AUTO(buf_release) struct buf version = {0};
            if (!xml_text(reader, VERSION_BYTES - 1, &version, err))
                return false;
            text_copy(round->version, sizeof round->version, buf_text(&version));
        } else if (xml_is(reader, "filterSet")) {
            if (!read_filter(round, reader, err))
                return false;
        }
    }
    return !xml_failed(reader);
}

static bool open_collector(struct vim *vim, const struct vim_watch *watch,
                           struct vim_ref *ret, struct err *err)
{
    struct wire_CreatePropertyCollector create = {
        ._this = vim_content(vim)->property_collector,
    };
    struct vim_call call = {
        .type = wire_type_CreatePropertyCollector(),
        .args = &create,
        .cancel = watch->cancel,
    };
    if (!vim_call_ref(vim, &call, ret, err))
        return false;
    AUTO(vim_filter_release) struct vim_filter filter;
    vim_filter_init(&filter, vim, watch->properties, watch->object, 1);
    struct wire_CreateFilter args = {
        ._this = *ret,
        .spec = &filter.spec,
        .partialUpdates = WIRE_FALSE,
    };
    struct vim_call filter_call = {
        .type = wire_type_CreateFilter(),
        .args = &args,
        .cancel = watch->cancel,
    };
    return vim_call_send(vim, &filter_call, err);
}

static void close_collector(struct vim *vim, const struct vim_ref *collector)
{
    if (!vim_ref_is_set(collector))
        return;
    struct wire_DestroyPropertyCollector args = {._this = *collector};
    struct vim_call call = {
        .type = wire_type_DestroyPropertyCollector(),
        .args = &args,
        .deadline_ms = HELD_SLACK_MS,
    };
    struct err ignored = ERR_INIT;
    if (!vim_call_send(vim, &call, &ignored)) /* the session's end destroys it too */
        log_debug("vim_collector_left", "collector=%s", collector->id);
}

static bool wait_once(struct vim *vim, const struct vim_ref *collector,
                      struct round *round, uint64_t left_ms, struct err *err)
{
    uint64_t held_s = MIN_OF((uint64_t)HELD_SECONDS, left_ms / 1000 + 1);
    struct wire_WaitOptions options = {.maxWaitSeconds = WIRE_INT((int64_t)held_s)};
    char version[VERSION_BYTES];
    text_copy(version, sizeof version, round->version);
    struct wire_WaitForUpdatesEx args = {
        ._this = *collector,
        .version = version,
        .options = &options,
    };
    struct vim_call call = {
        .type = wire_type_WaitForUpdatesEx(),
        .args = &args,
        .on_return = read_update,
        .arg = round,
        .deadline_ms = held_s * 1000 + HELD_SLACK_MS,
        .cancel = round->watch->cancel,
    };
    round->has_changed = false;
    round->has_left = false;
    return vim_call_send(vim, &call, err);
}

/* Until done (true), or something is wrong with this collector. */
static bool follow(struct vim *vim, const struct vim_watch *watch,
                   const struct vim_ref *collector, uint64_t end_ms, struct err *err)
{
    struct round round = {.watch = watch};
    for (;;) {
        uint64_t now_ms = clock_mono_ms();
        if (now_ms >= end_ms)
            return err_set(err, FAIL_TRANSIENT, "no end after %llu s",
                           (unsigned long long)(watch->deadline_ms / 1000));
        if (!wait_once(vim, collector, &round, end_ms - now_ms, err))
            return false;
        if (round.has_left)
            return err_set(err, FAIL_GONE, "%s '%s' is not there any more",
                           watch->object->type, watch->object->id);
        if (round.has_changed && watch->on_change(watch->arg) == VIM_WATCH_DONE)
            return true;
    }
}

bool vim_watch_run(struct vim *vim, const struct vim_watch *watch, struct err *err)
{
    uint64_t end_ms = clock_mono_ms() + watch->deadline_ms;
    uint64_t pause_ms = REPAIR_FIRST_MS;
    for (;;) {
        uint64_t generation = vim_generation(vim);
        uint64_t started_ms = clock_mono_ms();
        struct vim_ref collector = {0};
        struct err tried = ERR_INIT;
        bool ok = open_collector(vim, watch, &collector, &tried) &&
                  follow(vim, watch, &collector, end_ms, &tried);
        if (ok || tried.kind != FAIL_TRANSIENT || clock_mono_ms() >= end_ms)
            close_collector(vim, &collector);
        if (ok)
            return true;
        bool is_new_session = vim_generation(vim) != generation;
        bool is_repairable =
            tried.kind == FAIL_TRANSIENT || (tried.kind == FAIL_GONE && is_new_session);
        if (!is_repairable || clock_mono_ms() >= end_ms) {
            *err = tried;
            return false;
        }
        log_debug("vim_watch_repair", "object=%s pause_ms=%llu", watch->object->id,
                  (unsigned long long)pause_ms);
        if (!cancel_sleep_ms(watch->cancel, pause_ms, err))
            return false;
        pause_ms = clock_mono_ms() - started_ms > 60000
                       ? REPAIR_FIRST_MS
                       : MIN_OF(pause_ms * 2, (uint64_t)REPAIR_LONGEST_MS);
    }
}
