/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a target: what would go wrong there, and what of ours it holds. */
#include "vault/vault_impl.h"

json_t *vault_target_check(struct vault *vault, const char *name, struct err *err)
{
    AUTO(findings_release) struct findings findings = {0};
    struct target *target = ends_target(vault, name, err);
    if (!target || !target_check(target, NULL, &findings, err))
        return NULL;
    return view_findings(&findings);
}

static bool add_thing(void *ctx, const struct target_thing *thing, struct err *err)
{
    json_t *list = ctx, *view = json_object();
    (void)err;
    json_put_text(view, "kind", thing->kind);
    json_put_text(view, "name", thing->name);
    json_put_text(view, "id", thing->id);
    json_put_text(view, "machine", thing->machine);
    json_put_text(view, "machine_id", thing->machine_id);
    json_put_text(view, "role", thing->role);
    json_put_text(view, "state", thing->state);
    json_put_u64(view, "size_bytes", thing->size_bytes);
    json_put_u64(view, "allocated_bytes", thing->allocated_bytes);
    json_put_bool(view, "known", thing->is_known);
    if (json_array_append_new(list, view) != 0)
        abort(); /* out of memory */
    return true;
}

json_t *vault_target_inventory(struct vault *vault, const char *name, struct err *err)
{
    struct target *target = ends_target(vault, name, err);
    json_t *view = json_object(), *list = json_array();
    json_put_take(view, "things", list);
    if (target && target_inventory(target, add_thing, list, err))
        return view;
    json_decref(view);
    return NULL;
}
