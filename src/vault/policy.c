/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The windows in force come from the blackout file while there is one, else from the
 * catalog (CLI, API). Two places that both count would be a trap: the one that is not
 * looked at is refused with the name of the other.
 *
 * The throttle has a standing bound and a calendar; the lower of the two holds, so that
 * whoever sets a bound can rely on it.
 *
 * Invariants: Y1 what is in force was parsed whole; a malformed text changes nothing and
 * is told once; Y2 the rate of the throttle is what the calendar says within a second.
 */
#include "vault/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "http/pace.h"

#define FILE_MAX_BYTES   (1 * MIB)
#define SETTING_WINDOWS  "blackout_windows"
#define SETTING_CALENDAR "throttle_calendar"
#define SETTING_THROTTLE "throttle_bps"

/* ---- windows ---- */

struct blackout_status policy_blackout_locked(const struct vault *vault, uint64_t now_ms)
{
    return blackout_at(&vault->blackout, vault->zone, now_ms);
}

static void take_windows(struct vault *vault, const struct blackout *blackout,
                         bool is_from_file)
{
    LOCK_GUARD(&vault->lock);
    vault->blackout = *blackout;
    vault->is_blackout_from_file = is_from_file;
    (void)pthread_cond_broadcast(&vault->changed);
}

static bool windows_from_catalog(struct vault *vault, struct err *err)
{
    AUTO(free) char *text = NULL;
    struct blackout blackout = {.count = 0};
    struct err why = ERR_INIT;
    if (catalog_setting_get(vault->catalog, SETTING_WINDOWS, &text, &why)) {
        if (!blackout_parse(text, &blackout, err))
            return err_wrap(err, "setting '" SETTING_WINDOWS "'");
    } else if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    take_windows(vault, &blackout, false);
    return true;
}

static bool windows_from_file(struct vault *vault, struct err *err)
{
    AUTO(buf_release) struct buf data = {0};
    struct blackout blackout;
    if (!file_read(vault->blackout_file, FILE_MAX_BYTES, &data, err))
        return false;
    AUTO(free)
    char *text =
        blackout_file_text(vault->blackout_file, buf_text(&data), data.bytes, err);
    if (!text)
        return false;
    if (!blackout_parse(text, &blackout, err))
        return err_wrap(err, "blackout file '%s'", vault->blackout_file);
    take_windows(vault, &blackout, true);
    return true;
}

/* Changes with every replacement and every write. */
static uint64_t stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return 0;
    return (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec +
           (uint64_t)st.st_ino * 31 + (uint64_t)st.st_size * 7 + 1;
}

static void tell_windows(struct vault *vault, const char *from)
{
    AUTO(buf_release) struct buf text = {0};
    {
        LOCK_GUARD(&vault->lock);
        blackout_print(&vault->blackout, &text);
    }
    vault_event(vault, NULL, NULL, "info", "blackout_set", "%s: %s", from,
                text.bytes ? buf_text(&text) : "no blackout windows");
}

/* A file that goes away leaves the windows to the catalog. */
static void look_at_file(struct vault *vault)
{
    struct err err = ERR_INIT;
    uint64_t stamp = stamp_of(vault->blackout_file);
    if (stamp == vault->blackout_stamp)
        return;
    vault->blackout_stamp = stamp;
    bool ok = stamp ? windows_from_file(vault, &err) : windows_from_catalog(vault, &err);
    if (ok)
        tell_windows(vault, stamp ? vault->blackout_file : "without the blackout file");
    else
        vault_event(vault, NULL, NULL, "error", "blackout_refused",
                    "%s; the windows that were set before stay in force", err.text);
}

static void tell_blackout(struct vault *vault, uint64_t now_ms)
{
    char until[ZONE_TEXT_BYTES];
    AUTO(buf_release) struct buf window = {0};
    struct blackout_status status;
    {
        LOCK_GUARD(&vault->lock);
        status = policy_blackout_locked(vault, now_ms);
        if (status.is_inside == vault->was_in_blackout)
            return;
        vault->was_in_blackout = status.is_inside;
        if (status.is_inside)
            blackout_print_window(&vault->blackout.windows[status.window], &window);
        (void)pthread_cond_broadcast(&vault->changed);
    }
    if (!status.is_inside)
        vault_event(vault, NULL, NULL, "info", "blackout_ended", "cycles begin again");
    else if (status.until_ms == BLACKOUT_NEVER)
        vault_event(
            vault, NULL, NULL, "warning", "blackout_began",
            "window '%s': no cycle begins; the windows leave no time between them",
            buf_text(&window));
    else
        vault_event(vault, NULL, NULL, "info", "blackout_began",
                    "window '%s': no cycle begins until %s", buf_text(&window),
                    zone_text(vault->zone, status.until_ms, until));
}

bool policy_may_migrate(struct vault *vault, uint64_t now_ms, struct err *err)
{
    char until[ZONE_TEXT_BYTES];
    AUTO(buf_release) struct buf window = {0};
    struct blackout_status status;
    {
        LOCK_GUARD(&vault->lock);
        status = policy_blackout_locked(vault, now_ms);
        if (!status.is_inside)
            return true;
        blackout_print_window(&vault->blackout.windows[status.window], &window);
    }
    if (status.until_ms == BLACKOUT_NEVER)
        return err_set(err, FAIL_CONFLICT,
                       "blackout window '%s' holds and the windows leave no time between "
                       "them; change them, or migrate with override_blackout",
                       buf_text(&window));
    return err_set(
        err, FAIL_CONFLICT,
        "blackout window '%s' holds, the final cycle cannot run; possible from "
        "%s, or now with override_blackout",
        buf_text(&window), zone_text(vault->zone, status.until_ms, until));
}

/* ---- throttle ---- */

/* The lower of the two bounds; *ret_rule: of the calendar, count when none. */
static uint64_t rate_locked(const struct vault *vault, uint64_t now_ms, size_t *ret_rule)
{
    uint64_t standing_bps = vault->standing_bps, ruled_bps = 0;
    *ret_rule = rate_calendar_rule(&vault->calendar, vault->zone, now_ms);
    if (*ret_rule < vault->calendar.count)
        ruled_bps = vault->calendar.rules[*ret_rule].rate_bps;
    if (ruled_bps == 0 || standing_bps == 0)
        return MAX_OF(ruled_bps, standing_bps);
    return MIN_OF(ruled_bps, standing_bps);
}

static void apply_rate(struct vault *vault, uint64_t now_ms)
{
    size_t ignored;
    uint64_t rate_bps;
    {
        LOCK_GUARD(&vault->lock);
        rate_bps = rate_locked(vault, now_ms, &ignored);
    }
    if (throttle_rate(vault->throttle) == rate_bps)
        return;
    char human[TEXT_HUMAN_BYTES];
    throttle_set_rate(vault->throttle, rate_bps);
    if (rate_bps)
        vault_event(vault, NULL, NULL, "info", "throttle", "limited to %s/s",
                    text_bytes(rate_bps, human));
    else
        vault_event(vault, NULL, NULL, "info", "throttle", "no limit");
}

static bool load_throttle(struct vault *vault, uint64_t configured_bps, struct err *err)
{
    AUTO(free) char *rate = NULL, *calendar = NULL;
    struct err why = ERR_INIT;
    size_t ignored;
    vault->standing_bps = configured_bps;
    if (catalog_setting_get(vault->catalog, SETTING_THROTTLE, &rate, &why)) {
        if (!text_parse_u64(rate, 0, INT64_MAX, &vault->standing_bps, err))
            return err_wrap(err, "setting '" SETTING_THROTTLE "'");
    } else if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    err_clear(&why);
    if (catalog_setting_get(vault->catalog, SETTING_CALENDAR, &calendar, &why)) {
        if (!rate_calendar_parse(calendar, &vault->calendar, err))
            return err_wrap(err, "setting '" SETTING_CALENDAR "'");
    } else if (why.kind != FAIL_GONE) {
        *err = why;
        return false;
    }
    vault->throttle = throttle_new(rate_locked(vault, clock_wall_ms(), &ignored));
    return true;
}

/* ---- the vault's calls ---- */

bool policy_load(struct vault *vault, const struct vault_options *options,
                 struct err *err)
{
    vault->zone = zone_open(options->timezone, err);
    if (!vault->zone)
        return err_wrap(err, "option 'timezone'");
    if (options->blackout_file && *options->blackout_file)
        vault->blackout_file = xstrdup(options->blackout_file);
    if (!windows_from_catalog(vault, err) ||
        !load_throttle(vault, options->throttle_bps, err))
        return false;
    if (vault->blackout_file)
        look_at_file(vault);
    if (policy_is_paced(vault))
        http_pace(ROLE_LOG_STORE, vault->throttle);
    return true;
}

bool policy_is_paced(const struct vault *vault)
{
    return strcmp(vault->log_store->ops->kind, "blob") == 0;
}

void policy_release(struct vault *vault)
{
    http_pace(ROLE_LOG_STORE, NULL);
    throttle_free(vault->throttle);
    zone_close(vault->zone);
    free(vault->blackout_file);
}

void policy_tick(struct vault *vault, uint64_t now_ms)
{
    if (vault->blackout_file)
        look_at_file(vault);
    tell_blackout(vault, now_ms);
    apply_rate(vault, now_ms);
}

static void put_instant(json_t *view, const char *key, uint64_t ms)
{
    bool is_none = ms == 0 || ms == BLACKOUT_NEVER;
    json_put_take(view, key, is_none ? json_null() : json_integer((json_int_t)ms));
}

json_t *vault_blackout_get(struct vault *vault, struct err *err)
{
    AUTO(buf_release) struct buf text = {0}, window = {0};
    struct blackout_status status;
    bool is_from_file;
    size_t count;
    (void)err;
    {
        LOCK_GUARD(&vault->lock);
        status = policy_blackout_locked(vault, clock_wall_ms());
        is_from_file = vault->is_blackout_from_file;
        count = vault->blackout.count;
        blackout_print(&vault->blackout, &text);
        if (count)
            blackout_print_window(&vault->blackout.windows[status.window], &window);
    }
    json_t *view = json_object();
    json_put_text(view, "windows", buf_text(&text));
    json_put_text(view, "time_zone", zone_name(vault->zone));
    if (is_from_file)
        json_put_text(view, "file", vault->blackout_file);
    else
        json_put_take(view, "file", json_null());
    json_put_bool(view, "inside", status.is_inside);
    if (count)
        json_put_text(view, "window", buf_text(&window));
    else
        json_put_take(view, "window", json_null());
    put_instant(view, "until_ms", status.until_ms);
    put_instant(view, "next_start_ms", status.next_start_ms);
    return view;
}

bool vault_blackout_set(struct vault *vault, const char *windows, struct err *err)
{
    struct blackout blackout;
    bool is_from_file;
    if (!blackout_parse(windows, &blackout, err))
        return false;
    {
        LOCK_GUARD(&vault->lock);
        is_from_file = vault->is_blackout_from_file;
    }
    if (is_from_file)
        return err_set(err, FAIL_CONFLICT,
                       "the windows come from file '%s'; change them there, or remove it",
                       vault->blackout_file);
    if (!catalog_setting_set(vault->catalog, SETTING_WINDOWS,
                             blackout.count ? windows : NULL, err))
        return false;
    take_windows(vault, &blackout, false);
    tell_windows(vault, "set");
    tell_blackout(vault, clock_wall_ms());
    return true;
}

json_t *vault_throttle_get(struct vault *vault, struct err *err)
{
    AUTO(buf_release) struct buf calendar = {0}, rule = {0};
    uint64_t now_ms = clock_wall_ms(), standing_bps, next_ms;
    size_t at;
    bool has_rule;
    (void)err;
    {
        LOCK_GUARD(&vault->lock);
        (void)rate_locked(vault, now_ms, &at);
        standing_bps = vault->standing_bps;
        rate_calendar_print(&vault->calendar, &calendar);
        has_rule = at < vault->calendar.count;
        if (has_rule)
            rate_calendar_print_rule(&vault->calendar.rules[at], &rule);
        next_ms = rate_calendar_next_ms(&vault->calendar, vault->zone, now_ms);
    }
    json_t *view = json_object();
    json_put_u64(view, "bytes_per_second", throttle_rate(vault->throttle));
    json_put_u64(view, "standing_bytes_per_second", standing_bps);
    json_put_text(view, "calendar", buf_text(&calendar));
    if (has_rule)
        json_put_text(view, "rule", buf_text(&rule));
    else
        json_put_take(view, "rule", json_null());
    put_instant(view, "next_change_ms", next_ms);
    json_put_text(view, "time_zone", zone_name(vault->zone));
    return view;
}

bool vault_throttle_set(struct vault *vault, uint64_t bytes_per_second, struct err *err)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)bytes_per_second);
    if (bytes_per_second > INT64_MAX)
        return err_set(err, FAIL_INPUT, "%s bytes per second is too much", text);
    if (!catalog_setting_set(vault->catalog, SETTING_THROTTLE, text, err))
        return false;
    {
        LOCK_GUARD(&vault->lock);
        vault->standing_bps = bytes_per_second;
    }
    vault_event(vault, NULL, NULL, "info", "throttle_set", "standing bound: %s bytes/s%s",
                text, bytes_per_second ? "" : ", which is none");
    apply_rate(vault, clock_wall_ms());
    return true;
}

bool vault_throttle_calendar_set(struct vault *vault, const char *text, struct err *err)
{
    struct rate_calendar calendar;
    if (!rate_calendar_parse(text, &calendar, err) ||
        !catalog_setting_set(vault->catalog, SETTING_CALENDAR,
                             calendar.count ? text : NULL, err))
        return false;
    {
        LOCK_GUARD(&vault->lock);
        vault->calendar = calendar;
    }
    vault_event(vault, NULL, NULL, "info", "throttle_set", "calendar: %s",
                calendar.count ? text : "none");
    apply_rate(vault, clock_wall_ms());
    return true;
}
