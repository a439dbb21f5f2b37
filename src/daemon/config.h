/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of kedged: one table of options drives parsing, checks, --help,
 * --print-config and the man page kedged.conf(5).
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

#define CONFIG_MAX_BYTES   (64 * KIB)
#define CONFIG_SYSTEM_PATH "/etc/kedge/kedged.conf"
#define CONFIG_SOCKET_NAME "kedged.sock"

struct config {
    char *roles;
    char *applier_name; /* "none" or a name */
    uint64_t applier_lease_ms, applier_lost_ms, applier_give_up_ms;
    char *data_dir;
    char *run_dir;
    char *log_store;
    char *log_store_credential; /* "none" or a path */
    char *state_store;
    char *state_store_credential;
    char *key_file;
    char *key_passphrase; /* "none", a path or cred:NAME */
    char *keys;           /* "file" or vault:https://... */
    char *keys_credential;
    char *token_file;
    char *listen; /* "none" or host:port */
    uint64_t job_threads;
    uint64_t cycle_workers;
    uint64_t segment_bytes;
    char *compression;
    uint64_t tracking_check_ppm;
    uint64_t throttle_bps;
    uint64_t gateway_disks, host_disks, datastore_snapshots;
    uint64_t gateway_machines, total_machines;
    uint64_t delta_min_ms;
    uint64_t delta_max_ms;
    bool auto_repair;
    char *timezone;      /* "local": the system's */
    char *blackout_file; /* "none" or a path */
    char *proxy;         /* "none" or a URL; likewise below */
    char *proxy_password_file;
    char *proxy_bypass;
    char *proxy_roles;
    char *appliance_json;
    char *require_private;
    char *dns_servers;
    char *hosts_file;
    uint64_t events_max;
    uint64_t events_keep_ms;
    uint64_t network_check_ms;
    char *log_level;
};

void config_release(struct config *config);
static inline void auto_config_release(struct config *config)
{
    config_release(config);
}

/*
 * Reads `key = value` lines over the defaults. name: of the file, for errors, which begin
 * "name:line: ". *ret must be zeroed or released; on failure it is released. Pure.
 * FAIL_INPUT: unknown or repeated key, wrong value, values that do not fit together.
 */
MUST_CHECK bool config_parse_text(const char *name, const char *text, size_t text_bytes,
                                  struct config *ret, struct err *err);

/* The file; FAIL_GONE with the remedy when it is not there. */
MUST_CHECK bool config_read(const char *path, struct config *ret, struct err *err);

/* The configuration as a file with all options and their help as comments. */
void config_print(const struct config *config, struct buf *out);

/* What is taken on SIGHUP moves from fresh, which is to be released. */
void config_take_reloaded(struct config *config, struct config *fresh);

/* The names of options that differ and are taken only at start, or "". */
void config_differences(const struct config *a, const struct config *b, struct buf *out);

void config_print_help(struct buf *out); /* for kedged --help */
void config_print_man(struct buf *out);  /* kedged.conf(5), in man(7) */

#endif
