/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated Azure (sim/) for one test program: started with a configuration, driven
 * over its control port, stopped and removed. Failures of the rig itself end the program;
 * what the machine lacks (python3) ends it with 77 and the reason. Its path is given by
 * the build: -DKEDGE_AZURE_SIM. KEDGE_AZURE_RECORD names a folder where it puts every
 * exchange, to be validated (tests/sim/test_azure_client.py).
 */
#ifndef SUPPORT_AZURE_SIM_H
#define SUPPORT_AZURE_SIM_H

#include "http/json.h"

struct azure_sim;

/* config: JSON text as in sim/README.md. */
struct azure_sim *azure_sim_start(const char *config);
void azure_sim_stop(struct azure_sim *sim);

const char *azure_sim_url(const struct azure_sim *sim);
const char *azure_sim_subscription(const struct azure_sim *sim);
const char *azure_sim_certificate(const struct azure_sim *sim); /* PEM, its own CA */
const char *azure_sim_dir(const struct azure_sim *sim);         /* its run folder */
/* A client-secret credential file of that client ("kedge" unless configured). */
const char *azure_sim_credential(struct azure_sim *sim, const char *client,
                                 const char *secret);

/* One control call that must succeed; body is JSON text or NULL. The caller drops it. */
json_t *azure_sim_control(struct azure_sim *sim, const char *method, const char *path,
                          const char *body);
/* POST without an interest in the answer. */
void azure_sim_do(struct azure_sim *sim, const char *path, const char *body);
/* How many resources requests have made and not removed. */
size_t azure_sim_made(struct azure_sim *sim);

#endif
