/* SPDX-License-Identifier: Apache-2.0 */
/* See vim_script.h. */
#include "vim_script.h"

#include "base/clock.h"
#include "base/text.h"

void vim_script_respond(struct served_reply *reply, const char *method, const char *inner)
{
    buf_printf(&reply->body,
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope "
               "xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" "
               "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">"
               "<soapenv:Body><%sResponse xmlns=\"urn:vim25\">%s</%sResponse>"
               "</soapenv:Body></soapenv:Envelope>",
               method, inner, method);
}

void vim_script_fault(struct served_reply *reply, const char *type, const char *text)
{
    reply->status = 500;
    buf_printf(&reply->body,
               "<soapenv:Envelope "
               "xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" "
               "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">"
               "<soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode>"
               "<faultstring>%s</faultstring><detail><%sFault xmlns=\"urn:vim25\" "
               "xsi:type=\"%s\"/></detail></soapenv:Fault></soapenv:Body>"
               "</soapenv:Envelope>",
               text, type, type);
}

static void content(struct served_reply *reply)
{
    vim_script_respond(
        reply, "RetrieveServiceContent",
        "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>"
        "<propertyCollector type=\"PropertyCollector\">pc</propertyCollector>"
        "<viewManager type=\"ViewManager\">vm</viewManager>"
        "<about><name>N</name><fullName>F</fullName><vendor>V</vendor>"
        "<version>8.0.3</version><patchLevel>x</patchLevel><build>1</build>"
        "<apiType>VirtualCenter</apiType><apiVersion>8.0.3.0</apiVersion></about>"
        "<sessionManager type=\"SessionManager\">sm</sessionManager>"
        "<authorizationManager type=\"AuthorizationManager\">am</authorizationManager>"
        "<searchIndex type=\"SearchIndex\">si</searchIndex>"
        "<tenantManager type=\"TenantManager\">t</tenantManager></returnval>");
}

static void login(struct vim_script *script, const char *body, struct served_reply *reply)
{
    const char *password = strstr(body, "<password>");
    const char *end = strstr(body, "</password>");
    LOCK_GUARD(&script->lock);
    if (password && end)
        text_copy(script->password,
                  MIN_OF(sizeof script->password, (size_t)(end - password - 10) + 1),
                  password + 10);
    atomic_fetch_add(&script->logins, 1);
    if (atomic_load(&script->is_refusing)) {
        clock_sleep_ms(500);
        vim_script_fault(reply, "InvalidLogin", "Cannot complete login");
        return;
    }
    atomic_store(&script->is_expired, false);
    buf_append_text(&reply->headers,
                    "Set-Cookie: lb=other; Path=/\r\n"
                    "set-cookie: vmware_soap_session=\"52fd-e\"; Path=/; HttpOnly\r\n");
    vim_script_respond(reply, "Login",
                       "<returnval><key>k1</key><userName>DOM\\u</userName></returnval>");
}

static bool method_of(const char *body, char method[64])
{
    const char *start = strstr(body, "<soapenv:Body><");
    if (!start)
        return false;
    start += 15;
    text_copy(method, MIN_OF((size_t)64, strcspn(start, " >") + 1), start);
    return true;
}

static void greet_or_serve(struct vim_script *script, const char *method,
                           const char *body, struct served_reply *reply)
{
    if (strcmp(method, "RetrieveServiceContent") == 0) {
        content(reply);
    } else if (strcmp(method, "Login") == 0) {
        login(script, body, reply);
    } else if (strcmp(method, "Logout") == 0) {
        atomic_fetch_add(&script->logouts, 1);
        vim_script_respond(reply, "Logout", "");
    } else if (atomic_load(&script->is_expired) || atomic_load(&script->is_never_good)) {
        vim_script_fault(reply, "NotAuthenticated", "The session is not authenticated.");
    } else {
        atomic_fetch_add(&script->calls, 1);
        if (!script->answer || !script->answer(script, method, body, reply))
            vim_script_fault(reply, "MethodNotFound", method);
    }
}

static void note_headers(struct vim_script *script, const struct served_request *request)
{
    LOCK_GUARD(&script->lock);
    if (!served_header(request, "SOAPAction", script->soap_action,
                       sizeof script->soap_action))
        script->soap_action[0] = '\0';
    if (!served_header(request, "Cookie", script->cookie, sizeof script->cookie))
        script->cookie[0] = '\0';
}

static void handle(void *ctx, const struct served_request *request,
                   struct served_reply *reply)
{
    struct vim_script *script = ctx;
    if (script->greet_status) {
        reply->status = script->greet_status;
        buf_append_text(&reply->body, "<html>not here</html>");
        return;
    }
    if (text_ends_with(request->path, "vimServiceVersions.xml")) {
        reply->status = script->versions ? 200 : 404;
        buf_append_text(&reply->body, script->versions ? script->versions : "");
        return;
    }
    char method[64];
    if (!method_of(buf_text(&request->body), method)) {
        reply->status = 400;
        return;
    }
    note_headers(script, request);
    greet_or_serve(script, method, buf_text(&request->body), reply);
}

void vim_script_start(struct vim_script *script)
{
    struct http_server_options options = {.handler = handle, .ctx = script};
    (void)pthread_mutex_init(&script->lock, NULL);
    script->server = http_server_start(&options);
    (void)snprintf(script->url, sizeof script->url, "http://127.0.0.1:%u",
                   http_server_port(script->server));
}

void vim_script_stop(struct vim_script *script)
{
    http_server_stop(script->server);
}

struct vim *vim_script_try_login(struct vim_script *script, struct err *err)
{
    AUTO(secret_free) struct secret *password = secret_new("p<&>\"' \xc3\xa9]]>", 12);
    struct vim_options options = {
        .url = script->url,
        .user = "u",
        .password = password,
        .call_deadline_ms = 20000,
    };
    return vim_open(&options, NULL, err);
}

struct vim *vim_script_login(struct vim_script *script)
{
    struct err err = ERR_INIT;
    struct vim *vim = vim_script_try_login(script, &err);
    if (!vim) {
        (void)fprintf(stderr, "login: %s\n", err.text);
        abort();
    }
    return vim;
}
