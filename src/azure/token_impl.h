/* SPDX-License-Identifier: Apache-2.0 */
/* Internal to token: one answer of an issuer. */
#ifndef AZURE_TOKEN_IMPL_H
#define AZURE_TOKEN_IMPL_H

#include "azure/request.h"
#include "azure/token.h"
#include "http/json.h"

struct issued {
    struct secret *token; /* owned */
    uint64_t life_s;
};

/* {"access_token", "expires_in" or "expires_on"}: numbers, or texts of them. Wipes the
 * answer's body. */
MUST_CHECK bool issued_parse(struct buf *body, const char *what, struct issued *ret,
                             struct err *err);

/* From Entra ID, with a secret, a certificate or a federated token. */
MUST_CHECK bool issue_by_authority(const struct azure_token_options *options,
                                   const struct azure_client_options *client,
                                   const struct cancel *cancel, struct issued *ret,
                                   struct err *err);
/* From the identity endpoint of the machine. */
MUST_CHECK bool issue_by_machine(const struct azure_token_options *options,
                                 const struct azure_client_options *client,
                                 const struct cancel *cancel, struct issued *ret,
                                 struct err *err);
/* From `az account get-access-token`. */
MUST_CHECK bool issue_by_cli(const struct azure_token_options *options,
                             const struct cancel *cancel, struct issued *ret,
                             struct err *err);

/* Where the issuer listens; NULL with *err set. */
MUST_CHECK char *machine_issuer_url(const struct azure_access *access, struct err *err);

#endif
