/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault: which machines there are, what state each is in, which jobs run. Everything
 * a client can see or do goes through here; the API is a thin layer above it.
 *
 * Views are JSON objects whose fields are documented in doc/api.md; operations become
 * jobs. All calls: any thread, none blocks for long but vault_wait. The catalog is the
 * memory: a vault that is killed at any step goes on after restart.
 */
#ifndef VAULT_VAULT_H
#define VAULT_VAULT_H

#include "base/cancel.h"
#include "http/json.h"

struct vault;

struct vault_options {
    const char *data_dir;             /* catalog, hash maps; 0700 */
    const char *log_store;            /* as store_open_address takes it */
    const char *state_store;          /* the same, or one of its own */
    const char *log_store_credential; /* azure/access.h; NULL or "": none needed */
    const char *state_store_credential;
    const char *key_file; /* master key */
    const char *keys;     /* one in a vault instead, keys/keys.h; NULL or "": none */
    const char *keys_credential; /* for that vault */
    const char *key_passphrase;  /* of the file, by reference; NULL or "": none */
    uint32_t job_threads;        /* machines worked on at once; 0: 4 */
    uint32_t cycle_workers;      /* 0: 2 */
    uint32_t segment_bytes;      /* 0: 4 MiB */
    const char *compression;     /* "fast" (lz4), "compact" (zstd, 1 MiB), "none" */
    uint32_t tracking_check_ppm; /* blocks per million of a disk; 0: none */
    uint64_t throttle_bps;       /* bytes/s; 0: none */
    /* Limits of the schedule, vault/admission.h; 0: the default. */
    uint32_t gateway_disks, host_disks, datastore_snapshots;
    uint32_t gateway_machines, total_machines;
    uint64_t delta_min_ms; /* 0: 1 h: next delta = min(max(delta_min, previous/2), max) */
    uint64_t delta_max_ms; /* 0: 12 h */
    bool auto_repair;
    const char *timezone;        /* of windows and calendar; NULL or "": the system's */
    const char *blackout_file;   /* GatewayDataWorker.json; watched; NULL or "": none */
    uint64_t applier_lost_ms;    /* silent for so long: told; 0: 2 min */
    uint64_t applier_give_up_ms; /* lost for so long: its jobs fail; 0: 1 h */
    uint64_t events_kept;        /* newest; 0: 200000 */
    uint64_t events_keep_ms;     /* and not older; 0: 90 days */
    uint64_t network_check_ms;   /* between looks in the background; 0: none */
};

MUST_CHECK struct vault *vault_open(const struct vault_options *options, struct err *err);
/* Stops admitting, detaches running cycles so that they can be resumed, waits for
 * threads. */
void vault_close(struct vault *vault);
AUTO_CLEANUP(struct vault, vault_close);

/* Names who is behind the calls that this thread makes from now on, for jobs and events:
 * "uid:0", "api-token". */
void vault_act_as(const char *who);

/* ---- sources and targets ---- */
/* options: vsphere {url, user, password_file, ca_file?, fingerprint?, proxy?,
 * datacenter?, match?, transports[]?, nfc_plain?, nfc_compression?, in_flight?,
 * host_buffer?, vddk_library?, hotadd_machine?, hotadd_device_dir?, quiesce?, power_off?,
 * datastore_floor?, snapshot_deadline_ms?, end_deadline_ms?}, qemu {qmp, name?,
 * scratch_dir?, granularity?, scratch_max?}, image {paths[], name?, cpus?, memory_bytes?,
 * changes?}; local {dir, format?, accel?, qemu?, device_map?}; any target {applier?: who
 * works on it, with paths of his host}; any of them {fault?: {seed, rate_per_million,
 * after, kind, delay_ms, corrupt, trigger}}. Opened once to prove that it works;
 * FAIL_CONFLICT: name taken. */
MUST_CHECK bool vault_source_add(struct vault *vault, const char *name, const char *kind,
                                 const json_t *options, struct err *err);
MUST_CHECK bool vault_source_remove(struct vault *vault, const char *name,
                                    struct err *err);
MUST_CHECK json_t *vault_source_list(struct vault *vault, struct err *err);
/* {findings: [{severity, code, what, why, remedy}]} */
MUST_CHECK json_t *vault_source_check(struct vault *vault, const char *name,
                                      struct err *err);
MUST_CHECK bool vault_target_add(struct vault *vault, const char *name, const char *kind,
                                 const json_t *options, struct err *err);
MUST_CHECK bool vault_target_remove(struct vault *vault, const char *name,
                                    struct err *err);
MUST_CHECK json_t *vault_target_list(struct vault *vault, struct err *err);
/* What would go wrong there: {findings: [...]} */
MUST_CHECK json_t *vault_target_check(struct vault *vault, const char *name,
                                      struct err *err);
/* What of ours it holds: {things: [{kind, name, id, machine, machine_id, role, state,
 * size_bytes, allocated_bytes, known}]}; FAIL_INPUT: it cannot tell. */
MUST_CHECK json_t *vault_target_inventory(struct vault *vault, const char *name,
                                          struct err *err);

/* Machines that the source (NULL: every source) has now: {machines: [...]} */
MUST_CHECK json_t *vault_discover(struct vault *vault, const char *source,
                                  struct err *err);

/* ---- machines ---- */
enum vault_operation {
    OP_REPLICATE, /* the first one; made by vault_replicate */
    OP_SYNC,      /* a delta cycle now */
    OP_PAUSE,
    OP_RESUME,
    OP_STOP,         /* {force?}: also when the source cannot be cleaned up */
    OP_TEST_MIGRATE, /* {name?, network?, marker?, boot_deadline_ms?} */
    OP_TEST_CLEANUP, /* {name?} */
    OP_MIGRATE,      /* {shutdown?, shutdown_deadline_ms?, marker?, boot_deadline_ms?,
                      * override_blackout?} */
    OP_COMPLETE,
    OP_VERIFY, /* a delta cycle, then snapshot and replica compared sector by sector */
    OP_RESYNC,
    OP_REPAIR, /* the same for a machine in "Repair pending" */
    OP_COUNT,
};
const char *vault_operation_name(enum vault_operation operation); /* "test-migrate" ... */
MUST_CHECK bool vault_operation_from_name(const char *name, enum vault_operation *ret);

/* Enables replication. options {name?, auto_repair?, marker?}. Pre-flight blockers:
 * FAIL_CONFLICT, first one in the text, all of them in the job's result. *ret_job: the
 * job's id. */
MUST_CHECK bool vault_replicate(struct vault *vault, const char *source,
                                const char *machine, const char *target,
                                const json_t *options, const char *idempotency_key,
                                uint64_t *ret_job, struct err *err);

/* Starts an operation on a replicating machine (by name or id). Not allowed in its state:
 * FAIL_CONFLICT with state, reason and what would make it possible. Asking twice with the
 * same idempotency key (NULL: none) gives the same job. */
MUST_CHECK bool vault_operate(struct vault *vault, const char *machine,
                              enum vault_operation operation, const json_t *options,
                              const char *idempotency_key, uint64_t *ret_job,
                              struct err *err);

/* {machines: [machine...]}; one machine: see doc/api.md */
MUST_CHECK json_t *vault_list(struct vault *vault, struct err *err);
MUST_CHECK json_t *vault_show(struct vault *vault, const char *machine, struct err *err);

/* ---- jobs, events, throttle ---- */
MUST_CHECK json_t *vault_jobs(struct vault *vault, const char *machine, uint64_t limit,
                              struct err *err);
MUST_CHECK json_t *vault_job(struct vault *vault, uint64_t job, struct err *err);
MUST_CHECK bool vault_job_cancel(struct vault *vault, uint64_t job, struct err *err);
/* Events with id > since, oldest first: {events: [...], next: id} */
MUST_CHECK json_t *vault_events(struct vault *vault, uint64_t since, uint64_t limit,
                                struct err *err);
/* The id of the newest; 0: there was none. */
uint64_t vault_last_event(struct vault *vault);
/* Returns when there is an event with id > since, at the deadline, or when canceled. */
void vault_wait(struct vault *vault, uint64_t since, uint64_t deadline_ms,
                const struct cancel *cancel);
MUST_CHECK json_t *vault_throttle_get(struct vault *vault, struct err *err);
/* The standing bound; the calendar's holds besides, and the lower of the two counts. */
MUST_CHECK bool vault_throttle_set(struct vault *vault, uint64_t bytes_per_second,
                                   struct err *err);
/* See vault/rate_calendar.h; "": none. */
MUST_CHECK bool vault_throttle_calendar_set(struct vault *vault, const char *text,
                                            struct err *err);
MUST_CHECK json_t *vault_blackout_get(struct vault *vault, struct err *err);
/* See vault/blackout.h; "": none. FAIL_CONFLICT: a file says which. */
MUST_CHECK bool vault_blackout_set(struct vault *vault, const char *windows,
                                   struct err *err);
/* Master keys: {kind, where, passphrase, masters: [{master, current, enabled,
 * created_ms?, machines}], machines, pending}. Asks a vault, for up to 20 s or so. */
MUST_CHECK json_t *vault_keys_status(struct vault *vault, struct err *err);
/* Wraps every machine's data key with the newest master; is_new: makes a new one first.
 * {master, made, rewrapped, machines}. What was wrapped before opens at any instant,
 * whether this succeeds or not; asked again it goes on. FAIL_CONFLICT: it runs already.
 * Takes one or two requests for each machine when the master is in a vault. */
MUST_CHECK json_t *vault_keys_rewrap(struct vault *vault, bool is_new, struct err *err);
/* What was ours and belongs to nothing any more: {orphans: [{kind, where, what, machine,
 * remove}]}; remove false: not known to be ours, left alone. */
MUST_CHECK json_t *vault_orphans(struct vault *vault, struct err *err);
/* Removes them now; the view of what was removed. */
MUST_CHECK json_t *vault_orphans_clean(struct vault *vault, struct err *err);
/* When initial cycles end, how long deltas and cutovers take, in simulated time: of the
 * machines that replicate, with their measured rates, or of {table}, comma-separated
 * values as vault/planner.h says. {machine?, table?, bandwidth_bps?, sent_pct?,
 * blackout?, …}: see doc/api.md. Takes seconds of computing for thousands of machines. */
MUST_CHECK json_t *vault_plan(struct vault *vault, const json_t *request,
                              struct err *err);
/* Looks at every endpoint of the configuration, or those of one role (NULL: all): {at_ms,
 * took_ms, verdict, endpoints: [{role, label, host, verdict, steps: [{step, verdict,
 * cause, remedy, took_ms}]}]}. Takes seconds. */
MUST_CHECK json_t *vault_network_check(struct vault *vault, const char *role,
                                       const struct cancel *cancel, struct err *err);
/* {connections: [...], last_check}: what connections saw, and the last look at all. */
MUST_CHECK json_t *vault_network_status(struct vault *vault, struct err *err);
/* {source_region, target_region, cloud?}: doctor/peering.h */
MUST_CHECK json_t *vault_network_plan(struct vault *vault, const json_t *request,
                                      struct err *err);
/* {version, uptime_ms, machines, jobs_running, data_dir, ...} */
MUST_CHECK json_t *vault_status(struct vault *vault, struct err *err);

#endif
