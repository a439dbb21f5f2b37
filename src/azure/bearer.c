/* SPDX-License-Identifier: Apache-2.0 */
/* A token is lent to one attempt as a copy of its own; forget() wipes it. */
#include "azure/bearer.h"

struct bearer {
    struct azure_signer base;
    struct azure_token *token;
};

static struct bearer *bearer_of(struct azure_signer *base)
{
    return (struct bearer *)base;
}

static bool sign(struct azure_signer *base, struct azure_request *attempt,
                 struct buf *query, struct err *err)
{
    (void)query; /* the token goes into a header */
    struct secret *token = azure_token_get(bearer_of(base)->token, attempt->cancel,
                                           &attempt->secret_mark, err);
    if (!token)
        return false;
    azure_add_header(attempt, "Authorization", "Bearer ");
    attempt->headers[attempt->header_count - 1].secret = token;
    return true;
}

static bool renew(struct azure_signer *base, unsigned secret_mark)
{
    return azure_token_drop(bearer_of(base)->token, secret_mark);
}

static void forget(struct azure_signer *base, struct azure_request *attempt)
{
    (void)base;
    struct azure_header *last = &attempt->headers[attempt->header_count - 1];
    secret_free((struct secret *)(uintptr_t)last->secret);
    last->secret = NULL;
}

struct azure_signer *azure_bearer_open(const struct azure_token_options *options,
                                       struct err *err)
{
    enum azure_access_kind kind = options->access->kind;
    if (kind == AZURE_SHARED_KEY || kind == AZURE_SAS) {
        (void)err_set(
            err, FAIL_INPUT,
            "a credential of kind '%s' opens storage accounts only; name one of "
            "kind client-secret, client-certificate, managed-identity, "
            "workload-identity or az for '%.80s'",
            kind == AZURE_SAS ? "sas" : "shared-key", options->resource);
        return NULL;
    }
    struct azure_token *token = azure_token_open(options, err);
    if (!token)
        return NULL;
    struct bearer *bearer = xcalloc(1, sizeof *bearer);
    bearer->base = (struct azure_signer){.sign = sign, .renew = renew, .forget = forget};
    bearer->token = token;
    return &bearer->base;
}

void azure_bearer_close(struct azure_signer *base)
{
    if (!base)
        return;
    azure_token_close(bearer_of(base)->token);
    free(bearer_of(base));
}
