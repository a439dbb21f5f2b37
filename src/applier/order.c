/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to and from JSON. Only messages whose seal was good are read here; the bounds
 * hold all the same: the other side may be of another version, or wrong.
 *
 * Must never let a document decide how much memory is taken: texts have fixed room, lists
 * a bound, and the whole message has ORDER_MAX_BYTES.
 */
#include "applier/order.h"

#include "base/text.h"
#include "http/machine_json.h"

#include <inttypes.h>

static const char *const WHAT_NAMES[ORDER_WHAT_COUNT] = {
    [ORDER_OPEN] = "open",
    [ORDER_CHECK] = "check",
    [ORDER_CREATE] = "create",
    [ORDER_RESIZE] = "resize",
    [ORDER_RECOVER] = "recover",
    [ORDER_APPLY] = "apply",
    [ORDER_TEST_START] = "test-start",
    [ORDER_TEST_CLEANUP] = "test-cleanup",
    [ORDER_MIGRATE] = "migrate",
    [ORDER_COMPLETE] = "complete",
    [ORDER_REMOVE] = "remove",
    [ORDER_LIST] = "list",
    [ORDER_INVENTORY] = "inventory",
};

const char *order_what_name(enum order_what what)
{
    return WHAT_NAMES[what];
}

bool order_has_machine(enum order_what what)
{
    return what != ORDER_OPEN && what != ORDER_LIST && what != ORDER_INVENTORY;
}

/* ---- reading ---- */

static bool corrupt(const char *what, struct err *err)
{
    err->kind = FAIL_CORRUPT;
    return err_wrap(err, "%s", what);
}

static bool copy_text(const json_t *object, const char *key, char *out, size_t out_bytes,
                      struct err *err)
{
    const char *text;
    if (!json_opt_text(object, key, "", &text, err))
        return false;
    if (strlen(text) >= out_bytes)
        return err_set(err, FAIL_CORRUPT, "'%s' has %zu bytes; %zu are allowed", key,
                       strlen(text), out_bytes - 1);
    text_copy(out, out_bytes, text);
    return true;
}

static bool copy_id(const json_t *object, const char *key, struct id *ret,
                    struct err *err)
{
    const char *text;
    return json_get_text(object, key, &text, err) && id_parse(text, ret, err);
}

static void put_id(json_t *object, const char *key, const struct id *id)
{
    char text[ID_TEXT_BYTES];
    json_put_text(object, key, id_text(id, text));
}

/* The document, an object with no other keys than these. */
static json_t *parse(const char *what, const uint8_t *data, size_t data_bytes,
                     const char *const keys[], struct err *err)
{
    if (data_bytes > ORDER_MAX_BYTES) {
        (void)err_set(err, FAIL_CORRUPT, "%s has %zu bytes; %" PRIu64 " are allowed",
                      what, data_bytes, ORDER_MAX_BYTES);
        return NULL;
    }
    AUTO(json_free)
    json_t *json = json_parse(what, (const char *)data, data_bytes, err);
    if (json && !json_is_object(json))
        (void)err_set(err, FAIL_CORRUPT, "%s is not a JSON object", what);
    else if (json && json_only_keys(json, keys, err))
        return TAKE(json);
    (void)corrupt(what, err);
    return NULL;
}

/* ---- order ---- */

static json_t *test_to_json(const struct order *order)
{
    json_t *test = json_object();
    json_put_text(test, "name", order->test_name);
    json_put_text(test, "network", order->network);
    json_put_text(test, "marker", order->marker);
    json_put_bool(test, "start", order->start);
    json_put_u64(test, "boot_deadline_ms", order->boot_deadline_ms);
    return test;
}

void order_encode(const struct order *order, struct buf *out)
{
    AUTO(json_free) json_t *json = json_object();
    json_put_u64(json, "version", 1);
    json_put_u64(json, "number", order->number);
    json_put_u64(json, "floor", order->floor);
    put_id(json, "nonce", &order->nonce);
    put_id(json, "instance", &order->instance);
    json_put_text(json, "what", order_what_name(order->what));
    json_put_text(json, "target", order->target);
    json_put_text(json, "kind", order->kind);
    json_put_take(json, "options", json_deep_copy(order->options));
    if (order->def)
        json_put_take(json, "machine", machine_to_json(order->def));
    json_put_text(json, "key", order->key);
    json_put_u64(json, "known_point", order->known_point);
    json_put_u64(json, "cycle", order->cycle);
    json_put_u64(json, "disk", order->disk_index);
    json_put_u64(json, "disk_bytes", order->disk_bytes);
    json_put_take(json, "test", test_to_json(order));
    json_print(json, out);
}

static bool read_what(const json_t *json, enum order_what *ret, struct err *err)
{
    const char *name;
    if (!json_get_text(json, "what", &name, err))
        return false;
    for (int i = 0; i < ORDER_WHAT_COUNT; i++)
        if (strcmp(name, WHAT_NAMES[i]) == 0) {
            *ret = (enum order_what)i;
            return true;
        }
    return err_set(err, FAIL_CORRUPT, "it asks for '%.40s', which nobody knows", name);
}

static bool read_test(const json_t *json, struct order *ret, struct err *err)
{
    static const char *const KEYS[] = {"name",  "network",          "marker",
                                       "start", "boot_deadline_ms", NULL};
    const json_t *test = json_object_get(json, "test");
    if (!json_is_object(test))
        return err_set(err, FAIL_CORRUPT, "'test' is not an object");
    return json_only_keys(test, KEYS, err) &&
           copy_text(test, "name", ret->test_name, sizeof ret->test_name, err) &&
           copy_text(test, "network", ret->network, sizeof ret->network, err) &&
           copy_text(test, "marker", ret->marker, sizeof ret->marker, err) &&
           json_get_bool(test, "start", &ret->start, err) &&
           json_get_u64(test, "boot_deadline_ms", &ret->boot_deadline_ms, err);
}

static bool read_target(const json_t *json, struct order *ret, struct err *err)
{
    json_t *options = json_object_get(json, "options");
    if (!json_is_object(options))
        return err_set(err, FAIL_CORRUPT, "'options' is not an object");
    ret->options = json_incref(options);
    return copy_text(json, "target", ret->target, sizeof ret->target, err) &&
           copy_text(json, "kind", ret->kind, sizeof ret->kind, err) &&
           copy_text(json, "key", ret->key, sizeof ret->key, err);
}

static bool read_machine(const json_t *json, struct order *ret, struct err *err)
{
    const json_t *machine = json_object_get(json, "machine");
    bool may_lack = ret->what == ORDER_CHECK;
    if (order_has_machine(ret->what) != (machine != NULL) && !(may_lack && !machine))
        return err_set(err, FAIL_CORRUPT, "'%s' and 'machine' do not fit together",
                       order_what_name(ret->what));
    if (!machine)
        return true;
    ret->def = xcalloc(1, sizeof *ret->def);
    if (!machine_from_json(machine, ret->def, err))
        return false;
    if (id_is_zero(&ret->def->id))
        return err_set(err, FAIL_CORRUPT, "the machine has no id");
    return ret->what != ORDER_RESIZE || ret->disk_index < ret->def->disk_count ||
           err_set(err, FAIL_CORRUPT, "disk %" PRIu64 " of %zu", ret->disk_index,
                   ret->def->disk_count);
}

static bool read_version(const json_t *json, struct err *err)
{
    uint64_t version;
    return json_get_u64(json, "version", &version, err) &&
           (version == 1 || err_set(err, FAIL_CORRUPT,
                                    "version %" PRIu64 "; version 1 is known", version));
}

static bool read_order(const json_t *json, struct order *ret, struct err *err)
{
    return read_version(json, err) && json_get_u64(json, "number", &ret->number, err) &&
           json_get_u64(json, "floor", &ret->floor, err) &&
           copy_id(json, "nonce", &ret->nonce, err) &&
           copy_id(json, "instance", &ret->instance, err) &&
           read_what(json, &ret->what, err) && read_target(json, ret, err) &&
           json_get_u64(json, "known_point", &ret->known_point, err) &&
           json_get_u64(json, "cycle", &ret->cycle, err) &&
           json_get_u64(json, "disk", &ret->disk_index, err) &&
           json_get_u64(json, "disk_bytes", &ret->disk_bytes, err) &&
           read_test(json, ret, err) && read_machine(json, ret, err);
}

bool order_decode(const uint8_t *data, size_t data_bytes, struct order *ret,
                  struct err *err)
{
    static const char *const KEYS[] = {
        "version", "number", "floor",      "nonce",   "instance", "what",
        "target",  "kind",   "options",    "machine", "key",      "known_point",
        "cycle",   "disk",   "disk_bytes", "test",    NULL};
    AUTO(json_free) json_t *json = parse("order", data, data_bytes, KEYS, err);
    return json && (read_order(json, ret, err) || corrupt("order", err));
}

void order_release(struct order *order)
{
    json_free(order->options);
    free(order->def);
    order->options = NULL;
    order->def = NULL;
}

/* ---- progress ---- */

static const char *const COUNTERS[] = {"segments_total",   "segments_verified",
                                       "segments_applied", "written_bytes",
                                       "zeroed_bytes",     "same_bytes"};

static uint64_t *counter_of(struct order_progress *progress, size_t i)
{
    uint64_t *const fields[] = {&progress->segments_total,   &progress->segments_verified,
                                &progress->segments_applied, &progress->written_bytes,
                                &progress->zeroed_bytes,     &progress->same_bytes};
    return fields[i];
}

void order_progress_encode(const struct order_progress *progress, struct buf *out)
{
    AUTO(json_free) json_t *json = json_object();
    struct order_progress copy = *progress;
    json_put_u64(json, "version", 1);
    put_id(json, "nonce", &progress->nonce);
    json_put_bool(json, "cloned", progress->is_cloned);
    for (size_t i = 0; i < ARRAY_COUNT(COUNTERS); i++)
        json_put_u64(json, COUNTERS[i], *counter_of(&copy, i));
    json_print(json, out);
}

bool order_progress_decode(const uint8_t *data, size_t data_bytes,
                           struct order_progress *ret, struct err *err)
{
    static const char *const KEYS[] = {"version",
                                       "nonce",
                                       "cloned",
                                       "segments_total",
                                       "segments_verified",
                                       "segments_applied",
                                       "written_bytes",
                                       "zeroed_bytes",
                                       "same_bytes",
                                       NULL};
    AUTO(json_free) json_t *json = parse("progress", data, data_bytes, KEYS, err);
    struct order_progress progress = {0};
    if (!json)
        return false;
    bool ok = read_version(json, err) && copy_id(json, "nonce", &progress.nonce, err) &&
              json_get_bool(json, "cloned", &progress.is_cloned, err);
    for (size_t i = 0; ok && i < ARRAY_COUNT(COUNTERS); i++)
        ok = json_get_u64(json, COUNTERS[i], counter_of(&progress, i), err);
    if (!ok)
        return corrupt("progress", err);
    *ret = progress;
    return true;
}

/* ---- result ---- */

void order_result_encode(const struct order_result *result, struct buf *out)
{
    AUTO(json_free) json_t *json = json_object();
    json_put_u64(json, "version", 1);
    put_id(json, "nonce", &result->nonce);
    json_put_text(
        json, "kind",
        result->failure.kind == FAIL_NONE ? "done" : err_kind_name(result->failure.kind));
    json_put_text(json, "text",
                  result->failure.kind == FAIL_NONE ? "" : result->failure.text);
    json_put_u64(json, "retry_after_ms", result->failure.retry_after_ms);
    if (result->body)
        json_put_take(json, "body", json_deep_copy(result->body));
    json_print(json, out);
}

static bool read_failure(const json_t *json, struct err *ret, struct err *err)
{
    const char *kind;
    uint64_t retry_after_ms;
    if (!json_get_text(json, "kind", &kind, err) ||
        !json_get_u64(json, "retry_after_ms", &retry_after_ms, err))
        return false;
    *ret = ERR_INIT;
    if (strcmp(kind, "done") == 0)
        return true;
    ret->kind = err_kind_from_name(kind); /* one that is not known is a bug */
    ret->retry_after_ms = (uint32_t)MIN_OF(retry_after_ms, (uint64_t)3600 * 1000);
    return copy_text(json, "text", ret->text, sizeof ret->text, err);
}

bool order_result_decode(const uint8_t *data, size_t data_bytes, struct order_result *ret,
                         struct err *err)
{
    static const char *const KEYS[] = {"version",        "nonce", "kind", "text",
                                       "retry_after_ms", "body",  NULL};
    AUTO(json_free) json_t *json = parse("result", data, data_bytes, KEYS, err);
    struct order_result result = {0};
    if (!json)
        return false;
    if (!read_version(json, err) || !copy_id(json, "nonce", &result.nonce, err) ||
        !read_failure(json, &result.failure, err))
        return corrupt("result", err);
    result.body = json_incref(json_object_get(json, "body"));
    *ret = result;
    return true;
}

void order_result_release(struct order_result *result)
{
    json_free(result->body);
    result->body = NULL;
}

/* ---- beat ---- */

void order_beat_encode(const struct order_beat *beat, struct buf *out)
{
    AUTO(json_free) json_t *json = json_object();
    json_put_u64(json, "version", 1);
    put_id(json, "instance", &beat->instance);
    put_id(json, "replaces", &beat->replaces);
    json_put_u64(json, "sequence", beat->sequence);
    json_put_u64(json, "highest", beat->highest);
    json_put_u64(json, "lease_ms", beat->lease_ms);
    json_put_u64(json, "wall_ms", beat->wall_ms);
    json_put_u64(json, "running", beat->running);
    json_put_text(json, "program", beat->version);
    json_put_text(json, "host", beat->host);
    json_print(json, out);
}

bool order_beat_decode(const uint8_t *data, size_t data_bytes, struct order_beat *ret,
                       struct err *err)
{
    static const char *const KEYS[] = {"version", "instance", "replaces", "sequence",
                                       "highest", "lease_ms", "wall_ms",  "running",
                                       "program", "host",     NULL};
    AUTO(json_free) json_t *json = parse("beat", data, data_bytes, KEYS, err);
    struct order_beat beat = {0};
    if (!json)
        return false;
    if (!read_version(json, err) || !copy_id(json, "instance", &beat.instance, err) ||
        !copy_id(json, "replaces", &beat.replaces, err) ||
        !json_get_u64(json, "sequence", &beat.sequence, err) ||
        !json_get_u64(json, "highest", &beat.highest, err) ||
        !json_get_u64(json, "lease_ms", &beat.lease_ms, err) ||
        !json_get_u64(json, "wall_ms", &beat.wall_ms, err) ||
        !json_get_u64(json, "running", &beat.running, err) ||
        !copy_text(json, "program", beat.version, sizeof beat.version, err) ||
        !copy_text(json, "host", beat.host, sizeof beat.host, err))
        return corrupt("beat", err);
    if (beat.lease_ms < ORDER_LEASE_MIN_MS || beat.lease_ms > ORDER_LEASE_MAX_MS ||
        beat.highest > ORDER_NUMBER_MAX)
        return err_set(err, FAIL_CORRUPT, "beat: a number is out of its bounds");
    *ret = beat;
    return true;
}
