/* SPDX-License-Identifier: Apache-2.0 */
/*
 * G1  a disk is detached only when a record of ours names its file, it is non-persistent,
 *     and that file was not attached when we recorded it. So a disk that a person or
 *     another product attached is never touched, of the same machine neither.
 * G2  recorded before attached, detached before dropped from the record.
 * G3  after attaching, the server's own list decides, not the answer of the call: an
 *     answer that was lost, or a task that went on after we gave up, leaves no disk.
 *
 * Facts: SMBIOS before 2.6 says nothing about the byte order of a UUID, and the kernel
 * prints it as it lies there, as the server does; from 2.6 on the kernel turns the first
 * three groups round (Linux, dmi_save_uuid). While a machine runs, a non-persistent disk
 * may be shown with its redo log, whose name begins with the file's.
 */
#include "vsphere/hotadd_gateway.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>

#define BIOS_UUID_PATH    "/sys/class/dmi/id/product_uuid"
#define MODE              "independent_nonpersistent"
#define UNITS             16
#define CONTROLLER_UNIT   7
#define ATTACH_MS         (5ull * 60 * 1000)
#define DETACH_MS         (5ull * 60 * 1000)
#define DETACH_ATTEMPTS   6
#define DETACH_BACKOFF_MS 250
#define OWN_NAME_BYTES    128

/* One change of our machine at a time: two that looked for a free unit at once would take
 * the same, and the server refuses a second reconfiguration while one runs. Held over
 * calls to the server for that reason. */
static pthread_mutex_t change_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- which machine we are ---- */

bool hotadd_uuid_turned(const char *uuid, char ret[HOTADD_UUID_BYTES])
{
    static const uint8_t order[] = {6,  7,  4, 5,  2,  3,  0,  1,  8,
                                    11, 12, 9, 10, 13, 16, 17, 14, 15};
    if (strlen(uuid) != HOTADD_UUID_BYTES - 1)
        return false;
    for (size_t i = 0; uuid[i]; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? uuid[i] != '-' : !isxdigit((unsigned char)uuid[i]))
            return false;
        ret[i] = uuid[i < sizeof order ? order[i] : i];
    }
    ret[HOTADD_UUID_BYTES - 1] = 0;
    return true;
}

bool hotadd_find_by_bios_uuid(struct vim *vim, const char *uuid,
                              const struct cancel *cancel, struct vim_ref *ret,
                              struct err *err)
{
    char turned[HOTADD_UUID_BYTES];
    struct err why = ERR_INIT;
    if (!hotadd_uuid_turned(uuid, turned))
        return err_set(err, FAIL_CONFLICT, "'%.60s' is not a BIOS UUID", uuid);
    if (vim_machine_find(vim, VIM_FIND_UUID, turned, cancel, ret, &why))
        return true;
    if (why.kind == FAIL_GONE) {
        err_clear(&why);
        if (vim_machine_find(vim, VIM_FIND_UUID, uuid, cancel, ret, &why))
            return true;
    }
    *err = why;
    if (why.kind == FAIL_GONE)
        return err_set(err, FAIL_CONFLICT,
                       "this system (BIOS UUID %s) is not a machine of this server",
                       uuid);
    return false;
}

static bool find_here(struct vim *vim, const struct cancel *cancel, struct vim_ref *ret,
                      struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    char uuid[HOTADD_UUID_BYTES];
    struct err why = ERR_INIT;
    if (!file_read(BIOS_UUID_PATH, 4096, &text, &why))
        return err_set(err, FAIL_CONFLICT,
                       "which machine this is cannot be read (%.200s); name it",
                       why.text);
    text_copy(uuid, sizeof uuid, buf_text(&text));
    return hotadd_find_by_bios_uuid(vim, uuid, cancel, ret, err);
}

static bool find_named(struct vim *vim, const char *name, const struct cancel *cancel,
                       struct vim_ref *ret, struct err *err)
{
    char turned[HOTADD_UUID_BYTES];
    enum vim_find by =
        hotadd_uuid_turned(name, turned) ? VIM_FIND_INSTANCE_UUID : VIM_FIND_NAME;
    struct err why = ERR_INIT;
    if (vim_machine_find(vim, by, name, cancel, ret, &why))
        return true;
    *err = why;
    if (why.kind == FAIL_GONE)
        return err_set(err, FAIL_CONFLICT, "the gateway's own machine: %.300s", why.text);
    return false;
}

/* As it stands in records. */
static void name_server(struct hotadd_gateway *gateway)
{
    const struct vim_about *about = vim_about(gateway->vim);
    text_copy(gateway->server, sizeof gateway->server,
              about->instance_uuid[0] ? about->instance_uuid
                                      : vim_host_name(gateway->vim));
}

bool hotadd_gateway_find(struct vim *vim, const char *name, const struct cancel *cancel,
                         struct hotadd_gateway *ret, struct err *err)
{
    struct hotadd_gateway found = {.vim = vim};
    if (!(name ? find_named(vim, name, cancel, &found.vm, err)
               : find_here(vim, cancel, &found.vm, err)))
        return false;
    name_server(&found);
    *ret = found;
    return true;
}

/* ---- disks of our machine ---- */

static bool is_file(const struct vim_disk *disk, const char *file_name)
{
    return text_starts_with(disk->file_name, file_name);
}

static const struct vim_disk *disk_of(const struct vim_machine *own,
                                      const char *file_name)
{
    for (size_t i = 0; i < own->disk_count; i++)
        if (is_file(&own->disks[i], file_name))
            return &own->disks[i];
    return NULL;
}

static bool is_scsi(const struct vim_disk *disk)
{
    return (strstr(disk->controller_type, "SCSI") ||
            strstr(disk->controller_type, "Lsi") ||
            strstr(disk->controller_type, "BusLogic")) &&
           (!disk->bus_sharing[0] || strcmp(disk->bus_sharing, "noSharing") == 0);
}

/* A free unit on a SCSI controller that one of our disks is on. */
static bool find_unit(const struct vim_machine *own, struct vim_attach *attach,
                      struct err *err)
{
    bool has_controller = false;
    for (size_t i = 0; i < own->disk_count; i++) {
        uint32_t taken = 1u << CONTROLLER_UNIT;
        if (!is_scsi(&own->disks[i]))
            continue;
        has_controller = true;
        for (size_t j = 0; j < own->disk_count; j++)
            if (own->disks[j].controller_key == own->disks[i].controller_key &&
                own->disks[j].unit >= 0 && own->disks[j].unit < UNITS)
                taken |= 1u << own->disks[j].unit;
        for (int32_t unit = 0; unit < UNITS; unit++)
            if (!(taken & 1u << unit)) {
                attach->controller_key = own->disks[i].controller_key;
                attach->unit = unit;
                return true;
            }
    }
    return err_set(err, FAIL_CONFLICT,
                   "machine '%s' has %s; add a SCSI controller and a "
                   "disk on it",
                   own->name,
                   has_controller ? "no free unit on its SCSI controllers"
                                  : "no disk on a SCSI controller");
}

static bool detach_locked(const struct hotadd_gateway *gateway,
                          const struct hotadd_entry *entry, struct err *err)
{
    struct vim_ref vm = {.type = "VirtualMachine"};
    struct vim_wait wait = {.deadline_ms = DETACH_MS};
    struct err why = ERR_INIT;
    text_copy(vm.id, sizeof vm.id, entry->vm_id);
    AUTO(vim_machine_free)
    struct vim_machine *own = vim_machine_get(gateway->vim, &vm, NULL, &why);
    if (!own && why.kind == FAIL_GONE)
        return true;
    if (!own) {
        *err = why;
        return false;
    }
    const struct vim_disk *disk = disk_of(own, entry->file_name);
    if (!disk || strcmp(disk->mode, MODE) != 0) /* G1 */
        return true;
    return vim_disk_detach(gateway->vim, &vm, disk->key, &wait, err);
}

static bool detach_entry(const struct hotadd_gateway *gateway,
                         const struct hotadd_entry *entry, struct err *err)
{
    for (unsigned attempt = 1;; attempt++) {
        struct err why = ERR_INIT;
        bool ok;
        {
            LOCK_GUARD(&change_lock);
            ok = detach_locked(gateway, entry, &why);
        }
        if (ok)
            return true;
        if (attempt == DETACH_ATTEMPTS || why.kind == FAIL_AUTH) {
            *err = why;
            return err_wrap(err, "detach '%.300s' from '%s'", entry->file_name,
                            entry->vm_id);
        }
        clock_sleep_ms((uint64_t)DETACH_BACKOFF_MS << attempt);
    }
}

bool hotadd_detach_all(const struct hotadd_gateway *gateway, struct hotadd_record *record,
                       struct err *err)
{
    struct err first = ERR_INIT;
    for (size_t i = record->count; i-- > 0;) {
        struct err why = ERR_INIT;
        if (strcmp(record->entries[i].server, gateway->server) != 0)
            continue;
        if ((!detach_entry(gateway, &record->entries[i], &why) ||
             !hotadd_record_drop(record, i, &why)) &&
            first.kind == FAIL_NONE)
            first = why;
    }
    if (first.kind == FAIL_NONE)
        return true;
    *err = first;
    return false;
}

bool hotadd_detach(const struct hotadd_gateway *gateway, struct hotadd_record *record,
                   const char *file_name, struct err *err)
{
    for (size_t i = 0; i < record->count; i++)
        if (strcmp(record->entries[i].server, gateway->server) == 0 &&
            strcmp(record->entries[i].file_name, file_name) == 0)
            return detach_entry(gateway, &record->entries[i], err) &&
                   hotadd_record_drop(record, i, err);
    return true;
}

/* ---- attaching ---- */

/* The server's list names it, and nothing else of ours has its UUID: a device's name in
 * this system would mean either. */
static bool check_attached(const struct vim_machine *own, const char *file_name,
                           char ret_uuid[HOTADD_DISK_UUID_BYTES], struct err *err)
{
    const struct vim_disk *disk = disk_of(own, file_name);
    if (!disk)
        return err_set(err, FAIL_CONFLICT, "'%s' is not among the disks of '%s'",
                       file_name, own->name);
    for (size_t i = 0; i < own->disk_count; i++)
        if (&own->disks[i] != disk && strcasecmp(own->disks[i].uuid, disk->uuid) == 0)
            return err_set(err, FAIL_CONFLICT,
                           "'%.200s' on '%s' has the same UUID %s; detach it",
                           own->disks[i].file_name, own->name, disk->uuid);
    text_copy(ret_uuid, HOTADD_DISK_UUID_BYTES, disk->uuid);
    return true;
}

/* Waits for a task that was given up: it may still attach. */
static void await_given_up(const struct hotadd_gateway *gateway,
                           const struct vim_wait *given_up)
{
    struct vim_wait wait = {.deadline_ms = ATTACH_MS};
    struct err why = ERR_INIT;
    if (vim_ref_is_set(&given_up->task) &&
        !vim_task_wait(gateway->vim, &given_up->task, &wait, NULL, &why))
        log_debug("hotadd_attach_failed", "text=\"%s\"", why.text);
}

/* Caller holds change_lock, and takes back what is recorded when this fails. */
static bool attach_locked(const struct hotadd_gateway *gateway,
                          struct hotadd_record *record, const char *file_name,
                          struct vim_wait *wait, char *ret_uuid, struct err *err)
{
    struct hotadd_entry entry;
    struct vim_attach attach = {.file_name = file_name, .mode = MODE};
    int32_t key = 0;
    AUTO(vim_machine_free)
    struct vim_machine *before =
        vim_machine_get(gateway->vim, &gateway->vm, wait->cancel, err);
    if (!before)
        return false;
    if (disk_of(before, file_name))
        return err_set(err, FAIL_CONFLICT,
                       "'%s' is attached to '%s' already, and not by us; detach it",
                       file_name, before->name);
    text_copy(entry.server, sizeof entry.server, gateway->server);
    text_copy(entry.vm_id, sizeof entry.vm_id, gateway->vm.id);
    text_copy(entry.file_name, sizeof entry.file_name, file_name);
    if (!find_unit(before, &attach, err) || !hotadd_record_add(record, &entry, err))
        return false;
    if (!vim_disk_attach(gateway->vim, &gateway->vm, &attach, wait, &key, err)) {
        await_given_up(gateway, wait);
        return false;
    }
    AUTO(vim_machine_free)
    struct vim_machine *after =
        vim_machine_get(gateway->vim, &gateway->vm, wait->cancel, err);
    return after && check_attached(after, file_name, ret_uuid, err);
}

bool hotadd_attach(const struct hotadd_gateway *gateway, struct hotadd_record *record,
                   const char *file_name, const struct cancel *cancel,
                   char ret_uuid[HOTADD_DISK_UUID_BYTES], struct err *err)
{
    struct vim_wait wait = {.deadline_ms = ATTACH_MS, .cancel = cancel};
    struct err why = ERR_INIT;
    bool ok;
    if (!hotadd_detach(gateway, record, file_name, err)) /* of an attempt before */
        return false;
    {
        LOCK_GUARD(&change_lock);
        ok = attach_locked(gateway, record, file_name, &wait, ret_uuid, err);
    }
    if (ok)
        return true;
    /* Nobody knows whether it attaches later: it stays recorded until the end. */
    bool is_unknown = (err->kind == FAIL_TRANSIENT || err->kind == FAIL_CANCELED) &&
                      !vim_ref_is_set(&wait.task);
    if (err->kind == FAIL_INPUT || err->kind == FAIL_GONE || err->kind == FAIL_LIMIT)
        err->kind = FAIL_CONFLICT; /* the server does not take it: another way may */
    if (!is_unknown && !hotadd_detach(gateway, record, file_name, &why))
        (void)err_hint(err, "and then: %.150s", why.text);
    return false;
}

/* ---- leftovers ---- */

struct sweep {
    const struct hotadd_gateway *gateway;
    const char *dir;
};

static bool sweep_one(void *arg, const char *name, struct err *err)
{
    const struct sweep *sweep = arg;
    struct hotadd_record *record = NULL;
    struct err why = ERR_INIT;
    (void)err; /* one that fails does not keep the others */
    if (!hotadd_record_open(sweep->dir, name, 0, NULL, &record, &why) ||
        !hotadd_detach_all(sweep->gateway, record, &why))
        log_debug("hotadd_record_kept", "name=%s text=\"%s\"", name, why.text);
    hotadd_record_close(record);
    return true;
}

void hotadd_sweep(struct vim *vim, const char *dir)
{
    struct hotadd_gateway gateway = {.vim = vim}; /* the machine stands in the record */
    struct sweep sweep = {.gateway = &gateway, .dir = dir ? dir : HOTADD_RECORD_DIR};
    struct err why = ERR_INIT;
    name_server(&gateway);
    if (file_exists(sweep.dir) && !hotadd_record_each(sweep.dir, sweep_one, &sweep, &why))
        log_debug("hotadd_sweep_failed", "text=\"%s\"", why.text);
}
