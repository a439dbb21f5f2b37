/* SPDX-License-Identifier: Apache-2.0 */
/* What connections saw, and what follows: circuits, the list for people, whether new work
 * may begin. */
#include "netpath/path_impl.h"

#include "base/clock.h"
#include "base/text.h"

bool path_role_has_circuit(enum path_role role)
{
    return role != ROLE_OTHER && role != ROLE_LOCAL;
}

bool path_say_open(const struct seen_entry *entry, uint64_t now_ms, struct err *err)
{
    char since[CLOCK_TEXT_BYTES];
    uint64_t wait_ms = circuit_wait_ms(&entry->circuit, now_ms);
    (void)err_set(err, FAIL_TRANSIENT,
                  "%s '%.120s' has not answered since %s, tried again in %llu ms: %.200s",
                  path_role_name(entry->seen.role), entry->seen.host,
                  clock_wall_text(entry->circuit.since_unix_ms, since),
                  (unsigned long long)wait_ms, entry->seen.problem);
    err->retry_after_ms = (uint32_t)MAX_OF(wait_ms, (uint64_t)1);
    return false;
}

/* ---- what was seen ---- */

static void note_answered_locked(struct seen_entry *entry, const char *address,
                                 uint64_t latency_ms, struct path_event *event)
{
    struct path_seen *seen = &entry->seen;
    bool was_open = circuit_answered(&entry->circuit);
    if (was_open)
        path_event_set(event, PATH_EVENT_REACHABLE, entry, "answers again at %.64s",
                       address);
    seen->at_unix_ms = clock_wall_ms();
    seen->latency_ms = latency_ms;
    seen->answers++;
    seen->problem[0] = 0;
    text_copy(seen->address, sizeof seen->address, address);
}

static void note_failed_locked(struct seen_entry *entry, const char *address,
                               const struct err *err, struct path_event *event)
{
    struct path_seen *seen = &entry->seen;
    uint32_t jitter;
    secret_random(&jitter, sizeof jitter);
    seen->failures++;
    text_copy(seen->problem, sizeof seen->problem, err->text);
    if (!path_role_has_circuit(seen->role))
        return;
    if (err->kind != FAIL_TRANSIENT && err->kind != FAIL_GONE) { /* GONE: no such name */
        circuit_forget_probe(&entry->circuit);
        return;
    }
    if (circuit_failed(&entry->circuit, address[0] ? 1 : CIRCUIT_POINTS_NOBODY,
                       clock_mono_ms(), clock_wall_ms(), jitter))
        path_event_set(event, PATH_EVENT_UNREACHABLE, entry, "nobody answers: %.300s",
                       err->text);
}

void path_observe(enum path_role role, const char *url, const char *address,
                  uint64_t latency_ms, const struct err *err)
{
    struct path_event event = {.is_set = false};
    struct err ignored = ERR_INIT;
    char host[PATH_NAME_BYTES];
    uint16_t port;
    if (!url_parse(url, host, &port, &ignored))
        return;
    {
        LOCK_GUARD(&path_net()->lock);
        struct seen_entry *entry =
            seen_take(&path_net()->seen, role, host, port, clock_mono_ms());
        if (!err || err->kind == FAIL_NONE)
            note_answered_locked(entry, address, latency_ms, &event);
        else if (err->kind == FAIL_CANCELED)
            circuit_forget_probe(&entry->circuit);
        else
            note_failed_locked(entry, address, err, &event);
    }
    path_event_tell(&event);
}

size_t path_seen_list(struct path_seen *ret, size_t max)
{
    LOCK_GUARD(&path_net()->lock);
    for (size_t i = 0; i < path_net()->seen.count && i < max; i++)
        ret[i] = path_net()->seen.entries[i]->seen;
    return path_net()->seen.count;
}

/* ---- new work ---- */

#define READY_MAX_ENDPOINTS 16
#define READY_FORGET_MS     (5 * 60 * 1000) /* nobody asks for it any more */

struct ready_endpoint {
    char url[PATH_NAME_BYTES + 16];
};

/* Those of the role; false: one of them does not answer, and why. */
static bool list_endpoints(enum path_role role, struct ready_endpoint *out,
                           size_t *ret_count, struct err *err)
{
    LOCK_GUARD(&path_net()->lock);
    uint64_t now_ms = clock_mono_ms();
    *ret_count = 0;
    for (size_t i = 0; i < path_net()->seen.count; i++) {
        const struct seen_entry *entry = path_net()->seen.entries[i];
        if (entry->seen.role != role || now_ms - entry->used_at_ms > READY_FORGET_MS)
            continue;
        if (entry->circuit.is_open)
            return path_say_open(entry, now_ms, err);
        if (entry->refused.kind != FAIL_NONE && *ret_count < READY_MAX_ENDPOINTS)
            text_copy(out[(*ret_count)++].url, sizeof out[0].url, entry->url);
    }
    return true;
}

bool path_role_ready(enum path_role role, const struct cancel *cancel, struct err *err)
{
    struct ready_endpoint endpoints[READY_MAX_ENDPOINTS];
    size_t count;
    if (!list_endpoints(role, endpoints, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) { /* refused the last time: again by now? */
        struct path_choice choice;
        if (!path_choose(role, endpoints[i].url, cancel, &choice, err))
            return false;
        path_choice_release(&choice);
    }
    return true;
}
