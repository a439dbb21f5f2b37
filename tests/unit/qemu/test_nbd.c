/* SPDX-License-Identifier: Apache-2.0 */
/* The NBD client against qemu-nbd: data, many requests, status, a server that dies. */
#include "qemu/nbd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_BYTES (512 * MIB)

struct server {
    char dir[64];
    char socket_path[96];
    int pid;
};

#define MUST(expr, err)                                                                  \
    do {                                                                                 \
        if (!(expr))                                                                     \
            fail_msg("%s: %s: %s", #expr, err_kind_name((err).kind), (err).text);        \
    } while (0)

static int start(void **state)
{
    struct server *server = xcalloc(1, sizeof *server);
    struct err err = ERR_INIT;
    char image[96], log[96];
    text_copy(server->dir, sizeof server->dir, "/tmp/kedge-nbd-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
    (void)snprintf(server->socket_path, sizeof server->socket_path, "%s/socket",
                   server->dir);
    (void)snprintf(image, sizeof image, "%s/image", server->dir);
    (void)snprintf(log, sizeof log, "%s/log", server->dir);
    const char *const create[] = {"qemu-img", "create", "-q",   "-f",
                                  "qcow2",    image,    "512M", NULL};
    const char *const serve[] = {
        "qemu-nbd", "-f",   "qcow2",        "-k",         server->socket_path,
        "-x",       "disk", "--persistent", "--shared=8", "--discard=unmap",
        image,      NULL};
    if (!process_run(create, 20000, NULL, NULL, &err)) {
        (void)printf("skipped: no qemu-img\n");
        exit(77);
    }
    MUST(process_start(serve, log, &server->pid, &err), err);
    for (int i = 0; i < 1000 && !file_exists(server->socket_path); i++)
        clock_sleep_ms(10);
    clock_sleep_ms(50); /* the file is there before it listens */
    *state = server;
    return 0;
}

static int stop(void **state)
{
    struct server *server = *state;
    struct err err = ERR_INIT;
    if (server->pid)
        MUST(process_stop(server->pid, 5000, &err), err);
    MUST(file_remove_tree(server->dir, &err), err);
    free(server);
    return 0;
}

static struct nbd_client *dial(const struct server *server)
{
    static const char *const contexts[] = {"base:allocation", NULL};
    struct nbd_client_options options = {
        .socket_path = server->socket_path, .export_name = "disk", .contexts = contexts};
    struct nbd_client *client = NULL;
    struct err err = ERR_INIT;
    MUST(nbd_client_open(&options, &client, &err), err);
    return client;
}

static void test_open_errors(void **state)
{
    const struct server *server = *state;
    static const char *const odd[] = {"qemu:dirty-bitmap:none", NULL};
    struct nbd_client *client = NULL;
    struct err err = ERR_INIT;
    struct nbd_client_options options = {.socket_path = server->socket_path,
                                         .export_name = "other"};
    assert_false(nbd_client_open(&options, &client, &err));
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_GONE);
    err_clear(&err);
    options.export_name = "disk";
    options.contexts = odd;
    assert_false(nbd_client_open(&options, &client, &err));
    print_message("%s\n", err.text);
    assert_int_equal(err.kind, FAIL_CONFLICT);
    err_clear(&err);
    options.socket_path = "/nonexistent/socket";
    assert_false(nbd_client_open(&options, &client, &err));
    print_message("%s\n", err.text);
    assert_true(err.kind == FAIL_GONE || err.kind == FAIL_TRANSIENT);
    nbd_client_close(NULL);
}

/* Somebody accepts and says nothing. */
static void test_silent_server(void **state)
{
    struct server *server = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct nbd_client *client = NULL;
    struct err err = ERR_INIT;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/silent", server->dir);
    text_copy(address.sun_path, sizeof address.sun_path, path);
    AUTO(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    struct nbd_client_options options = {
        .socket_path = path, .export_name = "disk", .deadline_ms = 300};
    uint64_t start_ms = clock_mono_ms();
    assert_false(nbd_client_open(&options, &client, &err));
    assert_int_equal(err.kind, FAIL_TRANSIENT);
    assert_in_range(clock_mono_ms() - start_ms, 250, 3000);
}

static void test_data(void **state)
{
    AUTO(nbd_client_close) struct nbd_client *client = dial(*state);
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *wrote = malloc(4 * MIB);
    AUTO(free) uint8_t *data = malloc(4 * MIB);
    memset(wrote, 0x5a, 4 * MIB);
    assert_int_equal(nbd_client_size(client), DISK_BYTES);
    assert_false(nbd_client_is_read_only(client));
    assert_true(nbd_client_can_zero(client));
    assert_true(nbd_client_can_trim(client));
    MUST(nbd_client_pwrite(client, wrote, 4 * MIB, 8 * MIB, &err), err);
    MUST(nbd_client_zero(client, 9 * MIB, 1 * MIB, &err), err);
    MUST(nbd_client_trim(client, 10 * MIB, 1 * MIB, &err), err);
    MUST(nbd_client_flush(client, &err), err);
    MUST(nbd_client_pread(client, data, 4 * MIB, 8 * MIB, &err), err);
    memset(wrote + 1 * MIB, 0, 2 * MIB);
    assert_memory_equal(data, wrote, 4 * MIB);
    MUST(nbd_client_zero(client, 0, DISK_BYTES, &err), err);
    MUST(nbd_client_pread(client, data, 4 * MIB, 8 * MIB, &err), err);
    memset(wrote, 0, 4 * MIB);
    assert_memory_equal(data, wrote, 4 * MIB);
    assert_false(nbd_client_pread(client, data, 1024, DISK_BYTES - 512, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    err_clear(&err);
    assert_false(nbd_client_pwrite(client, data, 512, UINT64_MAX - 100, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    err_clear(&err);
    assert_false(nbd_client_pread(client, data, 0, 0, &err));
    assert_int_equal(err.kind, FAIL_INPUT);
    MUST(nbd_client_pread(client, data, 512, DISK_BYTES - 512, &err), err);
}

static void test_many_in_flight(void **state)
{
    enum { COUNT = 48, EACH = 65536 };
    AUTO(nbd_client_close) struct nbd_client *client = dial(*state);
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *data = malloc((size_t)COUNT * EACH);
    AUTO(free) struct nbd_io *ios = xcalloc(COUNT, sizeof *ios);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < COUNT; i++) {
            memset(data + i * EACH, pass ? 0xff : (int)i + 1, EACH);
            ios[i] = (struct nbd_io){.kind = pass ? NBD_IO_READ : NBD_IO_WRITE,
                                     .offset_bytes = (COUNT - i) * EACH,
                                     .length_bytes = EACH,
                                     .data = data + i * EACH,
                                     .tag = &ios[i]};
            MUST(nbd_client_submit(client, &ios[i], &err), err);
        }
        assert_in_range(nbd_client_in_flight(client), 1, COUNT);
        uint8_t sync[512]; /* a plain call in between takes none of theirs */
        MUST(nbd_client_pread(client, sync, sizeof sync, 100 * MIB, &err), err);
        for (size_t i = 0; i < COUNT; i++) {
            struct nbd_io *done = nbd_client_next(client, NULL, &err);
            assert_non_null(done);
            assert_ptr_equal(done->tag, done);
            assert_true(done->ok);
            done->tag = NULL; /* each once */
        }
        assert_null(nbd_client_next(client, NULL, &err));
        assert_int_equal(err.kind, FAIL_BUG);
        err_clear(&err);
    }
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(data[i * EACH], i + 1);
}

/* Thousands of extents: more than one answer holds, and none may be lost. */
static void test_status_of_many_extents(void **state)
{
    AUTO(nbd_client_close) struct nbd_client *client = dial(*state);
    AUTO(extents_release) struct extents wanted = {0};
    AUTO(extents_release) struct extents got = {0};
    struct err err = ERR_INIT;
    uint8_t sector[512];
    memset(sector, 1, sizeof sector);
    struct nbd_status_query data = {"base:allocation", NBD_STATUS_ZERO, 0};
    struct nbd_status_query zero = {"base:allocation", NBD_STATUS_ZERO, NBD_STATUS_ZERO};
    struct nbd_status_query other = {"qemu:dirty-bitmap:x", 1, 1};
    extents_add(&got, 0, 512); /* is replaced */
    MUST(nbd_client_block_status(client, &data, NULL, &got, &err), err);
    assert_int_equal(got.count, 0);
    for (uint64_t at = 0; at < DISK_BYTES; at += 128 * KIB) {
        MUST(nbd_client_pwrite(client, sector, sizeof sector, at, &err), err);
        extents_add(&wanted, at, at + 64 * KIB);
    }
    MUST(nbd_client_block_status(client, &data, NULL, &got, &err), err);
    assert_int_equal(got.count, 4096);
    assert_true(extents_equal(&got, &wanted));
    MUST(nbd_client_block_status(client, &zero, NULL, &got, &err), err);
    assert_int_equal(extents_total_bytes(&got), DISK_BYTES / 2);
    assert_false(nbd_client_block_status(client, &other, NULL, &got, &err));
    assert_int_equal(err.kind, FAIL_CORRUPT);
    err_clear(&err);
    struct cancel cancel;
    cancel_init(&cancel);
    cancel_set(&cancel);
    assert_false(nbd_client_block_status(client, &data, &cancel, &got, &err));
    assert_int_equal(err.kind, FAIL_CANCELED);
    cancel_release(&cancel);
}

static void test_server_dies(void **state)
{
    struct server *server = *state;
    AUTO(nbd_client_close) struct nbd_client *client = dial(server);
    AUTO(nbd_client_close) struct nbd_client *second = dial(server);
    struct err err = ERR_INIT;
    AUTO(free) uint8_t *data = malloc(8 * MIB);
    struct nbd_io ios[8], others[4];
    assert_int_equal(kill(server->pid, SIGSTOP), 0); /* so that they stay in flight */
    for (size_t i = 0; i < ARRAY_COUNT(ios); i++) {
        ios[i] = (struct nbd_io){.kind = NBD_IO_READ,
                                 .offset_bytes = i * MIB,
                                 .length_bytes = MIB,
                                 .data = data + i * MIB};
        MUST(nbd_client_submit(client, &ios[i], &err), err);
        if (i < 4) {
            others[i] =
                (struct nbd_io){.kind = NBD_IO_READ, .length_bytes = 512, .data = data};
            MUST(nbd_client_submit(second, &others[i], &err), err);
        }
        if (i == 3)
            nbd_client_close(TAKE(second)); /* with four in flight */
    }
    assert_int_equal(kill(server->pid, SIGKILL), 0);
    for (size_t i = 0; i < ARRAY_COUNT(ios); i++) {
        struct nbd_io *done = nbd_client_next(client, NULL, &err);
        assert_non_null(done);
        assert_false(done->ok);
        assert_int_equal(done->err.kind, FAIL_TRANSIENT);
    }
    print_message("%s\n", ios[0].err.text);
    assert_false(nbd_client_pread(client, data, 512, 0, &err));
    print_message("%s\n", err.text);
    assert_false(process_is_alive(server->pid));
    server->pid = 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_open_errors), CASE(test_silent_server),
        CASE(test_data),        CASE(test_many_in_flight),
        CASE(test_server_dies), CASE(test_status_of_many_extents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
