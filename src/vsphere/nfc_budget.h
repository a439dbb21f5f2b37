/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much this process asks of one ESXi host's NFC service at once. A host has 48 MiB of
 * NFC buffers (32 on old ones) for everybody; whoever takes more makes other clients
 * fail. All lanes to one host share `limit_bytes` of reads in flight and a bound on
 * connections.
 *
 * Fair: who cannot be served waits in line, first come first served, one wish per lane;
 * while somebody waits nobody is served out of turn. Nothing blocks: a lane in line goes
 * on with the reads it has and watches its descriptor.
 *
 * Threads: a share by one thread at a time (its lane's); shares of all lanes side by
 * side.
 */
#ifndef VSPHERE_NFC_BUDGET_H
#define VSPHERE_NFC_BUDGET_H

#include "base/err.h"

#define NFC_HOST_BUDGET_BYTES (32 * MIB) /* by default */
#define NFC_HOST_LANES_MAX    48         /* connections of ours to one host */

struct nfc_share;

/* A place for one lane. limit_bytes: of the host from now on; 0: as it is (by default
 * NFC_HOST_BUDGET_BYTES). FAIL_LIMIT: NFC_HOST_LANES_MAX lanes are there already. */
MUST_CHECK struct nfc_share *nfc_share_open(const char *host, uint64_t limit_bytes,
                                            struct err *err);
/* Gives everything back. NULL is fine. */
void nfc_share_close(struct nfc_share *share);
AUTO_CLEANUP(struct nfc_share, nfc_share_close);

/* The machine moved: what the share holds is held at the other host from now on. */
MUST_CHECK bool nfc_share_move(struct nfc_share *share, const char *host,
                               struct err *err);

/* true: bytes may be asked of the host now. false: the share stands in line; ask again
 * when nfc_share_fd is readable. A read larger than the whole limit goes alone. */
MUST_CHECK bool nfc_share_ask(struct nfc_share *share, uint64_t bytes);
void nfc_share_give(struct nfc_share *share, uint64_t bytes);
/* Leaves the line; what was granted and not yet taken goes to the others. */
void nfc_share_forgo(struct nfc_share *share);
int nfc_share_fd(const struct nfc_share *share);

/* In flight to that host, of all lanes. */
uint64_t nfc_budget_used(const char *host);

#endif
