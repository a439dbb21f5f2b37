/* SPDX-License-Identifier: Apache-2.0 */
/*
 * We are killed at every command that changes something in QEMU: before it is sent, and
 * after it was done but before we heard of it. Whatever is left behind, the next open
 * must find every change and exactly the disk's content, and leave one bitmap.
 *
 * A proxy sits on the QMP path; it counts changing commands and kills the child that
 * runs the cycle.
 */
#include "rig.h"

#include "base/clock.h"
#include "base/text.h"
#include "source/qemu.h"

#include <setjmp.h>
#include <stdarg.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MUST(expr, err)                                                                  \
    do {                                                                                 \
        if (!(expr))                                                                     \
            fail_msg("%s: %s: %s", #expr, err_kind_name((err).kind), (err).text);        \
    } while (0)

#define SLOTS 100 /* of 64 KiB, the disks hold no more */

struct proxy {
    char path[96];
    char qemu_path[96];
    int listen_fd;
    pthread_t thread;
    _Atomic bool is_over;
    _Atomic int victim;      /* the child; 0: nobody is killed */
    _Atomic int kill_at;     /* the Nth changing command */
    _Atomic bool kill_after; /* once it was answered */
    _Atomic int seen;
};

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    text_copy(address.sun_path, sizeof address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static bool is_changing(const char *line)
{
    static const char *const names[] = {"\"blockdev-",     "\"qom-set\"",
                                        "\"transaction\"", "\"block-export-",
                                        "\"nbd-server-",   "\"block-dirty-bit"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strstr(line, names[i]))
            return true;
    return false;
}

static void end_victim(struct proxy *proxy)
{
    (void)kill(proxy->victim, SIGKILL);
}

/* One client's line to QEMU. false: the client was killed. */
static bool pass_line(struct proxy *proxy, int qemu_fd, const char *line, size_t bytes,
                      bool *ret_kill_on_answer)
{
    *ret_kill_on_answer = false;
    if (is_changing(line) && ++proxy->seen == proxy->kill_at && proxy->victim) {
        if (!proxy->kill_after) {
            end_victim(proxy);
            return false;
        }
        *ret_kill_on_answer = true;
    }
    assert_int_equal(write(qemu_fd, line, bytes), bytes);
    return true;
}

static void serve(struct proxy *proxy, int client_fd)
{
    int qemu_fd = dial(proxy->qemu_path);
    bool is_open = true, kill_on_answer = false;
    static char chunk[1 << 20];
    AUTO(buf_release) struct buf line = {0};
    while (is_open && !proxy->is_over) {
        struct pollfd p[2] = {{client_fd, POLLIN, 0}, {qemu_fd, POLLIN, 0}};
        (void)poll(p, 2, 50);
        if (p[0].revents) {
            ssize_t n = read(client_fd, chunk, sizeof chunk);
            is_open = n > 0;
            if (n > 0)
                buf_append(&line, chunk, (size_t)n);
            if (line.bytes && line.data[line.bytes - 1] == '\n') {
                is_open = pass_line(proxy, qemu_fd, buf_text(&line), line.bytes,
                                    &kill_on_answer);
                buf_clear(&line);
            }
        }
        if (is_open && p[1].revents) {
            ssize_t n = read(qemu_fd, chunk, sizeof chunk);
            is_open = n > 0;
            if (n > 0 && kill_on_answer && memmem(chunk, (size_t)n, "\"id\"", 4)) {
                end_victim(proxy);
                is_open = false;
            } else if (n > 0 && send(client_fd, chunk, (size_t)n, MSG_NOSIGNAL) != n) {
                is_open = false;
            }
        }
    }
    (void)close(qemu_fd);
    (void)close(client_fd);
}

static void *proxy_run(void *context)
{
    struct proxy *proxy = context;
    while (!proxy->is_over) {
        struct pollfd p = {proxy->listen_fd, POLLIN, 0};
        if (poll(&p, 1, 20) <= 0)
            continue;
        int fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            serve(proxy, fd);
    }
    return NULL;
}

static void proxy_start(struct proxy *proxy, const struct rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(proxy->path, sizeof proxy->path, "%s/proxy", rig->dir);
    text_copy(proxy->qemu_path, sizeof proxy->qemu_path, rig->qmp_path);
    text_copy(address.sun_path, sizeof address.sun_path, proxy->path);
    proxy->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(proxy->listen_fd, (struct sockaddr *)&address, sizeof address),
                     0);
    assert_int_equal(listen(proxy->listen_fd, 8), 0);
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
}

static void proxy_stop(struct proxy *proxy)
{
    proxy->is_over = true;
    assert_int_equal(pthread_join(proxy->thread, NULL), 0);
    (void)close(proxy->listen_fd);
}

/* ---- the cycle that is killed ---- */

struct told { /* by the child, once the snapshot is open */
    char ids[RIG_DISKS][CHANGE_ID_MAX];
    char handle[SNAPSHOT_MAX];
};

struct scene {
    struct rig *rig;
    struct proxy proxy;
    struct source *source;
    struct machine_def *machine;
    uint64_t cycle;
    char ids[RIG_DISKS][CHANGE_ID_MAX]; /* of the last applied cycle */
};

static uint64_t slot(uint64_t cycle, int which)
{
    return (cycle * 2 + (uint64_t)which) % SLOTS * 64 * KIB;
}

static void child_cycle(struct scene *scene, enum snapshot_outcome outcome, int fd)
{
    struct told told = {0};
    struct err err = ERR_INIT;
    struct snapshot *s =
        rig_open(scene->source, scene->machine, scene->cycle, scene->ids, NULL);
    rig_change_ids(s, RIG_DISKS, told.ids);
    text_copy(told.handle, sizeof told.handle, snapshot_handle(s));
    for (size_t disk = 0; disk < RIG_DISKS; disk++)
        rig_write(scene->rig, disk, 77, slot(scene->cycle, 1), 64 * KIB);
    if (write(fd, &told, sizeof told) != sizeof told)
        _exit(3);
    _exit(snapshot_end(s, outcome, &err) ? 0 : 4);
}

/* true: the child got through. */
static bool run_killed(struct scene *scene, enum snapshot_outcome outcome, int kill_at,
                       struct told *ret_told, bool *ret_has_told)
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    scene->proxy.seen = 0;
    scene->proxy.kill_at = 0; /* armed when the child is known */
    scene->proxy.victim = 0;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char go;
        (void)close(gate[1]);
        (void)close(ends[0]);
        if (read(gate[0], &go, 1) == 1)
            child_cycle(scene, outcome, ends[1]);
        _exit(5);
    }
    scene->proxy.victim = pid;
    scene->proxy.kill_at = kill_at;
    assert_int_equal(write(gate[1], "g", 1), 1);
    (void)close(ends[1]);
    *ret_has_told = read(ends[0], ret_told, sizeof *ret_told) == sizeof *ret_told;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    scene->proxy.victim = 0;
    (void)close(ends[0]);
    (void)close(gate[0]);
    (void)close(gate[1]);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        fail_msg("the cycle failed by itself with %d", WEXITSTATUS(status));
    return WIFEXITED(status);
}

static void expect_changed(struct snapshot *s, size_t disk, uint64_t at)
{
    struct err err = ERR_INIT;
    struct extents changes = {0};
    struct snapshot_disk_info info;
    MUST(snapshot_disk_info(s, disk, &info, &err), err);
    if (info.knowledge != CHANGES_KNOWN)
        fail_msg("disk %zu: knowledge %d: %s", disk, info.knowledge, info.why);
    MUST(snapshot_changes(s, disk, &changes, &err), err);
    if (!extents_contain(&changes, at, at + 64 * KIB))
        fail_msg("disk %zu: the change at %llu was lost", disk, (unsigned long long)at);
    extents_release(&changes);
}

/* One round: true when the kill point lies beyond the cycle's last command. */
static bool round_at(struct scene *scene, enum snapshot_outcome outcome, int kill_at)
{
    struct rig *rig = scene->rig;
    struct told told;
    bool has_told;
    struct err err = ERR_INIT;
    uint64_t before = slot(++scene->cycle, 0), during = slot(scene->cycle, 1);
    for (size_t disk = 0; disk < RIG_DISKS; disk++)
        rig_write(rig, disk, (int)(scene->cycle % 200) + 1, before, 64 * KIB);
    bool is_through = run_killed(scene, outcome, kill_at, &told, &has_told);
    bool is_applied = has_told && outcome == SNAPSHOT_APPLIED;
    for (size_t disk = 0; has_told && disk < RIG_DISKS; disk++)
        memset(rig->model[disk] + during, 77, 64 * KIB);
    if (is_applied)
        memcpy(scene->ids, told.ids, sizeof scene->ids);
    bool wants_resume = has_told && !is_applied && kill_at % 2;
    if (!wants_resume)
        scene->cycle++;
    struct snapshot *s = rig_open(scene->source, scene->machine, scene->cycle, scene->ids,
                                  wants_resume ? told.handle : NULL);
    bool is_resumed = snapshot_is_resumed(s);
    for (size_t disk = 0; disk < RIG_DISKS; disk++) {
        if (has_told && !is_resumed)
            expect_changed(s, disk, during);
        if (!is_applied)
            expect_changed(s, disk, before);
        if (!is_resumed)
            rig_expect_disk(s, disk, rig->model[disk], rig->disk_bytes[disk]);
    }
    rig_change_ids(s, RIG_DISKS, scene->ids);
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    assert_int_equal(rig_leftovers(rig), 0);
    for (size_t disk = 0; disk < RIG_DISKS; disk++) {
        AUTO(free) char *names = rig_bitmaps(rig, disk);
        if (strchr(names, ' ') || !strchr(names, '+'))
            fail_msg("disk %zu: bitmaps at rest: '%s'", disk, names);
    }
    return is_through;
}

static void sweep(struct scene *scene, enum snapshot_outcome outcome, bool kill_after)
{
    scene->proxy.kill_after = kill_after;
    /* Opening is the same for both outcomes: once is enough. */
    for (int kill_at = outcome == SNAPSHOT_FAILED ? 14 : 1;; kill_at++) {
        assert_in_range(kill_at, 1, 200);
        if (!round_at(scene, outcome, kill_at))
            continue;
        print_message("killed at each of %d commands\n", kill_at - 1);
        assert_in_range(kill_at, 20, 200); /* fewer: the sweep did not sweep */
        break;
    }
}

static void test_killed_before_each_command(void **state)
{
    sweep(*state, SNAPSHOT_APPLIED, false);
    sweep(*state, SNAPSHOT_FAILED, false);
}

static void test_killed_after_each_command(void **state)
{
    sweep(*state, SNAPSHOT_APPLIED, true);
    sweep(*state, SNAPSHOT_FAILED, true);
}

/* All of cycle `cycle`'s nodes, exports and bitmaps, under a nonce of our choice. */
static void leave_behind(struct scene *scene, uint64_t cycle, const char *nonce)
{
    struct err err = ERR_INIT;
    struct qemu_snapshot left = {.source = (struct qemu_source *)scene->source,
                                 .cycle = cycle,
                                 .disk_count = RIG_DISKS};
    AUTO(qmp_close) struct qmp *qmp = qemu_connect(left.source, &err);
    MUST(qmp, err);
    AUTO(qemu_inventory_free)
    struct qemu_inventory *inventory = qemu_inventory_read(qmp, &err);
    MUST(inventory, err);
    assert_int_equal(inventory->count, RIG_DISKS);
    for (size_t i = 0; i < RIG_DISKS; i++) {
        const struct qemu_disk *disk = &inventory->disks[i];
        text_copy(left.disks[i].key, sizeof left.disks[i].key, disk->key);
        text_copy(left.disks[i].node, sizeof left.disks[i].node, disk->node);
        text_copy(left.disks[i].qdev, sizeof left.disks[i].qdev, disk->qdev);
        left.disks[i].disk_bytes = disk->disk_bytes;
        left.disks[i].keeps_bitmaps = disk->keeps_bitmaps;
        left.disks[i].knowledge = CHANGES_NONE;
    }
    text_copy(left.nonce, sizeof left.nonce, nonce);
    (void)snprintf(left.name, sizeof left.name, QEMU_OUR_PREFIX "%llu-%s",
                   (unsigned long long)cycle, nonce);
    MUST(qemu_fleece_start(&left, qmp, NULL, &err), err);
}

/* "Node kedge-acc342bc-pass1 is in use": the random part of a name, one time in 4096,
 * was taken for the role of an access node, and then no cycle ended any more. */
static void test_random_name_that_reads_like_a_role(void **state)
{
    struct scene *scene = *state;
    struct err err = ERR_INIT;
    leave_behind(scene, ++scene->cycle, "acc342bc");
    assert_true(rig_leftovers(scene->rig) > 0);
    rig_write(scene->rig, 1, 9, 0, 64 * KIB);
    struct snapshot *s =
        rig_open(scene->source, scene->machine, ++scene->cycle, scene->ids, NULL);
    expect_changed(s, 1, 0);
    for (size_t disk = 0; disk < RIG_DISKS; disk++)
        rig_expect_disk(s, disk, scene->rig->model[disk], scene->rig->disk_bytes[disk]);
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    assert_int_equal(rig_leftovers(scene->rig), 0);
}

static int setup(void **state)
{
    struct scene *scene = xcalloc(1, sizeof *scene);
    struct err err = ERR_INIT;
    scene->rig = xcalloc(1, sizeof *scene->rig);
    scene->rig->disk_bytes[0] = scene->rig->disk_bytes[1] = SLOTS * 64 * KIB;
    rig_init(scene->rig);
    rig_start(scene->rig);
    proxy_start(&scene->proxy, scene->rig);
    struct source_qemu_options options = {.qmp_path = scene->proxy.path,
                                          .scratch_dir = scene->rig->scratch_dir};
    MUST(source_qemu_open(&options, &scene->source, &err), err);
    scene->machine = rig_machine(scene->source);
    scene->cycle = 1;
    struct snapshot *s = rig_open(scene->source, scene->machine, 1, NULL, NULL);
    rig_change_ids(s, RIG_DISKS, scene->ids);
    MUST(snapshot_end(s, SNAPSHOT_APPLIED, &err), err);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    proxy_stop(&scene->proxy);
    source_close(scene->source);
    free(scene->machine);
    rig_release(scene->rig);
    free(scene->rig);
    free(scene);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_before_each_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_after_each_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_name_that_reads_like_a_role, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
