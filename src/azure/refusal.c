/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service's refusal means: one table from error code to kind and remedy. Codes are
 * those of the vendor's "common REST API error codes" and "blob service error codes"; of
 * Entra ID the AADSTS numbers; of Resource Manager "troubleshoot common Azure deployment
 * errors" and what Compute and Network document. What is not in the table goes by its
 * status. An error inside of an answer of 2xx is that of an operation that failed.
 */
#include "azure/request.h"

#include "base/clock.h"
#include "base/text.h"
#include "http/json.h"
#include "http/xml.h"

#define MESSAGE_BYTES  800
#define MAX_NESTED     8   /* errors inside of errors */
#define WRAP_BYTES     48  /* for what callers put before the text */
#define SKEW_MIN_S     240 /* tokens bear 5 min, signatures 15 min */
#define BODY_MAX_BYTES (64 * KIB)

struct refusal {
    const char *code;
    enum err_kind kind;
    const char *remedy; /* NULL: none beyond the message */
};

#define QUOTA_REMEDY "ask for more quota, or take another size or region"
#define ROOM_REMEDY  "Azure has no room for it now: take another size, zone or region"
#define ROLE_REMEDY  "give the credential a role with that action there"

static const struct refusal REFUSALS[] = {
    /* storage */
    {"AccountIsDisabled", FAIL_AUTH, "enable the storage account"},
    {"AuthenticationFailed", FAIL_AUTH,
     "check the credential, and that it is one of this account"},
    {"AuthorizationFailure", FAIL_AUTH,
     "check the SAS and the account's firewall: it may not allow this address"},
    {"AuthorizationPermissionMismatch", FAIL_AUTH,
     "give it 'Storage Blob Data Contributor' on the container, or a SAS with racwdl"},
    {"AuthorizationProtocolMismatch", FAIL_AUTH, "the SAS is for another protocol"},
    {"AuthorizationResourceTypeMismatch", FAIL_AUTH,
     "the SAS must allow containers and objects (srt=co)"},
    {"AuthorizationServiceMismatch", FAIL_AUTH, "the SAS must allow blobs (ss=b)"},
    {"AuthorizationSourceIPMismatch", FAIL_AUTH, "the SAS is for another address"},
    {"BlobAlreadyExists", FAIL_CONFLICT, NULL},
    {"BlobImmutableDueToPolicy", FAIL_CONFLICT,
     "use a container without an immutability policy"},
    {"BlobNotFound", FAIL_GONE, NULL},
    {"ConditionNotMet", FAIL_CONFLICT, NULL},
    {"ContainerBeingDeleted", FAIL_TRANSIENT, "wait, or use another container"},
    {"ContainerNotFound", FAIL_GONE, "make the container, or correct its name"},
    {"Crc64Mismatch", FAIL_TRANSIENT, "it was damaged on the way"},
    {"FeatureNotSupported", FAIL_INPUT, NULL},
    {"InsufficientAccountPermissions", FAIL_AUTH, "the account may not be written to"},
    {"InternalError", FAIL_TRANSIENT, NULL},
    {"InvalidAuthenticationInfo", FAIL_AUTH, "check the credential"},
    {"InvalidBlobType", FAIL_CONFLICT, "another program put something of that name"},
    {"InvalidHeaderValue", FAIL_INPUT, NULL},
    {"InvalidQueryParameterValue", FAIL_INPUT, NULL},
    {"KeyBasedAuthenticationNotPermitted", FAIL_AUTH,
     "the account forbids account keys; use an Entra ID credential"},
    {"LeaseIdMissing", FAIL_CONFLICT, "another program holds a lease on it"},
    {"Md5Mismatch", FAIL_TRANSIENT, "it was damaged on the way"},
    {"NoAuthenticationInformation", FAIL_AUTH, "name a credential for this store"},
    {"OperationTimedOut", FAIL_TRANSIENT, NULL},
    {"PublicAccessNotPermitted", FAIL_AUTH, "name a credential for this store"},
    {"RequestBodyTooLarge", FAIL_LIMIT, NULL},
    {"ResourceNotFound", FAIL_GONE, NULL},
    {"ServerBusy", FAIL_TRANSIENT, NULL},
    {"SnapshotsPresent", FAIL_CONFLICT, "remove its snapshots first"},
    /* Resource Manager */
    {"AllocationFailed", FAIL_LIMIT, ROOM_REMEDY},
    {"AnotherOperationInProgress", FAIL_TRANSIENT, NULL},
    {"AuthorizationFailed", FAIL_AUTH, ROLE_REMEDY},
    {"ExpiredAuthenticationToken", FAIL_AUTH, "check the clock of this host"},
    {"InternalExecutionError", FAIL_TRANSIENT, NULL},
    {"InternalServerError", FAIL_TRANSIENT, NULL},
    {"InvalidAuthenticationTokenTenant", FAIL_AUTH,
     "the credential is of another tenant than the subscription"},
    {"InvalidResourceLocation", FAIL_CONFLICT, "something of that name is elsewhere"},
    {"LinkedAuthorizationFailed", FAIL_AUTH, ROLE_REMEDY},
    {"MissingSubscriptionRegistration", FAIL_INPUT,
     "register that resource provider in the subscription"},
    {"NicInUse", FAIL_CONFLICT, "remove its virtual machine first"},
    {"NicReservedForAnotherVm", FAIL_TRANSIENT, NULL}, /* for 3 min */
    {"OperationNotAllowed", FAIL_CONFLICT, NULL},
    {"OverconstrainedAllocationRequest", FAIL_LIMIT, ROOM_REMEDY},
    {"OverconstrainedZonalAllocationRequest", FAIL_LIMIT, ROOM_REMEDY},
    {"PrivateIPAddressInUse", FAIL_CONFLICT, "give it another address"},
    {"PrivateIPAddressIsAllocated", FAIL_CONFLICT, "give it another address"},
    {"PropertyChangeNotAllowed", FAIL_CONFLICT, NULL},
    {"QuotaExceeded", FAIL_LIMIT, QUOTA_REMEDY},
    {"ReferencedResourceNotProvisioned", FAIL_TRANSIENT, NULL},
    {"RequestDisallowedByPolicy", FAIL_AUTH,
     "follow that policy, or have this group exempted"},
    {"ResourceGroupBeingDeleted", FAIL_CONFLICT, "name another resource group"},
    {"ResourceGroupNotFound", FAIL_GONE, "make the resource group, or correct its name"},
    {"ResourceQuotaExceeded", FAIL_LIMIT, QUOTA_REMEDY},
    {"RetryableError", FAIL_TRANSIENT, NULL},
    {"ScopeLocked", FAIL_CONFLICT, "remove the lock, or take another resource group"},
    {"ServerTimeout", FAIL_TRANSIENT, NULL},
    {"SkuNotAvailable", FAIL_LIMIT, "take another size, zone or region"},
    {"SubnetIsFull", FAIL_LIMIT, "take another subnet"},
    {"SubscriptionNotFound", FAIL_INPUT,
     "check the subscription, and that the credential may read it"},
    {"TooManyRequests", FAIL_TRANSIENT, NULL},
    {"ZonalAllocationFailed", FAIL_LIMIT, ROOM_REMEDY},
    /* Entra ID */
    {"AADSTS7000215", FAIL_AUTH, "give the client secret's value, not its id"},
    {"AADSTS7000222", FAIL_AUTH, "the client secret has expired; make a new one"},
    {"AADSTS700016", FAIL_AUTH, "check client and tenant: there is no such application"},
    {"AADSTS90002", FAIL_AUTH, "check the tenant"},
    {"AADSTS700027", FAIL_AUTH, "add this certificate to the application"},
    {"AADSTS700024", FAIL_AUTH, "check the clock of this host"},
    {"AADSTS70021", FAIL_AUTH, "add a federated credential for this issuer and subject"},
    {"AADSTS500011", FAIL_AUTH, "the resource is not known in this tenant"},
    {"invalid_client", FAIL_AUTH, "check client and secret"},
    {"unauthorized_client", FAIL_AUTH, "check client and tenant"},
};

static enum err_kind kind_of_status(unsigned status)
{
    switch (status) {
    case 401:
    case 403:
    case 407:
        return FAIL_AUTH;
    case 404:
    case 410:
        return FAIL_GONE;
    case 409:
    case 412:
        return FAIL_CONFLICT;
    case 413:
        return FAIL_LIMIT;
    case 408:
    case 429:
        return FAIL_TRANSIENT;
    default:
        return status >= 500 ? FAIL_TRANSIENT : status >= 400 ? FAIL_INPUT : FAIL_CORRUPT;
    }
}

/* An error inside of an answer of 2xx: an operation has failed. */
static enum err_kind kind_of_answer(unsigned status, const char *code)
{
    return status < 300 && code[0] ? FAIL_IO : kind_of_status(status);
}

static const struct refusal *find_refusal(const char *code, const char *message)
{
    /* One code for all that may not be; which of it is in the text only. */
    if (strcmp(code, "OperationNotAllowed") == 0 && strcasestr(message, "quota"))
        code = "QuotaExceeded";
    for (size_t i = 0; i < ARRAY_COUNT(REFUSALS); i++)
        if (strcmp(REFUSALS[i].code, code) == 0)
            return &REFUSALS[i];
    return NULL;
}

/* ---- what the answer says ---- */

/* One line, printable, cut. */
static void take_text(char *out, size_t out_bytes, const char *text)
{
    size_t used = 0;
    for (const char *p = text; *p && *p != '\n' && *p != '\r' && used + 1 < out_bytes;
         p++)
        out[used++] = (unsigned char)*p < ' ' ? ' ' : *p;
    out[used] = 0;
}

static void read_xml(const struct http_answer *answer, char code[AZURE_CODE_BYTES],
                     char message[MESSAGE_BYTES])
{
    struct err ignored = ERR_INIT;
    AUTO(xml_reader_close)
    struct xml_reader *reader =
        xml_reader_open("error", answer->body.data, answer->body.bytes, &ignored);
    if (!reader)
        return;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, &ignored);) {
        AUTO(buf_release) struct buf text = {0};
        bool is_code = xml_is(reader, "Code");
        if ((!is_code && !xml_is(reader, "Message")) ||
            !xml_text(reader, BODY_MAX_BYTES, &text, &ignored))
            continue;
        if (is_code && !code[0])
            take_text(code, AZURE_CODE_BYTES, buf_text(&text));
        else if (!is_code)
            take_text(message, MESSAGE_BYTES, buf_text(&text));
    }
}

/* {"error": "code", "error_description": "AADSTS7000222: The ..."} */
static void read_token_error(const json_t *json, char code[AZURE_CODE_BYTES],
                             char message[MESSAGE_BYTES])
{
    const char *text = json_string_value(json_object_get(json, "error_description"));
    if (text && text_starts_with(text, "AADSTS")) {
        size_t bytes = strcspn(text, ": ");
        (void)snprintf(code, AZURE_CODE_BYTES, "%.*s", (int)MIN_OF(bytes, (size_t)60),
                       text);
        text += bytes + strspn(text + bytes, ": ");
    } else {
        take_text(code, AZURE_CODE_BYTES,
                  json_string_value(json_object_get(json, "error")));
    }
    if (text)
        take_text(message, MESSAGE_BYTES, text);
}

/* The error inside of an error: the first of "details" that says something, or
 * "innererror". */
static const json_t *inner_error(const json_t *error)
{
    const json_t *details = json_object_get(error, "details");
    for (size_t i = 0; i < json_array_size(details); i++) {
        const json_t *detail = json_array_get(details, i);
        const char *text = json_string_value(json_object_get(detail, "message"));
        if (text && *text)
            return detail;
    }
    return json_object_get(error, "innererror");
}

/* {"code", "message", "details": [...], "innererror": {...}}: the innermost message; the
 * innermost code that we know, else the innermost. */
static void read_nested_error(const json_t *error, char code[AZURE_CODE_BYTES],
                              char message[MESSAGE_BYTES])
{
    bool is_known = false;
    for (unsigned i = 0; i < MAX_NESTED && json_is_object(error); i++) {
        const char *found = json_string_value(json_object_get(error, "code"));
        const char *text = json_string_value(json_object_get(error, "message"));
        if (text && *text)
            take_text(message, MESSAGE_BYTES, text);
        bool knows = found && find_refusal(found, message);
        if (found && *found && (knows || !is_known))
            take_text(code, AZURE_CODE_BYTES, found);
        is_known = is_known || knows;
        error = inner_error(error);
    }
}

static void read_json(const struct http_answer *answer, char code[AZURE_CODE_BYTES],
                      char message[MESSAGE_BYTES])
{
    struct err ignored = ERR_INIT;
    AUTO(json_free)
    json_t *json =
        json_parse("error", buf_text(&answer->body), answer->body.bytes, &ignored);
    const json_t *error = json_object_get(json, "error");
    if (json_is_string(error))
        read_token_error(json, code, message);
    else
        read_nested_error(error ? error : json, code, message);
}

static void read_error(const struct http_answer *answer, char code[AZURE_CODE_BYTES],
                       char message[MESSAGE_BYTES])
{
    code[0] = message[0] = 0;
    if (!http_answer_header(answer, "x-ms-error-code", code, AZURE_CODE_BYTES))
        code[0] = 0;
    const char *body = buf_text(&answer->body);
    body += strspn(body, "\xef\xbb\xbf \r\n\t");
    if (answer->body.bytes > BODY_MAX_BYTES)
        return;
    if (*body == '<')
        read_xml(answer, code, message);
    else if (*body == '{')
        read_json(answer, code, message);
}

void azure_error_code(const struct http_answer *answer, char ret[AZURE_CODE_BYTES])
{
    char message[MESSAGE_BYTES];
    read_error(answer, ret, message);
}

/* ---- the error ---- */

static void hint_clock(const struct http_answer *answer, struct err *err)
{
    char text[64];
    uint64_t server_s;
    uint64_t here_s = clock_wall_ms() / 1000;
    if (!http_answer_header(answer, "Date", text, sizeof text) ||
        !azure_date_parse(text, &server_s))
        return;
    uint64_t off_s = here_s > server_s ? here_s - server_s : server_s - here_s;
    if (off_s >= SKEW_MIN_S)
        (void)err_hint(err, "the clock of this host is %llu s %s; set it by NTP",
                       (unsigned long long)off_s, here_s > server_s ? "ahead" : "behind");
}

/* The message in so many bytes: who asked is known to us and goes first. */
static const char *fit_message(const char *message, size_t room)
{
    const char *verdict = strstr(message, "does not have ");
    return strlen(message) > room && verdict ? verdict : message;
}

bool azure_refused(const struct azure_request *request, const struct http_answer *answer,
                   struct err *err)
{
    char code[AZURE_CODE_BYTES], message[MESSAGE_BYTES], id[64], ids[200];
    read_error(answer, code, message);
    const struct refusal *refusal = find_refusal(code, message);
    const char *remedy = refusal && refusal->remedy ? refusal->remedy : "";
    if (!http_answer_header(answer, "x-ms-request-id", id, sizeof id))
        text_copy(id, sizeof id, "none");
    for (char *p = message; *p; p++)
        if (*p == ';')
            *p = ','; /* "; " begins the remedy */
    (void)snprintf(ids, sizeof ids,
                   "(HTTP status %u, request id %s, client request id %s)",
                   answer->status, id, request->client_id);
    size_t fixed = MIN_OF(strlen(request->what), (size_t)120) + strlen(code) +
                   strlen(ids) + strlen(remedy) + WRAP_BYTES;
    size_t room = fixed + 60 < ERR_TEXT_BYTES ? ERR_TEXT_BYTES - fixed : 60;
    (void)err_set(err, refusal ? refusal->kind : kind_of_answer(answer->status, code),
                  "%.120s: %s%s%.*s%s%s", request->what, code,
                  code[0] && message[0] ? ": " : "", (int)room,
                  fit_message(message, room), code[0] || message[0] ? " " : "", ids);
    if (answer->status == 401 || answer->status == 403 || answer->status == 400)
        hint_clock(answer, err);
    if (*remedy)
        (void)err_hint(err, "%s", remedy);
    return false;
}
