/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key material and passwords: fixed storage, locked in memory where allowed, kept out of
 * core files, wiped on release, compared in constant time. There is no formatter on
 * purpose.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/err.h"

#define SECRET_MAX_BYTES 4088 /* access tokens; with its length one page */

struct secret {
    uint8_t data[SECRET_MAX_BYTES];
    size_t bytes;
};

MUST_CHECK struct secret *secret_new(const void *data, size_t data_bytes);
void secret_free(struct secret *secret); /* wipes; NULL is fine */
AUTO_CLEANUP(struct secret, secret_free);

/* First line of a file that only its owner may read (mode 0600 or stricter, else
 * FAIL_AUTH). */
MUST_CHECK struct secret *secret_read_file(const char *path, struct err *err);

/*
 * By reference: "cred:NAME", a credential that systemd gives to this service (the file
 * NAME in $CREDENTIALS_DIRECTORY, systemd.exec(5)), or the path of a file as above.
 * FAIL_INPUT: a name with '/', or this is no service with credentials.
 */
MUST_CHECK struct secret *secret_read(const char *reference, struct err *err);

/* "cred:NAME" with a plain name, or an absolute path; FAIL_INPUT says which. */
MUST_CHECK bool secret_check_reference(const char *reference, struct err *err);

bool secret_equal(const struct secret *a, const void *data, size_t data_bytes);

/* Overwrites so that the compiler cannot leave it out. */
void secret_wipe(void *data, size_t data_bytes);

/* n random bytes from the kernel; never fails (aborts when the kernel has none). */
void secret_random(void *data, size_t data_bytes);

/* No core files, not traceable by the same user: call first in main. */
void secret_harden_process(void);

#endif
