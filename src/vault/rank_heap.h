/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary heap of nodes that lie in their owners and know their place, so that any of
 * them can be taken out: add, take and drop are O(log n), the first is O(1). Pure; one
 * thread at a time.
 */
#ifndef VAULT_RANK_HEAP_H
#define VAULT_RANK_HEAP_H

#include "base/defs.h"

struct rank_node {
    void *owner; /* set by whoever embeds it */
    size_t at;   /* place in the heap, from 1; 0: in no heap */
};

/* Whether a goes before b: a strict order, in which no two owners are equal. */
typedef bool (*rank_before)(const void *a, const void *b);

struct rank_heap {
    struct rank_node **nodes; /* nodes[0] is not used */
    size_t count;
    size_t cap;
};

void rank_heap_release(struct rank_heap *heap);

/* node is in no heap. */
void rank_heap_add(struct rank_heap *heap, struct rank_node *node, rank_before before);

/* node is in this heap. */
void rank_heap_drop(struct rank_heap *heap, struct rank_node *node, rank_before before);

/* The owner that goes before all others; NULL when the heap is empty. */
void *rank_heap_first(const struct rank_heap *heap);

#endif
