/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines and jobs to and from the catalog. Functions that write a machine's row want
 * change_lock held (but record_machine_remove and record_dirty, which take it).
 */
#ifndef VAULT_RECORDS_H
#define VAULT_RECORDS_H

#include "vault/vault_impl.h"

/* The row of the machine with these states; caller holds lock, releases the row. */
void record_row_locked(const struct machine *machine, const struct machine_facts *facts,
                       struct catalog_machine *row);
/* The new machine, not yet in the list. */
MUST_CHECK bool record_machine_insert(struct vault *vault, struct machine *machine,
                                      struct err *err);
/* From memory. A failure leaves the machine dirty. */
MUST_CHECK bool record_machine(struct vault *vault, struct machine *machine,
                               struct err *err);
/* The same for those who go on in any case: logs a failure. */
void record_machine_or_later(struct vault *vault, struct machine *machine);

struct job_end {
    enum catalog_job_state state;
    const struct err *failure; /* NULL: none */
};
/* end NULL: the job is still active. */
MUST_CHECK bool record_job(struct vault *vault, const struct job *job,
                           const struct job_end *end, struct err *err);

#endif
