/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources and targets out of their stored options: one function per kind, strict about
 * keys and types. Any of them takes "fault": {seed, rate_per_million, after, kind,
 * delay_ms, corrupt, trigger}, which puts the fault-injecting decorator in front: the way
 * in which a whole installation is shown to survive errors.
 */
#include "vault/ends_open.h"

#include "base/file.h"

#include <string.h>

/* ---- injected faults ---- */

struct fault_values {
    uint64_t seed, rate_per_million, after, delay_ms;
    enum err_kind kind;
    bool corrupt;
    const char *trigger_path;
};

/* *ret_any: there is a "fault" object. Its texts stay the options'. */
static bool parse_fault(const json_t *options, struct fault_values *ret, bool *ret_any,
                        struct err *err)
{
    static const char *const keys[] = {"seed", "rate_per_million", "after",   "delay_ms",
                                       "kind", "corrupt",          "trigger", NULL};
    const json_t *fault = json_object_get(options, "fault");
    const char *kind;
    *ret_any = fault != NULL;
    if (!fault)
        return true;
    if (!json_is_object(fault))
        return err_set(err, FAIL_INPUT, "'fault' must be an object");
    if (!json_only_keys(fault, keys, err) ||
        !json_opt_u64(fault, "seed", 1, &ret->seed, err) ||
        !json_opt_u64(fault, "rate_per_million", 0, &ret->rate_per_million, err) ||
        !json_opt_u64(fault, "after", 0, &ret->after, err) ||
        !json_opt_u64(fault, "delay_ms", 0, &ret->delay_ms, err) ||
        !json_opt_text(fault, "kind", "io", &kind, err) ||
        !json_opt_bool(fault, "corrupt", false, &ret->corrupt, err) ||
        !json_opt_text(fault, "trigger", NULL, &ret->trigger_path, err))
        return err_wrap(err, "'fault'");
    if (ret->rate_per_million > 1000000 || ret->delay_ms > 600000)
        return err_set(err, FAIL_INPUT,
                       "'fault': at most 1000000 per million and 600000 ms");
    ret->kind = err_kind_from_name(kind);
    if (ret->kind == FAIL_BUG)
        return err_set(err, FAIL_INPUT, "'fault': unknown kind '%s'", kind);
    return true;
}

static bool wrap_source(const json_t *options, struct source **source, struct err *err)
{
    struct fault_values v = {0};
    bool is_any;
    if (!parse_fault(options, &v, &is_any, err))
        return false;
    if (is_any)
        *source = source_fault_new(*source,
                                   &(struct source_fault_options){
                                       .seed = v.seed,
                                       .rate_per_million = (uint32_t)v.rate_per_million,
                                       .after_reads = v.after,
                                       .kind = v.kind,
                                       .delay_ms = (uint32_t)v.delay_ms,
                                       .corrupt = v.corrupt,
                                       .trigger_path = v.trigger_path});
    return true;
}

static bool wrap_target(const json_t *options, struct target **target, struct err *err)
{
    struct fault_values v = {0};
    bool is_any;
    if (!parse_fault(options, &v, &is_any, err))
        return false;
    if (is_any)
        *target = target_fault_new(*target,
                                   &(struct target_fault_options){
                                       .seed = v.seed,
                                       .rate_per_million = (uint32_t)v.rate_per_million,
                                       .after_writes = v.after,
                                       .kind = v.kind,
                                       .delay_ms = (uint32_t)v.delay_ms,
                                       .corrupt = v.corrupt,
                                       .trigger_path = v.trigger_path});
    return true;
}

/* ---- kinds ---- */

static bool open_qemu(const char *name, const json_t *options, struct source **ret,
                      struct err *err)
{
    static const char *const keys[] = {
        "qmp", "name", "scratch_dir", "granularity", "scratch_max", "fault", NULL};
    struct source_qemu_options o = {0};
    (void)name;
    return json_only_keys(options, keys, err) &&
           json_get_text(options, "qmp", &o.qmp_path, err) &&
           json_opt_text(options, "name", NULL, &o.name, err) &&
           json_opt_text(options, "scratch_dir", NULL, &o.scratch_dir, err) &&
           json_opt_u64(options, "granularity", 0, &o.granularity_bytes, err) &&
           json_opt_u64(options, "scratch_max", 0, &o.scratch_max_bytes, err) &&
           source_qemu_open(&o, ret, err);
}

static bool open_image(const char *name, const json_t *options, struct source **ret,
                       struct err *err)
{
    static const char *const keys[] = {"paths",        "name",  "cpus", "changes",
                                       "memory_bytes", "fault", NULL};
    const char *paths[MACHINE_MAX_DISKS];
    struct source_image_options o = {.paths = paths};
    uint64_t cpus = 0;
    json_t *list;
    if (!json_only_keys(options, keys, err) ||
        !json_get_array(options, "paths", &list, err) ||
        !json_opt_text(options, "name", name, &o.name, err) ||
        !json_opt_text(options, "changes", NULL, &o.changes_path, err) ||
        !json_opt_u64(options, "cpus", 0, &cpus, err) ||
        !json_opt_u64(options, "memory_bytes", 0, &o.memory_bytes, err))
        return false;
    o.path_count = json_array_size(list);
    if (o.path_count < 1 || o.path_count > MACHINE_MAX_DISKS)
        return err_set(err, FAIL_INPUT, "'paths' has %zu entries; give 1 to %d",
                       o.path_count, MACHINE_MAX_DISKS);
    for (size_t i = 0; i < o.path_count; i++) {
        paths[i] = json_string_value(json_array_get(list, i));
        if (!paths[i])
            return err_set(err, FAIL_INPUT, "'paths' must hold texts only");
    }
    if (cpus > 1024)
        return err_set(err, FAIL_INPUT, "%llu CPUs; at most 1024 are allowed",
                       (unsigned long long)cpus);
    o.cpus = (uint32_t)cpus;
    return source_image_open(&o, ret, err);
}

/* Texts of an array; *ret_count at most max. */
static bool get_texts(const json_t *options, const char *key, size_t max,
                      const char **ret, size_t *ret_count, struct err *err)
{
    json_t *list;
    *ret_count = 0;
    if (!json_object_get(options, key))
        return true;
    if (!json_get_array(options, key, &list, err))
        return false;
    if (json_array_size(list) < 1 || json_array_size(list) > max)
        return err_set(err, FAIL_INPUT, "'%s' has %zu entries; give 1 to %zu", key,
                       json_array_size(list), max);
    for (size_t i = 0; i < json_array_size(list); i++) {
        ret[i] = json_string_value(json_array_get(list, i));
        if (!ret[i])
            return err_set(err, FAIL_INPUT, "'%s' must hold texts only", key);
    }
    *ret_count = json_array_size(list);
    return true;
}

static bool get_vsphere_reading(const json_t *options, struct source_vsphere_options *o,
                                struct err *err)
{
    uint64_t in_flight;
    if (!json_opt_bool(options, "nfc_plain", false, &o->nfc_plain, err) ||
        !json_opt_text(options, "nfc_compression", NULL, &o->nfc_compression, err) ||
        !json_opt_u64(options, "in_flight", 0, &in_flight, err) ||
        !json_opt_u64(options, "host_buffer", 0, &o->host_budget_bytes, err) ||
        !json_opt_text(options, "vddk_library", NULL, &o->vddk_library, err) ||
        !json_opt_text(options, "hotadd_machine", NULL, &o->hotadd_machine, err) ||
        !json_opt_text(options, "hotadd_device_dir", NULL, &o->hotadd_device_dir, err))
        return false;
    if (in_flight > 64)
        return err_set(err, FAIL_INPUT, "'in_flight' is %llu; at most 64",
                       (unsigned long long)in_flight);
    o->in_flight = (uint32_t)in_flight;
    return true;
}

static bool open_vsphere(const json_t *options, const char *data_dir, struct source **ret,
                         struct err *err)
{
    static const char *const keys[] = {"url",
                                       "user",
                                       "password_file",
                                       "ca_file",
                                       "fingerprint",
                                       "proxy",
                                       "datacenter",
                                       "match",
                                       "transports",
                                       "nfc_plain",
                                       "in_flight",
                                       "host_buffer",
                                       "quiesce",
                                       "vddk_library",
                                       "hotadd_machine",
                                       "hotadd_device_dir",
                                       "power_off",
                                       "nfc_compression",
                                       "datastore_floor",
                                       "snapshot_deadline_ms",
                                       "end_deadline_ms",
                                       "fault",
                                       NULL};
    const char *transports[4];
    AUTO(free) char *records = file_join(data_dir, "hotadd");
    struct source_vsphere_options o = {.transports = transports,
                                       .hotadd_record_dir = records};
    if (!json_only_keys(options, keys, err) ||
        !json_get_text(options, "url", &o.url, err) ||
        !json_get_text(options, "user", &o.user, err) ||
        !json_get_text(options, "password_file", &o.password_file, err) ||
        !json_opt_text(options, "ca_file", NULL, &o.ca_file, err) ||
        !json_opt_text(options, "fingerprint", NULL, &o.fingerprint, err) ||
        !json_opt_text(options, "proxy", NULL, &o.proxy_url, err) ||
        !json_opt_text(options, "datacenter", NULL, &o.datacenter, err) ||
        !json_opt_text(options, "match", NULL, &o.name_pattern, err) ||
        !get_texts(options, "transports", ARRAY_COUNT(transports), transports,
                   &o.transport_count, err) ||
        !get_vsphere_reading(options, &o, err) ||
        !json_opt_bool(options, "quiesce", false, &o.quiesce, err) ||
        !json_opt_bool(options, "power_off", false, &o.may_power_off, err) ||
        !json_opt_u64(options, "datastore_floor", 0, &o.floor_bytes, err) ||
        !json_opt_u64(options, "snapshot_deadline_ms", 0, &o.create_ms, err) ||
        !json_opt_u64(options, "end_deadline_ms", 0, &o.rest_ms, err))
        return false;
    o.has_floor = json_object_get(options, "datastore_floor") != NULL;
    return source_vsphere_open(&o, ret, err);
}

bool end_source_is_shared(const char *kind)
{
    return strcmp(kind, "vsphere") == 0;
}

struct source *end_open_source(const char *name, const char *kind, const json_t *options,
                               const char *data_dir, struct err *err)
{
    struct source *source = NULL;
    bool ok;
    if (strcmp(kind, "qemu") == 0)
        ok = open_qemu(name, options, &source, err);
    else if (strcmp(kind, "image") == 0)
        ok = open_image(name, options, &source, err);
    else if (strcmp(kind, "vsphere") == 0)
        ok = open_vsphere(options, data_dir, &source, err);
    else
        ok = err_set(err, FAIL_INPUT,
                     "kind '%s'; known are 'vsphere', 'qemu' and 'image'", kind);
    if (ok && !wrap_source(options, &source, err)) {
        source_close(source);
        ok = false;
    }
    if (!ok)
        (void)err_wrap(err, "source '%s'", name);
    return ok ? source : NULL;
}

static bool open_local(const json_t *options, struct target **ret, struct err *err)
{
    static const char *const keys[] = {"dir",        "format", "accel", "qemu",
                                       "device_map", "fault",  NULL};
    struct target_local_options o = {0};
    const char *format;
    if (!json_only_keys(options, keys, err) ||
        !json_get_text(options, "dir", &o.dir, err) ||
        !json_opt_text(options, "format", "raw", &format, err) ||
        !json_opt_text(options, "accel", "auto", &o.accel, err) ||
        !json_opt_text(options, "qemu", NULL, &o.qemu_path, err) ||
        !json_opt_text(options, "device_map", NULL, &o.device_map_path, err))
        return false;
    if (strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0)
        return err_set(err, FAIL_INPUT, "format '%s'; known are 'raw' and 'qcow2'",
                       format);
    if (strcmp(o.accel, "auto") != 0 && strcmp(o.accel, "kvm") != 0 &&
        strcmp(o.accel, "tcg") != 0)
        return err_set(err, FAIL_INPUT, "accel '%s'; known are 'auto', 'kvm' and 'tcg'",
                       o.accel);
    o.format = *format == 'r' ? LOCAL_RAW : LOCAL_QCOW2;
    return target_local_open(&o, ret, err);
}

static bool get_azure_names(const json_t *options, struct target_azure_options *o,
                            struct err *err)
{
    const struct {
        const char *key;
        const char **value;
        bool is_required;
    } texts[] = {
        {"subscription", &o->subscription, true},
        {"resource_group", &o->resource_group, true},
        {"location", &o->location, true},
        {"credential_file", &o->credential_file, true},
        {"endpoint", &o->endpoint, false},
        {"replica_container", &o->replica_container, true},
        {"replica_credential_file", &o->replica_credential_file, true},
        {"storage_account_id", &o->storage_account_id, true},
        {"network_id", &o->network_id, true},
        {"subnet", &o->subnet, true},
        {"test_network_id", &o->test_network_id, false},
        {"test_subnet", &o->test_subnet, false},
        {"vm_size", &o->vm_size, false},
        {"disk_sku", &o->disk_sku, false},
        {"replica", &o->replica, false},
        {"zone", &o->zone, false},
        {"availability_set_id", &o->availability_set_id, false},
        {"proximity_group_id", &o->proximity_group_id, false},
        {"security_group_id", &o->security_group_id, false},
        {"license_type", &o->license_type, false},
        {"encryption_set_id", &o->encryption_set_id, false},
        {"os_type", &o->os_type, false},
        {"machine_settings", &o->machine_settings, false},
    };
    const char *keys[ARRAY_COUNT(texts) + 5];
    size_t count = ARRAY_COUNT(texts);
    for (size_t i = 0; i < count; i++)
        keys[i] = texts[i].key;
    memcpy(keys + count,
           (const char *const[]){"tags", "poll_ms", "retry_for_ms", "fault", NULL},
           5 * sizeof keys[0]);
    if (!json_only_keys(options, keys, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (texts[i].is_required
                ? !json_get_text(options, texts[i].key, texts[i].value, err)
                : !json_opt_text(options, texts[i].key, NULL, texts[i].value, err))
            return false;
    return true;
}

static bool open_azure(const char *name, const json_t *options, const char *data_dir,
                       struct target **ret, struct err *err)
{
    const char *tags[AZURE_MAX_USER_TAGS];
    AUTO(free) char *evidence = file_join(data_dir, "evidence");
    AUTO(free) char *own_evidence = file_join(evidence, name);
    struct target_azure_options o = {
        .name = name, .tags = tags, .evidence_dir = own_evidence};
    return get_azure_names(options, &o, err) &&
           get_texts(options, "tags", ARRAY_COUNT(tags), tags, &o.tag_count, err) &&
           json_opt_u64(options, "poll_ms", 0, &o.poll_ms, err) &&
           json_opt_u64(options, "retry_for_ms", 0, &o.retry_for_ms, err) &&
           target_azure_open(&o, ret, err);
}

struct target *end_open_target(const char *name, const char *kind, const json_t *options,
                               const char *data_dir, struct err *err)
{
    struct target *target = NULL;
    bool ok;
    if (strcmp(kind, "local") == 0)
        ok = open_local(options, &target, err);
    else if (strcmp(kind, "azure") == 0)
        ok = open_azure(name, options, data_dir, &target, err);
    else
        ok = err_set(err, FAIL_INPUT, "kind '%s'; known are 'local' and 'azure'", kind);
    if (ok && !wrap_target(options, &target, err)) {
        target_close(target);
        ok = false;
    }
    if (!ok)
        (void)err_wrap(err, "target '%s'", name);
    return ok ? target : NULL;
}
