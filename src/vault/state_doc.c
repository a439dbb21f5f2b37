/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doc/states.md out of the tables: pictures in Mermaid, then the tables themselves, so
 * that the page can never say anything else than the code does.
 */
#include "vault/state_table.h"

#include <string.h>

/* The name that needs no condition: the last row of a state. */
static const struct state_text *plain_text(const struct state_text *texts, size_t count,
                                           unsigned state)
{
    const struct state_text *found = texts;
    for (size_t i = 0; i < count; i++)
        if (texts[i].state == state)
            found = &texts[i];
    return found;
}

static void print_status(const struct state_text *text, struct buf *out)
{
    buf_printf(out, "%s%s", *text->status ? text->status : "date and time",
               text->has_percent ? " (x%)" : "");
}

static void print_statuses(const struct state_text *texts, size_t count, struct buf *out)
{
    static const char *const WHEN[] = {
        [SHOWN_ALWAYS] = "",
        [SHOWN_WAITING] = "its next cycle waits for its turn",
        [SHOWN_PROGRESS] = "its cycle has progress to show",
    };
    buf_append_text(out, "| status | name | when |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        buf_append_text(out, "| ");
        print_status(&texts[i], out);
        buf_printf(out, " | `%s` | %s |\n", texts[i].name, WHEN[texts[i].when]);
    }
    buf_put_u8(out, '\n');
}

/* ---- pictures ---- */

static void print_label(unsigned trigger, enum state_guard guard, struct buf *out)
{
    const char *condition = state_guard_text(guard);
    buf_append_text(out, state_trigger_text(trigger));
    if (*condition)
        buf_printf(out, " [%s]", condition);
}

/* One arrow for all rows between the same two states, drawn at the first of them. */
static void draw_arrow(const struct state_move *moves, size_t count, size_t at,
                       struct buf *out)
{
    const struct state_move *move = &moves[at];
    if (move->state == move->next)
        return;
    for (size_t i = 0; i < at; i++)
        if (moves[i].state == move->state && moves[i].next == move->next)
            return;
    buf_printf(out, "    s%u --> s%u: ", (unsigned)move->state, (unsigned)move->next);
    for (size_t i = at; i < count; i++) {
        if (moves[i].state != move->state || moves[i].next != move->next)
            continue;
        if (i != at)
            buf_append_text(out, ", ");
        print_label(moves[i].trigger, moves[i].guard, out);
    }
    buf_put_u8(out, '\n');
}

static void draw_replication(struct buf *out)
{
    size_t count;
    const struct state_move *moves = state_moves(&count);
    buf_append_text(out, "```mermaid\nstateDiagram-v2\n");
    for (unsigned s = 0; s < STATE_COUNT; s++)
        buf_printf(out, "    s%u: %s\n", s, machine_state_name((enum machine_state)s));
    buf_printf(out, "    [*] --> s%u: replicate\n", (unsigned)STATE_QUEUED);
    for (size_t i = 0; i < count; i++)
        draw_arrow(moves, count, i, out);
    buf_printf(out, "    s%u --> [*]\n```\n\n", (unsigned)STATE_GONE);
}

static void draw_migration(struct buf *out)
{
    size_t count;
    const struct migration_move *moves = migration_moves(&count);
    buf_append_text(out, "```mermaid\nstateDiagram-v2\n");
    for (unsigned m = 0; m < MIGRATION_COUNT; m++)
        buf_printf(out, "    m%u: %s\n", m,
                   migration_state_name((enum migration_state)m));
    buf_printf(out, "    any: any state\n    [*] --> m%u\n", (unsigned)MIGRATION_NONE);
    for (size_t i = 0; i < count; i++) {
        if (moves[i].state == MIGRATION_ANY)
            buf_append_text(out, "    any");
        else
            buf_printf(out, "    m%u", (unsigned)moves[i].state);
        buf_printf(out, " --> m%u: ", (unsigned)moves[i].next);
        print_label(moves[i].trigger, moves[i].guard, out);
        buf_put_u8(out, '\n');
    }
    buf_append_text(out, "```\n\n");
}

/* ---- tables ---- */

static void print_moves(struct buf *out)
{
    size_t count, text_count;
    const struct state_move *moves = state_moves(&count);
    const struct state_text *texts = state_texts(&text_count);
    buf_append_text(out, "| state | when | if | then | next state |\n"
                         "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        const struct state_move *m = &moves[i];
        bool is_operation = m->trigger < OP_COUNT;
        buf_append_text(out, "| ");
        print_status(plain_text(texts, text_count, m->state), out);
        buf_printf(out, " | %s%s%s | %s | %s | ", is_operation ? "`" : "",
                   state_trigger_text(m->trigger), is_operation ? "` is asked for" : "",
                   state_guard_text(m->guard), state_action_text(m->action));
        print_status(plain_text(texts, text_count, m->next), out);
        buf_append_text(out, " |\n");
    }
    buf_put_u8(out, '\n');
}

static void print_migration_moves(struct buf *out)
{
    size_t count, text_count;
    const struct migration_move *moves = migration_moves(&count);
    const struct state_text *texts = migration_texts(&text_count);
    buf_append_text(out,
                    "| state | when | if | next state |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        const struct migration_move *m = &moves[i];
        bool is_operation = m->trigger < OP_COUNT;
        buf_append_text(out, "| ");
        if (m->state == MIGRATION_ANY)
            buf_append_text(out, "any");
        else
            print_status(plain_text(texts, text_count, m->state), out);
        buf_printf(out, " | %s%s%s | %s | ", is_operation ? "`" : "",
                   state_trigger_text(m->trigger), is_operation ? "` is asked for" : "",
                   state_guard_text(m->guard));
        print_status(plain_text(texts, text_count, m->next), out);
        buf_append_text(out, " |\n");
    }
    buf_put_u8(out, '\n');
}

static void print_refusals(struct buf *out)
{
    size_t count, text_count;
    const struct state_refusal *refusals = state_refusals(&count);
    const struct state_text *texts = state_texts(&text_count);
    buf_append_text(out, "| state | operation | answer |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        const struct state_refusal *r = &refusals[i];
        bool names_it = strncmp(r->text, "%s", 2) == 0;
        buf_append_text(out, "| ");
        if (r->state == ANY_STATE)
            buf_append_text(out, "any");
        else
            print_status(plain_text(texts, text_count, r->state), out);
        buf_printf(out, " | %s | %s%s |\n",
                   r->operation == ANY_OP ? "any" : operation_name(r->operation),
                   names_it ? "*operation*" : "", names_it ? r->text + 2 : r->text);
    }
}

void state_doc_print(struct buf *out)
{
    size_t count;
    buf_append_text(
        out,
        "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
        "<!-- Made by kedged --print-man=states.md; change src/vault/state_table.c. -->\n"
        "# States of a machine\n\n"
        "A machine has two states side by side: of its replication, and of its test "
        "migration or\nmigration. The status is for people, in the words that users of "
        "Azure Migrate know; the name is\nfor programs (`state` and `migration_state` in "
        "the API) and never changes.\n\n"
        "## Replication status\n\n");
    const struct state_text *texts = state_texts(&count);
    print_statuses(texts, count, out);
    buf_append_text(out, "## Migration status\n\n");
    texts = migration_texts(&count);
    print_statuses(texts, count, out);
    buf_append_text(out, "## Replication: what leads where\n\n");
    draw_replication(out);
    print_moves(out);
    buf_append_text(out,
                    "An event that has no row changes nothing. An operation that has no "
                    "row, or none whose\ncondition holds, is refused.\n\n"
                    "## Migration: what leads where\n\n");
    draw_migration(out);
    print_migration_moves(out);
    buf_append_text(out, "## Refusals\n\nThe first row that matches gives the answer; it "
                         "begins with the machine's status.\n\n");
    print_refusals(out);
}
