/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Managed disks. Facts, of the specification 2024-03-02: an upload's size counts the VHD
 * footer and is 20 MiB to 32 TiB of whole MiB besides it; a SAS lives 60 days at most.
 */
#include "azure/compute_impl.h"

#include "base/text.h"

#define FOOTER_BYTES     512
#define UPLOAD_MIN_BYTES (20 * MIB + FOOTER_BYTES)
#define UPLOAD_MAX_BYTES (32 * TIB + FOOTER_BYTES)
#define GRANT_MAX_S      (60 * 86400)

/* ---- create ---- */

static const char *option_name(enum azure_disk_from from)
{
    static const char *const NAMES[] = {[AZURE_DISK_IMPORT] = "Import",
                                        [AZURE_DISK_UPLOAD] = "Upload",
                                        [AZURE_DISK_COPY] = "Copy"};
    return NAMES[from];
}

static const char *disk_difference(const void *ctx, const json_t *disk)
{
    const struct azure_disk_make *make = ctx;
    const json_t *data = compute_at(disk, "properties.creationData");
    if (strcmp(compute_text(data, "createOption"), option_name(make->from)) != 0)
        return "kind of source";
    if (make->from == AZURE_DISK_IMPORT &&
        strcmp(compute_text(data, "sourceUri"), make->source) != 0)
        return "source";
    if (make->from == AZURE_DISK_COPY &&
        !arm_id_is_same(compute_text(data, "sourceResourceId"), make->source))
        return "source";
    json_int_t bytes = json_integer_value(json_object_get(data, "uploadSizeBytes"));
    if (make->from == AZURE_DISK_UPLOAD && bytes != (json_int_t)make->upload_bytes)
        return "size";
    return NULL;
}

static json_t *creation_data(const struct azure_disk_make *make)
{
    json_t *data = json_object();
    json_put_text(data, "createOption", option_name(make->from));
    switch (make->from) {
    case AZURE_DISK_IMPORT:
        json_put_text(data, "sourceUri", make->source);
        json_put_text(data, "storageAccountId", make->storage_account_id);
        break;
    case AZURE_DISK_UPLOAD:
        json_put_u64(data, "uploadSizeBytes", make->upload_bytes);
        break;
    case AZURE_DISK_COPY:
        json_put_text(data, "sourceResourceId", make->source);
        break;
    }
    return data;
}

static json_t *disk_body(const struct compute_item *item,
                         const struct azure_disk_make *make)
{
    json_t *properties, *sku = json_object();
    json_t *body = compute_body(item, &properties);
    json_put_text(sku, "name", make->sku);
    json_put_take(body, "sku", sku);
    if (make->os_type) {
        json_put_text(properties, "osType", make->os_type);
        json_put_text(properties, "hyperVGeneration", make->is_gen2 ? "V2" : "V1");
    }
    json_put_take(properties, "creationData", creation_data(make));
    if (make->encryption_set) {
        json_t *encryption = json_object();
        json_put_text(encryption, "diskEncryptionSetId", make->encryption_set);
        json_put_text(encryption, "type", "EncryptionAtRestWithCustomerKey");
        json_put_take(properties, "encryption", encryption);
    }
    return body;
}

static bool check_upload(const struct azure_disk_make *make, struct err *err)
{
    uint64_t bytes = make->upload_bytes;
    bool is_good = bytes >= UPLOAD_MIN_BYTES && bytes <= UPLOAD_MAX_BYTES &&
                   (bytes - FOOTER_BYTES) % MIB == 0;
    return is_good ||
           err_set(err, FAIL_INPUT,
                   "create disk '%s': an upload of %llu bytes; it must be whole MiB, 20 "
                   "MiB to 32 TiB, and a footer of %d bytes",
                   arm_id_name(make->id), (unsigned long long)bytes, FOOTER_BYTES);
}

bool azure_disk_create(struct arm *arm, const struct azure_disk_make *make,
                       const struct cancel *cancel, struct err *err)
{
    struct compute_item item = {.id = make->id,
                                .api_version = AZURE_VERSION_DISKS,
                                .location = make->location,
                                .zone = make->zone,
                                .noun = "disk",
                                .tags = &make->tags,
                                .cancel = cancel,
                                .make = make,
                                .difference = disk_difference};
    if (make->from == AZURE_DISK_UPLOAD && !check_upload(make, err))
        return false;
    return compute_create(arm, &item, disk_body(&item, make), err);
}

/* ---- one that is there ---- */

static uint64_t disk_bytes(const json_t *disk)
{
    json_int_t bytes = json_integer_value(compute_at(disk, "properties.diskSizeBytes"));
    json_int_t gib = json_integer_value(compute_at(disk, "properties.diskSizeGB"));
    if (bytes > 0)
        return (uint64_t)bytes;
    return gib > 0 && gib <= 1024 * 1024 ? (uint64_t)gib * GIB : 0;
}

bool azure_disk_get(struct arm *arm, const char *id, struct azure_disk_info *ret,
                    struct err *err)
{
    char what[COMPUTE_WHAT_BYTES];
    AUTO(json_free) json_t *disk = NULL;
    (void)snprintf(what, sizeof what, "look at disk '%s'", arm_id_name(id));
    struct arm_call call = {
        .method = "GET", .path = id, .api_version = AZURE_VERSION_DISKS, .what = what};
    if (!arm_run(arm, &call, &disk, err))
        return false;
    *ret = (struct azure_disk_info){.bytes = disk_bytes(disk)};
    text_copy(ret->state, sizeof ret->state, compute_text(disk, "properties.diskState"));
    text_copy(ret->sku, sizeof ret->sku, compute_text(disk, "sku.name"));
    return true;
}

bool azure_disk_remove(struct arm *arm, const char *id, struct err *err)
{
    return compute_remove(arm, id, AZURE_VERSION_DISKS, "disk", err);
}

/* ---- access ---- */

static bool run_action(struct arm *arm, const char *id, const char *action, json_t *body,
                       json_t **ret, struct err *err)
{
    char what[COMPUTE_WHAT_BYTES];
    AUTO(json_free) json_t *owned = body;
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "%s/%s", id, action);
    (void)snprintf(what, sizeof what, "%s of disk '%s'", action, arm_id_name(id));
    struct arm_call call = {.method = "POST",
                            .path = buf_text(&path),
                            .api_version = AZURE_VERSION_DISKS,
                            .body = owned,
                            .what = what};
    return arm_run(arm, &call, ret, err);
}

struct secret *azure_disk_grant(struct arm *arm, const char *id, uint32_t seconds,
                                struct err *err)
{
    AUTO(json_free) json_t *result = NULL;
    if (seconds == 0 || seconds > GRANT_MAX_S) {
        (void)err_set(err, FAIL_INPUT, "a SAS of disk '%s' for %u s; it must be 1 to %d",
                      arm_id_name(id), seconds, GRANT_MAX_S);
        return NULL;
    }
    json_t *body = json_object();
    json_put_text(body, "access", "Write");
    json_put_u64(body, "durationInSeconds", seconds);
    if (!run_action(arm, id, "beginGetAccess", body, &result, err))
        return NULL;
    struct secret *sas = compute_take_secret(result, "accessSAS");
    if (!sas)
        (void)err_set(err, FAIL_CORRUPT,
                      "beginGetAccess of disk '%s': the answer has no SAS",
                      arm_id_name(id));
    return sas;
}

bool azure_disk_revoke(struct arm *arm, const char *id, struct err *err)
{
    return run_action(arm, id, "endGetAccess", NULL, NULL, err);
}
