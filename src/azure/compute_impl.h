/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to compute: making what may be there already, and reading resources. */
#ifndef AZURE_COMPUTE_IMPL_H
#define AZURE_COMPUTE_IMPL_H

#include "azure/compute.h"
#include "base/secret.h"

#define COMPUTE_WHAT_BYTES 140

/* What is to be made; texts borrowed. */
struct compute_item {
    const char *id, *api_version, *location, *zone;
    const char *noun; /* "disk" */
    const struct azure_tags *tags;
    const struct cancel *cancel;
    bool knows_if_none_match; /* the specification has it for this type */
    const void *make;
    /* What is other than wanted ("size"); NULL: nothing that matters. */
    const char *(*difference)(const void *make, const json_t *resource);
};

/* {"location", "zones", "tags", "properties": {}}; *ret_properties borrowed. */
json_t *compute_body(const struct compute_item *item, json_t **ret_properties);
/* Takes body. What compute.h says of making. */
MUST_CHECK bool compute_create(struct arm *arm, const struct compute_item *item,
                               json_t *body, struct err *err);
MUST_CHECK bool compute_remove(struct arm *arm, const char *id, const char *api_version,
                               const char *noun, struct err *err);

/* The value behind "properties.hardwareProfile.vmSize"; NULL, "": not there or of another
 * type. Borrowed. */
const json_t *compute_at(const json_t *json, const char *path);
const char *compute_text(const json_t *json, const char *path);

/* Copied with cut; what is no text becomes a space. */
void compute_line(char *out, size_t out_bytes, const char *text);

/* "West Europe" is "westeurope": small letters and digits are left. */
#define COMPUTE_LOCATION_BYTES 64
void compute_location(const char *text, char out[COMPUTE_LOCATION_BYTES]);

/* The text of a key as a secret, wiped in the JSON; NULL: there is none, or a longer one
 * than a secret holds. */
MUST_CHECK struct secret *compute_take_secret(json_t *json, const char *key);

/* {"id": id} */
json_t *compute_reference(const char *id);

#endif
