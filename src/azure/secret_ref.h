/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a credential's secret lies: what key_file, sas_file and secret_file of an access
 * file may name. A path; "cred:NAME" (a credential of systemd); or
 * "kv:https://VAULT.vault.azure.net/secrets/NAME[/VERSION]", fetched with the access file
 * that kv_credential names, which must not refer to a vault itself. Any thread.
 */
#ifndef AZURE_SECRET_REF_H
#define AZURE_SECRET_REF_H

#include "azure/access.h"

/* FAIL_INPUT: neither form, or kv: without kv_credential. Pure. */
MUST_CHECK bool azure_secret_ref_check(const char *reference, const char *kv_credential,
                                       struct err *err);

/* What access->secret_file refers to, as it is now; a vault is asked each time, for at
 * most 20 s. */
MUST_CHECK struct secret *azure_secret_ref_read(const struct azure_access *access,
                                                struct err *err);

/* true: reading it asks somebody, so not at every request. */
bool azure_secret_ref_is_remote(const struct azure_access *access);

#endif
