/* SPDX-License-Identifier: Apache-2.0 */
/* First steps: a configuration, keys and folders that fit together. */
#ifndef DAEMON_INIT_H
#define DAEMON_INIT_H

#include "base/buf.h"
#include "base/err.h"

/*
 * Makes the configuration file, master key, API token and the folders of data and socket.
 * dir: everything below it ("dir/kedge.conf"); NULL: the system's places (/etc/kedge,
 * /var/lib/kedge, /run/kedge). FAIL_CONFLICT: one of the files is there already, and
 * nothing was made. passphrase: the reference (secret_read) to one that wraps the master
 * key, kept in the configuration; NULL: none. report: what was made, for people.
 */
MUST_CHECK bool init_make(const char *dir, const char *passphrase, struct buf *report,
                          struct err *err);

#endif
