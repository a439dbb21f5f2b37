/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests are written as the published schema wants them; answers are read as servers
 * were seen to write them: any prefix for any namespace (a simulator binds
 * "_XMLSchema-instance"), an empty faultstring, a fault whose type stands only in the
 * detail element's name.
 */
#include "vsphere/vim_soap.h"

#include "base/text.h"
#include "vsphere/vim_fault.h"

#define SOAP_NS "http://schemas.xmlsoap.org/soap/envelope/"

bool vim_soap_write(const struct wire_type *type, const void *args, struct buf *out,
                    struct err *err)
{
    struct xml_writer writer = {.out = out};
    buf_append_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                         "<soapenv:Envelope xmlns:soapenv=\"" SOAP_NS "\""
                         " xmlns:xsi=\"" XML_XSI "\"><soapenv:Body>");
    if (!wire_write(type, type->name, " xmlns=\"urn:vim25\"", args, &writer, err))
        return false;
    buf_append_text(out, "</soapenv:Body></soapenv:Envelope>");
    return xml_writer_check(&writer, type->name, err);
}

/* What the fault is about, of all it may name. */
static const char *fault_detail(const struct wire_MethodFault *fault, char out[320])
{
    const char *names[] = {
        fault->invalidProperty, fault->privilegeId, fault->file,      fault->name,
        fault->reason,          fault->operation,   fault->datastore, fault->hostName,
    };
    const struct vim_ref *about =
        vim_ref_is_set(&fault->obj) ? &fault->obj : &fault->object;
    struct buf text = {0};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (names[i] && *names[i])
            buf_printf(&text, "%s%s", text.bytes ? ", " : "", names[i]);
    if (vim_ref_is_set(about))
        buf_printf(&text, "%s%s %s", text.bytes ? " on " : "", about->type, about->id);
    if (fault->existingState)
        buf_printf(&text, "%sit is %s", text.bytes ? ", " : "", fault->existingState);
    for (size_t i = 0; i < fault->faultMessage.count; i++)
        if (fault->faultMessage.items[i].message)
            buf_printf(&text, "%s%s", text.bytes ? ", " : "",
                       fault->faultMessage.items[i].message);
    text_copy(out, 320, buf_text(&text));
    buf_release(&text);
    return out;
}

bool vim_soap_fault(struct err *err, const char *what,
                    const struct wire_LocalizedMethodFault *fault)
{
    char detail[320] = "";
    struct vim_fault told = {
        .type = fault->fault ? fault->fault->xsi_type : NULL,
        .text = fault->localizedMessage,
        .detail = fault->fault ? fault_detail(fault->fault, detail) : NULL,
    };
    return vim_fault_set(err, what, &told);
}

/* The first element of <detail>: "<InvalidLoginFault xsi:type='InvalidLogin'>". */
static bool read_detail(struct xml_reader *reader, struct wire_arena *arena,
                        struct wire_MethodFault *ret, struct err *err)
{
    struct xml_mark mark = xml_mark(reader);
    if (!xml_next(reader, &mark, err))
        return !xml_failed(reader);
    char name[64];
    text_copy(name, sizeof name, xml_name(reader));
    if (!wire_read(wire_type_MethodFault(), reader, arena, ret, err))
        return false;
    if (!ret->xsi_type) {
        if (text_ends_with(name, "Fault") && strlen(name) > 5)
            name[strlen(name) - 5] = '\0';
        ret->xsi_type = wire_strdup(arena, name, err);
    }
    return ret->xsi_type != NULL;
}

static bool read_fault(const char *method, struct xml_reader *reader,
                       struct vim_fault_seen *ret_fault, struct err *err)
{
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = (size_t)MIB};
    const char *text = NULL;
    struct wire_MethodFault detail = {0};
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "faultstring")) {
            if (!wire_read_text(reader, &arena, &text, err))
                return false;
        } else if (xml_is(reader, "detail")) {
            if (!read_detail(reader, &arena, &detail, err))
                return false;
        }
    }
    if (xml_failed(reader))
        return false;
    struct wire_LocalizedMethodFault fault = {
        .fault = &detail,
        .localizedMessage = text,
    };
    text_copy(ret_fault->type, sizeof ret_fault->type,
              detail.xsi_type ? detail.xsi_type : "");
    text_copy(ret_fault->name, sizeof ret_fault->name, detail.name ? detail.name : "");
    return vim_soap_fault(err, method, &fault);
}

static bool read_response(const struct vim_soap_answer *answer, struct xml_reader *reader,
                          struct err *err)
{
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        if (answer->on_return && xml_is(reader, "returnval") &&
            !answer->on_return(answer->arg, reader, err))
            return false;
    return !xml_failed(reader);
}

static bool read_body(const struct vim_soap_answer *answer, struct xml_reader *reader,
                      struct vim_fault_seen *ret_fault, struct err *err)
{
    struct xml_mark mark = xml_mark(reader);
    if (!xml_next(reader, &mark, err))
        return xml_failed(reader) ? false
                                  : err_set(err, FAIL_CORRUPT, "the SOAP body is empty");
    if (xml_is(reader, "Fault") && strcmp(xml_namespace(reader), SOAP_NS) == 0)
        return read_fault(answer->method, reader, ret_fault, err);
    const char *name = xml_name(reader);
    size_t method_length = strlen(answer->method);
    if (strncmp(name, answer->method, method_length) != 0 ||
        strcmp(name + method_length, "Response") != 0)
        return err_set(err, FAIL_CORRUPT, "the answer is a '%.60s'", name);
    return read_response(answer, reader, err);
}

bool vim_soap_read(const struct vim_soap_answer *answer, struct vim_fault_seen *ret_fault,
                   struct err *err)
{
    *ret_fault = (struct vim_fault_seen){0};
    AUTO(xml_reader_close)
    struct xml_reader *reader =
        xml_reader_open("SOAP answer", answer->body, answer->body_bytes, err);
    if (!reader)
        return err_wrap(err, "%s", answer->method);
    if (!xml_is(reader, "Envelope"))
        return err_set(err, FAIL_CORRUPT, "%s: the answer is a '%.60s', not SOAP",
                       answer->method, xml_name(reader));
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        if (xml_is(reader, "Body")) {
            bool ok = read_body(answer, reader, ret_fault, err);
            return ok || *ret_fault->type ? ok : err_wrap(err, "%s", answer->method);
        }
    if (xml_failed(reader))
        return err_wrap(err, "%s", answer->method);
    return err_set(err, FAIL_CORRUPT, "%s: the SOAP envelope has no body",
                   answer->method);
}
