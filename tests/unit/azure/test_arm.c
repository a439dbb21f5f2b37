/* SPDX-License-Identifier: Apache-2.0 */
/* Calls, operations and listings of Resource Manager against a service by script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/arm_impl.h"
#include "base/clock.h"
#include "base/file.h"
#include "support/script_server.h"

#include <sys/stat.h>

#define SUB   "11111111-2222-3333-4444-555555555555"
#define DISK  "/subscriptions/" SUB "/resourceGroups/g/providers/Microsoft.Compute/disks/d"
#define QUERY "?api-version=2024-03-02"
#define ASYNC "Azure-AsyncOperation: $U/poll/1?t=a%2Fb&s=sig\r\n"
#define PLACE "Location: $U/place/1?t=a\r\n"
#define LOOK  "GET /poll/1?t=a%2Fb&s=sig\n"

#define IN_PROGRESS "{\"status\": \"InProgress\"}"
#define SUCCEEDED   "{\"status\": \"Succeeded\"}"
#define MADE        "{\"name\": \"d\", \"properties\": {\"provisioningState\": \"Succeeded\"}}"
#define UPDATING    "{\"properties\": {\"provisioningState\": \"Updating\"}}"

static char dir[] = "/tmp/kedge-arm-XXXXXX";
static struct script_server *server;
static struct arm *arm;

static struct arm *open_arm(uint64_t retry_for_ms, uint64_t operation_ms)
{
    struct err err = ERR_INIT;
    struct arm_options options = {.credential_file = script_server_credential(server),
                                  .endpoint = script_server_url(server),
                                  .subscription = SUB,
                                  .retry_for_ms = retry_for_ms,
                                  .retry_base_ms = 1,
                                  .poll_base_ms = 1,
                                  .operation_ms = operation_ms};
    struct arm *opened = arm_open(&options, &err);
    if (!opened)
        fail_msg("%s", err.text);
    return opened;
}

static struct arm_call disk_call(const char *method)
{
    return (struct arm_call){.method = method,
                             .path = DISK,
                             .api_version = AZURE_VERSION_DISKS,
                             .what = "touch disk 'd'"};
}

/* The answer's text, compact; "" when there is none. */
static const char *run(const struct arm_call *call)
{
    static struct buf text;
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *json = NULL;
    if (!arm_run(arm, call, &json, &err))
        fail_msg("%s\n%s", err.text, script_server_log(server));
    buf_release(&text);
    if (json)
        json_print(json, &text);
    return buf_text(&text);
}

static void assert_run(const char *method, const char *wanted, const char *log)
{
    struct arm_call call = disk_call(method);
    assert_string_equal(run(&call), wanted);
    assert_string_equal(script_server_log(server), log);
}

static void assert_refused(const struct arm_call *call, enum err_kind kind,
                           const char *part)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *json = NULL;
    if (arm_run(arm, call, &json, &err))
        fail_msg("went well\n%s", script_server_log(server));
    assert_null(json);
    if (err.kind != kind || !strstr(err.text, part))
        fail_msg("%s: %s\n%s", err_kind_name(err.kind), err.text,
                 script_server_log(server));
}

static void assert_fails(const char *method, enum err_kind kind, const char *part)
{
    struct arm_call call = disk_call(method);
    assert_refused(&call, kind, part);
}

/* ---- calls ---- */

static void a_call_as_it_goes_out(void **state)
{
    (void)state;
    AUTO(json_free) json_t *body = json_pack("{s:s}", "location", "westeurope");
    struct arm_call call = disk_call("GET");
    call.path = "/subscriptions/" SUB "/resourceGroups/gr\xc3\xbc(1)/x%y?z#/d 1";
    call.filter = "name eq 'a b'";
    call.expand = "instanceView";
    SCRIPT_PLAY(server, {200, NULL, "{\"a\": 1}", 0, 0});
    assert_string_equal(run(&call), "{\"a\":1}");
    assert_string_equal(
        script_server_log(server),
        "GET /subscriptions/" SUB
        "/resourceGroups/gr%C3%BC(1)/x%25y%3Fz%23/d%201?api-version=2024-03-02&"
        "%24filter=name%20eq%20%27a%20b%27&%24expand=instanceView\n");
    const char *headers = script_server_headers(server, 0);
    assert_non_null(strstr(headers, "Authorization: Bearer token-of-the-machine\r\n"));
    assert_non_null(strstr(headers, "x-ms-client-request-id: "));
    assert_null(strstr(headers, "If-None-Match"));

    call = disk_call("PUT");
    call.body = body;
    call.is_new = true;
    SCRIPT_PLAY(server, {200, NULL, MADE, 0, 0});
    (void)run(&call);
    assert_string_equal(script_server_body(server, 0), "{\"location\":\"westeurope\"}");
    headers = script_server_headers(server, 0);
    assert_non_null(strstr(headers, "If-None-Match: *\r\n"));
    assert_non_null(strstr(headers, "Content-Type: application/json\r\n"));
}

static void answers_that_are_none(void **state)
{
    (void)state;
    SCRIPT_PLAY(server, {200, NULL, "{\"a\": ", 0, 0});
    assert_fails("GET", FAIL_CORRUPT, "not a JSON object");
    SCRIPT_PLAY(server, {200, NULL, "[1]", 0, 0});
    assert_fails("GET", FAIL_CORRUPT, "not a JSON object");
    SCRIPT_PLAY(server, {200, NULL, NULL, 0, 0});
    assert_fails("GET", FAIL_CORRUPT, "0 bytes");
    SCRIPT_PLAY(server, {200, NULL, "<html>secret page</html>", 0, 0});
    struct err err = ERR_INIT;
    struct arm_call call = disk_call("GET");
    assert_false(arm_run(arm, &call, NULL, &err));
    assert_null(strstr(err.text, "secret page"));
    SCRIPT_PLAY(server, {302, "Location: http://127.0.0.1:1/x\r\n", NULL, 0, 0});
    assert_fails("GET", FAIL_CORRUPT, "302");
    SCRIPT_PLAY(server, {200, NULL, NULL, 17 * MIB, 0});
    assert_fails("GET", FAIL_LIMIT, "touch disk 'd'");
    assert_int_equal(script_server_asked(server), 1);
}

/* ---- operations that end well ---- */

static void put_watched_by_its_operation(void **state)
{
    (void)state;
    SCRIPT_PLAY(server, {201, ASYNC "Retry-After: 0\r\n", UPDATING, 0, 0},
                {200, NULL, IN_PROGRESS, 0, 2},
                {200, NULL, "{\"status\": \"Frobnicating\"}", 0, 0},
                {202, NULL, NULL, 0, 0}, {200, NULL, SUCCEEDED, 0, 0},
                {200, NULL, MADE, 0, 0});
    assert_run(
        "PUT", "{\"name\":\"d\",\"properties\":{\"provisioningState\":\"Succeeded\"}}",
        "PUT " DISK QUERY "\n" LOOK LOOK LOOK LOOK LOOK LOOK "GET " DISK QUERY "\n");
}

static void put_watched_in_other_ways(void **state)
{
    (void)state;
    const char *made =
        "{\"name\":\"d\",\"properties\":{\"provisioningState\":\"Succeeded\"}}";
    SCRIPT_PLAY(server, {200, NULL, MADE, 0, 0}); /* at once */
    assert_run("PUT", made, "PUT " DISK QUERY "\n");
    SCRIPT_PLAY(server, {201, PLACE, UPDATING, 0, 0}, {200, NULL, UPDATING, 0, 0},
                {200, NULL, MADE, 0, 0}); /* its own state; Location is the resource */
    assert_run("PUT", made,
               "PUT " DISK QUERY "\nGET " DISK QUERY "\nGET " DISK QUERY "\n");
    SCRIPT_PLAY(server, {202, PLACE, NULL, 0, 0}, {202, NULL, NULL, 0, 0},
                {202, "Location: $U/place/2\r\n", NULL, 0, 0}, {200, NULL, "{}", 0, 0},
                {200, NULL, MADE, 0, 0}); /* Location, which moves on */
    assert_run("PATCH", made,
               "PATCH " DISK QUERY "\nGET /place/1?t=a\nGET /place/1?t=a\nGET "
               "/place/2\nGET " DISK QUERY "\n");
    SCRIPT_PLAY(server, {202, NULL, NULL, 0, 0}, {200, NULL, UPDATING, 0, 0},
                {200, NULL, MADE, 0, 0}); /* no word where */
    assert_run("PUT", made,
               "PUT " DISK QUERY "\nGET " DISK QUERY "\nGET " DISK QUERY "\n");
    SCRIPT_PLAY(server, {202, ASYNC PLACE, NULL, 0, 0},
                {200, "Azure-AsyncOperation: $U/poll/2\r\n", IN_PROGRESS, 0, 0},
                {200, NULL, SUCCEEDED, 0, 0}, {200, NULL, MADE, 0, 0}); /* moves on */
    assert_run("PUT", made,
               "PUT " DISK QUERY "\n" LOOK "GET /poll/2\nGET " DISK QUERY "\n");
}

static void post_gives_its_result(void **state)
{
    (void)state;
    const char *result = "{\"accessSAS\":\"x\"}";
    SCRIPT_PLAY(server, {200, NULL, "{\"accessSAS\": \"x\"}", 0, 0});
    assert_run("POST", result, "POST " DISK QUERY "\n");
    SCRIPT_PLAY(server, {202, ASYNC PLACE, NULL, 0, 0}, {200, NULL, SUCCEEDED, 0, 0},
                {202, NULL, NULL, 0, 0}, {200, NULL, "{\"accessSAS\": \"x\"}", 0, 0});
    assert_run("POST", result,
               "POST " DISK QUERY "\n" LOOK "GET /place/1?t=a\nGET /place/1?t=a\n");
    SCRIPT_PLAY(server, {202, PLACE, NULL, 0, 0},
                {200, NULL, "{\"accessSAS\": \"x\"}", 0, 0});
    assert_run("POST", result, "POST " DISK QUERY "\nGET /place/1?t=a\n");
    SCRIPT_PLAY(server, {202, ASYNC, NULL, 0, 0},
                {200, NULL,
                 "{\"status\": \"Succeeded\", \"properties\": {\"output\": "
                 "{\"accessSAS\": \"x\"}}}",
                 0, 0});
    assert_run("POST", result, "POST " DISK QUERY "\n" LOOK);
    SCRIPT_PLAY(server, {202, PLACE, NULL, 0, 0}, {204, NULL, NULL, 0, 0});
    assert_run("POST", "", "POST " DISK QUERY "\nGET /place/1?t=a\n");
    SCRIPT_PLAY(server, {202, NULL, NULL, 0, 0});
    assert_fails("POST", FAIL_CORRUPT, "does not say where to ask");
}

static void delete_until_it_is_gone(void **state)
{
    (void)state;
    SCRIPT_PLAY(server, {204, NULL, NULL, 0, 0});
    assert_run("DELETE", "", "DELETE " DISK QUERY "\n");
    SCRIPT_PLAY(server, {404, NULL, "{\"error\": {\"code\": \"ResourceNotFound\"}}", 0,
                         0}); /* gone before */
    assert_run("DELETE", "", "DELETE " DISK QUERY "\n");
    SCRIPT_PLAY(server, {202, PLACE, NULL, 0, 0}, {202, NULL, NULL, 0, 1},
                {204, NULL, NULL, 0, 0});
    assert_run("DELETE", "",
               "DELETE " DISK QUERY
               "\nGET /place/1?t=a\nGET /place/1?t=a\nGET /place/1?t=a\n");
    SCRIPT_PLAY(server, {202, ASYNC PLACE, NULL, 0, 0}, {200, NULL, SUCCEEDED, 0, 0});
    assert_run("DELETE", "", "DELETE " DISK QUERY "\n" LOOK);
    SCRIPT_PLAY(
        server, {202, NULL, NULL, 0, 0},
        {200, NULL, "{\"properties\": {\"provisioningState\": \"Succeeded\"}}", 0, 0},
        {404, NULL, NULL, 0, 0});
    assert_run("DELETE", "",
               "DELETE " DISK QUERY "\nGET " DISK QUERY "\nGET " DISK QUERY "\n");
    SCRIPT_PLAY(server,
                {404, NULL, "{\"error\": {\"code\": \"SubscriptionNotFound\"}}", 0, 0});
    assert_fails("DELETE", FAIL_INPUT, "SubscriptionNotFound");
}

static void a_get_that_waits(void **state)
{
    (void)state;
    struct arm_call call = disk_call("GET");
    call.until_settled = true;
    SCRIPT_PLAY(
        server, {200, NULL, UPDATING, 0, 3},
        {200, NULL, "{\"properties\": {\"provisioningState\": \"Failed\"}}", 0, 0});
    assert_string_equal(run(&call),
                        "{\"properties\":{\"provisioningState\":\"Failed\"}}");
    assert_int_equal(script_server_asked(server), 5);
}

/* ---- operations that do not ---- */

static void an_operation_fails(void **state)
{
    (void)state;
    SCRIPT_PLAY(
        server, {201, ASYNC, UPDATING, 0, 0},
        {200, "x-ms-request-id: req-7\r\n",
         "{\"status\": \"Failed\", \"error\": {\"code\": \"Conflict\", \"message\": "
         "\"outer\", \"details\": [{\"code\": \"Empty\"}, {\"code\": "
         "\"BlobIsBroken\", \"message\": \"the blob is no VHD\", \"innererror\": "
         "{\"exceptiontype\": \"X\"}}]}}",
         0, 0});
    assert_fails("PUT", FAIL_IO,
                 "touch disk 'd': BlobIsBroken: the blob is no VHD (HTTP status 200, "
                 "request id req-7, client request id ");
    SCRIPT_PLAY(server, {202, ASYNC, NULL, 0, 0},
                {200, NULL, "{\"status\": \"Canceled\"}", 0, 0});
    assert_fails("DELETE", FAIL_IO, "ended as 'Canceled', without a reason");
    SCRIPT_PLAY(server, {201, ASYNC, UPDATING, 0, 0}, {200, NULL, "{\"x\": 1}", 0, 0});
    assert_fails("PUT", FAIL_CORRUPT, "has no status");
    SCRIPT_PLAY(server, {201, ASYNC, UPDATING, 0, 0},
                {404, NULL, "{\"error\": {\"code\": \"NotFound\"}}", 0, 0});
    assert_fails("PUT", FAIL_GONE, "NotFound");
    SCRIPT_PLAY(
        server, {201, NULL, UPDATING, 0, 0},
        {200, NULL, "{\"properties\": {\"provisioningState\": \"Failed\"}}", 0, 0});
    assert_fails("PUT", FAIL_IO, "it ended as 'Failed'");
    SCRIPT_PLAY(server, {201, ASYNC, UPDATING, 0, 0}, {200, NULL, IN_PROGRESS, 0, 0},
                {200, NULL,
                 "{\"status\": \"Failed\", \"error\": {\"code\": \"AllocationFailed\", "
                 "\"message\": \"no capacity\"}}",
                 0, 0});
    assert_fails("PUT", FAIL_LIMIT, "another size, zone or region");
}

static void refusals_say_what_to_do(void **state)
{
    (void)state;
    SCRIPT_PLAY(server, {409, NULL,
                         "{\"error\": {\"code\": \"OperationNotAllowed\", \"message\": "
                         "\"Operation could not be completed as it results in exceeding "
                         "approved standardDSv3Family Cores Quota; limit 10\"}}",
                         0, 0});
    assert_fails("PUT", FAIL_LIMIT, "; ask for more quota");
    SCRIPT_PLAY(server, {409, NULL,
                         "{\"error\": {\"code\": \"OperationNotAllowed\", \"message\": "
                         "\"Disk d is attached to VM v.\"}}",
                         0, 0});
    assert_fails("PUT", FAIL_CONFLICT, "attached to VM v");
    SCRIPT_PLAY(server, {409, NULL,
                         "{\"error\": {\"code\": \"SkuNotAvailable\", \"message\": \"not "
                         "here\"}}",
                         0, 0});
    assert_fails("PUT", FAIL_LIMIT, "; take another size");
    SCRIPT_PLAY(server,
                {400, NULL, "{\"code\": \"Bare\", \"message\": \"at the top\"}", 0, 0});
    assert_fails("PUT", FAIL_INPUT, "Bare: at the top");
    SCRIPT_PLAY(server, {412, NULL, NULL, 0, 0});
    assert_fails("PUT", FAIL_CONFLICT, "412");
}

#define SCOPE                                                                            \
    "/subscriptions/" SUB                                                                \
    "/resourceGroups/rg-of-the-network-people/providers/Microsoft.Network/"              \
    "virtualNetworks/hub/subnets/s1"

static void a_missing_permission_is_named(void **state)
{
    (void)state;
    SCRIPT_PLAY(
        server,
        {403, NULL,
         "{\"error\": {\"code\": \"AuthorizationFailed\", \"message\": \"The client "
         "'11111111-aaaa-bbbb-cccc-222222222222' with object id "
         "'11111111-aaaa-bbbb-cccc-222222222222' does not have authorization to perform "
         "action 'Microsoft.Network/virtualNetworks/subnets/join/action' over scope "
         "'" SCOPE "' or the scope is invalid. If access was recently granted, please "
         "refresh your credentials.\"}}",
         0, 1});
    assert_fails("PUT", FAIL_AUTH, "'Microsoft.Network/virtualNetworks/subnets/join/");
    SCRIPT_PLAY(
        server,
        {403, NULL,
         "{\"error\": {\"code\": \"LinkedAuthorizationFailed\", \"message\": \"The "
         "client '11111111-aaaa-bbbb-cccc-222222222222' with object id "
         "'11111111-aaaa-bbbb-cccc-222222222222' has permission to perform action "
         "'Microsoft.Compute/virtualMachines/write' on scope '/subscriptions/x'; "
         "however, it does not have permission to perform action(s) "
         "'Microsoft.Network/networkInterfaces/join/action' on the linked scope(s) "
         "'/subscriptions/x/nic1' or the linked scope(s) are invalid.\"}}",
         0, 1});
    assert_fails("PUT", FAIL_AUTH, "join/action' on the linked scope(s) '/subscriptions");
    assert_fails("PUT", FAIL_AUTH, ""); /* the script has ended, the token was renewed */
}

static void a_scope_is_kept(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct arm_call call = disk_call("PUT");
    SCRIPT_PLAY(server,
                {403, NULL,
                 "{\"error\": {\"code\": \"AuthorizationFailed\", \"message\": \"The "
                 "client 'c' with object id 'o' does not have authorization to perform "
                 "action 'Microsoft.Compute/disks/write' over scope '" SCOPE
                 "' or the scope is invalid.\"}}",
                 0, 1});
    assert_false(arm_run(arm, &call, NULL, &err));
    assert_non_null(strstr(err.text, SCOPE));
    assert_non_null(strstr(err.text, "Microsoft.Compute/disks/write"));
    assert_non_null(strstr(err.text, "; give the credential a role"));
    assert_non_null(strstr(err.text, "client request id"));
}

/* ---- a service that leads astray ---- */

static void no_other_host_is_asked(void **state)
{
    (void)state;
    static const char *const HEADERS[] = {
        "Azure-AsyncOperation: https://evil.test/poll\r\n",
        "Azure-AsyncOperation: https://127.0.0.1/poll\r\n",
        "Azure-AsyncOperation: $U.evil.test/poll\r\n",
        "Azure-AsyncOperation: $U@evil.test/poll\r\n",
        "Azure-AsyncOperation: //evil.test/poll\r\n",
        "Azure-AsyncOperation: nonsense\r\n",
        "Location: https://evil.test/poll\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(HEADERS); i++) {
        struct script_step steps[] = {{202, HEADERS[i], NULL, 0, 0}};
        script_server_play(server, steps, 1);
        assert_fails("PUT", FAIL_CORRUPT, "not followed");
        assert_int_equal(script_server_asked(server), 1);
    }
    SCRIPT_PLAY(server, {202, ASYNC, NULL, 0, 0},
                {200, "Azure-AsyncOperation: https://evil.test/\r\n", IN_PROGRESS, 0, 0});
    assert_fails("PUT", FAIL_CORRUPT, "'evil.test'");
    SCRIPT_PLAY(server, {202, ASYNC "Location: https://evil.test/\r\n", NULL, 0, 0},
                {200, NULL, SUCCEEDED, 0, 0});
    assert_fails("POST", FAIL_CORRUPT, "'evil.test'");
}

static bool count_item(void *ctx, const json_t *item, struct err *err)
{
    unsigned *count = ctx;
    ++*count;
    return json_is_object(item) || err_set(err, FAIL_GONE, "stopped by the reader");
}

static void listings(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct arm_call call = disk_call("GET");
    unsigned count = 0;
    SCRIPT_PLAY(server,
                {200, NULL, "{\"value\": [{}, {}], \"nextLink\": \"$U/next?a=b\"}", 0, 0},
                {200, NULL, "{\"value\": [], \"nextLink\": \"$U/next?a=c\"}", 0, 0},
                {200, NULL, "{\"value\": [{}], \"nextLink\": \"\"}", 0, 0});
    assert_true(arm_list(arm, &call, count_item, &count, &err));
    assert_int_equal(count, 3);
    assert_string_equal(script_server_log(server),
                        "GET " DISK QUERY "\nGET /next?a=b\nGET /next?a=c\n");

    SCRIPT_PLAY(server, {200, NULL, "{\"value\": [{}, 1, {}]}", 0, 0});
    assert_false(arm_list(arm, &call, count_item, &count, &err));
    assert_string_equal(err.text, "stopped by the reader");
    assert_int_equal(count, 5);

    SCRIPT_PLAY(server, {200, NULL, "{\"value\": {}}", 0, 0});
    assert_false(arm_list(arm, &call, count_item, &count, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);

    SCRIPT_PLAY(server, {200, NULL,
                         "{\"value\": [], \"nextLink\": \"https://evil.test/\"}", 0, 0});
    assert_false(arm_list(arm, &call, count_item, &count, &err));
    assert_non_null(strstr(err.text, "not followed"));
}

static void a_listing_without_an_end(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct arm_call call = disk_call("GET");
    unsigned count = 0;
    SCRIPT_PLAY(server, {200, NULL, "{\"value\": [{}], \"nextLink\": \"$U/again\"}", 0,
                         UINT_MAX});
    assert_false(arm_list(arm, &call, count_item, &count, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    assert_int_equal(script_server_asked(server), ARM_MAX_PAGES + 1);
}

/* ---- time ---- */

static void a_storm_of_429(void **state)
{
    (void)state;
    SCRIPT_PLAY(server, {429, "Retry-After: 0\r\n", NULL, 0, 6}, {202, ASYNC, NULL, 0, 0},
                {429, "Retry-After: 0\r\n", NULL, 0, 4}, {200, NULL, SUCCEEDED, 0, 0},
                {503, NULL, NULL, 0, 3}, {200, NULL, MADE, 0, 0});
    struct arm_call call = disk_call("PUT");
    (void)run(&call);
    arm_close(arm);
    arm = open_arm(100, 0);
    SCRIPT_PLAY(server, {429, "Retry-After: 0\r\n",
                         "{\"error\": {\"code\": \"TooManyRequests\"}}", 0, UINT_MAX});
    assert_fails("PUT", FAIL_TRANSIENT, "TooManyRequests");
    SCRIPT_PLAY(server, {429, "Retry-After: 31536000\r\n", NULL, 0, UINT_MAX});
    assert_fails("PUT", FAIL_TRANSIENT, "429"); /* no year is waited */
    assert_int_equal(script_server_asked(server), 1);
    arm_close(arm);
    arm = open_arm(60000, 0);
}

static void answers_get_lost(void **state)
{
    (void)state;
    SCRIPT_PLAY(server, {0, NULL, NULL, 0, 2}, {202, ASYNC, NULL, 0, 0},
                {0, NULL, NULL, 0, 1}, {500, NULL, NULL, 0, 0},
                {200, NULL, SUCCEEDED, 0, 0}, {0, NULL, NULL, 0, 0},
                {200, NULL, MADE, 0, 0});
    struct arm_call call = disk_call("PUT");
    (void)run(&call);
}

static void an_operation_that_never_ends(void **state)
{
    (void)state;
    arm_close(arm);
    arm = open_arm(60000, 60);
    SCRIPT_PLAY(server, {202, ASYNC, NULL, 0, 0}, {200, NULL, IN_PROGRESS, 0, UINT_MAX});
    assert_fails("PUT", FAIL_TRANSIENT, "the service goes on with it");
    arm_close(arm);
    arm = open_arm(60000, 1500);
    SCRIPT_PLAY(server, {202, ASYNC "Retry-After: 31536000\r\n", NULL, 0, 0},
                {200, NULL, SUCCEEDED, 0, 0}, {200, NULL, MADE, 0, 0});
    struct arm_call call = disk_call("PUT");
    (void)run(&call); /* asked once more when the time is up */
    arm_close(arm);
    arm = open_arm(60000, 0);
}

static void *cancel_when_asked(void *ctx)
{
    while (script_server_asked(server) == 0)
        clock_sleep_ms(1);
    cancel_set(ctx);
    return NULL;
}

static void canceled_while_it_waits(void **state)
{
    (void)state;
    struct cancel cancel;
    pthread_t thread;
    cancel_init(&cancel);
    struct arm_call call = disk_call("PUT");
    call.cancel = &cancel;
    SCRIPT_PLAY(server, {202, ASYNC "Retry-After: 200\r\n", NULL, 0, 0});
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_asked, &cancel), 0);
    assert_refused(&call, FAIL_CANCELED, "");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(script_server_asked(server), 1);
    cancel_release(&cancel);
}

static void assert_pause(const char *headers, bool is_said, uint64_t wanted_ms)
{
    struct http_answer answer = {.status = 202};
    uint64_t pause_ms = 77;
    buf_printf(&answer.headers, "HTTP/1.1 202 x\r\n%s\r\n", headers);
    bool said = azure_retry_after(&answer, &pause_ms);
    if (said != is_said || (said && pause_ms != wanted_ms))
        fail_msg("%s: %d, %llu ms", headers, said, (unsigned long long)pause_ms);
    buf_release(&answer.headers);
}

static void pauses_of_the_service(void **state)
{
    (void)state;
    assert_pause("", false, 0);
    assert_pause("Retry-After: 7\r\n", true, 7000);
    assert_pause("retry-after: 0\r\n", true, 0);
    assert_pause("Retry-After: 31536000\r\n", true, 300000);
    assert_pause("Retry-After: 99999999999999999999\r\n", false, 0);
    assert_pause("Retry-After: -1\r\n", false, 0);
    assert_pause("Retry-After: soon\r\n", false, 0);
    assert_pause("x-ms-retry-after-ms: 250\r\nRetry-After: 7\r\n", true, 250);
    assert_pause("Date: Sun, 22 Nov 2026 08:00:00 GMT\r\n"
                 "Retry-After: Sun, 22 Nov 2026 08:00:20 GMT\r\n",
                 true, 20000);
    assert_pause("Date: Sun, 22 Nov 2026 08:00:00 GMT\r\n"
                 "Retry-After: Sun, 22 Nov 2026 07:00:20 GMT\r\n",
                 true, 0);
    assert_pause("Date: Sun, 22 Nov 2026 08:00:00 GMT\r\n"
                 "Retry-After: Sun, 22 Nov 2076 07:00:20 GMT\r\n",
                 true, 300000);
}

/* ---- threads ---- */

static void *put_many(void *ctx)
{
    unsigned *failed = ctx;
    for (int i = 0; i < 20; i++) {
        struct err err = ERR_INIT;
        struct arm_call call = disk_call("PUT");
        *failed += !arm_run(arm, &call, NULL, &err);
    }
    return NULL;
}

static void several_at_once(void **state)
{
    (void)state;
    pthread_t threads[4];
    unsigned failed[ARRAY_COUNT(threads)] = {0};
    SCRIPT_PLAY(server, {200, NULL, MADE, 0, UINT_MAX});
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, &failed[i]), 0);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(failed[i], 0);
    }
    assert_int_equal(script_server_asked(server), 80);
}

/* ---- open ---- */

static void assert_not_opened(const char *credential, const char *endpoint,
                              const char *subscription, const char *part)
{
    struct err err = ERR_INIT;
    AUTO(free) char *file = file_join(dir, "other.json");
    assert_true(file_write_durable(file, credential, strlen(credential), 0600, &err));
    struct arm_options options = {
        .credential_file = file, .endpoint = endpoint, .subscription = subscription};
    assert_null(arm_open(&options, &err));
    if (err.kind != FAIL_INPUT || !strstr(err.text, part))
        fail_msg("%s: %s", err_kind_name(err.kind), err.text);
}

static void what_cannot_be_opened(void **state)
{
    (void)state;
    const char *identity = "{\"kind\": \"managed-identity\"}";
    assert_not_opened("{\"kind\": \"shared-key\", \"key_file\": \"/x\"}", NULL, SUB,
                      "kind 'shared-key' opens storage accounts only");
    assert_not_opened("{\"kind\": \"sas\", \"sas_file\": \"/x\"}", NULL, SUB,
                      "kind 'sas' opens storage accounts only");
    assert_not_opened(identity, "http://management.azure.com", SUB, "only https://");
    assert_not_opened(identity, "http://127.0.0.1.evil.test:80", SUB, "only https://");
    assert_not_opened(identity, "https://x/y", SUB, "");
    assert_not_opened(identity, NULL, "mine", "subscription 'mine' is not an id");
    struct err err = ERR_INIT;
    struct arm_options options = {.credential_file = script_server_credential(server),
                                  .subscription = SUB};
    struct arm *opened = arm_open(&options, &err); /* the cloud's own endpoint */
    assert_non_null(opened);
    assert_string_equal(arm_subscription(opened), SUB);
    assert_string_equal(opened->url, "https://management.azure.com");
    arm_close(opened);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    server = script_server_start(dir);
    arm = open_arm(60000, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    arm_close(arm);
    script_server_stop(server);
    return file_remove_tree(dir, &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_as_it_goes_out),
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(put_watched_by_its_operation),
        cmocka_unit_test(put_watched_in_other_ways),
        cmocka_unit_test(post_gives_its_result),
        cmocka_unit_test(delete_until_it_is_gone),
        cmocka_unit_test(a_get_that_waits),
        cmocka_unit_test(an_operation_fails),
        cmocka_unit_test(refusals_say_what_to_do),
        cmocka_unit_test(a_missing_permission_is_named),
        cmocka_unit_test(a_scope_is_kept),
        cmocka_unit_test(no_other_host_is_asked),
        cmocka_unit_test(listings),
        cmocka_unit_test(a_listing_without_an_end),
        cmocka_unit_test(a_storm_of_429),
        cmocka_unit_test(answers_get_lost),
        cmocka_unit_test(an_operation_that_never_ends),
        cmocka_unit_test(canceled_while_it_waits),
        cmocka_unit_test(pauses_of_the_service),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(what_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
