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
RUN(run_discover);
RUN(run_replicate);
RUN(run_operate); /* the command's name is the operation */
RUN(run_list);
RUN(run_status);
RUN(run_jobs);
RUN(run_job);
RUN(run_events);
RUN(run_throttle);
RUN(run_openapi);
RUN(run_version);
RUN(run_help);
RUN(run_completion);
#undef RUN

#endif
