/* SPDX-License-Identifier: Apache-2.0 */
#include "admission_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KINDS     4
#define MAX_NEEDS 64

struct thing {
    unsigned kind;
    char name[300];
    uint32_t limit, used;
    size_t holders;
    bool is_reserved;
    enum admission_gate gate; /* of gateways: kind 2 */
};

struct shadow {
    enum { ABSENT, WAITING, RUNNING } state;
    char machine[128];
    unsigned rank;
    uint64_t due_ms, order, sequence;
    bool is_exempt;
    size_t gateway; /* thing + 1; 0: none */
    size_t need_count;
    struct {
        size_t thing;
        uint32_t count;
    } needs[MAX_NEEDS];
};

struct oracle {
    struct admission_limits limits;
    struct shadow *items;
    size_t count;
    struct thing *things;
    size_t thing_count;
    size_t *buckets; /* of names: thing + 1 */
    size_t bucket_count;
    uint64_t sequence;
    uint32_t peak_pct[KINDS];
};

struct oracle *oracle_new(const struct admission_limits *limits, size_t items)
{
    struct oracle *o = xcalloc(1, sizeof *o);
    o->limits = *limits;
    o->count = items;
    o->items = xcalloc(items, sizeof *o->items);
    o->bucket_count = 8 * items + 1024;
    o->buckets = xcalloc(o->bucket_count, sizeof *o->buckets);
    o->things = xcalloc(o->bucket_count, sizeof *o->things);
    return o;
}

void oracle_free(struct oracle *o)
{
    free(o->things);
    free(o->buckets);
    free(o->items);
    free(o);
}

static size_t thing_of(struct oracle *o, unsigned kind, const char *site,
                       const char *name)
{
    char full[300];
    uint64_t hash = kind + 1;
    (void)snprintf(full, sizeof full, "%s/%s", site, name);
    for (const char *c = full; *c; c++)
        hash = hash * 31 + (unsigned char)*c;
    size_t at = hash % o->bucket_count;
    for (; o->buckets[at]; at = (at + 1) % o->bucket_count) {
        struct thing *t = &o->things[o->buckets[at] - 1];
        if (t->kind == kind && strcmp(t->name, full) == 0)
            return o->buckets[at] - 1;
    }
    assert_true(o->thing_count + 1 < o->bucket_count);
    struct thing *t = &o->things[o->thing_count];
    const uint32_t limits[KINDS] = {o->limits.datastore_snapshots, o->limits.host_disks,
                                    o->limits.gateway_disks, o->limits.gateway_cycles};
    t->kind = kind;
    t->limit = limits[kind] ? limits[kind] : UINT32_MAX;
    (void)snprintf(t->name, sizeof t->name, "%s", full);
    o->buckets[at] = ++o->thing_count;
    return o->thing_count - 1;
}

void oracle_set_gate(struct oracle *o, const char *gateway, enum admission_gate gate)
{
    o->things[thing_of(o, 2, "", gateway)].gate = gate;
}

static void add_need(struct shadow *s, size_t thing, uint32_t count)
{
    assert_true(s->need_count < MAX_NEEDS);
    s->needs[s->need_count].thing = thing;
    s->needs[s->need_count++].count = count;
}

static int text_compare(const void *a, const void *b)
{
    return strcmp(((const struct admission_datastore *)a)->name,
                  ((const struct admission_datastore *)b)->name);
}

void oracle_offer(struct oracle *o, size_t id, const struct admission_request *r)
{
    struct shadow *s = &o->items[id];
    struct admission_datastore sorted[MAX_NEEDS];
    assert_int_equal(s->state, ABSENT);
    *s = (struct shadow){.state = WAITING,
                         .due_ms = r->due_ms,
                         .order = r->order,
                         .sequence = o->sequence++,
                         .is_exempt = r->is_blackout_exempt};
    (void)snprintf(s->machine, sizeof s->machine, "%s", r->machine);
    /* The rule in words: on-demand; what failed too often last; ongoing before new;
     * initial before delta. */
    if (r->class == SCHED_ON_DEMAND)
        s->rank = r->is_ongoing ? 1 : 2;
    else if (r->failures > 3)
        s->rank = 9;
    else if (r->is_ongoing)
        s->rank = r->class == SCHED_INITIAL ? 3 : 4;
    else
        s->rank = r->class == SCHED_INITIAL ? 5 : 6;
    for (size_t i = 0; i < r->datastore_count; i++)
        sorted[i] = r->datastores[i];
    if (r->datastore_count)
        qsort(sorted, r->datastore_count, sizeof *sorted, text_compare);
    for (size_t i = 0; i < r->datastore_count; i++) {
        if (*sorted[i].name && sorted[i].disks)
            add_need(s, thing_of(o, 0, r->site, sorted[i].name), sorted[i].disks);
    }
    if (*r->host && r->disk_count)
        add_need(s, thing_of(o, 1, r->site, r->host), r->disk_count);
    if (!*r->gateway)
        return;
    s->gateway = thing_of(o, 2, "", r->gateway) + 1;
    if (r->disk_count)
        add_need(s, s->gateway - 1, r->disk_count);
    add_need(s, thing_of(o, 3, "", r->gateway), 1);
}

void oracle_withdraw(struct oracle *o, size_t id)
{
    assert_int_equal(o->items[id].state, WAITING);
    o->items[id].state = ABSENT;
}

static bool gate_lets(const struct oracle *o, const struct shadow *s)
{
    if (!s->gateway)
        return true;
    enum admission_gate gate = o->things[s->gateway - 1].gate;
    return gate == GATE_OPEN || (gate == GATE_BLACKOUT && s->is_exempt);
}

static bool fits(const struct thing *t, uint32_t count)
{
    return t->used + (uint64_t)count <= t->limit || (count > t->limit && t->used == 0);
}

static int shadow_compare(const void *a, const void *b)
{
    const struct shadow *x = *(struct shadow *const *)a, *y = *(struct shadow *const *)b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->due_ms != y->due_ms)
        return x->due_ms < y->due_ms ? -1 : 1;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->sequence < y->sequence ? -1 : 1;
}

/* The first, in order, whom neither a full resource nor somebody before him holds up. */
static struct shadow *first_startable(struct oracle *o, uint64_t now_ms)
{
    struct shadow **due = xcalloc(o->count + 1, sizeof *due);
    struct shadow *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < o->count; i++) {
        struct shadow *s = &o->items[i];
        if (s->state == WAITING && s->due_ms <= now_ms && gate_lets(o, s))
            due[count++] = s;
    }
    qsort(due, count, sizeof *due, shadow_compare);
    for (size_t i = 0; i < o->thing_count; i++)
        o->things[i].is_reserved = false;
    for (size_t i = 0; i < count && !found; i++) {
        size_t n = 0;
        while (n < due[i]->need_count && !o->things[due[i]->needs[n].thing].is_reserved &&
               fits(&o->things[due[i]->needs[n].thing], due[i]->needs[n].count))
            n++;
        if (n == due[i]->need_count)
            found = due[i];
        else
            for (size_t k = 0; k <= n; k++)
                o->things[due[i]->needs[k].thing].is_reserved = true;
    }
    free(due);
    return found;
}

void oracle_start(struct oracle *o, size_t id, uint64_t now_ms, bool is_cheap)
{
    struct shadow *s = &o->items[id];
    assert_int_equal(s->state, WAITING);
    if (s->due_ms > now_ms)
        fail_msg("'%s' started %llu ms before it was due", s->machine,
                 (unsigned long long)(s->due_ms - now_ms));
    if (!gate_lets(o, s))
        fail_msg("'%s' started behind a closed gate at %llu", s->machine,
                 (unsigned long long)now_ms);
    for (size_t i = 0; i < s->need_count; i++) {
        struct thing *t = &o->things[s->needs[i].thing];
        if (!fits(t, s->needs[i].count))
            fail_msg("'%s': limit %u of resource '%s' exceeded: %u + %u", s->machine,
                     t->limit, t->name, t->used, s->needs[i].count);
    }
    if (!is_cheap) {
        struct shadow *first = first_startable(o, now_ms);
        if (first != s)
            fail_msg("'%s' (rank %u, due %llu) started before '%s' (rank %u, due %llu)",
                     s->machine, s->rank, (unsigned long long)s->due_ms,
                     first ? first->machine : "nobody", first ? first->rank : 0,
                     (unsigned long long)(first ? first->due_ms : 0));
    }
    for (size_t i = 0; i < s->need_count; i++) {
        struct thing *t = &o->things[s->needs[i].thing];
        t->used += s->needs[i].count;
        t->holders++;
        if (t->used <= t->limit && t->limit != UINT32_MAX) {
            uint32_t pct = t->used * 100 / t->limit;
            if (pct > o->peak_pct[t->kind])
                o->peak_pct[t->kind] = pct;
        }
    }
    s->state = RUNNING;
}

void oracle_end(struct oracle *o, size_t id)
{
    struct shadow *s = &o->items[id];
    assert_int_equal(s->state, RUNNING);
    for (size_t i = 0; i < s->need_count; i++) {
        o->things[s->needs[i].thing].used -= s->needs[i].count;
        o->things[s->needs[i].thing].holders--;
    }
    s->state = ABSENT;
}

void oracle_quiet(struct oracle *o, uint64_t now_ms)
{
    struct shadow *s = first_startable(o, now_ms);
    if (s)
        fail_msg("'%s' could start at %llu and was forgotten", s->machine,
                 (unsigned long long)now_ms);
}

bool oracle_is_waiting(const struct oracle *o, size_t id)
{
    return o->items[id].state == WAITING;
}

bool oracle_is_running(const struct oracle *o, size_t id)
{
    return o->items[id].state == RUNNING;
}

uint64_t oracle_due_ms(const struct oracle *o, size_t id)
{
    return o->items[id].due_ms;
}

size_t oracle_running(const struct oracle *o)
{
    size_t count = 0;
    for (size_t i = 0; i < o->count; i++)
        count += o->items[i].state == RUNNING;
    return count;
}

uint32_t oracle_peak_pct(const struct oracle *o, unsigned kind)
{
    return o->peak_pct[kind];
}
