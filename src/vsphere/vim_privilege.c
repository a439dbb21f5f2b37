/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the account has privileges on an object. Two questions of AuthorizationManager
 * answer it: HasPrivilegeOnEntities (API 5.5) for the session, or, where that is missing,
 * FetchUserPrivilegeOnEntities (API 6.5) for the user.
 */
#include "vsphere/vim_access.h"

#include "vsphere/vim_call.h"

static void mark(const struct vim_privilege_ask *ask, const char *id, bool is_granted,
                 bool *ret_has)
{
    for (size_t i = 0; i < ask->id_count; i++)
        if (strcmp(ask->ids[i], id) == 0)
            ret_has[i] = is_granted;
}

/* *ret_is_unknown: the server does not have the method. */
static bool ask_session(struct vim *vim, const struct vim_privilege_ask *ask,
                        const struct cancel *cancel, bool *ret_has, bool *ret_is_unknown,
                        struct err *err)
{
    char key[128];
    char user[256];
    vim_session_identity(vim, key, user);
    struct wire_HasPrivilegeOnEntities args = {
        ._this = vim_content(vim)->authorization_manager,
        .entity = {&ask->entity, 1},
        .sessionId = key,
        .privId = {ask->ids, ask->id_count},
    };
    struct vim_call call = {
        .type = wire_type_HasPrivilegeOnEntities(),
        .args = &args,
        .cancel = cancel,
    };
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct wire_EntityPrivilege told;
    if (!vim_call_read(vim, &call, wire_type_EntityPrivilege(), &arena, &told, err)) {
        *ret_is_unknown = vim_call_is_unknown(&call);
        return false;
    }
    for (size_t i = 0; i < told.privAvailability.count; i++)
        mark(ask, told.privAvailability.items[i].privId,
             told.privAvailability.items[i].isGranted == WIRE_TRUE, ret_has);
    return true;
}

static bool ask_user(struct vim *vim, const struct vim_privilege_ask *ask,
                     const struct cancel *cancel, bool *ret_has, bool *ret_is_unknown,
                     struct err *err)
{
    char key[128];
    char user[256];
    vim_session_identity(vim, key, user);
    struct wire_FetchUserPrivilegeOnEntities args = {
        ._this = vim_content(vim)->authorization_manager,
        .entities = {&ask->entity, 1},
        .userName = user,
    };
    struct vim_call call = {
        .type = wire_type_FetchUserPrivilegeOnEntities(),
        .args = &args,
        .cancel = cancel,
    };
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct wire_UserPrivilegeResult told;
    if (!vim_call_read(vim, &call, wire_type_UserPrivilegeResult(), &arena, &told, err)) {
        *ret_is_unknown = vim_call_is_unknown(&call);
        return false;
    }
    for (size_t i = 0; i < told.privileges.count; i++)
        mark(ask, told.privileges.items[i], true, ret_has);
    return true;
}

bool vim_privileges_check(struct vim *vim, const struct vim_privilege_ask *ask,
                          const struct cancel *cancel, bool *ret_has, struct err *err)
{
    static bool (*const ways[])(struct vim *, const struct vim_privilege_ask *,
                                const struct cancel *, bool *, bool *,
                                struct err *) = {ask_session, ask_user};
    if (ask->id_count == 0 || ask->id_count > VIM_PRIVILEGES_MAX)
        return err_set(err, FAIL_INPUT, "%zu privileges asked at once, not 1 .. %d",
                       ask->id_count, VIM_PRIVILEGES_MAX);
    bool has[VIM_PRIVILEGES_MAX] = {false};
    bool can_ask = vim_ref_is_set(&vim_content(vim)->authorization_manager);
    for (size_t i = 0; can_ask && i < ARRAY_COUNT(ways); i++) {
        bool is_unknown = false;
        struct err tried = ERR_INIT;
        if (ways[i](vim, ask, cancel, has, &is_unknown, &tried)) {
            memcpy(ret_has, has, ask->id_count * sizeof *has);
            return true;
        }
        if (!is_unknown) {
            *err = tried;
            return false;
        }
    }
    return err_set(err, FAIL_CONFLICT,
                   "'%s' cannot tell which privileges the account has on '%s'",
                   vim_host_name(vim), ask->entity.id);
}
