/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON: the one door to jansson (others include this header, never <jansson.h>).
 * Readers of outside documents use the typed getters: they name the key and the reason.
 * json_t follows jansson's reference counts; AUTO(json_free) drops one at scope end.
 */
#ifndef HTTP_JSON_H
#define HTTP_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define JSON_MAX_BYTES (64 * MIB)

static inline void json_free(json_t *json)
{
    json_decref(json);
}
AUTO_CLEANUP(json_t, json_free);

/* One document, UTF-8, duplicate keys refused, at most JSON_MAX_BYTES; what: for the
 * error. */
MUST_CHECK json_t *json_parse(const char *what, const char *text, size_t text_bytes,
                              struct err *err);

/* Compact, keys in insertion order; appended. */
void json_print(const json_t *json, struct buf *out);
/* Indented, for people. */
void json_print_pretty(const json_t *json, struct buf *out);

/* The value of key, which must be there and of that type: FAIL_INPUT names both. */
MUST_CHECK bool json_get_text(const json_t *object, const char *key, const char **ret,
                              struct err *err);
MUST_CHECK bool json_get_u64(const json_t *object, const char *key, uint64_t *ret,
                             struct err *err);
MUST_CHECK bool json_get_bool(const json_t *object, const char *key, bool *ret,
                              struct err *err);
MUST_CHECK bool json_get_array(const json_t *object, const char *key,
                               json_t **ret_borrowed, struct err *err);

/* The same, but absent (or null) gives fallback; a wrong type still fails. */
MUST_CHECK bool json_opt_text(const json_t *object, const char *key, const char *fallback,
                              const char **ret, struct err *err);
MUST_CHECK bool json_opt_u64(const json_t *object, const char *key, uint64_t fallback,
                             uint64_t *ret, struct err *err);
MUST_CHECK bool json_opt_bool(const json_t *object, const char *key, bool fallback,
                              bool *ret, struct err *err);

/* Every key of object must be one of the NULL-ended list, else FAIL_INPUT names it. */
MUST_CHECK bool json_only_keys(const json_t *object, const char *const allowed[],
                               struct err *err);

/* Builders that cannot fail (out of memory ends the process). */
void json_put_text(json_t *object, const char *key, const char *text);
void json_put_u64(json_t *object, const char *key, uint64_t v);
void json_put_bool(json_t *object, const char *key, bool v);
void json_put_take(json_t *object, const char *key, json_t *value); /* takes value */

#endif
