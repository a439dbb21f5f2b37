/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: H1 nodes[i]->at == i; H2 no node goes before its parent nodes[i / 2].
 */
#include "vault/rank_heap.h"

#include <assert.h>
#include <stdlib.h>

void rank_heap_release(struct rank_heap *heap)
{
    free(heap->nodes);
    *heap = (struct rank_heap){0};
}

static void put(struct rank_heap *heap, size_t at, struct rank_node *node)
{
    heap->nodes[at] = node;
    node->at = at;
}

static void rise(struct rank_heap *heap, struct rank_node *node, rank_before before)
{
    size_t at = node->at;
    while (at > 1 && before(node->owner, heap->nodes[at / 2]->owner)) {
        put(heap, at, heap->nodes[at / 2]);
        at /= 2;
    }
    put(heap, at, node);
}

static void sink(struct rank_heap *heap, struct rank_node *node, rank_before before)
{
    size_t at = node->at;
    for (;;) {
        size_t child = at * 2;
        if (child > heap->count)
            break;
        if (child < heap->count &&
            before(heap->nodes[child + 1]->owner, heap->nodes[child]->owner))
            child++;
        if (!before(heap->nodes[child]->owner, node->owner))
            break;
        put(heap, at, heap->nodes[child]);
        at = child;
    }
    put(heap, at, node);
}

void rank_heap_add(struct rank_heap *heap, struct rank_node *node, rank_before before)
{
    assert(node->at == 0);
    if (heap->count + 2 > heap->cap) {
        heap->cap = MAX_OF(heap->cap * 2, (size_t)8);
        heap->nodes = xrealloc(heap->nodes, heap->cap, sizeof(struct rank_node *));
    }
    put(heap, ++heap->count, node);
    rise(heap, node, before);
}

void rank_heap_drop(struct rank_heap *heap, struct rank_node *node, rank_before before)
{
    size_t at = node->at;
    assert(at && at <= heap->count && heap->nodes[at] == node);
    struct rank_node *last = heap->nodes[heap->count--];
    node->at = 0;
    if (last == node)
        return;
    put(heap, at, last);
    rise(heap, last, before);
    sink(heap, last, before);
}

void *rank_heap_first(const struct rank_heap *heap)
{
    return heap->count ? heap->nodes[1]->owner : NULL;
}
