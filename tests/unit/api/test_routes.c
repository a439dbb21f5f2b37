/* SPDX-License-Identifier: Apache-2.0 */
/* The route table, its matcher, and the documents made from it. */
#include "api/guard.h"
#include "api/route.h"
#include "api/server.h"
#include "base/file.h"
#include "base/text.h"
#include "vault/vault.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEX_128                                                                          \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                   \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void matches_each_route(void **state)
{
    (void)state;
    for (const struct api_route *r = api_routes(); r->method; r++) {
        AUTO(buf_release) struct buf path = {0};
        for (const char *p = r->pattern; *p; p++) {
            if (*p != '{') {
                buf_put_u8(&path, (uint8_t)*p);
                continue;
            }
            buf_append_text(&path, "a%2Fb");
            p = strchr(p, '}');
        }
        struct api_match match;
        struct err err = ERR_INIT;
        assert_true(api_route_match(r->method, buf_text(&path), &match, &err));
        assert_ptr_equal(match.route, r);
        for (size_t i = 0; i < match.param_count; i++)
            assert_string_equal(match.params[i], "a/b");
    }
}

static void refuses_other_paths(void **state)
{
    static const struct {
        const char *method, *path;
        enum err_kind kind;
        const char *allowed;
    } CASES[] = {
        {"GET", "", FAIL_GONE, ""},
        {"GET", "/", FAIL_GONE, ""},
        {"GET", "/v1", FAIL_GONE, ""},
        {"GET", "/v1/status/", FAIL_GONE, ""},
        {"GET", "/v1//status", FAIL_GONE, ""},
        {"GET", "/v1/machines/", FAIL_GONE, ""},
        {"GET", "/v1/machines/a/b", FAIL_GONE, ""},
        {"GET", "/V1/status", FAIL_GONE, ""},
        {"get", "/v1/status", FAIL_INPUT, "GET"},
        {"POST", "/v1/status", FAIL_INPUT, "GET"},
        {"PATCH", "/v1/sources", FAIL_INPUT, "GET, POST"},
        {"PUT", "/v1/jobs/1", FAIL_INPUT, "GET, DELETE"},
        {"GET", "/v1/machines/%", FAIL_INPUT, ""},
        {"GET", "/v1/machines/%4", FAIL_INPUT, ""},
        {"GET", "/v1/machines/%zz", FAIL_INPUT, ""},
        {"GET", "/v1/machines/a%00b", FAIL_INPUT, ""},
        {"GET", "/v1/machines/%ff", FAIL_INPUT, ""},
        {"GET", "/v1/machines/" HEX_128 HEX_128, FAIL_INPUT, ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct api_match match;
        struct err err = ERR_INIT;
        assert_false(api_route_match(CASES[i].method, CASES[i].path, &match, &err));
        assert_int_equal(err.kind, CASES[i].kind);
        assert_string_equal(match.allowed, CASES[i].allowed);
        assert_null(strchr(err.text, '\n'));
    }
}

/* Every {"$ref": "#/a/b"} below value leads somewhere in document. */
static void check_refs(const json_t *document, const json_t *value, size_t *count)
{
    const char *key;
    json_t *member;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)value, i, member)
        check_refs(document, member, count);
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        check_refs(document, member, count);
        if (strcmp(key, "$ref") != 0)
            continue;
        static const char PREFIX[] = "#/components/schemas/";
        const char *to = json_string_value(member);
        assert_true(text_starts_with(to, PREFIX));
        const json_t *schemas =
            json_object_get(json_object_get(document, "components"), "schemas");
        assert_non_null(json_object_get(schemas, to + sizeof PREFIX - 1));
        ++*count;
    }
}

static size_t count_params(const json_t *operation, const char *in)
{
    size_t count = 0, i;
    const json_t *parameter;
    json_array_foreach(json_object_get(operation, "parameters"), i, parameter)
    {
        assert_true(json_is_object(json_object_get(parameter, "schema")));
        if (strcmp(json_string_value(json_object_get(parameter, "in")), in) == 0)
            count++;
    }
    return count;
}

static void check_operation(const struct api_route *r, const json_t *operation,
                            json_t *ids)
{
    size_t path_params = 0, query_params = 0;
    char status[8];
    const json_t *answers = json_object_get(operation, "responses");
    const char *code;
    json_t *answer;
    assert_string_equal(json_string_value(json_object_get(operation, "operationId")),
                        r->id);
    assert_null(json_object_get(ids, r->id)); /* used once */
    json_put_bool(ids, r->id, true);
    for (const char *p = r->pattern; (p = strchr(p, '{')) != NULL; p++)
        path_params++;
    for (const struct api_field *f = r->query; f && f->name; f++)
        query_params++;
    assert_int_equal(count_params(operation, "path"), path_params);
    assert_int_equal(count_params(operation, "query"), query_params);
    assert_int_equal(count_params(operation, "header"), r->is_idempotent_by_key ? 1 : 0);
    assert_int_equal(json_object_get(operation, "requestBody") != NULL,
                     r->body != BODY_NONE);
    (void)snprintf(status, sizeof status, "%d", r->status);
    assert_non_null(json_object_get(answers, status));
    json_object_foreach((json_t *)(uintptr_t)answers, code, answer)
    {
        assert_int_equal(strlen(code), 3);
        assert_non_null(json_object_get(answer, "description"));
        assert_non_null(json_object_get(answer, "content"));
    }
}

static void openapi_says_what_the_table_says(void **state)
{
    (void)state;
    AUTO(json_free) json_t *document = api_openapi(), *ids = json_object();
    const json_t *paths = json_object_get(document, "paths");
    size_t routes = 0, operations = 0, refs = 0;
    const char *path;
    json_t *methods;
    assert_string_equal(json_string_value(json_object_get(document, "openapi")), "3.1.0");
    for (const struct api_route *r = api_routes(); r->method; r++, routes++) {
        char method[8];
        text_copy(method, sizeof method, r->method);
        for (char *p = method; *p; p++)
            *p = (char)(*p - 'A' + 'a');
        const json_t *operation =
            json_object_get(json_object_get(paths, r->pattern), method);
        assert_non_null(operation);
        check_operation(r, operation, ids);
    }
    json_object_foreach((json_t *)(uintptr_t)paths, path, methods) operations +=
        json_object_size(methods);
    assert_int_equal(operations, routes);
    check_refs(document, document, &refs);
    assert_true(refs > 2 * routes);
}

static void each_operation_of_the_vault_has_a_route(void **state)
{
    (void)state;
    for (int op = 0; op < OP_COUNT; op++)
        if (op != OP_REPLICATE)
            assert_non_null(api_kind_find(
                api_operations(), vault_operation_name((enum vault_operation)op)));
    for (const struct api_kind *k = api_operations(); k->name; k++) {
        enum vault_operation operation;
        assert_true(vault_operation_from_name(k->name, &operation));
    }
}

static void documentation_is_current(void **state)
{
    (void)state;
    AUTO(buf_release) struct buf made = {0}, kept = {0};
    struct err err = ERR_INIT;
    api_print_docs(&made);
    assert_true(file_read(API_DOC, 1 * MIB, &kept, &err));
    assert_string_equal(buf_text(&made), buf_text(&kept));
}

static void hosts(void **state)
{
    static const char *const GOOD[] = {"127.0.0.1", "127.0.0.1:8440", "localhost:1",
                                       "LOCALHOST", "[::1]:65535"};
    static const char *const BAD[] = {"",
                                      "evil.example",
                                      "127.0.0.1.evil.example",
                                      "127.0.0.1:",
                                      "127.0.0.1:99999",
                                      "127.0.0.1:80@evil",
                                      "localhost.",
                                      "::1",
                                      " 127.0.0.1",
                                      "0.0.0.0"};
    struct err err = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(GOOD); i++)
        assert_true(api_guard_host(GOOD[i], &err));
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        assert_false(api_guard_host(BAD[i], &err));
    assert_false(api_guard_host(NULL, &err));
}

static void tokens(void **state)
{
    AUTO(secret_free) struct secret *token = secret_new("abcdef", 6);
    struct err err = ERR_INIT;
    (void)state;
    assert_true(api_guard_token(token, "Bearer abcdef", &err));
    assert_true(api_guard_token(token, "bearer abcdef", &err));
    static const char *const BAD[] = {"",
                                      "abcdef",
                                      "Bearer",
                                      "Bearer ",
                                      "Bearer abcde",
                                      "Bearer abcdefg",
                                      "Bearer  abcdef",
                                      "Basic abcdef",
                                      "Bearer ABCDEF"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        assert_false(api_guard_token(token, BAD[i], &err));
        assert_int_equal(err.kind, FAIL_AUTH);
        assert_null(strstr(err.text, "abcdef"));
    }
    assert_false(api_guard_token(token, NULL, &err));
    assert_false(api_guard_token(NULL, "Bearer ", &err));
}

static void listen_addresses(void **state)
{
    static const char *const BAD[] = {"",
                                      "8440",
                                      ":8440",
                                      "0.0.0.0:80",
                                      "[::]:80",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:8x",
                                      "10.0.0.1:80",
                                      "localhost.evil:80"};
    const char *host;
    uint16_t port;
    struct err err = ERR_INIT;
    (void)state;
    assert_true(api_listen_parse("localhost:8440", &host, &port, &err));
    assert_string_equal(host, "127.0.0.1");
    assert_int_equal(port, 8440);
    assert_true(api_listen_parse("[::1]:0", &host, &port, &err));
    assert_string_equal(host, "::1");
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++) {
        assert_false(api_listen_parse(BAD[i], &host, &port, &err));
        assert_int_equal(err.kind, FAIL_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_each_route),
        cmocka_unit_test(refuses_other_paths),
        cmocka_unit_test(openapi_says_what_the_table_says),
        cmocka_unit_test(each_operation_of_the_vault_has_a_route),
        cmocka_unit_test(documentation_is_current),
        cmocka_unit_test(hosts),
        cmocka_unit_test(tokens),
        cmocka_unit_test(listen_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
