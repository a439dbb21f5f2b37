/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs requests to a storage account: shared key, SAS or access token. Secrets are read
 * anew when the service refuses them or a SAS nears its end, so that a key that was
 * rotated or a SAS that was renewed takes effect while we run. Any thread.
 */
#ifndef AZURE_SIGNER_H
#define AZURE_SIGNER_H

#include "azure/access.h"
#include "azure/request.h"

struct azure_signer_options {
    const struct azure_access *access; /* borrowed for the signer's life */
    const struct azure_cloud *cloud;
    const char *account;   /* borrowed, too */
    const char *arc_dir;   /* as of azure_token_options */
    uint64_t retry_for_ms; /* as of azure_client_options, for tokens */
    uint64_t retry_base_ms;
};

/* Reads the secret, asks nobody yet. FAIL_INPUT: it is no key or no SAS. */
MUST_CHECK struct azure_signer *azure_signer_open(
    const struct azure_signer_options *options, struct err *err);
void azure_signer_close(struct azure_signer *signer);
AUTO_CLEANUP(struct azure_signer, azure_signer_close);

/* The text that a shared key signs; exposed for tests. The attempt has its headers. */
void azure_string_to_sign(const struct azure_request *attempt, const char *account,
                          struct buf *out);

/* When a SAS ends (its "se"), Unix; false: it does not say. Exposed for tests. */
MUST_CHECK bool azure_sas_end(const char *sas, uint64_t *ret_unix_s);

#endif
