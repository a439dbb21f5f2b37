/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is behind a call. The API answers each connection in a thread of its own and says
 * there whom it let in; passing a name through every call down to each event would put it
 * into some forty signatures that do nothing with it.
 */
#include "base/text.h"
#include "vault/vault_impl.h"

static _Thread_local char who_calls[CATALOG_WHO_BYTES];

void vault_act_as(const char *who)
{
    text_copy(who_calls, sizeof who_calls, who);
}

const char *audit_who(void)
{
    return who_calls[0] ? who_calls : "kedged";
}

bool audit_moved(const struct machine_facts *before, const struct machine_facts *after,
                 struct buf *out)
{
    if (before->state != after->state)
        buf_printf(out, "%s -> %s", machine_state_name(before->state),
                   machine_state_name(after->state));
    if (before->migration != after->migration)
        buf_printf(out, "%smigration %s -> %s", out->bytes ? ", " : "",
                   migration_state_name(before->migration),
                   migration_state_name(after->migration));
    return out->bytes > 0;
}

void audit_asked(struct vault *vault, const struct machine *machine,
                 const struct job *job, const struct machine_facts moves[2])
{
    AUTO(buf_release) struct buf options = {0}, text = {0};
    if (json_object_size(job->options))
        json_print(job->options, &options);
    bool is_moved = audit_moved(&moves[0], &moves[1], &text);
    vault_event(vault, machine, job, "info", "operation_asked", "%s%s%s%s%s",
                operation_name(job->operation), options.bytes ? " " : "",
                buf_text(&options), is_moved ? "; " : "", buf_text(&text));
}

void audit_refused(struct vault *vault, const char *machine, const char *what,
                   const struct err *why)
{
    vault_event(vault, NULL, NULL, "warning", "operation_refused", "%s of '%s': %s", what,
                machine, why->text);
}
