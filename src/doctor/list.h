/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of a configuration, gathered for the doctor: each once, with those that
 * follow from others (a store by Entra ID needs the issuer of its tokens). Owns its
 * texts. One thread.
 */
#ifndef DOCTOR_LIST_H
#define DOCTOR_LIST_H

#include "doctor/doctor.h"

struct doctor_list {
    size_t count;
    struct doctor_target items[DOCTOR_MAX_TARGETS];
    /* Internal. */
    char **texts;
    uint8_t **pins;
    size_t text_count, pin_count;
};

void doctor_list_release(struct doctor_list *list);
static inline void auto_doctor_list_release(struct doctor_list *list)
{
    doctor_list_release(list);
}

/* address: of a store; one that is no "blob:" is not on the network and left out.
 * credential_file: "" or NULL: none. A list that is full takes no more. */
void doctor_list_add_store(struct doctor_list *list, enum path_role role,
                           const char *label, const char *address,
                           const char *credential_file);
/* url with or without a path, which is cut off; ca_file, pin: NULL. */
void doctor_list_add_https(struct doctor_list *list, enum path_role role,
                           const char *label, const char *url, const char *ca_file,
                           const uint8_t *pin);

/* Any port of a host. */
void doctor_list_add_port(struct doctor_list *list, enum path_role role,
                          const char *label, const char *host, uint16_t port);

/* A vault of keys; credential_file as of a store. */
void doctor_list_add_keys(struct doctor_list *list, const char *url,
                          const char *credential_file);

struct doctor_arm {
    const char *label, *credential_file, *subscription, *resource_group;
    const char *endpoint; /* NULL: the cloud's */
};
/* ARM itself, its token issuer, and for all stores of the list the place to ask about
 * their accounts, unless they have one: so after the stores. */
void doctor_list_add_arm(struct doctor_list *list, const struct doctor_arm *arm);

/* Keeps only those of the role. */
void doctor_list_keep(struct doctor_list *list, enum path_role role);

#endif
