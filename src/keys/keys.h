/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data keys per machine, wrapped by a master key. Here: the master key in a local file
 * (0600); Azure Key Vault comes behind the same calls. The wrapped form is text and may
 * be stored anywhere. Any thread.
 */
#ifndef KEYS_KEYS_H
#define KEYS_KEYS_H

#include "base/id.h"
#include "base/secret.h"

#define KEYS_WRAPPED_MAX 512

struct keys;

/* Makes a new random master key file (0600, durable); FAIL_CONFLICT when it exists. */
MUST_CHECK bool keys_file_create(const char *path, struct err *err);
MUST_CHECK struct keys *keys_file_open(const char *path, struct err *err);
void keys_close(struct keys *keys);
AUTO_CLEANUP(struct keys, keys_close);

/* A new random data key for the machine: its id and wrapped form (bound to the machine).
 */
MUST_CHECK bool keys_make(struct keys *keys, const struct id *machine,
                          struct id *ret_key_id, char ret_wrapped[KEYS_WRAPPED_MAX],
                          struct err *err);

/* FAIL_CORRUPT: damaged, of another machine, or wrapped by another master key. */
MUST_CHECK struct secret *keys_unwrap(struct keys *keys, const struct id *machine,
                                      const char *wrapped, struct id *ret_key_id,
                                      struct err *err);

#endif
