/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables: check, describe, print.
 *
 * Not a JSON Schema engine on purpose: a request is a flat object with at most one nested
 * object, and the error text should name the field and the remedy rather than a rule.
 */
#include "api/schema.h"

#include "base/text.h"

#include <inttypes.h>

#define PREFIX_BYTES 128

static bool check_object(const struct api_field *fields, const json_t *value,
                         const char *prefix, struct err *err);

static bool has(const struct api_field *field, unsigned flag)
{
    return (field->flags & flag) != 0;
}

static bool check_number(const struct api_field *field, const json_t *value,
                         const char *name, struct err *err)
{
    json_int_t v = json_integer_value(value);
    if (!json_is_integer(value) || v < 0)
        return err_set(err, FAIL_INPUT, "'%s' must be a whole number, 0 or more", name);
    if ((uint64_t)v < field->min || (field->max && (uint64_t)v > field->max))
        return err_set(err, FAIL_INPUT, "'%s' must be between %" PRIu64 " and %" PRIu64,
                       name, field->min, field->max);
    return true;
}

static bool check_choice(const struct api_field *field, const char *text,
                         const char *name, struct err *err)
{
    AUTO(buf_release) struct buf list = {0};
    for (size_t i = 0; field->choices[i]; i++) {
        if (strcmp(field->choices[i], text) == 0)
            return true;
        buf_printf(&list, "%s'%s'", i ? ", " : "", field->choices[i]);
    }
    return err_set(err, FAIL_INPUT, "'%s' is '%.60s'; it must be one of %s", name, text,
                   buf_text(&list));
}

static bool check_text(const struct api_field *field, const json_t *value,
                       const char *name, struct err *err)
{
    const char *text = json_string_value(value);
    if (!text)
        return err_set(err, FAIL_INPUT, "'%s' must be a string", name);
    size_t length = json_string_length(value), max = field->max ? field->max : 4096;
    if (strlen(text) != length)
        return err_set(err, FAIL_INPUT, "'%s' holds a NUL character", name);
    if (length < field->min || length > max)
        return err_set(err, FAIL_INPUT,
                       "'%s' must have %" PRIu64 " to %zu bytes; it has %zu", name,
                       field->min, max, length);
    if (field->choices)
        return check_choice(field, text, name, err);
    if (field->type == API_NAME)
        return text_check_name(name, text, err);
    if (field->type == API_PATH && text[0] != '/')
        return err_set(err, FAIL_INPUT, "'%s' is '%.100s'; it must be an absolute path",
                       name, text);
    return true;
}

static bool check_array(const struct api_field *field, const json_t *value,
                        const char *name, struct err *err)
{
    if (!json_is_array(value))
        return err_set(err, FAIL_INPUT, "'%s' must be an array", name);
    if (json_array_size(value) < field->min)
        return err_set(err, FAIL_INPUT, "'%s' must have at least %" PRIu64 " entries",
                       name, field->min);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        char item_name[PREFIX_BYTES];
        (void)snprintf(item_name, sizeof item_name, "%s[%zu]", name, i);
        if (field->type == API_LIST) {
            if (!check_object(field->fields, item, item_name, err))
                return false;
        } else if (!json_is_string(item) ||
                   strlen(json_string_value(item)) != json_string_length(item)) {
            return err_set(err, FAIL_INPUT, "'%s' must be a string", item_name);
        }
    }
    return true;
}

static bool check_value(const struct api_field *field, const json_t *value,
                        const char *name, struct err *err)
{
    if (json_is_null(value) && has(field, API_NULLABLE))
        return true;
    switch (field->type) {
    case API_TEXT:
    case API_NAME:
    case API_PATH:
        return check_text(field, value, name, err);
    case API_U64:
    case API_TIME_MS:
        return check_number(field, value, name, err);
    case API_NUMBER:
        return json_is_number(value)
                   ? true
                   : err_set(err, FAIL_INPUT, "'%s' must be a number", name);
    case API_BOOL:
        return json_is_boolean(value)
                   ? true
                   : err_set(err, FAIL_INPUT, "'%s' must be true or false", name);
    case API_OBJECT:
        return check_object(field->fields, value, name, err);
    case API_TEXTS:
    case API_LIST:
        return check_array(field, value, name, err);
    }
    return err_set(err, FAIL_BUG, "field '%s' has no type", name);
}

static void full_name(const char *prefix, const char *name, char out[PREFIX_BYTES])
{
    (void)snprintf(out, PREFIX_BYTES, "%s%s%s", prefix, *prefix ? "." : "", name);
}

static bool check_known(const struct api_field *fields, const json_t *value,
                        const char *prefix, struct err *err)
{
    const char *key;
    json_t *ignored;
    json_object_foreach((json_t *)value, key, ignored)
    {
        const struct api_field *field = fields;
        while (field->name && strcmp(field->name, key) != 0)
            field++;
        if (field->name)
            continue;
        AUTO(buf_release) struct buf known = {0};
        for (field = fields; field->name; field++)
            buf_printf(&known, "%s'%s'", field == fields ? "" : ", ", field->name);
        char name[PREFIX_BYTES];
        full_name(prefix, key, name);
        return err_set(err, FAIL_INPUT, "'%.80s' is not a known field; known %s %s", name,
                       known.bytes ? "are" : "is none",
                       known.bytes ? buf_text(&known) : "");
    }
    return true;
}

static bool check_object(const struct api_field *fields, const json_t *value,
                         const char *prefix, struct err *err)
{
    if (!json_is_object(value))
        return err_set(err, FAIL_INPUT, "'%s' must be an object",
                       *prefix ? prefix : "the body");
    if (!fields)
        return true;
    if (!check_known(fields, value, prefix, err))
        return false;
    for (const struct api_field *field = fields; field->name; field++) {
        char name[PREFIX_BYTES];
        full_name(prefix, field->name, name);
        const json_t *member = json_object_get(value, field->name);
        if (!member && has(field, API_REQUIRED))
            return err_set(err, FAIL_INPUT, "'%s' is missing: %s", name, field->help);
        if (member && !check_value(field, member, name, err))
            return false;
    }
    return true;
}

bool api_schema_check(const struct api_field *fields, const json_t *value,
                      struct err *err)
{
    return check_object(fields, value, "", err);
}

/* ---- description ---- */

static const struct {
    const char *json_type;
    const char *people; /* in the documentation */
} TYPES[] = {
    [API_TEXT] = {"string", "text"},        [API_NAME] = {"string", "name"},
    [API_PATH] = {"string", "path"},        [API_U64] = {"integer", "number"},
    [API_NUMBER] = {"number", "number"},    [API_TIME_MS] = {"integer", "time (ms)"},
    [API_BOOL] = {"boolean", "true/false"}, [API_TEXTS] = {"array", "list of texts"},
    [API_OBJECT] = {"object", "object"},    [API_LIST] = {"array", "list of objects"},
};

static json_t *describe(const struct api_field *field)
{
    json_t *out;
    if (field->type == API_OBJECT) {
        out = api_schema_json(field->fields);
    } else {
        out = json_object();
        json_put_text(out, "type", TYPES[field->type].json_type);
    }
    if (has(field, API_NULLABLE)) {
        json_t *types = json_array();
        (void)json_array_append_new(types, json_string(TYPES[field->type].json_type));
        (void)json_array_append_new(types, json_string("null"));
        json_put_take(out, "type", types);
    }
    if (field->type == API_NAME)
        json_put_text(out, "pattern", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$");
    if (field->type == API_PATH)
        json_put_text(out, "pattern", "^/");
    if (field->type == API_U64 || field->type == API_TIME_MS) {
        json_put_u64(out, "minimum", field->min);
        if (field->max)
            json_put_u64(out, "maximum", field->max);
    }
    if (field->type == API_LIST)
        json_put_take(out, "items", api_schema_json(field->fields));
    if (field->type == API_TEXTS) {
        json_put_take(out, "items", json_pack("{s:s}", "type", "string"));
        json_put_u64(out, "minItems", field->min);
    }
    if (field->choices) {
        json_t *choices = json_array();
        for (size_t i = 0; field->choices[i]; i++)
            (void)json_array_append_new(choices, json_string(field->choices[i]));
        json_put_take(out, "enum", choices);
    }
    json_put_text(out, "description", field->help);
    return out;
}

json_t *api_schema_json(const struct api_field *fields)
{
    json_t *out = json_object(), *properties = json_object(), *required = json_array();
    json_put_text(out, "type", "object");
    for (const struct api_field *field = fields; field && field->name; field++) {
        json_put_take(properties, field->name, describe(field));
        if (has(field, API_REQUIRED))
            (void)json_array_append_new(required, json_string(field->name));
    }
    json_put_take(out, "properties", properties);
    if (json_array_size(required))
        json_put_take(out, "required", required);
    else
        json_decref(required);
    json_put_bool(out, "additionalProperties", fields == NULL);
    return out;
}

void api_schema_print_rows(const struct api_field *fields, const char *prefix,
                           struct buf *out)
{
    for (const struct api_field *field = fields; field && field->name; field++) {
        char name[PREFIX_BYTES];
        full_name(prefix, field->name, name);
        buf_printf(out, "| `%s` | %s%s | %s | %s |\n", name, TYPES[field->type].people,
                   has(field, API_NULLABLE) ? " or null" : "",
                   has(field, API_REQUIRED) ? "yes" : "", field->help);
        if (field->type == API_LIST)
            (void)snprintf(name, sizeof name, "%s%s%s[]", prefix, *prefix ? "." : "",
                           field->name);
        api_schema_print_rows(field->fields, name, out);
    }
}
