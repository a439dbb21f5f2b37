/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what the options of a source or target describe. Any thread. */
#ifndef VAULT_ENDS_OPEN_H
#define VAULT_ENDS_OPEN_H

#include "http/json.h"
#include "source/source.h"
#include "target/target.h"

/* Whether several sources of this kind for one end may be open at a time. */
bool end_source_is_shared(const char *kind);

/* name: for errors, and the machine's of an image source that has none in its options.
 * data_dir: the vault's; a source notes below it what a crash must not leave elsewhere.
 * Texts in options must live as long as what is opened. */
MUST_CHECK struct source *end_open_source(const char *name, const char *kind,
                                          const json_t *options, const char *data_dir,
                                          struct err *err);
/* name: the target's, also a text that must live as long. */
MUST_CHECK struct target *end_open_target(const char *name, const char *kind,
                                          const json_t *options, const char *data_dir,
                                          struct err *err);

#endif
