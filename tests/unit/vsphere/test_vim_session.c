/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions and calls against a scripted server: what it is told and how it may fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "vsphere/vim_access.h"
#include "vim_script.h"
#include "vsphere/vim_snapshot.h"

static void fill_state(struct served_reply *reply, const char *power)
{
    char inner[512];
    (void)snprintf(inner, sizeof inner,
                   "<returnval><objects><obj type=\"VirtualMachine\">vm-1</obj><propSet>"
                   "<name>runtime.powerState</name><val>%s</val></propSet></objects>"
                   "</returnval>",
                   power);
    vim_script_respond(reply, "RetrievePropertiesEx", inner);
}

static bool answer_state(struct vim_script *script, const char *method, const char *body,
                         struct served_reply *reply)
{
    (void)script;
    (void)body;
    if (strcmp(method, "CurrentTime") == 0)
        vim_script_respond(reply, method, "<returnval>2026-11-22T00:00:00Z</returnval>");
    else if (strcmp(method, "RetrievePropertiesEx") == 0)
        fill_state(reply, "poweredOn");
    else
        return false;
    return true;
}

static const struct vim_ref vm = {"VirtualMachine", "vm-1"};

static void test_session_from_login_to_logout(void **state)
{
    (void)state;
    struct vim_script script = {
        .answer = answer_state,
        .versions = "<?xml version=\"1.0\"?><namespaces version=\"1.0\"><namespace>"
                    "<name>urn:vim25</name><version>9.1.0.0</version><priorVersions>"
                    "<version>9.0.0.0</version><version>8.0.2.0</version>"
                    "<version>8.0.10.0</version><version>5.5</version></priorVersions>"
                    "</namespace><namespace><name>urn:other</name><version>8.0.3.0"
                    "</version></namespace></namespaces>",
    };
    vim_script_start(&script);
    struct vim *vim = vim_script_login(&script);
    assert_string_equal(script.password, "p&lt;&amp;&gt;&quot;' \xc3\xa9]]&gt;");
    assert_string_equal(vim_about(vim)->version, "8.0.3");
    assert_true(vim_about(vim)->is_vcenter);
    assert_string_equal(vim_about(vim)->instance_uuid, "");
    assert_string_equal(vim_host_name(vim), "127.0.0.1");

    struct err err = ERR_INIT;
    struct vim_state now;
    assert_true(vim_state_get(vim, &vm, NULL, &now, &err));
    assert_int_equal(now.power, VIM_POWER_ON);
    assert_string_equal(script.soap_action, "\"urn:vim25/8.0.2.0\"");
    assert_string_equal(script.cookie, "vmware_soap_session=\"52fd-e\"");
    AUTO(secret_free) struct secret *cookie = vim_cookie_new(vim, &err);
    assert_true(secret_equal(cookie, "vmware_soap_session=\"52fd-e\"", 28));

    unsigned before = atomic_load(&script.calls);
    assert_true(vim_keep_alive(vim, 60000, NULL, &err)); /* just used */
    assert_int_equal(atomic_load(&script.calls), before);
    assert_true(vim_keep_alive(vim, 0, NULL, &err));
    assert_int_equal(atomic_load(&script.calls), before + 1);
    vim_close(vim);
    assert_int_equal(atomic_load(&script.logins), 1);
    assert_int_equal(atomic_load(&script.logouts), 1);
    vim_script_stop(&script);
}

static void test_version_without_a_list(void **state)
{
    (void)state;
    struct vim_script script = {.answer = answer_state};
    vim_script_start(&script);
    struct vim *vim = vim_script_login(&script);
    assert_string_equal(script.soap_action, "\"urn:vim25/8.0.3.0\"");
    vim_close(vim);
    vim_script_stop(&script);
}

static void test_lost_session_is_renewed_once(void **state)
{
    (void)state;
    struct vim_script script = {.answer = answer_state};
    vim_script_start(&script);
    AUTO(vim_close) struct vim *vim = vim_script_login(&script);
    struct err err = ERR_INIT;
    struct vim_state now;
    for (unsigned round = 1; round <= 2; round++) {
        atomic_store(&script.is_expired, true);
        assert_true(vim_state_get(vim, &vm, NULL, &now, &err));
        assert_int_equal(atomic_load(&script.logins), 1 + round);
    }
    atomic_store(&script.is_never_good, true);
    assert_false(vim_state_get(vim, &vm, NULL, &now, &err));
    assert_int_equal(err.kind, FAIL_AUTH);
    assert_int_equal(atomic_load(&script.logins), 4); /* once, not again and again */
    vim_script_stop(&script);
    vim_close(TAKE(vim)); /* nobody answers any more: still ends */
}

static void *call_often(void *arg)
{
    struct vim *vim = arg;
    struct err err = ERR_INIT;
    struct vim_state now;
    for (int i = 0; i < 20; i++)
        if (!vim_state_get(vim, &vm, NULL, &now, &err))
            return arg;
    return NULL;
}

static void test_threads_share_one_new_login(void **state)
{
    (void)state;
    struct vim_script script = {.answer = answer_state};
    vim_script_start(&script);
    AUTO(vim_close) struct vim *vim = vim_script_login(&script);
    atomic_store(&script.is_expired, true);
    pthread_t threads[6];
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, vim), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    assert_int_equal(atomic_load(&script.logins), 2);
    struct vim_counters counters;
    vim_counters_get(vim, &counters);
    assert_int_equal(counters.logins, 2);
    assert_true(counters.calls >= 120);
    vim_close(TAKE(vim));
    vim_script_stop(&script);
}

static void *call_once(void *arg)
{
    struct err err = ERR_INIT;
    struct vim_state now;
    return vim_state_get(arg, &vm, NULL, &now, &err) || err.kind != FAIL_AUTH ? arg
                                                                              : NULL;
}

/* The password was changed: a hundred tries at once would lock the account. */
static void test_threads_share_one_refused_login(void **state)
{
    (void)state;
    struct vim_script script = {.answer = answer_state};
    vim_script_start(&script);
    AUTO(vim_close) struct vim *vim = vim_script_login(&script);
    atomic_store(&script.is_refusing, true);
    atomic_store(&script.is_expired, true);
    pthread_t threads[8];
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_once, vim), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    assert_int_equal(atomic_load(&script.logins), 2);
    vim_close(TAKE(vim));
    vim_script_stop(&script);
}

static void test_servers_that_are_none(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        enum err_kind kind;
    } cases[] = {
        {503, FAIL_TRANSIENT}, {502, FAIL_TRANSIENT}, {429, FAIL_TRANSIENT},
        {500, FAIL_TRANSIENT}, {401, FAIL_AUTH},      {403, FAIL_AUTH},
        {404, FAIL_INPUT},     {302, FAIL_INPUT},     {200, FAIL_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct vim_script script = {.greet_status = cases[i].status};
        vim_script_start(&script);
        struct err err = ERR_INIT;
        assert_null(vim_script_try_login(&script, &err));
        assert_int_equal(err.kind, cases[i].kind);
        vim_script_stop(&script);
    }
}

static void test_options_that_are_refused(void **state)
{
    (void)state;
    AUTO(secret_free) struct secret *password = secret_new("a\0b", 3);
    static const struct {
        const char *url;
        const char *user;
    } cases[] = {
        {NULL, "u"},         {"vcenter", "u"},
        {"https://", "u"},   {"https://h/sdk?x", "u"},
        {"https://h", NULL}, {"https://h", ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct vim_options options = {
            .url = cases[i].url, .user = cases[i].user, .password = password};
        struct err err = ERR_INIT;
        assert_null(vim_open(&options, NULL, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
    struct vim_script script = {.answer = answer_state};
    vim_script_start(&script);
    struct vim_options nul = {.url = script.url, .user = "u", .password = password};
    struct err err = ERR_INIT;
    assert_null(vim_open(&nul, NULL, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    vim_script_stop(&script);
}

/* What is broken in the middle of an answer is told as it is, and nothing leaks. */
struct broken {
    const char *body;
    enum served_manner manner;
    enum err_kind kind;
};
static const struct broken *_Atomic broken;

static bool answer_broken(struct vim_script *script, const char *method, const char *body,
                          struct served_reply *reply)
{
    (void)script;
    (void)body;
    (void)method;
    const struct broken *now = atomic_load(&broken);
    buf_append_text(&reply->body, now->body);
    reply->manner = now->manner;
    return true;
}

static void test_broken_answers(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        {"<soapenv:Envelope", SERVE_WHOLE, FAIL_CORRUPT},
        {"", SERVE_WHOLE, FAIL_CORRUPT},
        {"<!DOCTYPE x><x/>", SERVE_WHOLE, FAIL_CORRUPT},
        {"<x>half</x>", SERVE_HALF_CLOSE, FAIL_TRANSIENT},
        {"", SERVE_NOTHING, FAIL_TRANSIENT},
        {"", SERVE_RESET, FAIL_TRANSIENT},
    };
    struct vim_script script = {.answer = answer_broken};
    vim_script_start(&script);
    AUTO(vim_close) struct vim *vim = vim_script_login(&script);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        atomic_store(&broken, &cases[i]);
        struct err err = ERR_INIT;
        struct vim_state now;
        assert_false(vim_state_get(vim, &vm, NULL, &now, &err));
        assert_int_equal(err.kind, cases[i].kind);
    }
    vim_close(TAKE(vim));
    vim_script_stop(&script);
}

static bool answer_silence(struct vim_script *script, const char *method,
                           const char *body, struct served_reply *reply)
{
    (void)script;
    (void)body;
    (void)method;
    reply->manner = SERVE_SILENCE;
    return true;
}

static void *cancel_soon(void *arg)
{
    clock_sleep_ms(200);
    cancel_set(arg);
    return NULL;
}

static void test_cancel_breaks_a_call(void **state)
{
    (void)state;
    struct vim_script script = {.answer = answer_silence};
    vim_script_start(&script);
    AUTO(vim_close) struct vim *vim = vim_script_login(&script);
    struct cancel cancel;
    cancel_init(&cancel);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    struct err err = ERR_INIT;
    struct vim_state now;
    uint64_t started_ms = clock_mono_ms();
    assert_false(vim_state_get(vim, &vm, &cancel, &now, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    assert_true(clock_mono_ms() - started_ms < 3000);
    assert_int_equal(pthread_join(thread, NULL), 0);
    cancel_release(&cancel);
    vim_close(TAKE(vim));
    vim_script_stop(&script);
}

/* A server of 6.0: two properties it never heard of, one named short. */
static bool answer_older(struct vim_script *script, const char *method, const char *body,
                         struct served_reply *reply)
{
    (void)script;
    if (strcmp(method, "RetrievePropertiesEx") != 0)
        return false;
    bool has_host = strstr(body, "runtime.host");
    if (!has_host && !strstr(body, "currentSnapshot")) {
        fill_state(reply, "suspended");
        return true;
    }
    reply->status = 500;
    buf_printf(
        &reply->body,
        "<S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\"><S:Body>"
        "<S:Fault><faultstring/><detail><InvalidPropertyFault><name>%s</name>"
        "</InvalidPropertyFault></detail></S:Fault></S:Body></S:Envelope>",
        has_host ? "runtime.host" : "currentSnapshot");
    return true;
}

static void test_properties_an_older_server_lacks(void **state)
{
    (void)state;
    struct vim_script script = {.answer = answer_older};
    vim_script_start(&script);
    AUTO(vim_close) struct vim *vim = vim_script_login(&script);
    struct err err = ERR_INIT;
    struct vim_state now;
    assert_true(vim_state_get(vim, &vm, NULL, &now, &err));
    assert_int_equal(now.power, VIM_POWER_SUSPENDED);
    assert_int_equal(atomic_load(&script.calls), 3);
    assert_true(vim_state_get(vim, &vm, NULL, &now, &err));
    assert_int_equal(atomic_load(&script.calls), 4); /* it has learnt */
    vim_close(TAKE(vim));
    vim_script_stop(&script);
}

static bool answer_tickets(struct vim_script *script, const char *method,
                           const char *body, struct served_reply *reply)
{
    const char *inner = script->arg;
    (void)body;
    if (strcmp(method, "RetrieveInternalContent") == 0)
        vim_script_respond(
            reply, method,
            "<returnval><nfcService type=\"NfcService\">nfc-x</nfcService></returnval>");
    else if (strcmp(method, "NfcGetVmFiles") == 0)
        vim_script_respond(reply, method,
                           strstr(body, ">nfc-x<") ? inner : "<returnval/>");
    else
        return false;
    return true;
}

static void test_tickets_of_all_forms(void **state)
{
    (void)state;
    static const struct {
        const char *inner;
        enum err_kind kind;
        uint16_t port;
    } cases[] = {
        {"<returnval><host>h</host><port>903</port><sslThumbprint>AA</sslThumbprint>"
         "<service>vpxa-nfc</service><serviceVersion>1.1</serviceVersion>"
         "<sessionId>s1</sessionId></returnval>",
         FAIL_NONE, 903},
        {"<returnval><service>nfc</service><sessionId>s1</sessionId></returnval>",
         FAIL_NONE, 902},
        {"<returnval><port>0</port><service>nfc</service><sessionId>s1</sessionId>"
         "</returnval>",
         FAIL_NONE, 902},
        {"<returnval><port>-1</port><service>nfc</service><sessionId>s1</sessionId>"
         "</returnval>",
         FAIL_CORRUPT, 0},
        {"<returnval><port>65536</port><service>nfc</service><sessionId>s1</sessionId>"
         "</returnval>",
         FAIL_CORRUPT, 0},
        {"<returnval><service>nfc</service></returnval>", FAIL_CORRUPT, 0},
        {"", FAIL_CORRUPT, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct vim_script script = {.answer = answer_tickets,
                                    .arg = (void *)cases[i].inner};
        vim_script_start(&script);
        struct vim *vim = vim_script_login(&script);
        struct err err = ERR_INIT;
        struct vim_ticket ticket = {0};
        bool ok = vim_nfc_ticket(vim, &vm, NULL, &ticket, &err);
        assert_int_equal(err.kind, cases[i].kind);
        if (ok) {
            assert_int_equal(ticket.port, cases[i].port);
            assert_string_equal(ticket.session_id, "s1");
            assert_string_equal(ticket.host, i == 0 ? "h" : "");
        }
        vim_close(vim);
        vim_script_stop(&script);
    }
}

static bool answer_privileges(struct vim_script *script, const char *method,
                              const char *body, struct served_reply *reply)
{
    const char *known = script->arg;
    if (strcmp(method, known) != 0)
        return false;
    if (strcmp(method, "HasPrivilegeOnEntities") == 0) {
        assert_non_null(strstr(body, "<sessionId>k1</sessionId>"));
        vim_script_respond(reply, method,
                           "<returnval><entity type=\"VirtualMachine\">vm-1</entity>"
                           "<privAvailability><privId>B</privId><isGranted>true"
                           "</isGranted></privAvailability><privAvailability><privId>A"
                           "</privId><isGranted>false</isGranted></privAvailability>"
                           "</returnval>");
    } else {
        assert_non_null(strstr(body, "<userName>DOM\\u</userName>"));
        vim_script_respond(reply, method,
                           "<returnval><entity type=\"VirtualMachine\">vm-1</entity>"
                           "<privileges>X</privileges><privileges>B</privileges>"
                           "</returnval>");
    }
    return true;
}

static void test_privileges_by_either_question(void **state)
{
    (void)state;
    static const char *const methods[] = {"HasPrivilegeOnEntities",
                                          "FetchUserPrivilegeOnEntities", "Neither"};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        struct vim_script script = {.answer = answer_privileges,
                                    .arg = (void *)methods[i]};
        vim_script_start(&script);
        struct vim *vim = vim_script_login(&script);
        static const char *const ids[] = {"A", "B"};
        struct vim_privilege_ask ask = {.entity = vm, .ids = ids, .id_count = 2};
        bool has[2] = {true, false};
        struct err err = ERR_INIT;
        bool ok = vim_privileges_check(vim, &ask, NULL, has, &err);
        assert_int_equal(ok, i < 2);
        assert_int_equal(err.kind, i < 2 ? FAIL_NONE : FAIL_CONFLICT);
        assert_int_equal(has[0], i == 2);
        assert_int_equal(has[1], i < 2);
        vim_close(vim);
        vim_script_stop(&script);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_from_login_to_logout),
        cmocka_unit_test(test_version_without_a_list),
        cmocka_unit_test(test_lost_session_is_renewed_once),
        cmocka_unit_test(test_threads_share_one_new_login),
        cmocka_unit_test(test_threads_share_one_refused_login),
        cmocka_unit_test(test_servers_that_are_none),
        cmocka_unit_test(test_options_that_are_refused),
        cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_cancel_breaks_a_call),
        cmocka_unit_test(test_properties_an_older_server_lacks),
        cmocka_unit_test(test_tickets_of_all_forms),
        cmocka_unit_test(test_privileges_by_either_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
