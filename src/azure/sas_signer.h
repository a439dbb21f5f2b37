/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs requests with a SAS that is held in memory and can be asked for anew: ahead of
 * its end, and once when it was refused (one in a file: azure/signer.h). Any thread.
 */
#ifndef AZURE_SAS_SIGNER_H
#define AZURE_SAS_SIGNER_H

#include "azure/request.h"

struct azure_sas_options {
    const char *what; /* "the SAS of '...'", for errors; copied */
    /* Another one: the text behind '?'. Called by one thread at a time, and while the old
     * one is still good only one request waits for it. NULL: none to be had. */
    struct secret *(*renew)(void *ctx, struct err *err);
    void *ctx;
};

/* For azure_client_options.signer. sas: the text behind '?'; copied. */
MUST_CHECK struct azure_signer *azure_sas_signer_open(
    const struct secret *sas, const struct azure_sas_options *options, struct err *err);
void azure_sas_signer_close(struct azure_signer *signer);
AUTO_CLEANUP(struct azure_signer, azure_sas_signer_close);

#endif
