/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which options each operation knows: one table, checked when the operation is asked for,
 * so that a typing error never becomes a default silently.
 */
#include <string.h>

#include "base/text.h"
#include "target/target.h"
#include "vault/ops.h"

/* clang-format off */
static const struct option_row {
    unsigned operations; /* bits */
    const char *key;
    json_type type;
} option_rows[] = {
    {1u << OP_REPLICATE,                         "name",                 JSON_STRING},
    {1u << OP_REPLICATE,                         "auto_repair",          JSON_TRUE},
    {1u << OP_TEST_MIGRATE | 1u << OP_TEST_CLEANUP, "name",              JSON_STRING},
    {1u << OP_TEST_MIGRATE,                      "network",              JSON_STRING},
    {1u << OP_REPLICATE | 1u << OP_TEST_MIGRATE | 1u << OP_MIGRATE,
                                                 "marker",               JSON_STRING},
    {1u << OP_TEST_MIGRATE | 1u << OP_MIGRATE,   "boot_deadline_ms",     JSON_INTEGER},
    {1u << OP_MIGRATE,                           "shutdown",             JSON_TRUE},
    {1u << OP_MIGRATE,                           "restart",              JSON_TRUE},
    {1u << OP_MIGRATE,                           "shutdown_deadline_ms", JSON_INTEGER},
    {1u << OP_MIGRATE,                           "override_blackout",    JSON_TRUE},
    {1u << OP_STOP,                              "force",                JSON_TRUE},
};
/* clang-format on */

static bool check_value(const struct option_row *row, const json_t *options,
                        struct err *err)
{
    const char *text;
    uint64_t number;
    bool flag;
    switch (row->type) {
    case JSON_STRING:
        if (!json_get_text(options, row->key, &text, err))
            return false;
        if (strcmp(row->key, "name") == 0)
            return text_check_name("name", text, err);
        if (strcmp(row->key, "network") == 0 && *text && strcmp(text, "isolated") != 0 &&
            strcmp(text, "user") != 0)
            return err_set(err, FAIL_INPUT,
                           "network '%s'; known are 'isolated' and 'user'", text);
        return strlen(text) < 128 ||
               err_set(err, FAIL_LIMIT, "%s has %zu bytes; 127 are allowed", row->key,
                       strlen(text));
    case JSON_INTEGER:
        return json_get_u64(options, row->key, &number, err);
    default:
        return json_get_bool(options, row->key, &flag, err);
    }
}

static const struct option_row *row_of(enum vault_operation operation, const char *key)
{
    for (size_t i = 0; i < ARRAY_COUNT(option_rows); i++) {
        if ((option_rows[i].operations >> operation & 1u) &&
            strcmp(option_rows[i].key, key) == 0)
            return &option_rows[i];
    }
    return NULL;
}

bool options_check(enum vault_operation operation, const json_t *options, struct err *err)
{
    if (!options)
        return true;
    if (!json_is_object(options))
        return err_set(err, FAIL_INPUT, "options of %s must be an object",
                       operation_name(operation));
    /* jansson iterates through a non-const pointer and changes nothing. */
    json_t *object = (json_t *)(uintptr_t)options;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const struct option_row *row = row_of(operation, key);
        if (!row)
            return err_set(err, FAIL_INPUT, "%s knows no option '%s'",
                           operation_name(operation), key);
        if (!check_value(row, options, err))
            return err_wrap(err, "option of %s", operation_name(operation));
    }
    return true;
}

const char *option_text(const struct work *work, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(work->job->options, key));
    return text ? text : fallback;
}

bool option_bool(const struct work *work, const char *key, bool fallback)
{
    const json_t *value = json_object_get(work->job->options, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

uint64_t option_u64(const struct work *work, const char *key, uint64_t fallback)
{
    const json_t *value = json_object_get(work->job->options, key);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : fallback;
}
