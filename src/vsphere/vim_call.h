/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SOAP call over a session, and what the rest of src/vsphere needs to know of the
 * session. Internal to src/vsphere. Any thread.
 */
#ifndef VSPHERE_VIM_CALL_H
#define VSPHERE_VIM_CALL_H

#include "vsphere/vim.h"
#include "vsphere/wire_types.h"

/* What RetrieveServiceContent told; refs may be unset where the server has none. */
struct vim_content {
    struct vim_ref root_folder;
    struct vim_ref property_collector;
    struct vim_ref view_manager;
    struct vim_ref session_manager;
    struct vim_ref authorization_manager;
    struct vim_ref search_index;
};
const struct vim_content *vim_content(const struct vim *vim); /* never changes */

/* Counts logins: objects made by a session (views, collectors) are gone with it. */
uint64_t vim_generation(struct vim *vim);

/* The session's key and the account as the server calls it, for AuthorizationManager. */
void vim_session_identity(struct vim *vim, char ret_key[128], char ret_user[256]);

/* Properties that this server does not know (older than the property): remembered by
 * path, not asked again. */
#define VIM_UNKNOWN_PATHS_MAX 8
void vim_path_forget(struct vim *vim, const char *path);
bool vim_path_is_forgotten(struct vim *vim, const char *path);

struct vim_fault_seen {
    char type[64]; /* "" none */
    char name[96]; /* what an InvalidProperty names */
};

/* Called on each returnval element. */
typedef bool (*vim_return_fn)(void *arg, struct xml_reader *reader, struct err *err);

struct vim_call {
    const struct wire_type *type; /* the request; its name is the method's */
    const void *args;
    vim_return_fn on_return; /* NULL: what comes back does not matter */
    void *arg;
    uint64_t deadline_ms; /* 0: the session's */
    const struct cancel *cancel;

    /* Out: the fault when the call failed with one, else "". */
    struct vim_fault_seen fault;
};

/* Sends, renews the session once when it is gone, reads the answer. Errors begin with
 * the method's name. */
MUST_CHECK bool vim_call_send(struct vim *vim, struct vim_call *call, struct err *err);

/* The same, for exactly one returnval of that type. */
MUST_CHECK bool vim_call_read(struct vim *vim, struct vim_call *call,
                              const struct wire_type *type, struct wire_arena *arena,
                              void *ret, struct err *err);
MUST_CHECK bool vim_call_ref(struct vim *vim, struct vim_call *call, struct vim_ref *ret,
                             struct err *err);

/* Whether the fault says that this server does not have the method. */
bool vim_call_is_unknown(const struct vim_call *call);

#endif
