/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of admission said once more, in the plainest way: a list of all items, sorted
 * for each question. Tests tell it what the real one did; it fails them when that breaks
 * a limit, overtakes somebody, ignores a gate, or forgets somebody who could run.
 */
#ifndef TESTS_ADMISSION_ORACLE_H
#define TESTS_ADMISSION_ORACLE_H

#include "vault/admission.h"

struct oracle;

struct oracle *oracle_new(const struct admission_limits *limits, size_t items);
void oracle_free(struct oracle *oracle);

void oracle_set_gate(struct oracle *oracle, const char *gateway,
                     enum admission_gate gate);
void oracle_offer(struct oracle *oracle, size_t id, const struct admission_request *r);
void oracle_withdraw(struct oracle *oracle, size_t id);
/* Fails unless the item had to be the next one to start at now_ms. is_cheap: limits and
 * gates only. */
void oracle_start(struct oracle *oracle, size_t id, uint64_t now_ms, bool is_cheap);
void oracle_end(struct oracle *oracle, size_t id);
/* Fails when an item could start at now_ms. */
void oracle_quiet(struct oracle *oracle, uint64_t now_ms);

bool oracle_is_waiting(const struct oracle *oracle, size_t id);
bool oracle_is_running(const struct oracle *oracle, size_t id);
uint64_t oracle_due_ms(const struct oracle *oracle, size_t id);
size_t oracle_running(const struct oracle *oracle);
/* The most that was ever used of any resource of this kind, in percent of its limit, with
 * those who ran alone left out. 0 datastore, 1 host, 2 gateway, 3 cycles */
uint32_t oracle_peak_pct(const struct oracle *oracle, unsigned kind);

#endif
