/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines here are sums over the clock: "db1" is in its initial cycle for 20 s after the
 * start and then makes deltas, "web1" makes deltas, "app1" waits, "old1" has failed.
 * Operations become jobs of five steps that take FAKE_JOB_MS (default 4000) together.
 */
#include "fake_vault.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include <stdatomic.h>

#define MAX_EVENTS 256
#define MAX_JOBS   64

struct fake_event {
    uint64_t ts_ms;
    char text[160];
    char who[64];
};

struct fake_job {
    enum vault_operation operation;
    char machine[64];
    char who[64];
    char key[160];
    uint64_t started_ms;
    bool is_canceled;
};

struct vault {
    pthread_mutex_t lock;
    uint64_t started_ms, job_ms, throttle_bps;
    struct fake_event events[MAX_EVENTS];
    uint64_t event_count;
    struct fake_job jobs[MAX_JOBS];
    uint64_t job_count;
};

static struct vault the_vault;
static _Atomic uint64_t calls;
static char last_options[4096];
static _Thread_local char who_calls[64];

static const char *const MACHINES[] = {"db1", "web1", "app1", "old1"};

uint64_t fake_vault_calls(void)
{
    return atomic_load(&calls);
}

const char *fake_vault_last_options(void)
{
    return last_options;
}

static void add_event_locked(const char *text)
{
    struct fake_event *event = &the_vault.events[the_vault.event_count++ % MAX_EVENTS];
    event->ts_ms = clock_wall_ms();
    text_copy(event->text, sizeof event->text, text);
    text_copy(event->who, sizeof event->who, who_calls);
}

void vault_act_as(const char *who)
{
    text_copy(who_calls, sizeof who_calls, who);
}

void fake_vault_event(const char *text)
{
    LOCK_GUARD(&the_vault.lock);
    add_event_locked(text);
}

struct vault *vault_open(const struct vault_options *options, struct err *err)
{
    (void)err;
    const char *job_ms = getenv("FAKE_JOB_MS");
    struct err bad;
    uint64_t ms;
    the_vault = (struct vault){.started_ms = clock_wall_ms(),
                               .job_ms = 4000,
                               .throttle_bps = options ? options->throttle_bps : 0};
    if (job_ms && text_parse_u64(job_ms, 1, 100000, &ms, &bad))
        the_vault.job_ms = ms;
    (void)pthread_mutex_init(&the_vault.lock, NULL);
    add_event_locked("vault opened");
    return &the_vault;
}

void vault_close(struct vault *vault)
{
    (void)vault;
}

static bool gone(const char *what, const char *name, struct err *err)
{
    return err_set(err, FAIL_GONE, "there is no %s '%s'; 'kedge list' shows all", what,
                   name);
}

static bool is_machine(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(MACHINES); i++)
        if (strcmp(MACHINES[i], name) == 0)
            return true;
    return false;
}

/* ---- sources and targets ---- */

static void keep_options(const json_t *options)
{
    AUTO(buf_release) struct buf text = {0};
    json_print(options, &text);
    text_copy(last_options, sizeof last_options, buf_text(&text));
}

bool vault_source_add(struct vault *vault, const char *name, const char *kind,
                      const json_t *options, struct err *err)
{
    (void)vault, (void)kind;
    atomic_fetch_add(&calls, 1);
    keep_options(options);
    return strcmp(name, "kvm") != 0
               ? true
               : err_set(err, FAIL_CONFLICT,
                         "source 'kvm' exists already; remove it first");
}

bool vault_source_remove(struct vault *vault, const char *name, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    return strcmp(name, "kvm") == 0 ? true : gone("source", name, err);
}

static json_t *one_endpoint(const char *list, const char *name, const char *kind)
{
    return json_pack("{s:[{s:s, s:s, s:{s:s}, s:i}]}", list, "name", name, "kind", kind,
                     "options", "dir", "/srv", "machines", 4);
}

json_t *vault_source_list(struct vault *vault, struct err *err)
{
    (void)vault, (void)err;
    atomic_fetch_add(&calls, 1);
    return one_endpoint("sources", "kvm", "qemu");
}

json_t *vault_source_check(struct vault *vault, const char *name, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    if (strcmp(name, "kvm") != 0) {
        (void)gone("source", name, err);
        return NULL;
    }
    return json_pack(
        "{s:[{s:s,s:s,s:s,s:s,s:s},{s:s,s:s,s:s,s:s,s:s},{s:s,s:s,s:s,s:s,s:s}]}",
        "findings", "severity", "ok", "code", "qmp.reachable", "what",
        "QMP socket of 'db1'", "why", "answers, QEMU 7.2.19", "remedy", "", "severity",
        "warning", "code", "agent.absent", "what", "guest agent of 'db1'", "why",
        "no channel", "remedy", "add a virtio-serial port org.qemu.guest_agent.0",
        "severity", "blocker", "code", "disk.shared", "what", "disk 'data' of 'web1'",
        "why", "another VM writes to it", "remedy",
        "exclude the disk or stop the other VM");
}

bool vault_target_add(struct vault *vault, const char *name, const char *kind,
                      const json_t *options, struct err *err)
{
    return vault_source_add(vault, name, kind, options, err);
}

bool vault_target_remove(struct vault *vault, const char *name, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    return strcmp(name, "here") == 0 ? true : gone("target", name, err);
}

json_t *vault_target_check(struct vault *vault, const char *name, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    if (strcmp(name, "here") != 0) {
        (void)gone("target", name, err);
        return NULL;
    }
    return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s}]}", "findings", "severity", "blocker",
                     "code", "azure.permission", "what", "resource group 'rg'", "why",
                     "not allowed: Microsoft.Compute/disks/write", "remedy",
                     "assign the role 'Contributor'");
}

json_t *vault_target_inventory(struct vault *vault, const char *name, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    if (strcmp(name, "here") != 0) {
        (void)gone("target", name, err);
        return NULL;
    }
    return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:b}]}", "things", "kind",
                     "disk", "name", "web1-disk0", "id", "/subscriptions/s/disks/d",
                     "machine", "web1", "machine_id", "00112233445566778899aabbccddeeff",
                     "role", "vm", "state", "Attached", "size_bytes", (json_int_t)1048576,
                     "allocated_bytes", (json_int_t)0, "known", 0);
}

json_t *vault_target_list(struct vault *vault, struct err *err)
{
    (void)vault, (void)err;
    atomic_fetch_add(&calls, 1);
    return one_endpoint("targets", "here", "local");
}

json_t *vault_discover(struct vault *vault, const char *source, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    if (source && strcmp(source, "kvm") != 0) {
        (void)gone("source", source, err);
        return NULL;
    }
    return json_pack(
        "{s:[{s:s, s:s, s:s, s:i, s:I, s:s, s:b, s:[{s:s, s:s, s:I, s:s, s:n}], "
        "s:[{s:s, s:s, s:n}], s:b}], s:[]}",
        "machines", "source", "kvm", "name", "db1", "key", "db1", "cpus", 4,
        "memory_bytes", (json_int_t)(8 * GIB), "firmware", "uefi", "running", 1, "disks",
        "label", "root", "key", "/machine/root", "bytes", (json_int_t)(40 * GIB), "bus",
        "virtio", "serial", "nics", "mac", "52:54:00:12:34:56", "model", "virtio-net",
        "network", "replicating", 1, "errors");
}

/* ---- machines ---- */

static json_t *cycle_of(uint64_t planned, double part, const char *kind, uint64_t rate)
{
    if (part >= 1 || part < 0)
        return json_null();
    uint64_t done = (uint64_t)((double)planned * part);
    json_t *cycle = json_object();
    json_put_u64(cycle, "number", strcmp(kind, "initial") == 0 ? 1 : 7);
    json_put_text(cycle, "kind", kind);
    json_put_text(cycle, "phase",
                  part < 0.05   ? "snapshot"
                  : part > 0.95 ? "compare"
                                : "send");
    json_put_bool(cycle, "resumed", false);
    json_put_u64(cycle, "started_ms", clock_wall_ms() - 5000);
    json_put_u64(cycle, "planned_bytes", planned);
    json_put_u64(cycle, "done_bytes", done);
    json_put_u64(cycle, "read_bytes", done);
    json_put_u64(cycle, "zero_bytes", done / 4);
    json_put_u64(cycle, "same_bytes", 0);
    json_put_u64(cycle, "content_bytes", done - done / 4);
    json_put_u64(cycle, "stored_bytes", (done - done / 4) / 3);
    json_put_u64(cycle, "applied_bytes", done / 2);
    json_put_u64(cycle, "rate_bps", rate);
    json_put_u64(cycle, "sent_bps", rate / 4);
    json_put_u64(cycle, "eta_ms", (planned - done) * 1000 / rate);
    return cycle;
}

static json_t *last_cycles(void)
{
    return json_pack(
        "[{s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:n}]",
        "number", 6, "kind", "delta", "state", "succeeded", "started_ms",
        (json_int_t)clock_wall_ms() - 90000, "ended_ms",
        (json_int_t)clock_wall_ms() - 81000, "snapshot_ms",
        (json_int_t)clock_wall_ms() - 89500, "planned_bytes", (json_int_t)(300 * MIB),
        "read_bytes", (json_int_t)(300 * MIB), "zero_bytes", (json_int_t)(20 * MIB),
        "same_bytes", (json_int_t)(80 * MIB), "content_bytes", (json_int_t)(200 * MIB),
        "stored_bytes", (json_int_t)(61 * MIB), "applied_bytes", (json_int_t)(220 * MIB),
        "error");
}

static json_t *machine_base(size_t i, const char *state, const char *status)
{
    json_t *m = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:n, s:i, s:I, s:s, s:[{s:s,s:s,s:I}], "
        "s:n, s:n, s:[s,s,s], s:n, s:n, s:[], s:[], s:n}",
        "id", "00112233445566778899aabbccddeeff", "name", MACHINES[i], "source", "kvm",
        "target", "here", "state", state, "status", status, "migration_state", "none",
        "migration_status", "–", "last_error", "cpus", 4, "memory_bytes",
        (json_int_t)(8 * GIB), "firmware", "uefi", "disks", "label", "root", "key",
        "root", "bytes", (json_int_t)(40 * GIB), "recovery_point", "next_cycle_at_ms",
        "allowed_operations", "pause", "stop", "sync", "job", "cycle", "last_cycles",
        "tests", "vm");
    if (!m)
        abort();
    return m;
}

static void put_point(json_t *machine, uint64_t age_ms)
{
    json_put_take(machine, "recovery_point",
                  json_pack("{s:i, s:I}", "cycle", 6, "at_ms",
                            (json_int_t)(clock_wall_ms() - age_ms)));
    json_put_take(machine, "last_cycles", last_cycles());
}

static json_t *machine_view(size_t i)
{
    uint64_t age = clock_wall_ms() - the_vault.started_ms;
    double part = (double)age / 20000;
    char status[64];
    json_t *m;
    if (i == 0 && part < 1) {
        (void)snprintf(status, sizeof status, "Initial replication (%d%%)",
                       (int)(part * 100));
        m = machine_base(i, "initial-replication", status);
        json_put_take(m, "cycle", cycle_of(40 * GIB, part, "initial", 214 * MIB));
        json_put_take(m, "job",
                      json_pack("{s:i,s:s,s:s}", "id", 1, "operation", "replicate",
                                "step", "initial cycle"));
    } else if (i <= 1) {
        double delta = (double)((age + 2500 * i) % 9000) / 6000;
        m = machine_base(i, "delta-sync", "Delta sync");
        json_put_take(m, "cycle", cycle_of(812 * MIB, delta, "delta", 96 * MIB));
        json_put_text(m, "migration_state", "test-pending");
        json_put_text(m, "migration_status", "Test migration pending");
        json_put_u64(m, "next_cycle_at_ms", clock_wall_ms() + 3000000);
        put_point(m, (age + 2500 * i) % 9000);
    } else if (i == 2) {
        m = machine_base(i, "initial-replication-queued", "Initial replication queued");
    } else {
        m = machine_base(i, "repair-pending", "Repair pending");
        put_point(m, 7200000);
        json_put_take(
            m, "last_error",
            json_pack("{s:s,s:s}", "kind", "conflict", "text",
                      "dirty bitmap of disk 'root' is gone; run 'kedge resync'"));
    }
    return m;
}

json_t *vault_list(struct vault *vault, struct err *err)
{
    (void)vault, (void)err;
    atomic_fetch_add(&calls, 1);
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(MACHINES); i++)
        (void)json_array_append_new(list, machine_view(i));
    json_t *out = json_object();
    json_put_take(out, "machines", list);
    return out;
}

json_t *vault_show(struct vault *vault, const char *machine, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    for (size_t i = 0; i < ARRAY_COUNT(MACHINES); i++)
        if (strcmp(MACHINES[i], machine) == 0)
            return machine_view(i);
    (void)gone("machine", machine, err);
    return NULL;
}

/* ---- jobs ---- */

static bool start_job(const char *machine, enum vault_operation operation,
                      const char *key, uint64_t *ret_job, struct err *err)
{
    LOCK_GUARD(&the_vault.lock);
    for (uint64_t i = 0; key && i < the_vault.job_count; i++)
        if (strcmp(the_vault.jobs[i].key, key) == 0) {
            *ret_job = i + 1;
            return true;
        }
    if (the_vault.job_count == MAX_JOBS)
        return err_set(err, FAIL_LIMIT, "too many jobs; wait for one");
    struct fake_job *job = &the_vault.jobs[the_vault.job_count++];
    *job = (struct fake_job){.operation = operation, .started_ms = clock_wall_ms()};
    text_copy(job->machine, sizeof job->machine, machine);
    text_copy(job->who, sizeof job->who, who_calls);
    text_copy(job->key, sizeof job->key, key ? key : "");
    char text[160];
    (void)snprintf(text, sizeof text, "%s of %s started", vault_operation_name(operation),
                   machine);
    add_event_locked(text);
    *ret_job = the_vault.job_count;
    return true;
}

bool vault_replicate(struct vault *vault, const char *source, const char *machine,
                     const char *target, const json_t *options,
                     const char *idempotency_key, uint64_t *ret_job, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    keep_options(options);
    if (strcmp(source, "kvm") != 0)
        return gone("source", source, err);
    if (strcmp(target, "here") != 0)
        return gone("target", target, err);
    return start_job(machine, OP_REPLICATE, idempotency_key, ret_job, err);
}

bool vault_operate(struct vault *vault, const char *machine,
                   enum vault_operation operation, const json_t *options,
                   const char *idempotency_key, uint64_t *ret_job, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    keep_options(options);
    if (!is_machine(machine))
        return gone("machine", machine, err);
    if (operation == OP_MIGRATE && strcmp(machine, "app1") == 0)
        return err_set(
            err, FAIL_CONFLICT,
            "machine 'app1' is in 'Initial replication queued': migrate needs a "
            "recovery point; wait for the initial cycle");
    return start_job(machine, operation, idempotency_key, ret_job, err);
}

static json_t *job_view(uint64_t id)
{
    static const char *const STEPS[] = {
        "check", "snapshot", "send changes", "verify and apply", "boot", "boot"};
    const struct fake_job *job = &the_vault.jobs[id - 1];
    uint64_t age = clock_wall_ms() - job->started_ms;
    uint64_t done = MIN_OF(age * 5 / the_vault.job_ms, 5);
    bool is_failed = done == 5 && job->operation == OP_RESYNC;
    bool is_over = done == 5 || job->is_canceled;
    json_t *out = json_pack(
        "{s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:I, s:I, s:n, s:n, s:n, s:n}", "id",
        (json_int_t)id, "machine", job->machine, "machine_id",
        "00112233445566778899aabbccddeeff", "operation",
        vault_operation_name(job->operation), "state",
        job->is_canceled ? "canceled"
        : is_failed      ? "failed"
        : done == 5      ? "succeeded"
                         : "running",
        "step", STEPS[done], "steps_done", (json_int_t)done, "steps_total", 5,
        "created_ms", (json_int_t)job->started_ms, "started_ms",
        (json_int_t)job->started_ms, "ended_ms", "options", "result", "error");
    if (!out)
        abort();
    json_put_text(out, "who", job->who);
    if (is_over)
        json_put_u64(out, "ended_ms", job->started_ms + the_vault.job_ms);
    if (is_failed)
        json_put_take(out, "error",
                      json_pack("{s:s,s:s}", "kind", "io", "text",
                                "read disk 'root' at 4096: input/output error"));
    else if (done == 5 && job->operation == OP_VERIFY)
        json_put_take(out, "result",
                      json_pack("{s:b, s:I, s:i}", "equal", 1, "compared_bytes",
                                (json_int_t)(40 * GIB), "differing_extents", 0));
    return out;
}

json_t *vault_jobs(struct vault *vault, const char *machine, uint64_t limit,
                   struct err *err)
{
    (void)err;
    atomic_fetch_add(&calls, 1);
    LOCK_GUARD(&vault->lock);
    json_t *list = json_array(), *out = json_object();
    for (uint64_t id = vault->job_count; id >= 1 && json_array_size(list) < limit; id--)
        if (!machine || strcmp(machine, vault->jobs[id - 1].machine) == 0)
            (void)json_array_append_new(list, job_view(id));
    json_put_take(out, "jobs", list);
    return out;
}

json_t *vault_job(struct vault *vault, uint64_t job, struct err *err)
{
    atomic_fetch_add(&calls, 1);
    LOCK_GUARD(&vault->lock);
    if (job >= 1 && job <= vault->job_count)
        return job_view(job);
    (void)err_set(err, FAIL_GONE, "there is no job %llu; 'kedge jobs' shows all",
                  (unsigned long long)job);
    return NULL;
}

bool vault_job_cancel(struct vault *vault, uint64_t job, struct err *err)
{
    atomic_fetch_add(&calls, 1);
    LOCK_GUARD(&vault->lock);
    if (job < 1 || job > vault->job_count)
        return err_set(err, FAIL_GONE, "there is no job %llu; 'kedge jobs' shows all",
                       (unsigned long long)job);
    vault->jobs[job - 1].is_canceled = true;
    return true;
}

/* ---- events, throttle, status ---- */

json_t *vault_events(struct vault *vault, uint64_t since, uint64_t limit, struct err *err)
{
    (void)err;
    atomic_fetch_add(&calls, 1);
    LOCK_GUARD(&vault->lock);
    json_t *list = json_array(), *out = json_object();
    uint64_t id = since;
    while (id < vault->event_count && json_array_size(list) < limit) {
        const struct fake_event *event = &vault->events[id % MAX_EVENTS];
        id++;
        (void)json_array_append_new(
            list,
            json_pack("{s:I, s:I, s:s, s:n, s:s, s:s, s:s, s:s}", "id", (json_int_t)id,
                      "ts_ms", (json_int_t)event->ts_ms, "machine", "db1", "job", "level",
                      "info", "event", "fake", "who", event->who, "text", event->text));
    }
    json_put_take(out, "events", list);
    json_put_u64(out, "next", MAX_OF(id, since));
    return out;
}

void vault_wait(struct vault *vault, uint64_t since, uint64_t deadline_ms,
                const struct cancel *cancel)
{
    uint64_t until = clock_mono_ms() + deadline_ms;
    while (clock_mono_ms() < until && !cancel_is_set(cancel)) {
        (void)pthread_mutex_lock(&vault->lock);
        bool is_there = vault->event_count > since;
        (void)pthread_mutex_unlock(&vault->lock);
        if (is_there)
            return;
        clock_sleep_ms(5);
    }
}

json_t *vault_plan(struct vault *vault, const json_t *request, struct err *err)
{
    (void)vault;
    (void)request;
    (void)err;
    atomic_fetch_add(&calls, 1);
    json_t *row = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:I, s:I, s:n, s:n, s:n, s:n, s:b, s:n, "
        "s:n}",
        "name", "web1", "gateway", "local", "host", "esx1", "used_bytes",
        (json_int_t)(40 * GIB), "churn_bytes_hour", (json_int_t)GIB, "refused", 0,
        "initial_start_ms", (json_int_t)1, "initial_end_ms", (json_int_t)2,
        "initial_wait_ms", (json_int_t)0, "delta_ms", "delta_longest_ms", "delta_bytes",
        "delta_every_ms", "keeps_up", 1, "cutover_ms", "cutover_wait_ms");
    return json_pack("{s:I, s:i, s:I, s:n, s:n, s:i, s:i, s:i, s:b, s:I, s:i, s:[o]}",
                     "start_ms", (json_int_t)1, "machine_count", 1, "initial_end_ms",
                     (json_int_t)2, "delta_longest_ms", "cutover_longest_ms",
                     "cutover_at_once", 1, "refused", 0, "unfinished", 0, "is_whole", 1,
                     "bandwidth_bps", (json_int_t)125000000, "sent_pct", 70, "machines",
                     row);
}

json_t *vault_throttle_get(struct vault *vault, struct err *err)
{
    (void)err;
    atomic_fetch_add(&calls, 1);
    LOCK_GUARD(&vault->lock);
    return json_pack("{s:I}", "bytes_per_second", (json_int_t)vault->throttle_bps);
}

bool vault_throttle_set(struct vault *vault, uint64_t bytes_per_second, struct err *err)
{
    (void)err;
    atomic_fetch_add(&calls, 1);
    LOCK_GUARD(&vault->lock);
    vault->throttle_bps = bytes_per_second;
    return true;
}

bool vault_throttle_calendar_set(struct vault *vault, const char *text, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    text_copy(last_options, sizeof last_options, text);
    return strcmp(text, "never") != 0 ||
           err_set(err, FAIL_INPUT, "rule 1, character 1 at 'never': write days");
}

json_t *vault_blackout_get(struct vault *vault, struct err *err)
{
    (void)vault, (void)err;
    atomic_fetch_add(&calls, 1);
    return json_pack("{s:s, s:s, s:n, s:b, s:s, s:n, s:I}", "windows", "Monday;7:00;7h",
                     "time_zone", "Europe/Berlin", "file", "inside", 0, "window",
                     "Monday;7:00;7h", "until_ms", "next_start_ms",
                     (json_int_t)clock_wall_ms() + 3600000);
}

bool vault_blackout_set(struct vault *vault, const char *windows, struct err *err)
{
    (void)vault;
    atomic_fetch_add(&calls, 1);
    text_copy(last_options, sizeof last_options, windows);
    return strcmp(windows, "Mondy") != 0 ||
           err_set(err, FAIL_INPUT, "window 1, character 1 at 'Mondy': write the day");
}

static json_t *one_orphan(void)
{
    return json_pack("{s:[{s:s, s:s, s:s, s:s, s:b}]}", "orphans", "kind", "log objects",
                     "machine", "old2", "machine_id", "00112233445566778899aabbccddeeff",
                     "what", "3 objects, 4096 bytes", "ours", 1);
}

json_t *vault_orphans(struct vault *vault, struct err *err)
{
    (void)vault, (void)err;
    atomic_fetch_add(&calls, 1);
    return one_orphan();
}

json_t *vault_orphans_clean(struct vault *vault, struct err *err)
{
    return vault_orphans(vault, err);
}

json_t *vault_keys_status(struct vault *vault, struct err *err)
{
    (void)vault, (void)err;
    atomic_fetch_add(&calls, 1);
    return json_pack("{s:s, s:s, s:b, s:[{s:s, s:b, s:b, s:I, s:i}], s:i, s:i}", "kind",
                     "vault-key", "where", "https://v1.vault.azure.net/keys/kedge",
                     "passphrase", 0, "masters", "master", "vault-key:0f", "current", 1,
                     "enabled", 1, "created_ms", (json_int_t)1700000000000, "machines", 3,
                     "machines", 4, "pending", 1);
}

json_t *vault_keys_rewrap(struct vault *vault, bool is_new, struct err *err)
{
    (void)vault, (void)err;
    atomic_fetch_add(&calls, 1);
    return json_pack("{s:b, s:s, s:i, s:i}", "made", is_new, "master", "file:1f0e",
                     "rewrapped", 3, "machines", 4);
}

uint64_t vault_last_event(struct vault *vault)
{
    LOCK_GUARD(&vault->lock);
    return vault->event_count;
}

json_t *vault_status(struct vault *vault, struct err *err)
{
    (void)err;
    atomic_fetch_add(&calls, 1);
    return json_pack("{s:s, s:I, s:i, s:i, s:s}", "version", KEDGE_VERSION, "uptime_ms",
                     (json_int_t)(clock_wall_ms() - vault->started_ms), "machines", 4,
                     "jobs_running", 1, "data_dir", "/var/lib/kedge");
}
