/* SPDX-License-Identifier: Apache-2.0 */
/* A sorted list of a few dozen: the order in which people see it. */
#include "netpath/seen.h"

#include "base/text.h"

static int compare(const struct seen_entry *entry, enum path_role role, const char *host,
                   uint16_t port)
{
    if (entry->seen.role != role)
        return entry->seen.role < role ? -1 : 1;
    int by_host = strcasecmp(entry->seen.host, host);
    if (by_host)
        return by_host;
    return (entry->seen.port > port) - (entry->seen.port < port);
}

/* The first that is not less. */
static size_t place_of(const struct seen_table *table, enum path_role role,
                       const char *host, uint16_t port)
{
    size_t at = 0;
    while (at < table->count && compare(table->entries[at], role, host, port) < 0)
        at++;
    return at;
}

static void remove_at(struct seen_table *table, size_t at)
{
    free(table->entries[at]);
    table->count--;
    memmove(&table->entries[at], &table->entries[at + 1],
            (table->count - at) * sizeof table->entries[0]);
}

static void remove_oldest(struct seen_table *table)
{
    size_t at = 0;
    for (size_t i = 1; i < table->count; i++)
        if (table->entries[i]->used_at_ms < table->entries[at]->used_at_ms)
            at = i;
    remove_at(table, at);
}

struct seen_entry *seen_find(const struct seen_table *table, enum path_role role,
                             const char *host, uint16_t port)
{
    size_t at = place_of(table, role, host, port);
    bool is_there =
        at < table->count && compare(table->entries[at], role, host, port) == 0;
    return is_there ? table->entries[at] : NULL;
}

struct seen_entry *seen_take(struct seen_table *table, enum path_role role,
                             const char *host, uint16_t port, uint64_t now_ms)
{
    struct seen_entry *entry = seen_find(table, role, host, port);
    if (!entry) {
        if (table->count == SEEN_MAX_ENTRIES)
            remove_oldest(table);
        size_t at = place_of(table, role, host, port);
        memmove(&table->entries[at + 1], &table->entries[at],
                (table->count - at) * sizeof table->entries[0]);
        entry = table->entries[at] = xcalloc(1, sizeof *entry);
        table->count++;
        entry->seen.role = role;
        entry->seen.port = port;
        text_copy(entry->seen.host, sizeof entry->seen.host, host);
        (void)snprintf(entry->url, sizeof entry->url,
                       strchr(host, ':') ? "https://[%s]:%u" : "https://%s:%u", host,
                       port);
    }
    entry->used_at_ms = now_ms;
    return entry;
}

void seen_clear(struct seen_table *table)
{
    while (table->count)
        free(table->entries[--table->count]);
}
