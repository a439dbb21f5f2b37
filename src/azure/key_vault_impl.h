/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to key_vault: one call. */
#ifndef AZURE_KEY_VAULT_IMPL_H
#define AZURE_KEY_VAULT_IMPL_H

#include "azure/key_vault.h"
#include "http/json.h"

struct vault_call {
    char what[200];
    struct buf path;
    struct azure_request request;
    json_t *answer; /* owned: wipe and drop with vault_call_end */
};

/* verb: "get secret"; the path is /KIND/NAME[/VERSION][/last]; NULL: without. */
struct vault_call_path {
    const char *verb;
    enum key_vault_kind kind;
    const char *name, *version, *last;
};
void vault_call_begin(struct vault_call *call, const struct vault_call_path *path);
/* Sends and takes an answer of 200 as JSON. body: its texts may be secrets; NULL: none.
 */
MUST_CHECK bool vault_call_send(struct key_vault *vault, struct vault_call *call,
                                const json_t *body, struct err *err);
/* Wipes every text of the answer. */
void vault_call_end(struct vault_call *call);
static inline void auto_vault_call_end(struct vault_call *call)
{
    vault_call_end(call);
}

/* The last part of an "id" or "kid", which must be one of that name. */
MUST_CHECK bool vault_version_of(const struct vault_call *call, const char *id,
                                 const char *name, char ret[KEY_VAULT_VERSION_BYTES],
                                 struct err *err);
const char *key_vault_origin(const struct key_vault *vault);

/* false: the answer makes no sense. */
bool vault_nonsense(const struct vault_call *call, const char *why, struct err *err);

#endif
