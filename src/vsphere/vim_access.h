/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lets us in elsewhere: tickets for the hosts' NFC service and for single HTTP
 * files, and what the logged-in account may do. Tickets are one-time credentials: wiped
 * by their owner after use, never logged.
 */
#ifndef VSPHERE_VIM_ACCESS_H
#define VSPHERE_VIM_ACCESS_H

#include "vsphere/vim.h"

/* For one connection to a host's authd; fetch it right before dialling. */
struct vim_ticket {
    char host[256]; /* where to dial; "": vim_host_name (a bare ESXi names none) */
    uint16_t port;  /* 902 when the server says nothing */
    char ssl_thumbprint[128]; /* SHA-1 "AA:BB:..." of the certificate there; may be "" */
    char service[64];         /* "vpxa-nfc", "nfc" */
    char session_id[256];     /* the secret */
};
void vim_ticket_wipe(struct vim_ticket *ticket);

/* NfcGetVmFiles: read-only, any file of that machine. */
MUST_CHECK bool vim_nfc_ticket(struct vim *vim, const struct vim_ref *vm,
                               const struct cancel *cancel, struct vim_ticket *ret,
                               struct err *err);
/* NfcRandomAccessOpenReadonly: read-only, one disk. host (where it runs) or NULL. */
struct vim_nfc_disk {
    struct vim_ref vm;
    int32_t device_key;
    struct vim_ref host; /* may be unset */
};
MUST_CHECK bool vim_nfc_disk_ticket(struct vim *vim, const struct vim_nfc_disk *disk,
                                    const struct cancel *cancel, struct vim_ticket *ret,
                                    struct err *err);
/* NfcGetServerNfcLibVersion: 11 on ESXi 8, 7 on 7.0, 2 on 6.7, 0 on 6.5. 0 too where the
 * host does not know the question (6.0). */
MUST_CHECK bool vim_nfc_lib_version(struct vim *vim, const struct vim_ref *host,
                                    const struct cancel *cancel, uint32_t *ret,
                                    struct err *err);

/* AcquireGenericServiceTicket for one HTTP request: send it as
 * "Cookie: vmware_cgi_ticket=<id>" to exactly that url. */
struct vim_http_ticket {
    char host[256];           /* "": the url's own */
    char ssl_thumbprint[128]; /* "" */
    struct secret *id;        /* owned: vim_http_ticket_release */
};
MUST_CHECK bool vim_http_ticket(struct vim *vim, const char *method, const char *url,
                                const struct cancel *cancel, struct vim_http_ticket *ret,
                                struct err *err);
void vim_http_ticket_release(struct vim_http_ticket *ticket);

/*
 * Whether the account has each privilege on that object: ret_has[i] for ids[i]
 * ("VirtualMachine.State.CreateSnapshot"). FAIL_CONFLICT: this server cannot tell (old,
 * or it keeps AuthorizationManager from us): the caller says "not checked".
 */
#define VIM_PRIVILEGES_MAX 64
struct vim_privilege_ask {
    struct vim_ref entity;
    const char *const *ids;
    size_t id_count; /* 1 .. VIM_PRIVILEGES_MAX */
};
MUST_CHECK bool vim_privileges_check(struct vim *vim, const struct vim_privilege_ask *ask,
                                     const struct cancel *cancel, bool *ret_has,
                                     struct err *err);

#endif
