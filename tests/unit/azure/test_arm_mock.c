/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long-running operations against the vendor's public mock of Resource Manager (npm
 * @azure-tools/azure-http-specs, served by @typespec/spector): it plays them for the
 * vendor's own clients. The mock listens on every address, so it runs, and we with it, in
 * a network namespace of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "azure/arm_impl.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "support/script_server.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SUB      "00000000-0000-0000-0000-000000000000"
#define VERSION  "2023-12-01-preview"
#define PORT     "36020" /* nobody else is in the namespace */
#define READY_MS 60000
#define GROUP    "/subscriptions/" SUB "/resourceGroups/test-rg/providers/"
#define ORDER    GROUP "Azure.ResourceManager.OperationTemplates/orders/order1"

static char dir[] = "/tmp/kedge-arm-mock-XXXXXX";
static int mock_pid;
static struct script_server *issuer;
static struct arm *arm;

/* ---- the mock ---- */

static bool be_alone(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    AUTO(close_fd) int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) != 0)
        return false;
    lo.ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
}

static void run_in_dir(const char *const argv[])
{
    struct err err = ERR_INIT;
    if (!process_run(argv, 60000, NULL, NULL, &err))
        fail_msg("%s: %s", argv[0], err.text);
}

/* The mock wants its scenarios outside of a folder called node_modules, that folder
 * beside them, and a git repository around. */
static void lay_out(const char *package)
{
    AUTO(free) char *specs = file_join(dir, "specs");
    AUTO(free) char *modules = file_join(dir, "node_modules");
    AUTO(free) char *real_modules = file_join(package, "../..");
    const char *const copy[] = {"cp", "-r", package, specs, NULL};
    const char *const begin[] = {"git", "init", "-q", dir, NULL};
    const char *const commit[] = {"git",
                                  "-C",
                                  dir,
                                  "-c",
                                  "user.email=a@b",
                                  "-c",
                                  "user.name=test",
                                  "commit",
                                  "-q",
                                  "--allow-empty",
                                  "-m",
                                  "scenarios",
                                  NULL};
    run_in_dir(copy);
    assert_int_equal(symlink(real_modules, modules), 0);
    run_in_dir(begin);
    run_in_dir(commit);
}

static bool answers(void)
{
    struct err err = ERR_INIT;
    struct http_answer answer;
    struct http_endpoint_options options = {.url = "http://127.0.0.1:" PORT};
    struct http_request request = {.method = "GET", .path = "/"};
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&options, &err);
    assert_non_null(endpoint);
    if (!http_exchange(endpoint, &request, &answer, &err))
        return false;
    http_answer_release(&answer);
    return true;
}

static void start_mock(const char *package)
{
    struct err err = ERR_INIT;
    AUTO(free) char *specs = file_join(dir, "specs/specs");
    AUTO(free) char *log = file_join(dir, "log");
    AUTO(free)
    char *program = file_join(dir, "node_modules/@typespec/spector/cmd/cli.mjs");
    const char *const argv[] = {"node", program, "serve", specs, "-p", PORT, NULL};
    lay_out(package);
    if (!process_start(argv, log, &mock_pid, &err))
        fail_msg("%s", err.text);
    for (uint64_t end_ms = clock_mono_ms() + READY_MS; !answers();) {
        if (clock_mono_ms() > end_ms || !process_is_alive(mock_pid))
            fail_msg("the mock does not start, see %s", log);
        clock_sleep_ms(50);
    }
}

/* ---- operations ---- */

static json_t *run(const struct arm_call *call)
{
    struct err err = ERR_INIT;
    json_t *json = NULL;
    if (!arm_run(arm, call, &json, &err))
        fail_msg("%s: %s", err_kind_name(err.kind), err.text);
    return json;
}

static void put_until_the_resource_is_there(void **state)
{
    (void)state;
    AUTO(json_free)
    json_t *body = json_pack("{s:s, s:{s:s, s:i}}", "location", "eastus", "properties",
                             "productId", "product1", "amount", 1);
    struct arm_call call = {.method = "PUT",
                            .path = ORDER,
                            .api_version = VERSION,
                            .body = body,
                            .what = "create order"};
    AUTO(json_free) json_t *order = run(&call);
    assert_non_null(order);
    assert_string_equal(arm_provisioning(order), "Succeeded");
    assert_string_equal(json_string_value(json_object_get(order, "name")), "order1");
    assert_null(json_object_get(order, "status")); /* the resource, not the operation */
}

static void post_until_its_result_is_there(void **state)
{
    (void)state;
    AUTO(json_free) json_t *body = json_pack("{s:s}", "format", "csv");
    struct arm_call call = {.method = "POST",
                            .path = ORDER "/export",
                            .api_version = VERSION,
                            .body = body,
                            .what = "export order"};
    AUTO(json_free) json_t *result = run(&call);
    assert_non_null(result);
    assert_string_equal(json_string_value(json_object_get(result, "content")),
                        "order1,product1,1");
}

static void delete_until_it_is_gone(void **state)
{
    (void)state;
    struct arm_call call = {.method = "DELETE",
                            .path = ORDER,
                            .api_version = VERSION,
                            .what = "delete order"};
    assert_null(run(&call));
}

static void headers_of_six_kilobytes(void **state)
{
    (void)state;
    struct arm_call call = {
        .method = "POST",
        .path = GROUP "Azure.ResourceManager.LargeHeader/largeHeaders/header1/two6k",
        .api_version = VERSION,
        .what = "large headers"};
    AUTO(json_free) json_t *result = run(&call);
    assert_true(json_is_true(json_object_get(result, "succeeded")));
}

static void an_error_of_the_mock(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct arm_call call = {
        .method = "GET",
        .path = GROUP "Azure.ResourceManager.CommonProperties/confidentialResources/"
                      "confidential",
        .api_version = VERSION,
        .what = "look at it"};
    assert_false(arm_run(arm, &call, NULL, &err));
    assert_int_equal(err.kind, FAIL_GONE);
    assert_non_null(strstr(err.text, "ResourceNotFound: "));
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    if (!mkdtemp(dir))
        return -1;
    start_mock(getenv("KEDGE_AZURE_HTTP_SPECS"));
    issuer = script_server_start(dir);
    struct arm_options options = {.credential_file = script_server_credential(issuer),
                                  .endpoint = "http://127.0.0.1:" PORT,
                                  .subscription = SUB,
                                  .poll_base_ms = 5};
    arm = arm_open(&options, &err);
    return arm ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    arm_close(arm);
    script_server_stop(issuer);
    return process_stop(mock_pid, 10000, &err) && file_remove_tree(dir, &err) ? 0 : -1;
}

static int left_out(const char *reason)
{
    (void)fprintf(stderr, "SKIP: %s\n", reason);
    return 77;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_until_the_resource_is_there),
        cmocka_unit_test(post_until_its_result_is_there),
        cmocka_unit_test(delete_until_it_is_gone),
        cmocka_unit_test(headers_of_six_kilobytes),
        cmocka_unit_test(an_error_of_the_mock),
    };
    if (!getenv("KEDGE_AZURE_HTTP_SPECS"))
        return left_out("KEDGE_AZURE_HTTP_SPECS names no @azure-tools/azure-http-specs");
    if (!be_alone())
        return left_out("no network namespace can be made here");
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
