/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test VMs: a snapshot of every replica disk, disks imported from them, cards in the test
 * network, a VM. The replica takes recovery points again as soon as the snapshots are
 * there. A test that cannot be made is taken back as a whole; what of it cannot be
 * removed now stays in the layout, and the next clean-up goes on with it.
 */
#include "target/azure_target.h"

#include "base/log.h"
#include "base/text.h"

/* "isolated" is what is meant when nobody says anything. */
static bool check_network(const struct test_options *options, struct err *err)
{
    const char *network = options->network;
    return !azure_is_given(network) || strcmp(network, "isolated") == 0 ||
           err_set(err, FAIL_INPUT,
                   "network '%.60s': the network of tests is the target's "
                   "(test_network_id); choose a subnet of it in the machine settings",
                   network);
}

static bool check_test(struct azure *azure, struct azure_layout *layout,
                       const struct test_options *options, struct err *err)
{
    const struct machine_def *machine = &layout->machine;
    if (azure_layout_is_migrated(layout))
        return err_set(err, FAIL_CONFLICT,
                       "machine '%s' was migrated: its VM in Azure may have run",
                       machine->name);
    if (azure_layout_test(layout, options->test_name))
        return err_set(err, FAIL_CONFLICT,
                       "test '%s' of machine '%s' exists; clean it up first, or choose "
                       "another name",
                       options->test_name, machine->name);
    for (size_t i = 0; i < machine->disk_count; i++) {
        if (layout->disks[i].kind == AZURE_UPLOAD)
            return err_set(err, FAIL_CONFLICT,
                           "disk %zu of machine '%s' is uploaded straight into a managed "
                           "disk, which can't be looked at before its upload ends; "
                           "replicate it anew as a page blob (up to 8 TiB), or migrate "
                           "without a test",
                           i, machine->name);
        if (!layout->disks[i].is_made)
            return err_set(err, FAIL_CONFLICT,
                           "the replica of machine '%s' is not made yet", machine->name);
    }
    if (azure_is_open(azure, machine, true))
        return err_set(err, FAIL_CONFLICT,
                       "a cycle is being applied to machine '%s'; try again when it is "
                       "done",
                       machine->name);
    return layout->test_count < AZURE_MAX_TESTS ||
           err_set(err, FAIL_LIMIT, "machine '%s' has %d tests; clean one up first",
                   machine->name, AZURE_MAX_TESTS);
}

static void describe(const struct azure_layout *layout, const struct azure_set *set,
                     struct vm_info *info)
{
    text_copy(info->name, sizeof info->name, arm_id_name(set->vm_id));
    info->disk_count = layout->machine.disk_count;
    for (size_t i = 0; i < info->disk_count; i++)
        text_copy(info->disk_paths[i], sizeof info->disk_paths[i], set->disk_ids[i]);
}

/* Under the hold: the point in time. *ret: a copy of the layout as it is then, in which
 * the test is the last one. */
static bool freeze(struct azure *azure, const struct machine_def *machine,
                   const struct azure_wish *wish, const struct test_options *options,
                   struct azure_layout **ret, struct err *err)
{
    AZURE_HOLD(azure, machine);
    AUTO(azure_layout_free)
    struct azure_layout *layout = azure_open_layout(azure, machine, err);
    if (!layout || !check_test(azure, layout, options, err))
        return false;
    struct azure_set *set = &layout->tests[layout->test_count];
    struct azure_build build = {.azure = azure, .layout = layout, .set = set};
    if (!azure_set_name(azure, layout, wish, options->test_name, set, err))
        return false;
    layout->test_count++;
    if (!azure_save(azure, layout, err))
        return false;
    if (azure_set_freeze(&build, err)) {
        *ret = TAKE(layout);
        return true;
    }
    struct err second = ERR_INIT; /* the first failure is the one to tell */
    if (!azure_set_remove(azure, layout, set, &second))
        log_debug("test_left", "vm=%s text=\"%s\"", arm_id_name(set->vm_id), second.text);
    return false;
}

/* Without a hold: cycles go on meanwhile, and the layout names all of it already. */
static bool make(struct azure_build *build, const struct test_options *options,
                 struct vm_info *info, struct err *err)
{
    const struct azure_layout *layout = build->layout;
    describe(layout, build->set, info);
    return azure_set_make(build, options->start, err) &&
           (!options->start ||
            azure_prove(build->azure, &layout->machine, build->set->vm_id, options,
                        build->cancel, info, err));
}

bool azure_test_start(struct target *target, const struct machine_def *machine,
                      const struct test_options *options, const struct cancel *cancel,
                      struct vm_info *ret, struct err *err)
{
    struct azure *azure = (struct azure *)target;
    char size[AZURE_SIZE_BYTES];
    AUTO(azure_layout_free) struct azure_layout *layout = NULL;
    AUTO(free) struct vm_info *info = xcalloc(1, sizeof *info);
    if (!azure_check_machine(machine, err) ||
        !text_check_name("test", options->test_name, err) || !check_network(options, err))
        return false;
    AUTO(free) struct azure_wish *wish = azure_wish_read(&azure->options, machine, err);
    if (!wish || !azure_size_name(azure, wish, machine, size, err) ||
        !freeze(azure, machine, wish, options, &layout, err))
        return false;
    if (options->on_cloned)
        options->on_cloned(options->on_cloned_ctx);
    struct azure_build build = {.azure = azure,
                                .layout = layout,
                                .set = &layout->tests[layout->test_count - 1],
                                .wish = wish,
                                .cancel = cancel};
    text_copy(build.size, sizeof build.size, size);
    if (make(&build, options, info, err)) {
        *ret = *info;
        return true;
    }
    struct err second = ERR_INIT; /* the first failure is the one to tell */
    if (!azure_test_cleanup(target, machine, options->test_name, &second))
        log_debug("test_left", "vm=%s text=\"%s\"", info->name, second.text);
    return false;
}

bool azure_test_cleanup(struct target *target, const struct machine_def *machine,
                        const char *test_name, struct err *err)
{
    struct azure *azure = (struct azure *)target;
    struct err why = ERR_INIT;
    if (!azure_check_machine(machine, err) || !text_check_name("test", test_name, err))
        return false;
    AZURE_HOLD(azure, machine);
    AUTO(azure_layout_free)
    struct azure_layout *layout = azure_open_layout(azure, machine, &why);
    if (!layout && why.kind == FAIL_GONE)
        return true;
    if (!layout) {
        *err = why;
        return false;
    }
    struct azure_set *set = azure_layout_test(layout, test_name);
    return !set || azure_set_remove(azure, layout, set, err) ||
           err_wrap(err, "test '%s'", test_name);
}
