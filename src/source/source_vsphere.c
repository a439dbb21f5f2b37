/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vSphere source: its operations table, options, power, forgetting. The rest by role:
 * source/vsphere.h.
 *
 * Many sources for one vCenter are open at a time, one per piece of work; they share a
 * session. Nothing is kept here between two operations but what the server has.
 *
 * Must never: touch a snapshot that is not ours, say that a machine is off before the
 * server says so, or keep a password longer than the session needs it.
 */
#include "source/vsphere.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "vsphere/hotadd_gateway.h"

#include <inttypes.h>

#define POWER_OFF_MS ((uint64_t)2 * 60 * 1000)
#define POWER_ON_MS  ((uint64_t)5 * 60 * 1000)

/* ---- power ---- */

static bool confirm_off(const struct vsphere_source *source, const struct vim_ref *vm,
                        const struct cancel *cancel, struct err *err)
{
    struct vim_state state;
    if (!vim_state_get(source->vim, vm, cancel, &state, err))
        return false;
    return state.power == VIM_POWER_OFF ||
           err_set(err, FAIL_TRANSIENT, "the server shows the machine as '%s', not off",
                   vim_power_name(state.power));
}

static bool power_off(const struct vsphere_source *source, const struct vim_ref *vm,
                      const struct cancel *cancel, struct err *err)
{
    struct vim_wait wait = {.deadline_ms = POWER_OFF_MS, .cancel = cancel};
    return vim_power_off(source->vim, vm, &wait, err) &&
           confirm_off(source, vm, cancel, err);
}

/* false with *err: it did not shut down; what went wrong. */
static bool shut_guest_down(const struct vsphere_source *source,
                            const struct vim_machine *machine, uint64_t deadline_ms,
                            const struct cancel *cancel, struct err *err)
{
    struct vim_wait wait = {.deadline_ms = deadline_ms, .cancel = cancel};
    if (!machine->has_tools_running)
        return err_set(err, FAIL_TRANSIENT,
                       "no VMware Tools run in the guest, so it cannot be asked to shut "
                       "down; shut it down inside, or allow power_off for the source");
    if (!vim_guest_shutdown(source->vim, &machine->ref, cancel, err))
        return false;
    if (vim_power_wait(source->vim, &machine->ref, VIM_POWER_OFF, &wait, err))
        return confirm_off(source, &machine->ref, cancel, err);
    if (err->kind == FAIL_TRANSIENT)
        return err_set(err, FAIL_TRANSIENT,
                       "the guest did not shut down in %" PRIu64
                       " s; shut it down inside, or allow power_off for the source",
                       deadline_ms / 1000);
    return false;
}

static bool vsphere_shutdown(struct source *base, const struct machine_def *def,
                             uint64_t deadline_ms, const struct cancel *cancel,
                             struct err *err)
{
    const struct vsphere_source *source = (const struct vsphere_source *)base;
    struct err why = ERR_INIT;
    AUTO(vim_machine_free)
    struct vim_machine *machine = vsphere_machine_get(source, def, cancel, err);
    if (!machine)
        return false;
    if (machine->power == VIM_POWER_OFF)
        return true;
    if (machine->power != VIM_POWER_ON)
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' is '%s' and cannot shut down; resume it or power it "
                       "off",
                       def->name, vim_power_name(machine->power));
    if (shut_guest_down(source, machine, deadline_ms, cancel, &why))
        return true;
    if (source->may_power_off && why.kind != FAIL_CANCELED && why.kind != FAIL_AUTH) {
        log_warn("source_power_off", "machine=%s text=\"%s\"", def->name, why.text);
        return power_off(source, &machine->ref, cancel, err) ||
               err_wrap(err, "power off machine '%s'", def->name);
    }
    *err = why;
    return err_wrap(err, "shut down machine '%s'", def->name);
}

static bool vsphere_startup(struct source *base, const struct machine_def *def,
                            const struct cancel *cancel, struct err *err)
{
    const struct vsphere_source *source = (const struct vsphere_source *)base;
    struct vim_wait wait = {.deadline_ms = POWER_ON_MS, .cancel = cancel};
    AUTO(vim_machine_free)
    struct vim_machine *machine = vsphere_machine_get(source, def, cancel, err);
    return machine && (vim_power_on(source->vim, &machine->ref, &wait, err) ||
                       err_wrap(err, "power on machine '%s'", def->name));
}

/* ---- forget ---- */

/* The tracking flag stays: others may have come to need it, and it costs the guest
 * nothing that it would notice. */
static bool vsphere_forget(struct source *base, const struct machine_def *def,
                           struct err *err)
{
    const struct vsphere_source *source = (const struct vsphere_source *)base;
    AUTO(vim_machine_free)
    struct vim_machine *machine = vsphere_machine_get(source, def, NULL, err);
    if (!machine && err->kind == FAIL_GONE) {
        err_clear(err);
        return true;
    }
    if (!machine)
        return false;
    hotadd_sweep(source->vim, source->hotadd_record_dir);
    bool has_ours = false;
    for (size_t i = 0; i < machine->snapshot_count; i++)
        has_ours = has_ours || vsphere_snapshot_is_ours(&machine->snapshots[i], &def->id);
    struct vsphere_rest rest = {.vim = source->vim,
                                .vm = &machine->ref,
                                .machine_id = &def->id,
                                .deadline_ms = source->rest_ms};
    return !has_ours || vsphere_come_to_rest(&rest, err) ||
           err_wrap(err, "forget machine '%s'", def->name);
}

/* ---- of a snapshot ---- */

static const char *vsphere_handle(const struct snapshot *base)
{
    return ((const struct vsphere_snapshot *)base)->handle;
}

static bool vsphere_is_resumed(const struct snapshot *base)
{
    return ((const struct vsphere_snapshot *)base)->is_resumed;
}

/* Caller holds the snapshot's lock. */
static void say_reading(const struct vsphere_disk *disk, char *out, size_t out_bytes)
{
    char again[TEXT_HUMAN_BYTES];
    if (disk->reconnects)
        (void)snprintf(out, out_bytes, "%s; %" PRIu64 " reconnects, %s asked again",
                       disk->reading, disk->reconnects,
                       text_bytes(disk->asked_again_bytes, again));
    else
        text_copy(out, out_bytes, disk->reading);
}

static void vsphere_facts(struct snapshot *base, struct snapshot_facts *ret)
{
    struct vsphere_snapshot *snapshot = (struct vsphere_snapshot *)base;
    text_copy(ret->host, sizeof ret->host, snapshot->host_name);
    LOCK_GUARD(&snapshot->lock);
    text_copy(ret->notice, sizeof ret->notice, snapshot->notice);
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        text_copy(ret->disks[i].datastore, sizeof ret->disks[i].datastore,
                  snapshot->disks[i].datastore);
        say_reading(&snapshot->disks[i], ret->disks[i].reading,
                    sizeof ret->disks[i].reading);
    }
}

/* ---- life ---- */

static void vsphere_close(struct source *base)
{
    struct vsphere_source *source = (struct vsphere_source *)base;
    if (!source)
        return;
    vsphere_session_give(source->session);
    vsphere_hosts_free(source->hosts);
    free(source->user);
    free(source->datacenter);
    free(source->name_pattern);
    free(source->vddk_library);
    free(source->hotadd_machine);
    free(source->hotadd_record_dir);
    free(source->hotadd_device_dir);
    free(source);
}

static const struct source_ops OPS = {
    .kind = "vsphere",
    .discover = vsphere_discover,
    .find = vsphere_find,
    .inventory = vsphere_inventory,
    .check = vsphere_check,
    .snapshot_open = vsphere_snapshot_open,
    .shutdown = vsphere_shutdown,
    .startup = vsphere_startup,
    .forget = vsphere_forget,
    .close = vsphere_close,
    .disk_info = vsphere_disk_info,
    .changes = vsphere_changes,
    .allocated = vsphere_allocated,
    .handle = vsphere_handle,
    .is_resumed = vsphere_is_resumed,
    .facts = vsphere_facts,
    .snapshot_end = vsphere_snapshot_end,
    .reader_open = vsphere_reader_open,
    .submit = vsphere_reader_submit,
    .next = vsphere_reader_next,
    .reader_close = vsphere_reader_close,
};

static bool take_transports(struct vsphere_source *source,
                            const struct source_vsphere_options *options, struct err *err)
{
    static const char *const DEFAULTS[] = {"nfc", "https"};
    const char *const *names = options->transport_count ? options->transports : DEFAULTS;
    size_t count =
        options->transport_count ? options->transport_count : ARRAY_COUNT(DEFAULTS);
    if (count > VSPHERE_TRANSPORTS)
        return err_set(err, FAIL_INPUT, "%zu transports; at most %d can be named", count,
                       VSPHERE_TRANSPORTS);
    for (size_t i = 0; i < count; i++) {
        source->transports[i] = transport_find(names[i]);
        if (!source->transports[i])
            return err_set(err, FAIL_INPUT,
                           "transport '%.40s'; known are 'nfc', 'https', 'hotadd' and "
                           "'vddk'",
                           names[i]);
        for (size_t j = 0; j < i; j++)
            if (source->transports[j] == source->transports[i])
                return err_set(err, FAIL_INPUT, "transport '%s' is named twice",
                               names[i]);
    }
    source->transport_count = count;
    return true;
}

static bool take_nfc(struct vsphere_source *source,
                     const struct source_vsphere_options *options, struct err *err)
{
    static const enum nfc_compression ALL[] = {NFC_STORED, NFC_ZLIB, NFC_FASTLZ,
                                               NFC_SKIPZ};
    const char *wanted = options->nfc_compression ? options->nfc_compression : "skipz";
    size_t i = 0;
    source->quirks = nfc_quirks_default();
    while (i < ARRAY_COUNT(ALL) && strcmp(nfc_compression_name(ALL[i]), wanted) != 0)
        i++;
    if (i == ARRAY_COUNT(ALL))
        return err_set(err, FAIL_INPUT,
                       "nfc compression '%.40s'; known are %s, %s, %s "
                       "and %s",
                       wanted, nfc_compression_name(NFC_STORED),
                       nfc_compression_name(NFC_ZLIB), nfc_compression_name(NFC_FASTLZ),
                       nfc_compression_name(NFC_SKIPZ));
    source->quirks.compression = ALL[i];
    source->transport_options =
        (struct transport_options){.is_plain = options->nfc_plain,
                                   .max_in_flight = options->in_flight,
                                   .host_budget_bytes = options->host_budget_bytes,
                                   .quirks = &source->quirks,
                                   .vddk_library = source->vddk_library,
                                   .user = source->user,
                                   .hotadd_machine = source->hotadd_machine,
                                   .hotadd_record_dir = source->hotadd_record_dir,
                                   .hotadd_device_dir = source->hotadd_device_dir};
    return true;
}

static bool log_in(struct vsphere_source *source,
                   const struct source_vsphere_options *options, struct err *err)
{
    uint8_t pin[HTTP_PIN_BYTES];
    if (!options->url || !options->url[0] || !options->user || !options->user[0] ||
        !options->password_file)
        return err_set(err, FAIL_INPUT,
                       "a vSphere source needs url, user and password_file");
    if (options->fingerprint && !http_pin_parse(options->fingerprint, pin, err))
        return err_wrap(err, "fingerprint");
    AUTO(secret_free)
    struct secret *password = secret_read_file(options->password_file, err);
    if (!password)
        return err_wrap(err, "password_file");
    struct vim_options vim = {.url = options->url,
                              .user = options->user,
                              .password = password,
                              .ca_file = options->ca_file,
                              .pin = options->fingerprint ? pin : NULL,
                              .proxy_url = options->proxy_url};
    source->session = vsphere_session_take(&vim, err);
    if (!source->session)
        return false;
    source->vim = vsphere_session_vim(source->session);
    source->transport_options.password = vsphere_session_password(source->session);
    return true;
}

static char *copy_or_null(const char *text)
{
    return text && text[0] ? xstrdup(text) : NULL;
}

bool source_vsphere_open(const struct source_vsphere_options *options,
                         struct source **ret, struct err *err)
{
    struct vsphere_source *source = xcalloc(1, sizeof *source);
    source->base.ops = &OPS;
    source->user = copy_or_null(options->user);
    source->datacenter = copy_or_null(options->datacenter);
    source->name_pattern = copy_or_null(options->name_pattern);
    source->vddk_library = copy_or_null(options->vddk_library);
    source->hotadd_machine = copy_or_null(options->hotadd_machine);
    source->hotadd_record_dir = copy_or_null(options->hotadd_record_dir);
    source->hotadd_device_dir = copy_or_null(options->hotadd_device_dir);
    source->quiesce = options->quiesce;
    source->may_power_off = options->may_power_off;
    source->floor_bytes = options->has_floor ? options->floor_bytes : VSPHERE_FLOOR_BYTES;
    source->create_ms = options->create_ms ? options->create_ms : VSPHERE_CREATE_MS;
    source->rest_ms = options->rest_ms ? options->rest_ms : VSPHERE_REST_MS;
    if (!take_transports(source, options, err) || !take_nfc(source, options, err) ||
        !log_in(source, options, err)) {
        vsphere_close(&source->base);
        return false;
    }
    *ret = &source->base;
    return true;
}
