/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "keys/keys.h"
#include "state/catalog.h"

void world_write(struct world *w, uint64_t offset, size_t bytes, unsigned seed)
{
    struct err err = ERR_INIT;
    int fd = open(w->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)DISK_BYTES), 0);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < bytes; i++) {
        x = x * 1664525u + 1013904223u;
        w->content[offset + i] = seed ? (uint8_t)(x >> 24) : 0;
    }
    if (!file_pwrite_full(fd, w->image, w->content + offset, bytes, offset, &err))
        fail_msg("%s", err.text);
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

void world_open(struct world *w)
{
    struct err err = ERR_INIT;
    char log[PATH_BYTES + 8], state[PATH_BYTES + 8];
    (void)snprintf(log, sizeof log, "dir:%s", w->log);
    (void)snprintf(state, sizeof state, "dir:%s", w->state);
    struct vault_options options = {.data_dir = w->data,
                                    .log_store = log,
                                    .state_store = state,
                                    .key_file = w->key,
                                    .job_threads = 2,
                                    .auto_repair = true,
                                    .timezone = w->timezone,
                                    .blackout_file = w->blackout_file};
    w->vault = vault_open(&options, &err);
    if (!w->vault)
        fail_msg("%s", err.text);
}

void world_reopen(struct world *w)
{
    vault_close(w->vault);
    w->vault = NULL;
    world_open(w);
}

int world_set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct err err = ERR_INIT;
    (void)snprintf(w->dir, sizeof w->dir, "/tmp/kedge-vault-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->image, PATH_BYTES, "%s/disk.img", w->dir);
    (void)snprintf(w->data, PATH_BYTES, "%s/data", w->dir);
    (void)snprintf(w->log, PATH_BYTES, "%s/log", w->dir);
    (void)snprintf(w->state, PATH_BYTES, "%s/state", w->dir);
    (void)snprintf(w->key, PATH_BYTES, "%s/key", w->dir);
    (void)snprintf(w->replicas, PATH_BYTES, "%s/replicas", w->dir);
    w->content = xcalloc(1, DISK_BYTES);
    world_write(w, 0, 3 * MIB, 1);
    if (!keys_file_create(w->key, &err) || !file_make_dirs(w->replicas, &err))
        fail_msg("%s", err.text);
    world_open(w);
    AUTO(json_free) json_t *source = json_pack("{s:[s]}", "paths", w->image);
    AUTO(json_free) json_t *target = json_pack("{s:s}", "dir", w->replicas);
    if (!vault_source_add(w->vault, "src", "image", source, &err) ||
        !vault_target_add(w->vault, "dst", "local", target, &err))
        fail_msg("%s", err.text);
    *state = w;
    return 0;
}

int world_tear_down(void **state)
{
    struct world *w = *state;
    struct err err = ERR_INIT;
    vault_close(w->vault);
    assert_true(file_remove_tree(w->dir, &err));
    free(w->content);
    free(w);
    return 0;
}

/* Waits for the job's end; the job's view. */
json_t *world_wait_job(struct world *w, uint64_t id)
{
    uint64_t until_ms = clock_mono_ms() + 40000;
    for (;;) {
        struct err err = ERR_INIT;
        json_t *job = vault_job(w->vault, id, &err);
        assert_non_null(job);
        const char *state = json_string_value(json_object_get(job, "state"));
        if (strcmp(state, "queued") != 0 && strcmp(state, "running") != 0)
            return job;
        if (clock_mono_ms() > until_ms)
            fail_msg("job %llu still %s", (unsigned long long)id, state);
        json_free(job);
        clock_sleep_ms(10);
    }
}

void world_expect_job(struct world *w, uint64_t id, const char *expected)
{
    AUTO(json_free) json_t *job = world_wait_job(w, id);
    AUTO(buf_release) struct buf text = {0};
    json_print(job, &text);
    if (strcmp(json_string_value(json_object_get(job, "state")), expected) != 0)
        fail_msg("job %s: %s", expected, buf_text(&text));
}

uint64_t world_ask(struct world *w, enum vault_operation operation)
{
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (!vault_operate(w->vault, "src", operation, NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    return job;
}

uint64_t world_replicate(struct world *w)
{
    struct err err = ERR_INIT;
    uint64_t job = 0;
    if (!vault_replicate(w->vault, "src", "src", "dst", NULL, NULL, &job, &err))
        fail_msg("%s", err.text);
    return job;
}

json_t *world_show(struct world *w)
{
    struct err err = ERR_INIT;
    json_t *view = vault_show(w->vault, "src", &err);
    if (!view)
        fail_msg("%s", err.text);
    return view;
}

void world_expect_state(struct world *w, const char *expected)
{
    AUTO(json_free) json_t *view = world_show(w);
    assert_string_equal(json_string_value(json_object_get(view, "state")), expected);
}

void world_expect_equal(struct world *w)
{
    struct err err = ERR_INIT;
    char path[PATH_BYTES + 32];
    AUTO(buf_release) struct buf replica = {0};
    (void)snprintf(path, sizeof path, "%s/src/disk0.raw", w->replicas);
    if (!file_read(path, 2 * DISK_BYTES, &replica, &err))
        fail_msg("%s", err.text);
    assert_int_equal(replica.bytes, DISK_BYTES);
    assert_memory_equal(replica.data, w->content, DISK_BYTES);
}

void world_wait_idle(struct world *w)
{
    for (int i = 0; i < 2000; i++) {
        AUTO(json_free) json_t *view = world_show(w);
        if (json_is_null(json_object_get(view, "cycle")) &&
            json_is_null(json_object_get(view, "job")) &&
            json_is_null(json_object_get(view, "last_error")) &&
            json_integer_value(json_object_get(view, "next_cycle_at_ms")) >
                (json_int_t)clock_wall_ms())
            return;
        clock_sleep_ms(10);
    }
    fail_msg("the machine never rests");
}

void world_touch(const char *path, bool is_there)
{
    struct err err = ERR_INIT;
    assert_true(is_there ? file_write_durable(path, "", 0, 0600, &err)
                         : file_remove_durable(path, &err));
}

/* Source "bad" and target "bad" misbehave while their trigger file exists. */
void world_add_bad_ends(struct world *w, const char *kind, const char *source_trigger,
                        const char *target_trigger)
{
    struct err err = ERR_INIT;
    AUTO(json_free)
    json_t *source = json_pack("{s:[s], s:s, s:{s:s, s:i, s:s}}", "paths", w->image,
                               "name", "src", "fault", "kind", kind, "rate_per_million",
                               1000000, "trigger", source_trigger);
    AUTO(json_free)
    json_t *target =
        json_pack("{s:s, s:{s:s, s:i, s:s}}", "dir", w->replicas, "fault", "kind", kind,
                  "rate_per_million", 1000000, "trigger", target_trigger);
    if (!vault_source_add(w->vault, "bad", "image", source, &err) ||
        !vault_target_add(w->vault, "bad", "local", target, &err))
        fail_msg("%s", err.text);
}
