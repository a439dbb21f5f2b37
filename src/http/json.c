/* SPDX-License-Identifier: Apache-2.0 */
/* JSON helpers: strict reading with errors that name the key, building that cannot fail.
 */
#include "http/json.h"

#include <inttypes.h>

json_t *json_parse(const char *what, const char *text, size_t text_bytes, struct err *err)
{
    json_error_t where;
    if (text_bytes > JSON_MAX_BYTES) {
        (void)err_set(err, FAIL_LIMIT, "%s is larger than %llu bytes", what,
                      (unsigned long long)JSON_MAX_BYTES);
        return NULL;
    }
    json_t *json = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        (void)err_set(err, FAIL_INPUT, "%s is not valid JSON: line %d, column %d: %s",
                      what, where.line, where.column, where.text);
    return json;
}

static int append_chunk(const char *data, size_t data_bytes, void *ctx)
{
    buf_append(ctx, data, data_bytes);
    return 0;
}

void json_print(const json_t *json, struct buf *out)
{
    (void)json_dump_callback(json, append_chunk, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

void json_print_pretty(const json_t *json, struct buf *out)
{
    (void)json_dump_callback(json, append_chunk, out, JSON_INDENT(2) | JSON_ENCODE_ANY);
}

static bool wrong(const char *key, const char *want, const json_t *value, struct err *err)
{
    if (!value)
        return err_set(err, FAIL_INPUT, "'%s' is missing; it must be %s", key, want);
    return err_set(err, FAIL_INPUT, "'%s' must be %s", key, want);
}

bool json_get_text(const json_t *object, const char *key, const char **ret,
                   struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return wrong(key, "a string", value, err);
    *ret = json_string_value(value);
    return true;
}

bool json_get_u64(const json_t *object, const char *key, uint64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return wrong(key, "a whole number, 0 or more", value, err);
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

bool json_get_bool(const json_t *object, const char *key, bool *ret, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value))
        return wrong(key, "true or false", value, err);
    *ret = json_is_true(value);
    return true;
}

bool json_get_array(const json_t *object, const char *key, json_t **ret_borrowed,
                    struct err *err)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_array(value))
        return wrong(key, "an array", value, err);
    *ret_borrowed = value;
    return true;
}

static bool is_absent(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value);
}

bool json_opt_text(const json_t *object, const char *key, const char *fallback,
                   const char **ret, struct err *err)
{
    if (!is_absent(object, key))
        return json_get_text(object, key, ret, err);
    *ret = fallback;
    return true;
}

bool json_opt_u64(const json_t *object, const char *key, uint64_t fallback, uint64_t *ret,
                  struct err *err)
{
    if (!is_absent(object, key))
        return json_get_u64(object, key, ret, err);
    *ret = fallback;
    return true;
}

bool json_opt_bool(const json_t *object, const char *key, bool fallback, bool *ret,
                   struct err *err)
{
    if (!is_absent(object, key))
        return json_get_bool(object, key, ret, err);
    *ret = fallback;
    return true;
}

bool json_only_keys(const json_t *object, const char *const allowed[], struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;
        while (allowed[i] && strcmp(allowed[i], key) != 0)
            i++;
        if (!allowed[i])
            return err_set(err, FAIL_INPUT, "'%.80s' is not a known field", key);
    }
    return true;
}

void json_put_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    if (!value) /* JSON text is UTF-8; what a peer sent us is not */
        value = json_string("(not valid UTF-8)");
    json_put_take(object, key, value);
}

void json_put_u64(json_t *object, const char *key, uint64_t v)
{
    json_put_take(object, key, json_integer((json_int_t)v));
}

void json_put_bool(json_t *object, const char *key, bool v)
{
    json_put_take(object, key, json_boolean(v));
}

void json_put_take(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        abort();
}
