/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data file of one disk (NAME-flat.vmdk) as a datastore serves it over HTTPS: ranges
 * by GET, under the session of the vim25 client. Any thread.
 *
 * Facts (virt-v2v, govmomi, xen-orchestra, vcsim): the address is
 * /folder/DIR/NAME-flat.vmdk?dcPath=DC&dsName=DS; a bare host's datacenter is
 * ha-datacenter; a snapshot's link has no flat file of its own; ESXi 8 refuses flat files
 * of running machines with 500; a file served here is locked for NFC and the other way
 * round; some servers ignore Range and send the whole file with 200.
 */
#ifndef VSPHERE_HTTPS_FILE_H
#define VSPHERE_HTTPS_FILE_H

#include "vsphere/transport.h"

/*
 * "[datastore] dir/name.vmdk" to "/folder/dir/name-flat.vmdk?dcPath=..&dsName=..",
 * appended. is_twice: datacenter and datastore are percent-encoded once more, which some
 * servers want. FAIL_INPUT: not such a name. Pure.
 */
struct https_name {
    const char *file_name;
    const char *datacenter; /* "": a bare host's */
    bool is_twice;
};
MUST_CHECK bool https_folder_path(const struct https_name *name, struct buf *ret,
                                  struct err *err);

/* "bytes 512-1023/4096" of a 206 answer: does it say exactly that range? Pure. */
bool https_range_matches(const char *content_range, uint64_t offset_bytes,
                         uint64_t length_bytes, uint64_t total_bytes);

/* Who may read: shared by all files and threads of a transport. */
struct https_session;
MUST_CHECK struct https_session *https_session_open(
    struct vim *vim, const struct transport_options *options, struct err *err);
void https_session_close(struct https_session *session);
AUTO_CLEANUP(struct https_session, https_session_close);

struct https_file;
/*
 * Finds out how the file is addressed and that the server keeps to ranges, by reading one
 * sector. FAIL_CONFLICT: there is no flat file (a chain of links, vSAN, vVol), it has
 * another size, it is in use, or ranges are ignored; FAIL_AUTH: not allowed (named).
 */
MUST_CHECK bool https_file_open(struct https_session *session,
                                const struct https_name *name, uint64_t disk_bytes,
                                const struct cancel *cancel, struct https_file **ret,
                                struct err *err);
void https_file_close(struct https_file *file);
AUTO_CLEANUP(struct https_file, https_file_close);

/* What one thread keeps between its reads. Zeroed at first; https_reader_release. */
struct https_reader {
    struct secret *cookie;
    uint64_t cookie_generation;
    unsigned status; /* of the last answer; 0: none came */
    uint64_t wire_bytes;
    uint64_t asked_again_bytes;
    uint64_t reconnects; /* requests repeated after a failure */
};
void https_reader_release(struct https_reader *reader);

/* The whole range or nothing; repeats what may pass, with back-off, up to the session's
 * attempts; a session that ended is renewed. FAIL_TRANSIENT: gave up; FAIL_CONFLICT: the
 * answer was not that range. */
MUST_CHECK bool https_file_read(struct https_file *file, struct https_reader *reader,
                                struct lane_read *read, const struct cancel *cancel,
                                struct err *err);

#endif
