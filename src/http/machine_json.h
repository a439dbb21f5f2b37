/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine definition as JSON: in the catalog, in the API and beside the replica, the
 * same form everywhere. Zero ids and empty texts are left out and read back as such.
 */
#ifndef HTTP_MACHINE_JSON_H
#define HTTP_MACHINE_JSON_H

#include "block/machine.h"
#include "http/json.h"

/* A new object, owned by the caller; never NULL. */
MUST_CHECK json_t *machine_to_json(const struct machine_def *machine);

/* Needs "name", "cpus", "memory_bytes" and "disks"; unknown keys are refused, so are
 * texts that would be cut and more disks or cards than a machine can have. *ret only on
 * success. */
MUST_CHECK bool machine_from_json(const json_t *json, struct machine_def *ret,
                                  struct err *err);

#endif
