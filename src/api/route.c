/* SPDX-License-Identifier: Apache-2.0 */
/* The routes, and finding the one that a request means. */
#include "api/route.h"

#include "api/handlers.h"
#include "base/text.h"

/* clang-format off */
static const struct api_field DISCOVER_QUERY[] = {
    {"source", API_NAME, .help = "only this source"}, {0}};
static const struct api_field JOBS_QUERY[] = {
    {"machine", API_TEXT, .min = 1, .max = 255, .help = "only of this machine"},
    {"limit", API_U64, .min = 1, .max = 1000, .help = "at most so many; without it 100"},
    {0}};
static const struct api_field EVENTS_QUERY[] = {
    {"since", API_U64, .max = INT64_MAX, .help = "only events with a higher id; without it 0"},
    {"limit", API_U64, .min = 1, .max = API_EVENTS_MAX, .help = "at most so many; without it 100"},
    {"last", API_U64, .min = 1, .max = INT64_MAX, .help = "none but so many of the newest"},
    {"wait_ms", API_U64, .max = API_WAIT_MAX_MS, .help = "wait so long for the first one"},
    {0}};

static const struct api_route ROUTES[] = {
    {"GET", "/v1/status", "getStatus", api_get_status, "The daemon: version, uptime, counts",
     BODY_NONE, NULL, VIEW_STATUS, .status = 200, .errors = "", .needs_no_vault = true},
    {"GET", "/v1/applier", "getApplier", api_get_applier, "What a daemon with only the applier role does",
     BODY_NONE, NULL, VIEW_APPLIER, .status = 200, .errors = "gone", .needs_no_vault = true},
    {"GET", "/v1/sources", "listSources", api_get_sources, "Every source",
     BODY_NONE, NULL, VIEW_SOURCE_LIST, .status = 200, .errors = ""},
    {"POST", "/v1/sources", "addSource", api_post_source, "Add a source; it is opened once to prove that it works",
     BODY_SOURCE, NULL, VIEW_NAMED, .status = 201, .errors = "conflict transient gone io"},
    {"DELETE", "/v1/sources/{source}", "removeSource", api_delete_source, "Remove a source that no machine uses",
     BODY_NONE, NULL, VIEW_NAMED, .status = 200, .errors = "gone conflict"},
    {"POST", "/v1/sources/{source}/check", "checkSource", api_check_source, "Check a source and its machines before anything starts",
     BODY_NONE, NULL, VIEW_FINDINGS, .status = 200, .errors = "gone transient"},
    {"GET", "/v1/targets", "listTargets", api_get_targets, "Every target",
     BODY_NONE, NULL, VIEW_TARGET_LIST, .status = 200, .errors = ""},
    {"POST", "/v1/targets", "addTarget", api_post_target, "Add a target; it is opened once to prove that it works",
     BODY_TARGET, NULL, VIEW_NAMED, .status = 201, .errors = "conflict transient no-space io"},
    {"DELETE", "/v1/targets/{target}", "removeTarget", api_delete_target, "Remove a target that no machine uses",
     BODY_NONE, NULL, VIEW_NAMED, .status = 200, .errors = "gone conflict"},
    {"POST", "/v1/targets/{target}/check", "checkTarget", api_check_target, "Check a target before anything starts",
     BODY_NONE, NULL, VIEW_FINDINGS, .status = 200, .errors = "gone transient"},
    {"GET", "/v1/targets/{target}/inventory", "getInventory", api_get_inventory, "Everything that Kedge made at a target",
     BODY_NONE, NULL, VIEW_INVENTORY, .status = 200, .errors = "gone transient"},
    {"GET", "/v1/discover", "discover", api_discover, "Machines that the sources have now",
     BODY_NONE, DISCOVER_QUERY, VIEW_DISCOVERY, .status = 200, .errors = "gone transient"},
    {"GET", "/v1/machines", "listMachines", api_get_machines, "Every replicated machine",
     BODY_NONE, NULL, VIEW_MACHINE_LIST, .status = 200, .errors = ""},
    {"POST", "/v1/machines", "replicate", api_post_machine, "Start to replicate a machine",
     BODY_REPLICATE, NULL, VIEW_JOB_STARTED, .status = 202, .errors = "gone conflict transient", .is_idempotent_by_key = true},
    {"GET", "/v1/machines/{machine}", "getMachine", api_get_machine, "One machine, by name or id",
     BODY_NONE, NULL, VIEW_MACHINE, .status = 200, .errors = "gone"},
    {"POST", "/v1/machines/{machine}/operations/{operation}", "operate", api_post_operation, "Start an operation on a machine",
     BODY_OPERATION, NULL, VIEW_JOB_STARTED, .status = 202, .errors = "gone conflict", .is_idempotent_by_key = true},
    {"GET", "/v1/jobs", "listJobs", api_get_jobs, "Jobs, newest first",
     BODY_NONE, JOBS_QUERY, VIEW_JOB_LIST, .status = 200, .errors = "gone"},
    {"GET", "/v1/jobs/{job}", "getJob", api_get_job, "One job",
     BODY_NONE, NULL, VIEW_JOB, .status = 200, .errors = "gone"},
    {"DELETE", "/v1/jobs/{job}", "cancelJob", api_delete_job, "Ask a job to stop; answers with the job as it is then",
     BODY_NONE, NULL, VIEW_JOB, .status = 202, .errors = "gone conflict"},
    {"GET", "/v1/events", "listEvents", api_get_events, "Events after an id; may wait for the first one",
     BODY_NONE, EVENTS_QUERY, VIEW_EVENT_LIST, .status = 200, .errors = "transient"},
    {"GET", "/v1/throttle", "getThrottle", api_get_throttle, "The bound of what leaves this host",
     BODY_NONE, NULL, VIEW_THROTTLE, .status = 200, .errors = ""},
    {"PUT", "/v1/throttle", "setThrottle", api_put_throttle, "Change that bound or its calendar; takes effect at once",
     BODY_THROTTLE, NULL, VIEW_THROTTLE, .status = 200, .errors = ""},
    {"GET", "/v1/blackout", "getBlackout", api_get_blackout, "Blackout windows, and whether one holds now",
     BODY_NONE, NULL, VIEW_BLACKOUT, .status = 200, .errors = ""},
    {"PUT", "/v1/blackout", "setBlackout", api_put_blackout, "Change the blackout windows",
     BODY_BLACKOUT, NULL, VIEW_BLACKOUT, .status = 200, .errors = "conflict"},
    {"GET", "/v1/orphans", "listOrphans", api_get_orphans, "What belongs to no machine and no job any more",
     BODY_NONE, NULL, VIEW_ORPHAN_LIST, .status = 200, .errors = "transient io"},
    {"POST", "/v1/orphans/clean", "cleanOrphans", api_clean_orphans, "Remove those of them that are ours; answers with what was removed",
     BODY_NONE, NULL, VIEW_ORPHAN_LIST, .status = 200, .errors = "transient io"},
    {"GET", "/v1/keys", "getKeys", api_get_keys, "Master keys, and how many machines each wraps",
     BODY_NONE, NULL, VIEW_KEYS, .status = 200, .errors = "auth gone transient"},
    {"POST", "/v1/keys/rotate", "rotateKeys", api_rotate_keys, "Make a new master key and wrap every data key with it",
     BODY_NONE, NULL, VIEW_KEYS_ROTATED, .status = 200, .errors = "auth conflict gone transient io"},
    {"POST", "/v1/keys/rewrap", "rewrapKeys", api_rewrap_keys, "Wrap every data key with the newest master key; finishes a rotation",
     BODY_NONE, NULL, VIEW_KEYS_ROTATED, .status = 200, .errors = "auth conflict gone transient io"},
    {"POST", "/v1/plan", "plan", api_post_plan, "When initial cycles end, how long deltas and cutovers take, in simulated time",
     BODY_PLAN, NULL, VIEW_PLAN, .status = 200, .errors = "gone conflict"},
    {"GET", "/v1/network", "getNetwork", api_get_network, "How connections go, by role, and the last look at all",
     BODY_NONE, NULL, VIEW_NETWORK, .status = 200, .errors = ""},
    {"POST", "/v1/network/check", "checkNetwork", api_check_network, "Look at every endpoint, step by step; takes seconds",
     BODY_NETWORK_CHECK, NULL, VIEW_NETWORK_CHECK, .status = 200, .errors = ""},
    {"POST", "/v1/network/plan", "planNetwork", api_plan_network, "What replication over ExpressRoute needs in two regions",
     BODY_NETWORK_PLAN, NULL, VIEW_NETWORK_PLAN, .status = 200, .errors = ""},
    {"GET", "/v1/openapi.json", "getOpenApi", api_get_openapi, "This interface as an OpenAPI 3.1 document",
     BODY_NONE, NULL, VIEW_OPENAPI, .status = 200, .errors = "", .needs_no_vault = true},
    {0}};
/* clang-format on */

const struct api_route *api_routes(void)
{
    return ROUTES;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool api_decode(const char *text, size_t text_bytes, char *out, size_t out_bytes,
                struct err *err)
{
    size_t used = 0;
    for (size_t i = 0; i < text_bytes; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 2 < text_bytes ? hex_value(text[i + 1]) : -1;
            int low = i + 2 < text_bytes ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(err, FAIL_INPUT,
                               "the URL has a '%%' that two hex digits do not follow");
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == 0)
            return err_set(err, FAIL_INPUT, "the URL holds a NUL character");
        if (used + 1 >= out_bytes)
            return err_set(err, FAIL_INPUT, "a part of the URL is longer than %zu bytes",
                           out_bytes - 1);
        out[used++] = c;
    }
    out[used] = 0;
    json_t *text_json = json_stringn(out, used);
    if (!text_json)
        return err_set(err, FAIL_INPUT, "the URL is not UTF-8");
    json_decref(text_json);
    return true;
}

/* false: the path does not fit, or (err set) fits and cannot be decoded. */
static bool match_pattern(const char *pattern, const char *path, struct api_match *match,
                          struct err *err)
{
    match->param_count = 0;
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t length = strcspn(path, "/");
        if (length == 0 || match->param_count == API_MAX_PARAMS)
            return false;
        char *param = match->params[match->param_count++];
        struct err bad = ERR_INIT;
        if (!api_decode(path, length, param, API_PARAM_BYTES, &bad)) {
            if (err->kind == FAIL_NONE)
                *err = bad;
            param[0] = 0;
        }
        pattern += strcspn(pattern, "}") + 1;
        path += length;
    }
    return *pattern == 0 && *path == 0;
}

bool api_route_match(const char *method, const char *path, struct api_match *ret,
                     struct err *err)
{
    struct api_match try = {0};
    *ret = (struct api_match){0};
    for (const struct api_route *route = ROUTES; route->method; route++) {
        struct err bad_here = ERR_INIT;
        if (!match_pattern(route->pattern, path, &try, &bad_here))
            continue;
        if (strcmp(method, route->method) != 0) {
            size_t at = strlen(ret->allowed);
            (void)snprintf(ret->allowed + at, sizeof ret->allowed - at, "%s%s",
                           at ? ", " : "", route->method);
            continue;
        }
        if (bad_here.kind != FAIL_NONE) {
            ret->allowed[0] = 0;
            *err = bad_here;
            return false;
        }
        *ret = try;
        ret->route = route;
        return true;
    }
    if (ret->allowed[0])
        return err_set(err, FAIL_INPUT, "'%.16s' is not possible on this path; use %s",
                       method, ret->allowed);
    return err_set(err, FAIL_GONE,
                   "there is no path '%.100s'; see /v1/openapi.json for all", path);
}
