/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of the vault; not for others.
 *
 * Who does what:
 *   vault.c          open, close, threads, leases, waiting for events
 *   dispatch.c       who is worked on next, by admission.c and schedule.c (pure)
 *   machine_state.c  the table of states
 *   records.c        catalog <-> memory           machines.c   changes of a machine
 *   replicate.c      discover, pre-flight, enable
 *   jobs.c           asking and canceling         job_run.c    steps, retries, the end
 *   ops_*.c          steps of the operations      machine_io.c key, ends, contexts
 *   cycle_facts.c    what a source tells of its snapshot
 *   cycle_job.c      one cycle end to end         cycle_report.c  what it tells others
 *   ends.c           sources and targets          ends_open.c  out of their options
 *   verify.c         source against replica
 *   views.c          machines as JSON             queries.c    jobs, events, settings
 *   policy.c         blackout and throttle        keeper.c     what time itself asks for
 *   network.c        the doctor: asked, before enabling, and in the background
 *   audit.c          who                          orphans.c    what nobody owns any more
 *   key_admin.c      master keys and their rotation
 *
 * Locks, in this order: keys_lock, change_lock, lock. change_lock is held from deciding a
 * change over writing it to the catalog to publishing it in memory, so that both tell the
 * same story (it is the one lock that is held over I/O, of the catalog only). lock guards
 * the fields below and is never held over I/O.
 */
#ifndef VAULT_VAULT_IMPL_H
#define VAULT_VAULT_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "applier/applier.h"
#include "gateway/cycle.h"
#include "keys/keys.h"
#include "state/catalog.h"
#include "vault/admission.h"
#include "vault/blackout.h"
#include "vault/machine_state.h"
#include "vault/rate_calendar.h"
#include "vault/vault.h"
#include "vault/verify.h"

enum cycle_phase { PHASE_SNAPSHOT, PHASE_SEND, PHASE_APPLY, PHASE_COMPARE, PHASE_FINISH };
const char *cycle_phase_name(enum cycle_phase phase);

/* The cycle that runs on a machine, for those who watch. */
struct cycle_watch {
    /* Guarded by the vault's lock. */
    bool is_running;
    bool is_resumed;
    uint64_t number;
    enum cycle_kind kind;
    uint64_t started_ms;
    uint64_t snapshot_ms;
    /* rate: smoothed samples, taken when somebody looks */
    uint64_t sampled_mono_ms;
    uint64_t sampled_done_bytes;
    uint64_t sampled_stored_bytes;
    double rate_bps;
    double sent_bps;
    json_t *reading; /* per disk, how it is read; owned; NULL: not known yet */
    /* Atomic. */
    _Atomic enum cycle_phase phase;
    struct cycle_progress progress;
    struct apply_progress applied;
    _Atomic uint64_t compared_bytes;
    _Atomic uint64_t compare_total_bytes;
};

struct work;

/* What the machine would be worked on next; dispatch.c's alone. */
struct wish {
    struct admission *lane;
    struct admission_item *item; /* NULL: nothing */
    struct job *job;             /* NULL: a scheduled cycle */
    bool is_cycle;
    bool is_touched;
    /* While all wishes are made. */
    struct job *first;
    bool is_held_up, has_aside;
};

struct machine {
    struct machine *next;
    /* Set when the machine is enabled or loaded, never changed. */
    struct id id;
    char name[MACHINE_NAME_BYTES];
    char source[64];
    char target[64];
    bool auto_repair;
    char marker[128]; /* of the boot proof, when an operation gives none */
    struct id key_id;
    uint64_t created_ms;
    char gateway[64]; /* that moves its data */
    /* Guarded by change_lock. */
    uint64_t version; /* of the catalog's row */
    /* Guarded by lock. */
    char key_wrapped[KEYS_WRAPPED_MAX];
    struct machine_def *def; /* owned; disk sizes follow the source */
    struct machine_facts facts;
    uint64_t recovery_cycle; /* 0: none */
    uint64_t recovery_ms;
    uint64_t next_cycle_number;
    uint64_t next_cycle_ms; /* 0: not scheduled */
    uint64_t last_duration_ms;
    uint32_t failures;      /* cycles in a row */
    bool is_map_distrusted; /* a comparison failed: the next resync sends everything */
    struct err last_error;  /* FAIL_NONE: none */
    json_t *tests;          /* array; owned */
    uint64_t migration_job; /* of the last test migration or migration; 0: none */
    json_t *vm;             /* owned; NULL: none */
    bool has_open_cycle;    /* begun and neither applied nor given up */
    struct wish wish;
    bool is_dirty;      /* the catalog has an older story: written again soon */
    bool is_gone;       /* left the list; freed when nobody works on it */
    struct work *work;  /* who holds the lease; NULL: nobody */
    struct work *aside; /* who let go of it early (a test that boots); NULL: nobody */
    struct cycle_watch watch;
};

/* An active job: queued or running. Finished ones are in the catalog only. */
struct job {
    struct job *next; /* in order of asking */
    /* Set when it is asked for, never changed. */
    uint64_t id;
    struct machine *machine;
    enum vault_operation operation;
    json_t *options;
    char who[CATALOG_WHO_BYTES]; /* asked for it */
    uint64_t created_ms;
    bool was_interrupted; /* it was running when an earlier process ended */
    /* Guarded by lock. */
    bool is_running;
    bool is_aside; /* holds no lease any more: cycles may start beside it */
    char step[96];
    uint32_t steps_done;
    uint32_t steps_total;
    uint64_t started_ms;    /* 0: not yet */
    uint64_t not_before_ms; /* wall */
    uint32_t failures;
    json_t *result; /* owned; NULL: none */
};

/* Why a worker is asked to let go of a machine. */
enum work_end { WORK_GOES_ON, WORK_PAUSE, WORK_STOP, WORK_CLOSE, WORK_CANCELED };

/* What a worker is at: holds the lease of the machine. On the worker's stack. */
struct work {
    /* Set when picked, never changed. */
    struct vault *vault;
    struct machine *machine;
    struct job *job;             /* NULL: a scheduled cycle */
    struct admission_item *item; /* its place among those that run */
    struct cancel cancel;
    /* Guarded by lock. */
    enum work_end end;
    bool is_hurried; /* no more attempts after this one: somebody waits */
};

struct end;        /* ends.c: one named source or target */
struct order_desk; /* applier/order_desk.h */

struct vault {
    /* Set by vault_open, never changed. */
    char *data_dir;
    struct catalog *catalog;
    struct store *log_store;
    struct store *state_store; /* may be the same as log_store */
    struct keys *keys;
    struct order_desk *desk; /* orders to remote appliers */
    struct throttle *throttle;
    struct zone *zone;   /* of the clock on the gateway's wall */
    char *blackout_file; /* NULL: none */
    struct keeper *keeper;
    struct network *network;
    struct reach *reach;
    struct cycle_options cycle_options;
    struct sched_rules rules;
    struct admission_limits limits;
    struct fleet_limits fleet_limits;
    bool auto_repair;
    uint64_t opened_mono_ms;
    size_t worker_count;
    struct worker *workers;
    /* Held over a rotation of keys, by nobody who waits for it. */
    pthread_mutex_t keys_lock;
    /* Held over catalog writes. */
    pthread_mutex_t change_lock;
    /* Guarded by lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* anything below, and new events */
    bool is_closing;
    struct machine *machines;
    struct job *jobs;
    struct end *ends;
    struct admission *cycle_lane, *quick_lane;
    bool has_touched; /* some machine's wish is out of date */
    uint64_t swept_ms;
    uint64_t last_event;
    struct blackout blackout; /* the windows in force */
    bool is_blackout_from_file;
    bool was_in_blackout; /* as it was told last */
    struct rate_calendar calendar;
    uint64_t standing_bps; /* bound besides the calendar; 0: none */
    /* The keeper's alone. */
    uint64_t blackout_stamp; /* of the file as it was read last; 0: it was not there */
};

/* ---- vault.c ---- */
/* Asks whoever works on the machine to let go; caller holds lock. */
void work_end_locked(struct machine *machine, enum work_end end);
/* The same for whoever runs this job. */
void work_cancel_locked(struct job *job);
/* Waits ms for another attempt; false: no more attempts (canceled, hurried). */
bool work_wait(struct work *work, uint64_t ms);
enum work_end work_ending(struct work *work);
/* Lets go of the lease before the work is over; what is left touches the replica no more.
 * Cycles may start then, everything else still waits for the job. Nothing happens when
 * one is aside already. */
void work_let_go(struct work *work);
bool work_is_hurried(struct work *work);

/* ---- machines.c ---- */
struct machine *machine_find_locked(struct vault *vault, const char *name_or_id);
/* What changes along with a trigger; fields left zero stay as they are. */
struct machine_change {
    unsigned trigger;          /* TRIGGER_COUNT: none */
    const struct err *failure; /* remembered and counted */
    bool clear_failure;
    uint64_t next_cycle_ms; /* 0 with has_next: not scheduled */
    bool has_next;
    const struct replica_state *replica; /* recovery point as the applier knows it */
    uint64_t duration_ms;
    const struct machine_def *def;
    json_t *tests; /* taken */
    json_t *vm;    /* taken */
    bool migrated_now;
    bool distrust_map, trust_map;
    uint64_t next_cycle_number;
};
/* Changes memory and catalog. A catalog that cannot be written does not stop the machine:
 * the row is written again later. */
void machine_change(struct vault *vault, struct machine *machine,
                    const struct machine_change *change);
/* A copy of the definition; free it. */
MUST_CHECK struct machine_def *machine_def_copy(struct vault *vault,
                                                struct machine *machine);
struct machine_facts machine_facts_locked(const struct machine *machine);
/* By the table; in memory only. */
void machine_move_locked(struct machine *machine, unsigned trigger);
MUST_CHECK struct machine *machine_new(const char *name, const struct id *id);
void machine_free(struct machine *machine);
AUTO_CLEANUP(struct machine, machine_free);

/* ---- records.c ---- */
MUST_CHECK bool records_load(struct vault *vault, struct err *err);
/* Then it is_gone: one that is not, seen under change_lock, stays as long as that is
 * held.
 */
MUST_CHECK bool record_machine_remove(struct vault *vault, struct machine *machine,
                                      struct err *err);
/* Writes one of the rows that could not be written before; false: none was written. */
bool record_dirty(struct vault *vault);

/* An event: catalog, log line, waiters. machine and job may be NULL. */
void vault_event(struct vault *vault, const struct machine *machine,
                 const struct job *job, const char *level, const char *event,
                 const char *fmt, ...) PRINTF_LIKE(6, 7);

/* ---- audit.c ---- */
/* Whose call this thread serves; "kedged" for the vault's own threads. */
const char *audit_who(void);
/* "delta-sync -> paused, migration ready -> none"; false: neither state changed. */
bool audit_moved(const struct machine_facts *before, const struct machine_facts *after,
                 struct buf *out);
/* moves: before and after. */
void audit_asked(struct vault *vault, const struct machine *machine,
                 const struct job *job, const struct machine_facts moves[2]);
void audit_refused(struct vault *vault, const char *machine, const char *what,
                   const struct err *why);

/* ---- jobs.c ---- */
struct op_step {
    const char *name; /* "create replica" */
    /* Idempotent. */
    bool (*run)(struct work *work, struct err *err);
};
struct op_plan {
    bool is_cycle_work;      /* takes a place among job_threads */
    bool waits;              /* stays queued while there is no room or no answer */
    unsigned failed_trigger; /* what a failure means to the machine; TRIGGER_COUNT: - */
    struct op_step steps[4]; /* those with run set */
};
const struct op_plan *op_plan(enum vault_operation operation);

/* In no list yet; options (NULL: none) are copied. */
MUST_CHECK struct job *job_new(struct machine *machine, enum vault_operation operation,
                               const json_t *options);
void job_free(struct job *job);
void job_run(struct work *work);
void job_set_result(struct work *work, json_t *result); /* taken */
/* Queues the operation when state and active jobs allow it; caller holds change_lock. */
MUST_CHECK bool job_add(struct vault *vault, struct machine *machine,
                        enum vault_operation operation, const json_t *options,
                        const char *idempotency_key, uint64_t *ret_job, struct err *err);
/* Queued cycles of the machine that were asked for before that job end as canceled. */
void jobs_drop_queued(struct vault *vault, struct machine *machine, uint64_t before_job,
                      const char *why);

/* ---- cycle_job.c ---- */
struct cycle_request {
    bool on_demand;
    bool verify;
    bool resync;
};
/* Retries what may pass; the machine's state, failures and schedule are up to date
 * afterwards, whatever is returned. */
MUST_CHECK bool cycle_job_run(struct work *work, const struct cycle_request *request,
                              struct err *err);

/* ---- machine_io.c ---- */
enum machine_io_need { IO_KEY = 1, IO_TARGET = 2, IO_SOURCE = 4 };
/* Key, ends and the contexts of gateway and applier, for a step that touches data. */
struct machine_io {
    struct vault *vault;
    struct machine *machine;
    struct machine_def *def; /* owned copy */
    struct secret *key;
    struct id key_id;
    char key_wrapped[KEYS_WRAPPED_MAX]; /* for an applier elsewhere */
    char *map_dir;
    struct target *target;               /* borrowed from ends */
    struct source *source;               /* this one's alone until close */
    struct store *log_view, *state_view; /* ended by work->cancel; NULL: not needed */
    struct cycle_context cycle;
    struct apply_context apply;
    bool is_remote; /* the target's work is done by an applier elsewhere */
    bool is_open;   /* remote: nobody knows whether what was asked for last goes on */
};
/* needs: IO_* bits. */
MUST_CHECK bool machine_io_open(struct work *work, unsigned needs, struct machine_io *ret,
                                struct err *err);
void machine_io_close(struct machine_io *io); /* also of a half-open one */
static inline void auto_machine_io_close(struct machine_io *io)
{
    machine_io_close(io);
}
/* apply_recover and apply_cycle, by us or by the applier whose target it is. */
MUST_CHECK bool replica_recover(struct machine_io *io, struct err *err);
MUST_CHECK bool replica_apply(struct machine_io *io, uint64_t cycle, struct err *err);
/* Brings an interrupted apply to its end; FAIL_CONFLICT when the replica holds no whole
 * recovery point. */
MUST_CHECK bool replica_make_whole(struct machine_io *io, struct err *err);

/* ---- ends.c ---- */
enum end_role { END_SOURCE, END_TARGET };
MUST_CHECK bool ends_load(struct vault *vault, struct err *err);
void ends_close(struct vault *vault);
/* Opens the source until ends_source_give. Waits while another one has it, when its kind
 * serves one at a time; deadline_ms 0: as long as the token allows. */
/* For those who show them: borrowed texts, valid while lock is held. */
MUST_CHECK json_t *ends_view(struct vault *vault, enum end_role role);
/* Who works on that target, and when he was seen; null: we do. */
MUST_CHECK json_t *ends_applier_view_locked(struct vault *vault, const char *target);
MUST_CHECK struct source *ends_source_take(struct vault *vault, const char *name,
                                           uint64_t deadline_ms,
                                           const struct cancel *cancel, struct err *err);
void ends_source_give(struct vault *vault, const char *name, struct source *source);
/* Open as long as the vault is. */
MUST_CHECK struct target *ends_target(struct vault *vault, const char *name,
                                      struct err *err);

/* ---- views.c ---- */
MUST_CHECK json_t *view_findings(const struct findings *findings);
MUST_CHECK json_t *view_vm(const char *test_name, const struct vm_info *info,
                           uint64_t at_ms);
MUST_CHECK json_t *view_verify(const struct machine_def *def,
                               const struct verify_result *result);
uint32_t watch_percent(const struct cycle_watch *watch);
/* Milliseconds to the end of the running cycle, by the rate of late; UINT64_MAX: not
 * known. Caller holds lock. */
uint64_t watch_eta_ms_locked(struct cycle_watch *watch);

#endif
