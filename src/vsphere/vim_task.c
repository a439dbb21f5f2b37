/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks: started, followed by property updates, their errors through the fault table. */
#include "vsphere/vim_task.h"

#include "base/text.h"
#include "vsphere/vim_soap.h"
#include "vsphere/vim_start.h"
#include "vsphere/vim_watch.h"

#define WAIT_DEADLINE_MS (30ull * 60 * 1000)

struct task_watch {
    struct vim_wait *wait;
    const struct wire_TaskProperties *properties;
};

static bool is_state(const struct wire_TaskProperties *properties, const char *state)
{
    return properties->info && properties->info->state &&
           strcmp(properties->info->state, state) == 0;
}

static enum vim_watch_next on_change(void *arg)
{
    struct task_watch *task = arg;
    const struct wire_TaskInfo *info = task->properties->info;
    if (info && info->progress.is_set && info->progress.value >= 0 &&
        info->progress.value <= 100 &&
        (unsigned)info->progress.value != task->wait->percent) {
        task->wait->percent = (unsigned)info->progress.value;
        if (task->wait->on_progress)
            task->wait->on_progress(task->wait->arg, task->wait->percent);
    }
    return is_state(task->properties, "success") || is_state(task->properties, "error")
               ? VIM_WATCH_DONE
               : VIM_WATCH_ON;
}

uint64_t vim_wait_deadline_ms(const struct vim_wait *wait)
{
    return wait && wait->deadline_ms ? wait->deadline_ms : WAIT_DEADLINE_MS;
}

bool vim_task_wait(struct vim *vim, const struct vim_ref *task, struct vim_wait *wait,
                   struct vim_ref *ret_result, struct err *err)
{
    struct vim_wait plain = {0};
    if (!wait)
        wait = &plain;
    wait->task = *task;
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct wire_TaskProperties properties = {0};
    struct task_watch state = {.wait = wait, .properties = &properties};
    struct vim_watch watch = {
        .object = &wait->task,
        .properties = wire_type_TaskProperties(),
        .ret = &properties,
        .arena = &arena,
        .deadline_ms = vim_wait_deadline_ms(wait),
        .cancel = wait->cancel,
        .on_change = on_change,
        .arg = &state,
    };
    if (!vim_watch_run(vim, &watch, err))
        return err_wrap(err, "task '%s' (%u %%)", wait->task.id, wait->percent);
    if (is_state(&properties, "error")) {
        struct wire_LocalizedMethodFault unknown = {0};
        return vim_soap_fault(err, wait->task.id,
                              properties.info->error ? properties.info->error : &unknown);
    }
    if (ret_result)
        *ret_result = properties.info->result;
    return true;
}

bool vim_task_cancel(struct vim *vim, const struct vim_ref *task,
                     const struct cancel *cancel, struct err *err)
{
    struct wire_CancelTask args = {._this = *task};
    struct vim_call call = {
        .type = wire_type_CancelTask(),
        .args = &args,
        .cancel = cancel,
    };
    return vim_call_send(vim, &call, err);
}

bool vim_start(struct vim *vim, struct vim_call *call, struct vim_wait *wait,
               struct vim_ref *ret_result, struct err *err)
{
    struct vim_ref task = {0};
    if (wait) {
        wait->task = (struct vim_ref){0};
        wait->percent = 0;
        call->cancel = wait->cancel;
    }
    return vim_call_ref(vim, call, &task, err) &&
           (vim_task_wait(vim, &task, wait, ret_result, err) ||
            err_wrap(err, "%s", call->type->name));
}
