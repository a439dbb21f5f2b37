/* SPDX-License-Identifier: Apache-2.0 */
/*
 * N1  one look at a time: who asks while one is under way waits for it, so that a script
 *     in a loop is no load on anybody's network;
 * N2  the background look writes nothing and measures no speed;
 * N3  an event is told when an endpoint's verdict changes between failed and not failed,
 *     once each way; the first look tells of failures only.
 * Must never: hold the vault's lock over a look.
 */
#include "vault/network.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "doctor/list.h"
#include "doctor/peering.h"
#include "http/exchange.h"

#include <signal.h>
#include <string.h>

#define KEYS_SCHEME    "vault:"
#define FIRST_LOOK_MS  ((uint64_t)10 * 1000)
#define FRESH_MS       ((uint64_t)60 * 1000)
#define MAX_REMEMBERED DOCTOR_MAX_TARGETS
#define MAX_SEEN       64

struct remembered {
    char what[360]; /* "log-store 'host'" */
    bool is_bad;
    uint64_t well_at_ms; /* monotonic; 0: not at the last look */
};

struct network {
    /* Set by network_start, never changed. */
    char *log_store, *log_store_credential, *state_store, *state_store_credential;
    char *keys, *keys_credential; /* "": a file */
    uint64_t interval_ms;         /* 0: no look in the background */
    struct cancel cancel;         /* the vault closes */
    /* The opener's. */
    bool has_thread;
    pthread_t thread;
    /* Guarded by look_lock, which is held over a look (N1). */
    pthread_mutex_t look_lock;
    /* Guarded by lock. */
    pthread_mutex_t lock;
    json_t *last; /* of all roles; NULL: none yet */
    struct remembered remembered[MAX_REMEMBERED];
    size_t remembered_count;
};

/* ---- what there is ---- */

static const char *option(const json_t *end, const char *key)
{
    return json_string_value(json_object_get(json_object_get(end, "options"), key));
}

static void add_source(struct doctor_list *list, const json_t *end)
{
    uint8_t pin[HTTP_PIN_BYTES];
    char label[100];
    struct err ignored = ERR_INIT;
    const char *url = option(end, "url"), *fingerprint = option(end, "fingerprint");
    if (strcmp(json_string_value(json_object_get(end, "kind")), "vsphere") != 0 || !url)
        return;
    (void)snprintf(label, sizeof label, "source '%s'",
                   json_string_value(json_object_get(end, "name")));
    bool has_pin = fingerprint && http_pin_parse(fingerprint, pin, &ignored);
    doctor_list_add_https(list, ROLE_VCENTER, label, url, option(end, "ca_file"),
                          has_pin ? pin : NULL);
}

static void add_target(struct doctor_list *list, const json_t *end)
{
    char label[100], address[700];
    if (strcmp(json_string_value(json_object_get(end, "kind")), "azure") != 0)
        return;
    (void)snprintf(label, sizeof label, "target '%s'",
                   json_string_value(json_object_get(end, "name")));
    struct doctor_arm arm = {.label = label,
                             .credential_file = option(end, "credential_file"),
                             .subscription = option(end, "subscription"),
                             .resource_group = option(end, "resource_group"),
                             .endpoint = option(end, "endpoint")};
    const char *container = option(end, "replica_container");
    const char *credential = option(end, "replica_credential_file");
    if (container) {
        (void)snprintf(address, sizeof address, "blob:%s", container);
        doctor_list_add_store(list, ROLE_REPLICA_STORE, label, address,
                              credential ? credential : arm.credential_file);
    }
    if (arm.credential_file && arm.subscription && arm.resource_group)
        doctor_list_add_arm(list, &arm);
}

/* Which hosts there are only the sources know, and what a machine may move to their own
 * check tells; these have answered once. */
static void add_esxi_hosts(struct doctor_list *list)
{
    AUTO(free) struct path_seen *seen = xcalloc(MAX_SEEN, sizeof *seen);
    size_t count = MIN_OF(path_seen_list(seen, MAX_SEEN), (size_t)MAX_SEEN);
    for (size_t i = 0; i < count; i++)
        if (seen[i].role == ROLE_ESXI && seen[i].answers > 0)
            doctor_list_add_port(list, ROLE_ESXI, "disk data (NFC)", seen[i].host,
                                 seen[i].port);
}

/* target: only that one, and no sources; NULL: everything. */
static void gather(struct vault *vault, const char *target, struct doctor_list *list)
{
    const struct network *network = vault->network;
    const json_t *end;
    size_t i;
    doctor_list_add_store(list, ROLE_LOG_STORE, "log_store", network->log_store,
                          network->log_store_credential);
    doctor_list_add_store(list, ROLE_STATE_STORE, "state_store", network->state_store,
                          network->state_store_credential);
    if (text_starts_with(network->keys, KEYS_SCHEME))
        doctor_list_add_keys(list, network->keys + strlen(KEYS_SCHEME),
                             network->keys_credential);
    AUTO(json_free) json_t *targets = ends_view(vault, END_TARGET);
    json_array_foreach(targets, i, end)
    {
        const char *name = json_string_value(json_object_get(end, "name"));
        if (!target || strcmp(name, target) == 0)
            add_target(list, end);
    }
    if (target)
        return;
    AUTO(json_free) json_t *sources = ends_view(vault, END_SOURCE);
    json_array_foreach(sources, i, end) add_source(list, end);
    add_esxi_hosts(list);
}

/* ---- what is remembered ---- */

static struct remembered *recall_locked(struct network *network,
                                        const struct doctor_result *result)
{
    char what[sizeof network->remembered[0].what];
    (void)snprintf(what, sizeof what, "%s '%s'", path_role_name(result->role),
                   result->host);
    for (size_t i = 0; i < network->remembered_count; i++)
        if (strcmp(network->remembered[i].what, what) == 0)
            return &network->remembered[i];
    if (network->remembered_count == MAX_REMEMBERED)
        network->remembered_count = 0; /* ends were replaced a lot: begin anew */
    struct remembered *r = &network->remembered[network->remembered_count++];
    *r = (struct remembered){.is_bad = false};
    text_copy(r->what, sizeof r->what, what);
    return r;
}

/* N3 */
static void tell(struct vault *vault, const struct doctor_result *result)
{
    struct network *network = vault->network;
    const struct doctor_step *failure = doctor_first_failure(result);
    char what[sizeof network->remembered[0].what];
    bool was_bad = false;
    {
        LOCK_GUARD(&network->lock);
        struct remembered *r = recall_locked(network, result);
        was_bad = r->is_bad;
        r->is_bad = failure != NULL;
        r->well_at_ms = failure ? 0 : clock_mono_ms();
        text_copy(what, sizeof what, r->what);
    }
    if (failure && !was_bad)
        vault_event(vault, NULL, NULL, "error", "network_failed", "%s: %s: %s; %s", what,
                    failure->name, failure->cause, failure->remedy);
    else if (!failure && was_bad)
        vault_event(vault, NULL, NULL, "info", "network_well",
                    "%s: every step is well again", what);
}

static void look(struct vault *vault, const struct doctor_list *list, bool is_light,
                 const struct cancel *cancel, struct doctor_report *ret)
{
    struct doctor_options options = {.targets = list->items,
                                     .count = list->count,
                                     .is_light = is_light,
                                     .cancel = cancel};
    LOCK_GUARD(&vault->network->look_lock);
    doctor_run(&options, ret);
    if (cancel_is_set(cancel))
        return;
    for (size_t i = 0; i < ret->count; i++)
        tell(vault, &ret->results[i]);
}

/* ---- asked for ---- */

json_t *vault_network_check(struct vault *vault, const char *role,
                            const struct cancel *cancel, struct err *err)
{
    AUTO(doctor_list_release) struct doctor_list list = {0};
    AUTO(doctor_report_release) struct doctor_report report = {0};
    enum path_role wanted = ROLE_OTHER;
    if (role && !path_role_parse(role, &wanted, err))
        return NULL;
    gather(vault, NULL, &list);
    if (role)
        doctor_list_keep(&list, wanted);
    look(vault, &list, false, cancel, &report);
    json_t *view = doctor_report_json(&report);
    if (!role) {
        LOCK_GUARD(&vault->network->lock);
        json_decref(vault->network->last);
        vault->network->last = json_deep_copy(view);
    }
    return view;
}

static json_t *seen_json(const struct path_seen *seen)
{
    static const char *const CLASSES[] = {
        [PATH_PRIVATE] = "private", [PATH_PUBLIC] = "public", [PATH_LOOPBACK] = "local"};
    json_t *json = json_object();
    json_put_text(json, "role", path_role_name(seen->role));
    json_put_text(json, "host", seen->host);
    json_put_u64(json, "port", seen->port);
    json_put_text(json, "address", seen->address);
    json_put_text(json, "class", CLASSES[seen->class]);
    json_put_text(json, "proxy", seen->proxy);
    json_put_text(json, "rule", seen->rule);
    json_put_u64(json, "at_ms", seen->at_unix_ms);
    json_put_u64(json, "latency_ms", seen->latency_ms);
    json_put_u64(json, "answers", seen->answers);
    json_put_u64(json, "failures", seen->failures);
    json_put_text(json, "problem", seen->problem);
    return json;
}

json_t *vault_network_status(struct vault *vault, struct err *err)
{
    json_t *view = json_object(), *list = json_array();
    AUTO(free) struct path_seen *seen = xcalloc(MAX_SEEN, sizeof *seen);
    size_t count = MIN_OF(path_seen_list(seen, MAX_SEEN), (size_t)MAX_SEEN);
    (void)err;
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, seen_json(&seen[i]));
    json_put_take(view, "connections", list);
    LOCK_GUARD(&vault->network->lock);
    json_put_take(view, "last_check",
                  vault->network->last ? json_deep_copy(vault->network->last)
                                       : json_null());
    return view;
}

json_t *vault_network_plan(struct vault *vault, const json_t *request, struct err *err)
{
    struct peering_request plan = {0};
    char account[64];
    const char *log_store = vault->network->log_store, *host = strstr(log_store, "://");
    if (!json_opt_text(request, "cloud", "public", &plan.cloud, err) ||
        !json_get_text(request, "source_region", &plan.source_region, err) ||
        !json_get_text(request, "target_region", &plan.target_region, err))
        return NULL;
    if (text_starts_with(log_store, "blob:") && host) {
        (void)snprintf(account, sizeof account, "%.*s", (int)strcspn(host + 3, "./:"),
                       host + 3);
        plan.log_account = account;
    }
    return peering_plan(&plan, err);
}

/* ---- before a machine is enabled ---- */

static void add_finding(struct findings *findings, const struct doctor_result *result,
                        const struct doctor_step *step)
{
    struct finding *f = findings_add(findings, FINDING_BLOCKER, "network.failed");
    (void)snprintf(f->what, sizeof f->what, "%s '%.100s', %s",
                   path_role_name(result->role), result->host, step->name);
    text_copy(f->why, sizeof f->why, step->cause);
    text_copy(f->remedy, sizeof f->remedy, step->remedy);
}

/* Leaves out what was well a moment ago. */
static void keep_stale(struct network *network, struct doctor_list *list)
{
    size_t kept = 0;
    uint64_t now_ms = clock_mono_ms();
    LOCK_GUARD(&network->lock);
    for (size_t i = 0; i < list->count; i++) {
        bool is_fresh = false;
        const char *host = strstr(list->items[i].url, "://");
        for (size_t j = 0; host && j < network->remembered_count; j++) {
            const struct remembered *r = &network->remembered[j];
            char what[sizeof r->what];
            (void)snprintf(what, sizeof what, "%s '%.*s'",
                           path_role_name(list->items[i].role),
                           (int)strcspn(host + 3, ":/"), host + 3);
            is_fresh = is_fresh || (strcmp(what, r->what) == 0 && r->well_at_ms &&
                                    now_ms - r->well_at_ms < FRESH_MS);
        }
        if (!is_fresh)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

void network_preflight(struct vault *vault, const char *target, struct findings *findings)
{
    AUTO(doctor_list_release) struct doctor_list list = {0};
    AUTO(doctor_report_release) struct doctor_report report = {0};
    gather(vault, target, &list);
    keep_stale(vault->network, &list);
    look(vault, &list, true, &vault->network->cancel, &report);
    for (size_t i = 0; i < report.count; i++) {
        const struct doctor_step *failure = doctor_first_failure(&report.results[i]);
        if (failure)
            add_finding(findings, &report.results[i], failure);
    }
}

/* ---- in the background ---- */

static void *watch_main(void *arg)
{
    struct vault *vault = arg;
    struct network *network = vault->network;
    uint64_t pause_ms = MIN_OF(FIRST_LOOK_MS, network->interval_ms);
    struct err canceled = ERR_INIT;
    while (cancel_sleep_ms(&network->cancel, pause_ms, &canceled)) {
        AUTO(doctor_list_release) struct doctor_list list = {0};
        AUTO(doctor_report_release) struct doctor_report report = {0};
        gather(vault, NULL, &list);
        look(vault, &list, true, &network->cancel, &report);
        if (list.count) {
            LOCK_GUARD(&network->lock);
            json_decref(network->last);
            network->last = doctor_report_json(&report);
        }
        pause_ms = network->interval_ms;
    }
    return NULL;
}

static char *copy(const char *text)
{
    return xstrdup(text ? text : "");
}

bool network_start(struct vault *vault, const struct vault_options *options,
                   struct err *err)
{
    struct network *network = vault->network = xcalloc(1, sizeof *network);
    sigset_t all, old;
    cancel_init(&network->cancel);
    (void)pthread_mutex_init(&network->look_lock, NULL); /* default attributes cannot */
    (void)pthread_mutex_init(&network->lock, NULL);      /* fail */
    network->log_store = copy(options->log_store);
    network->state_store = copy(options->state_store);
    network->log_store_credential = copy(options->log_store_credential);
    network->state_store_credential = copy(options->state_store_credential);
    network->keys = copy(options->keys);
    network->keys_credential = copy(options->keys_credential);
    network->interval_ms = options->network_check_ms;
    if (!network->interval_ms)
        return true;
    (void)sigfillset(&all); /* signals belong to the thread that opened the vault */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&network->thread, NULL, watch_main, vault);
    network->has_thread = e == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e == 0 || err_errno(err, e, "start the network's watcher");
}

void network_stop(struct vault *vault)
{
    struct network *network = vault->network;
    if (!network)
        return;
    cancel_set(&network->cancel);
    if (network->has_thread)
        (void)pthread_join(network->thread, NULL); /* ours, joined once */
    json_decref(network->last);
    (void)pthread_mutex_destroy(&network->look_lock); /* nobody holds them: we are the */
    (void)pthread_mutex_destroy(&network->lock);      /* last */
    cancel_release(&network->cancel);
    free(network->log_store);
    free(network->log_store_credential);
    free(network->state_store);
    free(network->state_store_credential);
    free(network->keys);
    free(network->keys_credential);
    free(network);
    vault->network = NULL;
}
