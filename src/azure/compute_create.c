/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a resource whose earlier making may have succeeded unseen, or failed half-way.
 *
 * C1  a PUT over something that is there changes it: so there is a GET first, always, and
 *     a PUT only over what carries our tags and has failed;
 * C2  between the GET and the PUT somebody else may make it: where the service knows
 *     If-None-Match it decides; disks and NICs have no such thing (specifications of
 *     2024), and our names carry enough of ours to make it a matter of two of us;
 * C3  ours is what has every tag that we would give it; others may add some (policies).
 */
#include "azure/compute_impl.h"

#include "base/text.h"

enum found { FOUND_NOTHING, FOUND_READY, FOUND_FAILED, FOUND_BUSY };

/* ---- reading ---- */

const json_t *compute_at(const json_t *json, const char *path)
{
    char key[64];
    while (json && *path) {
        size_t bytes = strcspn(path, ".");
        if (bytes >= sizeof key)
            return NULL;
        memcpy(key, path, bytes);
        key[bytes] = 0;
        json = json_object_get(json, key);
        path += bytes + (path[bytes] == '.');
    }
    return json;
}

const char *compute_text(const json_t *json, const char *path)
{
    const char *text = json_string_value(compute_at(json, path));
    return text ? text : "";
}

void compute_location(const char *text, char out[COMPUTE_LOCATION_BYTES])
{
    size_t used = 0;
    for (const char *p = text; *p && used + 1 < COMPUTE_LOCATION_BYTES; p++) {
        if (*p >= 'A' && *p <= 'Z')
            out[used++] = (char)(*p - 'A' + 'a');
        else if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9'))
            out[used++] = *p;
    }
    out[used] = 0;
}

static bool location_is_same(const char *a, const char *b)
{
    char left[COMPUTE_LOCATION_BYTES], right[COMPUTE_LOCATION_BYTES];
    compute_location(a, left);
    compute_location(b, right);
    return strcmp(left, right) == 0;
}

struct secret *compute_take_secret(json_t *json, const char *key)
{
    const char *text = compute_text(json, key);
    size_t bytes = strlen(text);
    if (bytes == 0)
        return NULL;
    struct secret *secret = bytes <= SECRET_MAX_BYTES ? secret_new(text, bytes) : NULL;
    secret_wipe((void *)(uintptr_t)text, bytes);
    return secret;
}

json_t *compute_reference(const char *id)
{
    json_t *reference = json_object();
    json_put_text(reference, "id", id);
    return reference;
}

/* ---- what is there ---- */

/* The value of a tag; names are compared without regard to case, as the service does. */
static const char *tag_value(const json_t *resource, const char *name)
{
    json_t *tags = json_object_get(resource, "tags"), *value;
    const char *key;
    json_object_foreach(tags, key, value)
    {
        if (strcasecmp(key, name) == 0)
            return json_string_value(value);
    }
    return NULL;
}

void compute_line(char *out, size_t out_bytes, const char *text)
{
    text_copy(out, out_bytes, text);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
}

static bool check_ours(const struct compute_item *item, const json_t *resource,
                       struct err *err)
{
    const char *name = arm_id_name(item->id);
    for (size_t i = 0; i < item->tags->count; i++) {
        const struct azure_tag *tag = &item->tags->items[i];
        const char *value = tag_value(resource, tag->name);
        char shown[60];
        compute_line(shown, sizeof shown, value ? value : "missing");
        if (!value || strcmp(value, tag->value) != 0)
            return err_set(err, FAIL_CONFLICT,
                           "%s '%s' exists already and was made by somebody else (tag "
                           "'%.60s' is %s); remove it, or choose another name",
                           item->noun, name, tag->name, shown);
    }
    return item->tags->count > 0 || err_set(err, FAIL_CONFLICT,
                                            "%s '%s' exists already; remove it, or "
                                            "choose another name",
                                            item->noun, name);
}

static const char *find_difference(const struct compute_item *item,
                                   const json_t *resource)
{
    if (!location_is_same(compute_text(resource, "location"), item->location))
        return "location";
    const char *zone =
        json_string_value(json_array_get(json_object_get(resource, "zones"), 0));
    if (strcmp(zone ? zone : "", item->zone ? item->zone : "") != 0)
        return "zone";
    return item->difference(item->make, resource);
}

static bool judge(const struct compute_item *item, const json_t *resource,
                  enum found *ret, struct err *err)
{
    const char *name = arm_id_name(item->id);
    const char *state = compute_text(resource, "properties.provisioningState");
    if (!check_ours(item, resource, err))
        return false;
    if (strcasecmp(state, "Deleting") == 0)
        return err_set(err, FAIL_CONFLICT,
                       "%s '%s' is being deleted; wait until it is gone", item->noun,
                       name);
    const char *difference = find_difference(item, resource);
    if (difference)
        return err_set(err, FAIL_CONFLICT,
                       "%s '%s' exists already with another %s; remove it first",
                       item->noun, name, difference);
    if (strcasecmp(state, "Failed") == 0 || strcasecmp(state, "Canceled") == 0)
        *ret = FOUND_FAILED;
    else
        *ret = !*state || strcasecmp(state, "Succeeded") == 0 ? FOUND_READY : FOUND_BUSY;
    return true;
}

/* C1; waits while it is still being made. */
static bool look(struct arm *arm, const struct compute_item *item, const char *what,
                 enum found *ret, struct err *err)
{
    struct err why = ERR_INIT;
    AUTO(json_free) json_t *resource = NULL;
    struct arm_call call = {.method = "GET",
                            .path = item->id,
                            .api_version = item->api_version,
                            .what = what,
                            .cancel = item->cancel};
    if (!arm_run(arm, &call, &resource, &why)) {
        *ret = FOUND_NOTHING;
        if (why.kind != FAIL_GONE)
            *err = why;
        return why.kind == FAIL_GONE;
    }
    if (!judge(item, resource, ret, err))
        return false;
    if (*ret != FOUND_BUSY)
        return true;
    json_decref(resource);
    resource = NULL;
    call.until_settled = true;
    return arm_run(arm, &call, &resource, err) && judge(item, resource, ret, err);
}

/* ---- making ---- */

json_t *compute_body(const struct compute_item *item, json_t **ret_properties)
{
    json_t *body = json_object(), *tags = json_object();
    *ret_properties = json_object();
    json_put_text(body, "location", item->location);
    if (item->zone)
        json_put_take(body, "zones", json_pack("[s]", item->zone));
    for (size_t i = 0; i < item->tags->count; i++)
        json_put_text(tags, item->tags->items[i].name, item->tags->items[i].value);
    json_put_take(body, "tags", tags);
    json_put_take(body, "properties", *ret_properties);
    return body;
}

bool compute_create(struct arm *arm, const struct compute_item *item, json_t *body,
                    struct err *err)
{
    char what[COMPUTE_WHAT_BYTES];
    enum found found;
    AUTO(json_free) json_t *owned = body;
    (void)snprintf(what, sizeof what, "create %s '%s'", item->noun,
                   arm_id_name(item->id));
    if (!look(arm, item, what, &found, err))
        return false;
    if (found == FOUND_READY)
        return true;
    struct err why = ERR_INIT, looked = ERR_INIT;
    struct arm_call call = {.method = "PUT",
                            .path = item->id,
                            .api_version = item->api_version,
                            .body = owned,
                            .what = what,
                            .cancel = item->cancel,
                            .is_new =
                                item->knows_if_none_match && found == FOUND_NOTHING};
    if (arm_run(arm, &call, NULL, &why))
        return true;
    if (why.kind == FAIL_CONFLICT) {
        /* An attempt whose answer was lost may have made it: then it is there, and ours;
         * or somebody else was faster, which says more than the service does. */
        if (look(arm, item, what, &found, &looked) && found == FOUND_READY)
            return true;
        if (looked.kind == FAIL_CONFLICT)
            why = looked;
    }
    *err = why;
    return false;
}

bool compute_remove(struct arm *arm, const char *id, const char *api_version,
                    const char *noun, struct err *err)
{
    char what[COMPUTE_WHAT_BYTES];
    (void)snprintf(what, sizeof what, "remove %s '%s'", noun, arm_id_name(id));
    struct arm_call call = {
        .method = "DELETE", .path = id, .api_version = api_version, .what = what};
    return arm_run(arm, &call, NULL, err);
}
