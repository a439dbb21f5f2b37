/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands do; each is named in the table of commands.c. */
#ifndef CLI_RUNS_H
#define CLI_RUNS_H

#include "cli/cli.h"

#define RUN(name) MUST_CHECK bool name(struct cli *cli, struct err *err)
RUN(run_init);
RUN(run_source_add);
RUN(run_source_list);
RUN(run_source_check);
RUN(run_source_remove);
RUN(run_target_add);
RUN(run_target_list);
RUN(run_target_remove);
RUN(run_target_check);
RUN(run_target_inventory);
RUN(run_discover);
RUN(run_replicate);
RUN(run_operate); /* the command's name is the operation */
RUN(run_list);
RUN(run_status);
RUN(run_jobs);
RUN(run_job);
RUN(run_events);
RUN(run_plan);
RUN(run_network_check);
RUN(run_network_status);
RUN(run_network_plan);
RUN(run_throttle);
RUN(run_throttle_calendar);
RUN(run_blackout_show);
RUN(run_blackout_set);
RUN(run_blackout_clear);
RUN(run_orphans_list);
RUN(run_orphans_clean);
RUN(run_applier);
RUN(run_keys_status);
RUN(run_keys_rotate); /* rewrap, too */
RUN(run_openapi);
RUN(run_version);
RUN(run_help);
RUN(run_completion);
#undef RUN

/* Of all disks of a machine in an answer. */
uint64_t run_disk_bytes(const json_t *machine);

#endif
