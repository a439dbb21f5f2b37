/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shape of a JSON object as a table of fields: the same table checks a request,
 * describes a view in the OpenAPI document and prints the documentation. Pure.
 */
#ifndef API_SCHEMA_H
#define API_SCHEMA_H

#include "http/json.h"

enum api_type {
    API_TEXT,
    API_NAME,    /* text that text_check_name accepts */
    API_PATH,    /* text: an absolute path */
    API_U64,     /* whole number, min..max (max 0: no bound) */
    API_NUMBER,  /* any number */
    API_TIME_MS, /* milliseconds since 1970-01-01 UTC */
    API_BOOL,
    API_TEXTS,  /* array of texts */
    API_OBJECT, /* fields, or any object when fields is NULL */
    API_LIST,   /* array of objects with these fields */
};

enum api_field_flag {
    API_REQUIRED = 1, /* must be there */
    API_NULLABLE = 2, /* null is a value */
};

struct api_field {
    const char *name; /* NULL: end of the table */
    enum api_type type;
    unsigned flags;
    uint64_t min, max;              /* of numbers; of texts and arrays: length */
    const struct api_field *fields; /* of objects and lists */
    const char *const *choices;     /* NULL-ended list of allowed texts, or NULL */
    const char *help;               /* one sentence without a full stop */
};

/* A named table: a component of the OpenAPI document. */
struct api_schema {
    const char *name; /* "Machine" */
    const char *help;
    const struct api_field *fields;
};

/* Strict: an object, every required field, no unknown field, right types and ranges.
 * FAIL_INPUT names the field ("options.qmp") and what it must be. */
MUST_CHECK bool api_schema_check(const struct api_field *fields, const json_t *value,
                                 struct err *err);

/* The JSON Schema (draft 2020-12) of the table; the caller drops it. */
MUST_CHECK json_t *api_schema_json(const struct api_field *fields);

/* Rows "| `name` | type | required | help |" for the documentation; nested fields follow
 * with a dotted name. */
void api_schema_print_rows(const struct api_field *fields, const char *prefix,
                           struct buf *out);

#endif
