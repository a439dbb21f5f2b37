/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "nfc" transport: tickets from vim25, lanes from nfc_lane.c. Each connection gets a
 * ticket of its own, fetched right before it is dialled: a ticket is good once, and how
 * long it lives unused nobody has written down.
 */
#include "vsphere/nfc_transport.h"

#include "base/log.h"
#include "base/text.h"
#include "vsphere/nfc_lane.h"

#include <stdlib.h>

static const struct transport_ops OPS;

struct nfc_transport {
    struct transport base;
    struct vim *vim;
    struct vim_ref vm;
    const struct cancel *cancel;
    struct transport_options options;
    struct transport_disk *disks;
    size_t disk_count;
    struct nfc_target target;
};

static bool get_ticket(void *arg, const struct cancel *cancel, struct vim_ticket *ret,
                       struct err *err)
{
    struct nfc_transport *nfc = arg;
    return vim_nfc_ticket(nfc->vim, &nfc->vm, cancel, ret, err);
}

/* A host that does not tell is treated like an ESXi 8. */
static bool read_lib_version(struct nfc_transport *nfc,
                             const struct transport_machine *machine, struct err *err)
{
    struct err why = ERR_INIT;
    uint32_t version;
    nfc->target.lib_version = NFC_LIB_VERSION_UNKNOWN;
    if (!vim_ref_is_set(&machine->host))
        return true;
    if (!vim_nfc_lib_version(nfc->vim, &machine->host, nfc->cancel, &version, &why)) {
        log_debug("nfc_lib_version_unknown", "host=%s why=%s", machine->host.id,
                  why.text);
        if (why.kind != FAIL_CANCELED && why.kind != FAIL_AUTH)
            return true;
        *err = why;
        return false;
    }
    nfc->target.lib_version = version;
    if (version != 7 && version != 11)
        nfc_unproven_met(NFC_MET_LIB_VERSION, "library version %u", version);
    return true;
}

static void nfc_transport_close(struct transport *base)
{
    struct nfc_transport *nfc = (struct nfc_transport *)base;
    if (!nfc)
        return;
    free(nfc->disks);
    free(nfc);
}

static bool nfc_transport_open(const struct transport_machine *machine,
                               const struct cancel *cancel, struct transport **ret,
                               struct err *err)
{
    const struct transport_options *options = &machine->options;
    struct nfc_transport *nfc = xcalloc(1, sizeof *nfc);
    nfc->base.ops = &OPS;
    nfc->vim = machine->vim;
    nfc->vm = machine->vm;
    nfc->cancel = cancel;
    nfc->options = *options;
    nfc->options.quirks = NULL; /* the copy in target counts */
    nfc->disks = xcalloc(machine->disk_count, sizeof *nfc->disks);
    nfc->disk_count = machine->disk_count;
    for (size_t i = 0; i < machine->disk_count; i++)
        nfc->disks[i] = machine->disks[i];
    nfc->target = (struct nfc_target){.ticket = get_ticket,
                                      .arg = nfc,
                                      .default_host = vim_host_name(machine->vim),
                                      .is_plain = options->is_plain,
                                      .silence_ms = options->silence_ms,
                                      .quirks = options->quirks ? *options->quirks
                                                                : nfc_quirks_default()};
    if (options->max_in_flight)
        nfc->target.quirks.max_in_flight = options->max_in_flight;
    if (!read_lib_version(nfc, machine, err)) {
        nfc_transport_close(&nfc->base);
        return false;
    }
    *ret = &nfc->base;
    return true;
}

static bool nfc_transport_lane_open(struct transport *base, size_t disk_index,
                                    struct lane **ret, struct err *err)
{
    struct nfc_transport *nfc = (struct nfc_transport *)base;
    if (disk_index >= nfc->disk_count)
        return err_set(err, FAIL_BUG, "disk %zu of %zu", disk_index, nfc->disk_count);
    const struct transport_disk *disk = &nfc->disks[disk_index];
    struct nfc_lane_options options = {.ops = &OPS,
                                       .target = &nfc->target,
                                       .file_name = disk->file_name,
                                       .disk_bytes = disk->disk_bytes,
                                       .host_budget_bytes =
                                           nfc->options.host_budget_bytes,
                                       .attempts = nfc->options.attempts,
                                       .cancel = nfc->cancel};
    return nfc_lane_open(&options, ret, err);
}

static const struct transport_ops OPS = {
    .name = "nfc",
    .open = nfc_transport_open,
    .lane_open = nfc_transport_lane_open,
    .submit = nfc_lane_submit,
    .next = nfc_lane_next,
    .counters = nfc_lane_counters,
    .lane_close = nfc_lane_close,
    .close = nfc_transport_close,
};

const struct transport_ops *nfc_transport(void)
{
    return &OPS;
}
