/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault's memory: what is configured (sources, targets, settings), which machines
 * there are, which jobs, cycles and events there were. Rows go in and out as plain
 * structs; what this catalog is made of (SQLite in one file; PostgreSQL later) does not
 * show here.
 *
 * Every change is durable when its function returns true. One that returns false has not
 * happened, but for a failure of the very last step: then it may have, whole. Several
 * changes in one: catalog_transaction. Any thread; a call takes milliseconds and holds
 * others off for as long.
 *
 * Texts: fixed arrays in the rows are NUL-terminated and refused (FAIL_LIMIT) when a
 * stored one would not fit; `char *` is heap: going in it is borrowed and NULL is as "",
 * coming out it is never NULL and the row's _release (or _list_release) frees it. Times
 * are wall-clock ms, 0 for none. Numbers go up to INT64_MAX (else FAIL_LIMIT).
 * Errors besides those named: FAIL_NO_SPACE, FAIL_CORRUPT, FAIL_TRANSIENT (locked by
 * another process), FAIL_IO.
 */
#ifndef STATE_CATALOG_H
#define STATE_CATALOG_H

#include "base/err.h"
#include "base/id.h"

#define CATALOG_NAME_BYTES  64 /* text_check_name allows 63 */
#define CATALOG_KIND_BYTES  32 /* kinds, states, operations, levels */
#define CATALOG_STEP_BYTES  128
#define CATALOG_KEY_BYTES   128 /* keys of sources, idempotency keys, settings */
#define CATALOG_EVENT_BYTES 64
#define CATALOG_WHO_BYTES   64 /* "uid:0", "api-token", "kedged" */

struct catalog;

/* Opens the file, makes it (0600) when missing, brings an older one up to date.
 * FAIL_CORRUPT: damaged (checked as a whole, here); FAIL_INPUT: not a catalog;
 * FAIL_CONFLICT: written by a newer version. */
MUST_CHECK struct catalog *catalog_open(const char *path, struct err *err);
void catalog_close(struct catalog *catalog);
AUTO_CLEANUP(struct catalog, catalog_close);

/* Runs change() with every catalog call in it, on this thread, in one transaction:
 * all of it happens when change() returns true, nothing when it returns false. Nesting is
 * fine: the outermost one counts; inside, return false when a call failed. Do nothing
 * slow in it: others wait. */
MUST_CHECK bool catalog_transaction(struct catalog *catalog,
                                    bool (*change)(void *ctx, struct err *err), void *ctx,
                                    struct err *err);

/* ---- sources and targets ---- */

enum catalog_role { CATALOG_SOURCE, CATALOG_TARGET };

struct catalog_end {
    char name[CATALOG_NAME_BYTES]; /* unique within its role */
    char kind[CATALOG_KIND_BYTES];
    char *options_json;
    uint64_t created_ms;
};

struct catalog_end_list {
    struct catalog_end *items; /* by name */
    size_t count;
};

/* FAIL_CONFLICT: the name is taken. */
MUST_CHECK bool catalog_end_add(struct catalog *catalog, enum catalog_role role,
                                const struct catalog_end *end, struct err *err);
/* FAIL_GONE */
MUST_CHECK bool catalog_end_get(struct catalog *catalog, enum catalog_role role,
                                const char *name, struct catalog_end *ret,
                                struct err *err);
MUST_CHECK bool catalog_end_list(struct catalog *catalog, enum catalog_role role,
                                 struct catalog_end_list *ret, struct err *err);
/* FAIL_GONE; FAIL_CONFLICT names a machine that uses it. */
MUST_CHECK bool catalog_end_remove(struct catalog *catalog, enum catalog_role role,
                                   const char *name, struct err *err);
void catalog_end_release(struct catalog_end *end);
void catalog_end_list_release(struct catalog_end_list *list);

/* ---- machines: those in the list; complete and stop delete the row ---- */

struct catalog_machine {
    struct id id;
    uint64_t version;                /* counts updates: see catalog_machine_update */
    char name[CATALOG_NAME_BYTES];   /* unique */
    char source[CATALOG_NAME_BYTES]; /* must exist */
    char source_key[CATALOG_KEY_BYTES];
    char target[CATALOG_NAME_BYTES]; /* must exist */
    char state[CATALOG_KIND_BYTES];
    char migration[CATALOG_KIND_BYTES]; /* state of the migration; "" none */
    char *status_detail;
    char *def_json;
    char *settings_json; /* what the user chose */
    char *runtime_json;  /* what the vault remembers besides */
    char *wrapped_key;
    struct id key_id;
    uint64_t next_cycle;
    uint64_t recovery_point; /* a cycle; 0: none yet */
    uint64_t recovery_point_ms;
    uint64_t next_cycle_at_ms;
    uint64_t created_ms;
    uint64_t migrated_ms;
    enum err_kind error_kind; /* FAIL_NONE: none */
    char *last_error;
};

struct catalog_machine_list {
    struct catalog_machine *items; /* by name */
    size_t count;
};

/* FAIL_CONFLICT: name or id taken; FAIL_GONE: no such source or target. The version
 * starts at 1, whatever the row says. */
MUST_CHECK bool catalog_machine_insert(struct catalog *catalog,
                                       const struct catalog_machine *row,
                                       struct err *err);
/* FAIL_GONE */
MUST_CHECK bool catalog_machine_get(struct catalog *catalog, const struct id *id,
                                    struct catalog_machine *ret, struct err *err);
/* FAIL_GONE */
MUST_CHECK bool catalog_machine_get_by_name(struct catalog *catalog, const char *name,
                                            struct catalog_machine *ret, struct err *err);
/* The whole row but id and created_ms. row->version must be that of the stored one (then
 * both count up by one), else FAIL_CONFLICT: read it again. FAIL_GONE: deleted, or no
 * such source or target. */
MUST_CHECK bool catalog_machine_update(struct catalog *catalog,
                                       struct catalog_machine *row, struct err *err);
MUST_CHECK bool catalog_machine_list(struct catalog *catalog,
                                     struct catalog_machine_list *ret, struct err *err);
/* With its cycles; jobs and events stay. Not being there is success. */
MUST_CHECK bool catalog_machine_delete(struct catalog *catalog, const struct id *id,
                                       struct err *err);
void catalog_machine_release(struct catalog_machine *row);
void catalog_machine_list_release(struct catalog_machine_list *list);

/* ---- jobs ---- */

enum catalog_job_state {
    CATALOG_JOB_QUEUED,
    CATALOG_JOB_RUNNING,
    CATALOG_JOB_SUCCEEDED,
    CATALOG_JOB_FAILED,
    CATALOG_JOB_CANCELED,
};
const char *catalog_job_state_name(enum catalog_job_state state); /* "queued" ... */

/* Ended jobs beyond this many newer ones are forgotten. */
#define CATALOG_JOBS_KEPT 10000

struct catalog_job {
    uint64_t id;                           /* made by catalog_job_create, ascending */
    struct id machine;                     /* zero: none */
    char machine_name[CATALOG_NAME_BYTES]; /* as it was when the job was made */
    char operation[CATALOG_KIND_BYTES];
    enum catalog_job_state state;
    char step[CATALOG_STEP_BYTES];
    uint64_t progress_done;
    uint64_t progress_total;
    char *options_json;
    char idempotency_key[CATALOG_KEY_BYTES]; /* unique; "" none */
    char who[CATALOG_WHO_BYTES];             /* asked for it */
    char *result_json;
    enum err_kind error_kind;
    char *error_text;
    uint64_t created_ms;
    uint64_t started_ms;
    uint64_t ended_ms;
};

struct catalog_job_list {
    struct catalog_job *items; /* newest first */
    size_t count;
};

struct catalog_job_filter {
    struct id machine;           /* zero: all */
    const char *machine_name;    /* NULL: all; also of machines that are gone */
    const char *idempotency_key; /* NULL: all */
    bool active_only;            /* queued or running */
    uint64_t before_id;          /* 0: from the newest */
    uint64_t limit;              /* 0: no limit */
};

/* *ret_id: of the new job, or of the earlier one with the same idempotency key
 * (*ret_is_new false, nothing changed). FAIL_CONFLICT: the key was used for another
 * machine or operation. job->id is not looked at. */
MUST_CHECK bool catalog_job_create(struct catalog *catalog, const struct catalog_job *job,
                                   uint64_t *ret_id, bool *ret_is_new, struct err *err);
/* State, step, progress, result, error, started and ended; the rest never changes.
 * FAIL_GONE. */
MUST_CHECK bool catalog_job_update(struct catalog *catalog, const struct catalog_job *job,
                                   struct err *err);
/* FAIL_GONE */
MUST_CHECK bool catalog_job_get(struct catalog *catalog, uint64_t id,
                                struct catalog_job *ret, struct err *err);
MUST_CHECK bool catalog_job_list(struct catalog *catalog,
                                 const struct catalog_job_filter *filter,
                                 struct catalog_job_list *ret, struct err *err);
void catalog_job_release(struct catalog_job *job);
void catalog_job_list_release(struct catalog_job_list *list);

/* ---- events ---- */

/* The setting that bounds them, and its value when it is not set. */
#define CATALOG_EVENTS_KEPT_SETTING "events_kept"
#define CATALOG_EVENTS_KEPT         200000

struct catalog_event {
    uint64_t id; /* made by catalog_event_append; ascending, never used twice */
    uint64_t ts_ms;
    struct id machine; /* zero: none */
    char machine_name[CATALOG_NAME_BYTES];
    uint64_t job; /* 0: none */
    char level[CATALOG_KIND_BYTES];
    char event[CATALOG_EVENT_BYTES];
    char who[CATALOG_WHO_BYTES]; /* made it happen */
    char *text;
};

struct catalog_event_list {
    struct catalog_event *items; /* oldest first */
    size_t count;
};

/* Forgets the oldest beyond the bound, at most CATALOG_FORGET_STEP of them: a bound that
 * was lowered takes effect step by step, and no caller waits for all of it. */
#define CATALOG_FORGET_STEP 500
MUST_CHECK bool catalog_event_append(struct catalog *catalog,
                                     const struct catalog_event *event, uint64_t *ret_id,
                                     struct err *err);
/* Those with id > since, oldest first; limit 0: no limit. */
MUST_CHECK bool catalog_event_list(struct catalog *catalog, uint64_t since,
                                   uint64_t limit, struct catalog_event_list *ret,
                                   struct err *err);
/* Forgets the oldest events that are older than before_ms, at most CATALOG_FORGET_STEP.
 * *ret_removed: how many; as many as that: call again. */
MUST_CHECK bool catalog_event_forget(struct catalog *catalog, uint64_t before_ms,
                                     uint64_t *ret_removed, struct err *err);
/* The id of the newest event ever; 0: there was none. */
MUST_CHECK bool catalog_event_last(struct catalog *catalog, uint64_t *ret_id,
                                   struct err *err);
void catalog_event_list_release(struct catalog_event_list *list);

/* ---- settings ---- */

/* malloc'ed; FAIL_GONE when not set. */
MUST_CHECK bool catalog_setting_get(struct catalog *catalog, const char *key,
                                    char **ret_value, struct err *err);
/* NULL: back to not set. */
MUST_CHECK bool catalog_setting_set(struct catalog *catalog, const char *key,
                                    const char *value, struct err *err);

/* ---- cycles ---- */

/* Cycles of a machine beyond this many newer numbers are forgotten. */
#define CATALOG_CYCLES_KEPT 1000

struct catalog_cycle {
    struct id machine; /* must exist; with cycle: the key */
    uint64_t cycle;
    char kind[CATALOG_KIND_BYTES];
    char state[CATALOG_KIND_BYTES];
    uint64_t started_ms;
    uint64_t ended_ms;
    uint64_t snapshot_ms;
    uint64_t planned_bytes;
    uint64_t read_bytes;
    uint64_t zero_bytes;
    uint64_t same_bytes;
    uint64_t sent_bytes;
    uint64_t stored_bytes;
    uint64_t applied_bytes;
    char *error_text;
};

struct catalog_cycle_list {
    struct catalog_cycle *items; /* newest first */
    size_t count;
};

/* Inserts or replaces. FAIL_GONE: no such machine. */
MUST_CHECK bool catalog_cycle_put(struct catalog *catalog,
                                  const struct catalog_cycle *cycle, struct err *err);
/* What a process that died left in state `from` gets state `to` and ended_ms. */
MUST_CHECK bool catalog_cycles_left(struct catalog *catalog, const char *from,
                                    const char *to, uint64_t ended_ms, struct err *err);
MUST_CHECK bool catalog_cycle_list(struct catalog *catalog, const struct id *machine,
                                   uint64_t limit, struct catalog_cycle_list *ret,
                                   struct err *err);
void catalog_cycle_list_release(struct catalog_cycle_list *list);

/* AUTO(catalog_machine_release) struct catalog_machine row = {0}; and the like. */
#define CATALOG_AUTO_RELEASE(type)                                                       \
    static inline void auto_##type##_release(struct type *row)                           \
    {                                                                                    \
        type##_release(row);                                                             \
    }                                                                                    \
    struct defs_require_semicolon
CATALOG_AUTO_RELEASE(catalog_end);
CATALOG_AUTO_RELEASE(catalog_end_list);
CATALOG_AUTO_RELEASE(catalog_machine);
CATALOG_AUTO_RELEASE(catalog_machine_list);
CATALOG_AUTO_RELEASE(catalog_job);
CATALOG_AUTO_RELEASE(catalog_job_list);
CATALOG_AUTO_RELEASE(catalog_event_list);
CATALOG_AUTO_RELEASE(catalog_cycle_list);

#endif
