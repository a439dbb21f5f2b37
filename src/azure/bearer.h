/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs requests with an access token of Entra ID, for the services that take nothing
 * else: Resource Manager and Key Vault (storage: azure/signer.h). Any thread.
 */
#ifndef AZURE_BEARER_H
#define AZURE_BEARER_H

#include "azure/request.h"
#include "azure/token.h"

/* For azure_client_options.signer. options are borrowed as azure_token_open borrows them;
 * asks nobody yet. FAIL_INPUT: the credential is a storage account's (shared-key, sas),
 * or one that is not complete. */
MUST_CHECK struct azure_signer *azure_bearer_open(
    const struct azure_token_options *options, struct err *err);
void azure_bearer_close(struct azure_signer *bearer);
AUTO_CLEANUP(struct azure_signer, azure_bearer_close);

#endif
