/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens of Entra ID for one resource: fetched when needed, kept, and replaced
 * ahead of their end. Any thread; one of them fetches while the others wait.
 */
#ifndef AZURE_TOKEN_H
#define AZURE_TOKEN_H

#include "azure/access.h"

struct azure_token;

struct azure_token_options {
    const struct azure_access *access; /* borrowed for the token's life */
    const struct azure_cloud *cloud;
    const char *resource;  /* "https://storage.azure.com"; literal */
    const char *arc_dir;   /* where Arc may point to; NULL: its own folder */
    uint64_t retry_for_ms; /* as of azure_client_options */
    uint64_t retry_base_ms;
};

/* FAIL_INPUT: something is missing that the kind needs, the environment's included. Asks
 * nobody yet. */
MUST_CHECK struct azure_token *azure_token_open(const struct azure_token_options *options,
                                                struct err *err);
void azure_token_close(struct azure_token *token);
AUTO_CLEANUP(struct azure_token, azure_token_close);

/* A copy; the caller frees it. Valid for a minute at least. *ret_mark: which it is. */
MUST_CHECK struct secret *azure_token_get(struct azure_token *token,
                                          const struct cancel *cancel, unsigned *ret_mark,
                                          struct err *err);

/* The service refused that one: the next get gives another. false: it was fetched less
 * than a minute ago, another would be no better. */
bool azure_token_drop(struct azure_token *token, unsigned mark);

#endif
