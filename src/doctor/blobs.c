/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store needs of its container: sign in, write, read back, remove; and how fast.
 *
 * B1  what is written is ours by name (PROBE_FOLDER) and removed again, also when a later
 *     step fails; a name is never used twice;
 * B2  the speed is an estimate of at most FIRST_BYTES + MAX_BYTES, sent once.
 */
#include "doctor/doctor_impl.h"

#include "azure/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define PROBE_FOLDER "kedge-doctor"
#define SMALL_BYTES  512
#define FIRST_BYTES  ((size_t)(256 * KIB))
#define MAX_BYTES    ((size_t)(8 * MIB))
#define GOAL_MS      1000 /* the second piece is made for so long */
#define RETRY_MS     5000

static void step_refused(struct visit *visit, struct doctor_step *step,
                         const struct err *why)
{
    struct err err = *why;
    (void)err_wrap(&err, "account '%s' refuses the credential", visit->account);
    step_failed(visit, step, &err, "check the credential");
}

static struct blob_container *sign_in(struct visit *visit)
{
    struct doctor_step *step = visit_step(visit, "sign-in");
    struct err err = ERR_INIT;
    if (!step)
        return NULL;
    struct blob_container_options options = {.address = visit->target->url,
                                             .access_file =
                                                 visit->target->credential_file,
                                             .role = visit->target->role,
                                             .retry_for_ms = RETRY_MS,
                                             .max_idle = 1};
    struct blob_container *container = blob_container_open(&options, &err);
    if (container)
        step_ok(visit, step, "account '%s' accepts the credential", visit->account);
    else if (err.kind == FAIL_AUTH)
        step_refused(visit, step, &err);
    else
        step_failed(visit, step, &err, "check the credential");
    return container;
}

static void probe_name(char out[64])
{
    struct id id = id_random();
    char text[ID_TEXT_BYTES];
    (void)snprintf(out, 64, PROBE_FOLDER "/%s", id_text(&id, text));
}

static bool read_back(struct blob_container *container, const char *name,
                      const uint8_t *data, struct err *err)
{
    uint8_t back[SMALL_BYTES];
    size_t bytes = 0;
    if (!blob_get(container, name, 0, back, sizeof back, &bytes, err))
        return false;
    if (bytes != sizeof back || memcmp(back, data, sizeof back) != 0)
        return err_set(err, FAIL_CORRUPT,
                       "what was read back is not what was written; something on the "
                       "way changes data");
    return true;
}

static void step_write(struct visit *visit, struct blob_container *container)
{
    struct doctor_step *step = visit_step(visit, "write");
    struct err err = ERR_INIT, late = ERR_INIT;
    uint8_t data[SMALL_BYTES];
    char name[64];
    if (!step)
        return;
    probe_name(name);
    secret_random(data, sizeof data);
    bool ok =
        blob_put(container, name, (struct blob_data){data, sizeof data}, true, &err) &&
        read_back(container, name, data, &err) && blob_remove(container, name, &err);
    if (ok) {
        step_ok(visit, step, "%d bytes written, read back and removed", SMALL_BYTES);
        return;
    }
    if (!blob_remove(container, name, &late)) /* B1 */
        log_debug("doctor_blob_left", "name=%s", name);
    step_failed(visit, step, &err, "the credential needs read, write and delete");
}

/* Milliseconds of one put, at least 1; 0: it failed. */
static uint64_t timed_put(struct blob_container *container, const uint8_t *data,
                          size_t bytes, struct err *err)
{
    char name[64];
    struct err late = ERR_INIT;
    probe_name(name);
    uint64_t began_ns = clock_mono_ns();
    bool ok = blob_put(container, name, (struct blob_data){data, bytes}, true, err);
    uint64_t took_ms = (clock_mono_ns() - began_ns) / 1000000;
    if (!blob_remove(container, name, &late)) /* B1 */
        log_debug("doctor_blob_left", "name=%s", name);
    return ok ? MAX_OF(took_ms, (uint64_t)1) : 0;
}

static void step_speed(struct visit *visit, struct blob_container *container)
{
    struct doctor_step *step = visit_step(visit, "speed");
    struct err err = ERR_INIT;
    char rate[TEXT_HUMAN_BYTES], size[TEXT_HUMAN_BYTES];
    if (!step)
        return;
    AUTO(free) uint8_t *data = xcalloc(1, MAX_BYTES);
    secret_random(data, MAX_BYTES);
    size_t bytes = FIRST_BYTES;
    uint64_t took_ms = timed_put(container, data, bytes, &err);
    if (took_ms && took_ms < GOAL_MS / 2) {
        bytes = MIN_OF(MAX_BYTES, MAX_OF(bytes * GOAL_MS / took_ms, FIRST_BYTES));
        took_ms = timed_put(container, data, bytes, &err);
    }
    if (!took_ms)
        step_failed(visit, step, &err, "");
    else
        step_ok(visit, step, "about %s/s, by one connection and %s",
                text_bytes((uint64_t)bytes * 1000 / took_ms, rate),
                text_bytes(bytes, size));
}

void visit_blobs(struct visit *visit)
{
    struct blob_address address = {0};
    struct err ignored = ERR_INIT; /* sign-in says it */
    if (blob_address_parse(visit->target->url, &address, &ignored))
        text_copy(visit->account, sizeof visit->account, address.account);
    AUTO(blob_container_close) struct blob_container *container = sign_in(visit);
    if (!visit->options->is_light) {
        step_write(visit, container);
        step_speed(visit, container);
    }
    if (visit->target->arm_credential_file)
        visit_account(visit);
}
