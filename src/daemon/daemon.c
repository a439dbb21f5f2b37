/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kedged: everything in one process.
 *
 * D1  the process is hardened (no core file, not traceable, umask 077) before a secret is
 *     read; a key or token that others may read stops the start;
 * D2  the lock on data_dir is held before the vault opens and until it has closed;
 * D3  on SIGTERM and SIGINT cycles are detached so that the next start goes on with them;
 *     a second signal ends the process at once, which is safe too (crash = restart);
 * D4  SIGHUP takes the options again that the table says it does (throttle, log_level,
 *     the network's), and says which others wait for a restart; a broken file changes
 *     nothing.
 */
#include "daemon/daemon.h"

#include "api/route.h"
#include "api/server.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "daemon/applier_role.h"
#include "daemon/config.h"
#include "daemon/init.h"
#include "daemon/lock.h"
#include "daemon/network_look.h"
#include "daemon/network_rules.h"
#include "vault/state_table.h"
#include "vault/vault.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

struct daemon {
    const char *config_path;
    const char *words; /* the value of the last option that has one; NULL */
    struct config config;
    sigset_t signals;
};

/* ---- running ---- */

static void apply_log_level(const struct config *config)
{
    enum log_level level;
    if (log_level_from_name(config->log_level, &level)) /* the table allows no other */
        log_set_level(level);
}

static bool check_private(const char *path, const char *what, struct err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        (void)err_errno(err, errno, "look at %s '%s'", what, path);
        return errno == ENOENT ? err_hint(err, "make it with 'kedge init'") : false;
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, FAIL_INPUT, "%s '%s' is not a regular file", what, path);
    if (st.st_mode & 077)
        return err_set(err, FAIL_AUTH,
                       "%s '%s' may be read by others (mode %03o); run chmod 600 on it",
                       what, path, (unsigned)(st.st_mode & 0777));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(err, FAIL_AUTH, "%s '%s' belongs to user %u; chown it to user %u",
                       what, path, (unsigned)st.st_uid, (unsigned)geteuid());
    return true;
}

/* Beside a master key in a vault it is needed only for what it wrapped before. */
static bool check_key_file(const struct config *config, struct err *err)
{
    bool is_needed = strcmp(config->keys, "file") == 0 || file_exists(config->key_file);
    return !is_needed || check_private(config->key_file, "key file", err);
}

static const char *path_or_none(const char *value)
{
    return strcmp(value, "none") == 0 ? "" : value;
}

static struct vault *open_vault(const struct config *config, struct err *err)
{
    const struct vault_options options = {
        .data_dir = config->data_dir,
        .log_store = config->log_store,
        .log_store_credential = path_or_none(config->log_store_credential),
        .state_store = config->state_store,
        .state_store_credential = path_or_none(config->state_store_credential),
        .key_file = config->key_file,
        .keys = strcmp(config->keys, "file") == 0 ? "" : config->keys,
        .keys_credential = path_or_none(config->keys_credential),
        .key_passphrase = path_or_none(config->key_passphrase),
        .job_threads = (uint32_t)config->job_threads,
        .cycle_workers = (uint32_t)config->cycle_workers,
        .segment_bytes = (uint32_t)config->segment_bytes,
        .compression = config->compression,
        .tracking_check_ppm = (uint32_t)config->tracking_check_ppm,
        .throttle_bps = config->throttle_bps,
        .gateway_disks = (uint32_t)config->gateway_disks,
        .host_disks = (uint32_t)config->host_disks,
        .datastore_snapshots = (uint32_t)config->datastore_snapshots,
        .gateway_machines = (uint32_t)config->gateway_machines,
        .total_machines = (uint32_t)config->total_machines,
        .delta_min_ms = config->delta_min_ms,
        .delta_max_ms = config->delta_max_ms,
        .auto_repair = config->auto_repair,
        .timezone = strcmp(config->timezone, "local") == 0 ? "" : config->timezone,
        .blackout_file = path_or_none(config->blackout_file),
        .events_kept = config->events_max,
        .events_keep_ms = config->events_keep_ms,
        .applier_lost_ms = config->applier_lost_ms,
        .applier_give_up_ms = config->applier_give_up_ms,
        .network_check_ms = config->network_check_ms,
    };
    return vault_open(&options, err);
}

/* vault: NULL in a process with only the applier role, here and below. */
static void reload(struct daemon *daemon, struct vault *vault)
{
    char quoted[LOG_QUOTED_BYTES];
    struct err err = ERR_INIT;
    struct config fresh = {0};
    if (!config_read(daemon->config_path, &fresh, &err) || !network_apply(&fresh, &err) ||
        (vault && fresh.throttle_bps != daemon->config.throttle_bps &&
         !vault_throttle_set(vault, fresh.throttle_bps, &err))) {
        log_error("config_not_reloaded", "text=%s, the old one stays in force",
                  log_quote(err.text, quoted));
        config_release(&fresh);
        return;
    }
    AUTO(buf_release) struct buf waiting = {0};
    config_differences(&daemon->config, &fresh, &waiting);
    apply_log_level(&fresh);
    log_info("config_reloaded", "throttle_bps=%llu log_level=%s need_restart=%s",
             (unsigned long long)fresh.throttle_bps, fresh.log_level,
             waiting.bytes ? buf_text(&waiting) : "none");
    /* What waits for a restart stays known as it is in force. */
    config_take_reloaded(&daemon->config, &fresh);
    config_release(&fresh);
}

static void wait_for_end(struct daemon *daemon, struct vault *vault)
{
    for (;;) {
        int signal_number = 0;
        if (sigwait(&daemon->signals, &signal_number) != 0)
            continue;
        if (signal_number == SIGHUP) {
            reload(daemon, vault);
            continue;
        }
        log_info("stopping", "signal=%s", sigabbrev_np(signal_number));
        break;
    }
    /* A second one ends us at once. */
    (void)pthread_sigmask(SIG_UNBLOCK, &daemon->signals, NULL); /* constant arguments */
}

static bool serve(struct daemon *daemon, struct vault *vault, struct applier_role *role,
                  struct err *err)
{
    const struct config *config = &daemon->config;
    bool has_port = strcmp(config->listen, "none") != 0;
    AUTO(secret_free) struct secret *token = NULL;
    AUTO(free) char *socket_path = file_join(config->run_dir, CONFIG_SOCKET_NAME);
    if (has_port && !(token = secret_read_file(config->token_file, err)))
        return false;
    const struct api_server_options options = {.vault = vault,
                                               .applier_view =
                                                   role ? applier_role_view : NULL,
                                               .applier_ctx = role,
                                               .socket_path = socket_path,
                                               .listen = has_port ? config->listen : NULL,
                                               .token = token};
    AUTO(api_server_stop) struct api_server *server = api_server_start(&options, err);
    if (!server)
        return false;
    log_info("ready", "version=%s pid=%d socket=%s port=%u data_dir=%s", KEDGE_VERSION,
             (int)getpid(), socket_path, api_server_port(server), config->data_dir);
    wait_for_end(daemon, vault);
    return true;
}

static bool run_roles(struct daemon *daemon, struct err *err)
{
    const struct config *config = &daemon->config;
    if (applier_role_is_meant(config)) {
        AUTO(applier_role_close)
        struct applier_role *role = applier_role_open(config, err);
        return role && serve(daemon, NULL, role, err);
    }
    AUTO(vault_close) struct vault *vault = open_vault(config, err);
    return vault && serve(daemon, vault, NULL, err);
}

static bool run(struct daemon *daemon, struct err *err)
{
    const struct config *config = &daemon->config;
    AUTO(close_fd) int lock = -1;
    (void)sigemptyset(&daemon->signals);
    (void)sigaddset(&daemon->signals, SIGTERM);
    (void)sigaddset(&daemon->signals, SIGINT);
    (void)sigaddset(&daemon->signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &daemon->signals, NULL); /* before any thread */
    (void)signal(SIGPIPE, SIG_IGN);
    apply_log_level(config);
    if (!file_make_dirs(config->data_dir, err) || !file_make_dirs(config->run_dir, err) ||
        !lock_take(config->data_dir, &lock, err) || !check_key_file(config, err) ||
        !network_apply(config, err))
        return false;
    if (!run_roles(daemon, err))
        return false;
    log_info("stopped", "pid=%d", (int)getpid());
    return true;
}

/* ---- command line ---- */

enum {
    ARG_CONFIG = 'c',
    ARG_HELP = 'h',
    ARG_VERSION = 'V',
    ARG_CHECK = 256,
    ARG_PRINT,
    ARG_CHECK_NETWORK,
    ARG_PLAN_NETWORK,
    ARG_MAN,
    ARG_INIT,
    ARG_PASSPHRASE
};

static const struct option ARGUMENTS[] = {
    {"config", required_argument, NULL, ARG_CONFIG},
    {"check-config", no_argument, NULL, ARG_CHECK},
    {"print-config", no_argument, NULL, ARG_PRINT},
    {"check-network", optional_argument, NULL, ARG_CHECK_NETWORK},
    {"plan-network", required_argument, NULL, ARG_PLAN_NETWORK},
    {"init", optional_argument, NULL, ARG_INIT},
    {"passphrase", required_argument, NULL, ARG_PASSPHRASE},
    {"print-man", optional_argument, NULL, ARG_MAN},
    {"version", no_argument, NULL, ARG_VERSION},
    {"help", no_argument, NULL, ARG_HELP},
    {0}};

static const char USAGE[] =
    "usage: kedged [--config FILE]\n"
    "       kedged --check-config | --print-config | --init[=DIR] | --version | --help\n"
    "\n"
    "Replicates and migrates virtual machines; serves the REST API that kedge uses.\n"
    "\n"
    "  -c, --config FILE    configuration; without it $KEDGE_CONFIG, ./kedge.conf or\n"
    "                       " CONFIG_SYSTEM_PATH "\n"
    "      --check-config   read the configuration, say whether it is right, and end\n"
    "      --print-config   print the configuration in force, with help, and end\n"
    "      --check-network[=ROLE]\n"
    "                       look at the way to every endpoint of the configuration,\n"
    "                       print JSON, and end (kedge network check --offline)\n"
    "      --plan-network=REGION,REGION[,CLOUD]\n"
    "                       print as JSON what ExpressRoute needs, and end\n"
    "      --init[=DIR]     make configuration, key, token and folders in DIR\n"
    "                       (without DIR in the system's places)\n"
    "      --passphrase=REF with --init: wrap the key with what this file (mode 0600)\n"
    "                       or cred:NAME, a credential of systemd, holds\n"
    "      --print-man[=P]  print a generated page: kedged.conf, kedged, api.md or\n"
    "                       states.md\n"
    "  -V, --version        print the version\n"
    "  -h, --help           print this\n"
    "\n"
    "Options of the configuration (key = value):\n";

static void print_help(struct buf *out)
{
    buf_append_text(out, USAGE);
    config_print_help(out);
    buf_append_text(out,
                    "\nSignals: TERM and INT stop, so that running cycles go on after "
                    "the next start; HUP\nreads throttle, log_level and the network's "
                    "options again.\n");
}

static void print_daemon_man(struct buf *out)
{
    buf_append_text(
        out,
        ".\\\" SPDX-License-Identifier: Apache-2.0\n"
        ".\\\" Made by kedged \\-\\-print\\-man=kedged; change src/daemon/daemon.c.\n"
        ".TH KEDGED 8 \"\" Kedge \"System administration\"\n"
        ".SH NAME\nkedged \\- replicate and migrate virtual machines\n"
        ".SH DESCRIPTION\n.nf\n");
    for (const char *p = USAGE; *p; p++) {
        if (*p == '-')
            buf_put_u8(out, '\\');
        if (*p == '.' && (p == USAGE || p[-1] == '\n'))
            buf_append_text(out, "\\&");
        buf_put_u8(out, (uint8_t)*p);
    }
    buf_append_text(
        out,
        "see kedged.conf(5)\n.fi\n"
        ".SH SIGNALS\n.TP\n.BR TERM \", \" INT\nStop: running cycles are detached, and "
        "go on after the next start. A second one\nends the process at once, which loses "
        "nothing either.\n.TP\n.B HUP\nRead\n.BR throttle ,\n.B log_level\nand the "
        "options of the network again.\n"
        ".SH EXIT STATUS\n");
    for (int k = FAIL_NONE; k <= FAIL_BUG; k++)
        buf_printf(out, ".TP\n.B %d\n%s\n", err_kind_exit_code((enum err_kind)k),
                   err_kind_name((enum err_kind)k));
    buf_append_text(out, ".SH SEE ALSO\n.BR kedge (1),\n.BR kedged.conf (5)\n");
}

static int fail(const struct err *err)
{
    (void)fprintf(stderr, "kedged: %s\n", err->text);
    return err_kind_exit_code(err->kind);
}

static int say(struct buf *text)
{
    bool ok = fwrite(buf_text(text), 1, text->bytes, stdout) == text->bytes &&
              fflush(stdout) == 0;
    buf_release(text);
    return ok ? 0 : err_kind_exit_code(FAIL_IO);
}

static int print_man(const char *page)
{
    struct buf out = {0};
    struct err err;
    if (!page || strcmp(page, "kedged.conf") == 0)
        config_print_man(&out);
    else if (strcmp(page, "kedged") == 0)
        print_daemon_man(&out);
    else if (strcmp(page, "api.md") == 0)
        api_print_docs(&out);
    else if (strcmp(page, "states.md") == 0)
        state_doc_print(&out);
    else {
        (void)err_set(&err, FAIL_INPUT,
                      "there is no page '%.40s'; there are kedged.conf, kedged, api.md "
                      "and states.md",
                      page);
        return fail(&err);
    }
    return say(&out);
}

static int init(const char *dir, const char *passphrase)
{
    struct buf report = {0};
    struct err err = ERR_INIT;
    if (init_make(dir, passphrase, &report, &err))
        return say(&report);
    buf_release(&report);
    return fail(&err);
}

static int plan_network(const char *words)
{
    struct buf out = {0};
    struct err err = ERR_INIT;
    if (network_plan(words, &out, &err))
        return say(&out);
    buf_release(&out);
    return fail(&err);
}

static const char *find_config(void)
{
    const char *path = getenv("KEDGE_CONFIG");
    if (path && *path)
        return path;
    return file_exists("kedge.conf") ? "kedge.conf" : CONFIG_SYSTEM_PATH;
}

static int with_config(struct daemon *daemon, int what)
{
    struct err err = ERR_INIT;
    struct buf out = {0};
    bool ok = fault_init(&err) && config_read(daemon->config_path, &daemon->config, &err);
    if (ok && what == ARG_PRINT)
        config_print(&daemon->config, &out);
    else if (ok && what == ARG_CHECK)
        buf_printf(&out, "%s: ok\n", daemon->config_path);
    else if (ok && what == ARG_CHECK_NETWORK)
        ok = network_look(&daemon->config, daemon->words, &out, &err);
    else if (ok)
        ok = run(daemon, &err);
    config_release(&daemon->config);
    return ok ? say(&out) : fail(&err);
}

int daemon_main(int argc, char **argv)
{
    struct daemon daemon = {0};
    struct buf out = {0};
    const char *passphrase = NULL;
    int what = 0;
    secret_harden_process();
    (void)umask(077);
    for (int c; (c = getopt_long(argc, argv, "c:hV", ARGUMENTS, NULL)) != -1;) {
        if (c == ARG_CONFIG) {
            daemon.config_path = optarg;
        } else if (c == ARG_HELP) {
            print_help(&out);
            return say(&out);
        } else if (c == ARG_VERSION) {
            buf_printf(&out, "kedged %s\n", KEDGE_VERSION);
            return say(&out);
        } else if (c == ARG_MAN) {
            return print_man(optarg);
        } else if (c == ARG_PASSPHRASE) {
            passphrase = optarg;
        } else if (c == '?') {
            (void)fputs("kedged: see 'kedged --help'\n", stderr);
            return err_kind_exit_code(FAIL_INPUT);
        } else {
            what = c;
            daemon.words = optarg;
        }
    }
    if (optind < argc) {
        struct err err;
        (void)err_set(&err, FAIL_INPUT, "'%.60s' is not an option; see 'kedged --help'",
                      argv[optind]);
        return fail(&err);
    }
    if (what == ARG_INIT)
        return init(daemon.words, passphrase);
    if (what == ARG_PLAN_NETWORK)
        return plan_network(daemon.words);
    if (!daemon.config_path)
        daemon.config_path = find_config();
    return with_config(&daemon, what);
}
