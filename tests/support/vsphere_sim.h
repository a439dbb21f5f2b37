/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated vSphere (sim/) for one test program: started with a configuration, driven
 * over its control port, stopped and removed. Failures of the rig itself end the program;
 * what the machine lacks (python3, go) ends it with 77 and the reason.
 */
#ifndef SUPPORT_VSPHERE_SIM_H
#define SUPPORT_VSPHERE_SIM_H

#include "http/json.h"
#include "vsphere/vim.h"

struct vsphere_sim;

/* config: JSON text as in sim/README.md. */
struct vsphere_sim *vsphere_sim_start(const char *config);
void vsphere_sim_stop(struct vsphere_sim *sim);

const char *vsphere_sim_url(const struct vsphere_sim *sim);
const char *vsphere_sim_user(const struct vsphere_sim *sim);
const struct secret *vsphere_sim_password(const struct vsphere_sim *sim);
const uint8_t *vsphere_sim_pin(const struct vsphere_sim *sim);
const char *vsphere_sim_dir(const struct vsphere_sim *sim); /* its run folder */

/* A session; must succeed. */
struct vim *vsphere_sim_login(const struct vsphere_sim *sim);

/* One control call that must succeed; body is JSON text or NULL. The caller drops it. */
json_t *vsphere_sim_control(struct vsphere_sim *sim, const char *method, const char *path,
                            const char *body);
/* POST without an interest in the answer. */
void vsphere_sim_do(struct vsphere_sim *sim, const char *path, const char *body);

/* The vCenter simulator of the govmomi library, built into build_dir:
 * tests/support/vcsim, or vcsim-cbt/main.go of the folder KEDGE_VCSIM_DIR, which adds
 * change tracking. */
struct vcsim;
struct vcsim *vcsim_start(const char *build_dir);
void vcsim_stop(struct vcsim *vcsim);
const char *vcsim_url(const struct vcsim *vcsim);
bool vcsim_has_tracking(const struct vcsim *vcsim);

#endif
