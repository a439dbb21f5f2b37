/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Did the VM boot? The strongest proof that there is, in this order: the marker in the
 * serial log of its boot diagnostics (when one was asked for, nothing less counts), the
 * guest agent's "Ready", and that it runs at all, which the hypervisor says at once and
 * which is taken only after some looks for the agent. Screen and log are kept in
 * <evidence dir>/<machine>/ whatever comes of it; not getting them is not a failure.
 */
#include "target/azure_target.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#define AGENT_LOOKS         12 /* after it was seen running */
#define EVIDENCE_MAX_BYTES  (16 * MIB)
#define DEFAULT_DEADLINE_MS ((uint64_t)10 * 60 * 1000)

struct watch {
    struct azure *azure;
    const char *vm_id, *marker;
    const struct cancel *cancel;
    char dir[MACHINE_PATH_BYTES];
    struct vm_info *info;
    unsigned looks; /* since it runs */
    struct buf serial;
};

/* ---- evidence ---- */

/* An address with a SAS: split where the path begins; neither is ever shown. */
static bool fetch(const struct azure *azure, const struct secret *address,
                  struct buf *ret, struct err *err)
{
    char text[SECRET_MAX_BYTES + 1], origin[300];
    AUTO(http_answer_release) struct http_answer answer = {0};
    memcpy(text, address->data, address->bytes);
    text[address->bytes] = 0;
    const char *scheme = strstr(text, "://");
    const char *path = scheme ? strchr(scheme + 3, '/') : NULL;
    bool ok = path && (size_t)(path - text) < sizeof origin;
    if (ok) {
        memcpy(origin, text, (size_t)(path - text));
        origin[path - text] = 0;
        struct http_endpoint_options way =
            azure_access_way(&azure->replica_access, origin);
        way.role = ROLE_REPLICA_STORE;
        AUTO(http_endpoint_close)
        struct http_endpoint *endpoint = http_endpoint_open(&way, err);
        struct http_request request = {
            .method = "GET", .path = path, .max_answer_bytes = EVIDENCE_MAX_BYTES};
        ok = endpoint && http_exchange(endpoint, &request, &answer, err);
        if (ok && answer.status != 200)
            ok = err_set(err, FAIL_IO, "boot diagnostics answer with status %u",
                         answer.status);
    } else
        (void)err_set(err, FAIL_CORRUPT, "boot diagnostics: the address is none");
    secret_wipe(text, sizeof text);
    if (ok) {
        buf_clear(ret);
        buf_append(ret, answer.body.data, answer.body.bytes);
    }
    return ok;
}

static bool begins_with(const struct buf *data, const char *magic)
{
    size_t bytes = strlen(magic);
    return data->bytes >= bytes && memcmp(data->data, magic, bytes) == 0;
}

static bool keep(const struct watch *watch, const char *suffix, const struct buf *data,
                 char path[MACHINE_PATH_BYTES], struct err *err)
{
    char full[MACHINE_PATH_BYTES];
    int length =
        snprintf(full, sizeof full, "%s/%s%s", watch->dir, watch->info->name, suffix);
    if (length < 0 || (size_t)length >= sizeof full)
        return err_set(err, FAIL_INPUT,
                       "path of '%s' is too long; choose a shorter folder", watch->dir);
    if (!file_make_dirs(watch->dir, err) ||
        !file_write_durable(full, data->data, data->bytes, 0600, err))
        return false;
    text_copy(path, MACHINE_PATH_BYTES, full);
    return true;
}

/* Both of them as they are now. The service gives a bitmap as the screen. */
static void collect(struct watch *watch)
{
    struct err why = ERR_INIT;
    struct secret *screen = NULL, *serial = NULL;
    AUTO(buf_release) struct buf picture = {0};
    struct vm_info *info = watch->info;
    bool ok =
        azure_vm_diagnostics(watch->azure->arm, watch->vm_id, &screen, &serial, &why);
    if (ok && serial)
        ok = fetch(watch->azure, serial, &watch->serial, &why) &&
             keep(watch, ".serial.log", &watch->serial, info->serial_log, &why);
    if (ok && screen)
        ok = fetch(watch->azure, screen, &picture, &why) &&
             keep(watch, begins_with(&picture, "\x89PNG") ? ".png" : ".bmp", &picture,
                  info->screen_png, &why);
    if (!ok)
        log_debug("evidence_missing", "vm=%s text=\"%s\"", info->name, why.text);
    secret_free(screen);
    secret_free(serial);
}

/* ---- looking ---- */

static bool serial_has(const struct watch *watch, const char *marker)
{
    return watch->serial.bytes &&
           memmem(watch->serial.data, watch->serial.bytes, marker, strlen(marker));
}

/* *ret_how: the proof, NULL while there is none. */
static bool look(struct watch *watch, const char **ret_how, struct err *err)
{
    struct azure_vm_info vm = {0};
    *ret_how = NULL;
    if (!azure_vm_get(watch->azure->arm, watch->vm_id, &vm, err))
        return false;
    if (strcmp(vm.provisioning, "Failed") == 0)
        return err_set(err, FAIL_IO, "VM '%s' failed: %s", watch->info->name,
                       vm.problem[0] ? vm.problem : "the service does not say why");
    if (strcmp(vm.power, "running") != 0)
        return true;
    watch->looks++;
    if (*watch->marker) {
        collect(watch);
        *ret_how = serial_has(watch, watch->marker) ? "serial marker" : NULL;
    } else if (strcmp(vm.agent, "Ready") == 0)
        *ret_how = "guest agent";
    else if (watch->looks > AGENT_LOOKS)
        *ret_how = "running";
    return true;
}

static bool wait_for_proof(struct watch *watch, uint64_t deadline_ms, struct err *err)
{
    uint64_t start_ms = clock_mono_ms(), until_ms = start_ms + deadline_ms;
    for (;;) {
        const char *how;
        if (!look(watch, &how, err))
            return false;
        bool is_late = clock_mono_ms() >= until_ms;
        if (!how && is_late && !*watch->marker && watch->looks)
            how = "running";
        if (how)
            text_copy(watch->info->how_booted, sizeof watch->info->how_booted, how);
        watch->info->boot_ms = clock_mono_ms() - start_ms;
        if (how || is_late)
            return true;
        if (!cancel_sleep_ms(watch->cancel, watch->azure->poll_ms, err))
            return false;
    }
}

bool azure_prove(struct azure *azure, const struct machine_def *machine,
                 const char *vm_id, const struct test_options *options,
                 const struct cancel *cancel, struct vm_info *info, struct err *err)
{
    struct watch watch = {.azure = azure,
                          .vm_id = vm_id,
                          .marker = options->marker ? options->marker : "",
                          .cancel = cancel,
                          .info = info};
    (void)snprintf(watch.dir, sizeof watch.dir, "%s/%s", azure->options.evidence_dir,
                   machine->name);
    bool ok = wait_for_proof(
        &watch,
        options->boot_deadline_ms ? options->boot_deadline_ms : DEFAULT_DEADLINE_MS, err);
    collect(&watch);
    buf_release(&watch.serial);
    return ok;
}
