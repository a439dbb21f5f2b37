/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets and privileges.
 *
 * The NFC service is in no published description of the API; its methods, their
 * parameters and the two names of its object were observed on vCenter 8.0.1 and ESXi
 * 6.5 to 8 (public notes of independent implementations). Its object is asked for
 * (RetrieveInternalContent), and only when the server refuses that is the known name
 * taken.
 */
#include "vsphere/vim_access.h"

#include "base/log.h"
#include "base/text.h"
#include "vsphere/vim_call.h"

#define AUTHD_PORT 902

void vim_ticket_wipe(struct vim_ticket *ticket)
{
    secret_wipe(ticket, sizeof *ticket);
}

/* RetrieveInternalContent names the service; else its name by the kind of server. */
static bool find_nfc_service(struct vim *vim, const struct cancel *cancel,
                             struct vim_ref *ret, struct err *err)
{
    struct wire_RetrieveInternalContent args = {
        ._this = {.type = "ServiceInstance", .id = "ServiceInstance"},
    };
    struct vim_call call = {
        .type = wire_type_RetrieveInternalContent(),
        .args = &args,
        .cancel = cancel,
    };
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct wire_InternalServiceInstanceContent content;
    struct err tried = ERR_INIT;
    if (vim_call_read(vim, &call, wire_type_InternalServiceInstanceContent(), &arena,
                      &content, &tried)) {
        if (vim_ref_is_set(&content.nfcService)) {
            *ret = content.nfcService;
            return true;
        }
    } else if (!*call.fault.type) {
        *err = tried;
        return false;
    }
    log_debug("vim_nfc_service_by_name", "host=%s fault=%s", vim_host_name(vim),
              call.fault.type);
    *ret = (struct vim_ref){.type = "NfcService"};
    text_copy(ret->id, sizeof ret->id,
              vim_about(vim)->is_vcenter ? "nfcService" : "ha-nfc-service");
    return true;
}

static bool copy_text(char *out, size_t out_bytes, const char *what, const char *text,
                      struct err *err)
{
    if (text && strlen(text) >= out_bytes)
        return err_set(err, FAIL_LIMIT, "the ticket's %s has more than %zu bytes", what,
                       out_bytes - 1);
    text_copy(out, out_bytes, text ? text : "");
    return true;
}

static bool read_ticket(struct vim *vim, struct vim_call *call, struct vim_ticket *ret,
                        struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = (size_t)MIB};
    struct wire_HostServiceTicket told;
    if (!vim_call_read(vim, call, wire_type_HostServiceTicket(), &arena, &told, err))
        return false;
    int64_t port = told.port.value ? told.port.value : AUTHD_PORT;
    if (port < 1 || port > UINT16_MAX)
        return err_set(err, FAIL_CORRUPT, "%s: the ticket's port is %lld",
                       call->type->name, (long long)port);
    *ret = (struct vim_ticket){.port = (uint16_t)port};
    bool ok =
        copy_text(ret->host, sizeof ret->host, "host", told.host, err) &&
        copy_text(ret->ssl_thumbprint, sizeof ret->ssl_thumbprint, "thumbprint",
                  told.sslThumbprint, err) &&
        copy_text(ret->service, sizeof ret->service, "service", told.service, err) &&
        copy_text(ret->session_id, sizeof ret->session_id, "session id", told.sessionId,
                  err);
    if (!ok)
        vim_ticket_wipe(ret);
    return ok || err_wrap(err, "%s", call->type->name);
}

bool vim_nfc_ticket(struct vim *vim, const struct vim_ref *vm,
                    const struct cancel *cancel, struct vim_ticket *ret, struct err *err)
{
    struct wire_NfcGetVmFiles args = {.vm = *vm};
    struct vim_call call = {
        .type = wire_type_NfcGetVmFiles(),
        .args = &args,
        .cancel = cancel,
    };
    return find_nfc_service(vim, cancel, &args._this, err) &&
           (read_ticket(vim, &call, ret, err) || err_wrap(err, "'%s'", vm->id));
}

bool vim_nfc_disk_ticket(struct vim *vim, const struct vim_nfc_disk *disk,
                         const struct cancel *cancel, struct vim_ticket *ret,
                         struct err *err)
{
    struct wire_NfcRandomAccessOpenReadonly args = {
        .vm = disk->vm,
        .diskDeviceKey = WIRE_INT(disk->device_key),
        .hostForAccess = disk->host,
    };
    struct vim_call call = {
        .type = wire_type_NfcRandomAccessOpenReadonly(),
        .args = &args,
        .cancel = cancel,
    };
    return find_nfc_service(vim, cancel, &args._this, err) &&
           (read_ticket(vim, &call, ret, err) ||
            err_wrap(err, "disk %d of '%s'", disk->device_key, disk->vm.id));
}

static bool read_number(void *arg, struct xml_reader *reader, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    uint64_t value = 0;
    if (!xml_text(reader, 32, &text, err))
        return false;
    if (!text_parse_u64(buf_text(&text), 0, UINT32_MAX, &value, err)) {
        err->kind = FAIL_CORRUPT;
        return false;
    }
    *(uint32_t *)arg = (uint32_t)value;
    return true;
}

bool vim_nfc_lib_version(struct vim *vim, const struct vim_ref *host,
                         const struct cancel *cancel, uint32_t *ret, struct err *err)
{
    struct wire_NfcGetServerNfcLibVersion args = {.hostForAccess = *host};
    uint32_t version = 0;
    struct vim_call call = {
        .type = wire_type_NfcGetServerNfcLibVersion(),
        .args = &args,
        .on_return = read_number,
        .arg = &version,
        .cancel = cancel,
    };
    struct err tried = ERR_INIT;
    if (!find_nfc_service(vim, cancel, &args._this, err))
        return false;
    if (!vim_call_send(vim, &call, &tried) && !vim_call_is_unknown(&call)) {
        *err = tried;
        return err_wrap(err, "'%s'", host->id);
    }
    *ret = version;
    return true;
}

bool vim_http_ticket(struct vim *vim, const char *method, const char *url,
                     const struct cancel *cancel, struct vim_http_ticket *ret,
                     struct err *err)
{
    struct wire_SessionManagerHttpServiceRequestSpec spec = {
        .xsi_type = "SessionManagerHttpServiceRequestSpec",
        .method = method,
        .url = url,
    };
    struct wire_AcquireGenericServiceTicket args = {
        ._this = vim_content(vim)->session_manager,
        .spec = &spec,
    };
    struct vim_call call = {
        .type = wire_type_AcquireGenericServiceTicket(),
        .args = &args,
        .cancel = cancel,
    };
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = (size_t)MIB};
    struct wire_SessionManagerGenericServiceTicket told;
    if (!vim_call_read(vim, &call, wire_type_SessionManagerGenericServiceTicket(), &arena,
                       &told, err))
        return false;
    struct vim_http_ticket ticket = {0};
    if (!copy_text(ticket.host, sizeof ticket.host, "host", told.hostName, err) ||
        !copy_text(ticket.ssl_thumbprint, sizeof ticket.ssl_thumbprint, "thumbprint",
                   told.sslThumbprint, err))
        return false;
    if (strlen(told.id) > SECRET_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "the ticket's id has more than %d bytes",
                       SECRET_MAX_BYTES);
    ticket.id = secret_new(told.id, strlen(told.id));
    *ret = ticket;
    return true;
}

void vim_http_ticket_release(struct vim_http_ticket *ticket)
{
    secret_free(ticket->id);
    *ticket = (struct vim_http_ticket){0};
}
