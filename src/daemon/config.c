/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table and the parser of the configuration file.
 *
 * A file without sections: `key = value`, '#' begins a comment line. Every value is
 * checked when it is read, so that an error names file and line, and never when it is
 * first used, hours later.
 */
#include "daemon/config_options.h"

#include "api/server.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/zone.h"
#include "daemon/network_rules.h"
#include "keys/keys.h"
#include "store/store.h"

#include <ctype.h>
#include <inttypes.h>

#define MAX_OPTIONS 64
#define AT(field)   .offset = offsetof(struct config, field)

/* clang-format off */
static const struct config_option OPTIONS[] = {
    {"roles", OPTION_CHOICE, "all", AT(roles), .choices = (const char *const[]){"all", "applier", NULL},
     .help = "what this process does",
     .man = "\"all\" runs every role (vault, gateway, applier) in one process. \"applier\" has no vault: it takes orders for its applier_name out of state_store, reads log_store and writes to targets; stores and master key are those of the daemon with the vault. See doc/applier.md."},
    {"applier_name", OPTION_NAME, "none", AT(applier_name),
     .help = "roles = applier: name that targets give (kedge target add --applier)",
     .man = "Give each applier a name of its own. Where two run under one name the second one works only while the first is silent, and both must reach the same replica disks."},
    {"applier_lease", OPTION_DURATION, "30s", 1000, 3600000, AT(applier_lease_ms),
     .help = "roles = applier: without state_store for two thirds of this it stops its work",
     .man = "Another one of the same name goes on after the whole of it."},
    {"applier_lost", OPTION_DURATION, "2m", 1000, 86400000, AT(applier_lost_ms),
     .help = "a remote applier that is silent for so long is told as an event",
     .man = "Whatever waits for it goes on waiting."},
    {"applier_give_up", OPTION_DURATION, "1h", 1000, 366 * UINT64_C(86400000), AT(applier_give_up_ms),
     .help = "silent for so long, what waits for it fails and is tried again later", .man = NULL},
    {"data_dir", OPTION_PATH, "/var/lib/kedge", AT(data_dir),
     .help = "catalog and maps of the machines; only one kedged at a time",
     .man = "Made with mode 0700 when it is not there. Back it up together with the key file."},
    {"run_dir", OPTION_PATH, "/run/kedge", AT(run_dir),
     .help = "folder of the Unix socket kedged.sock",
     .man = "The path of the socket must not be longer than 107 bytes."},
    {"log_store", OPTION_STORE, "dir:$data_dir/log", AT(log_store),
     .help = "where the segments of running cycles go",
     .man = "Segments are encrypted; they are removed when a cycle has been applied. A container of a storage account is made when it is not there."},
    {"log_store_credential", OPTION_FILE, "none", AT(log_store_credential),
     .help = "file that says how to get at a blob log_store",
     .man = "JSON, without a secret in it: doc/azure.md."},
    {"state_store", OPTION_STORE, "dir:$data_dir/state", AT(state_store),
     .help = "where the progress of running cycles is kept",
     .man = "Journals and bitmaps, with which an interrupted cycle goes on."},
    {"state_store_credential", OPTION_FILE, "none", AT(state_store_credential),
     .help = "file that says how to get at a blob state_store", .man = NULL},
    {"key_file", OPTION_PATH, "$data_dir/master.key", AT(key_file),
     .help = "master key, mode 0600; made by 'kedge init'",
     .man = "It wraps the data key of each machine. Without it nothing that was stored can be read. kedged does not start when others may read it."},
    {"key_passphrase", OPTION_REFERENCE, "none", AT(key_passphrase),
     .help = "where the passphrase of key_file lies",
     .man = "A file with mode 0600, or a credential of systemd (LoadCredentialEncrypted= of the unit). A key_file in clear is opened all the same, and written wrapped by the next 'kedge keys rotate' or 'kedge keys rewrap'."},
    {"keys", OPTION_KEYS, "file", AT(keys),
     .help = "the master key: file (key_file), or one in an Azure Key Vault",
     .man = "A secret is fetched and wraps data keys here; an RSA key of the vault wraps them there. What it gave is kept in memory and used for a day while the vault does not answer. What key_file wrapped is opened as long as that file is there; 'kedge keys rewrap' moves it. See doc/keys.md."},
    {"keys_credential", OPTION_FILE, "none", AT(keys_credential),
     .help = "file that says how to get at the vault of keys",
     .man = "JSON, without a secret in it: doc/azure.md."},
    {"token_file", OPTION_PATH, "$data_dir/api.token", AT(token_file),
     .help = "bearer token of the TCP interface, mode 0600; made by 'kedge init'",
     .man = "Only its first line counts. Not used on the Unix socket."},
    {"listen", OPTION_LISTEN, "none", AT(listen),
     .help = "loopback address of the REST API besides the Unix socket",
     .man = "Port 0 takes a free one, which is logged. Put a proxy with TLS in front to serve other hosts."},
    {"job_threads", OPTION_NUMBER, "4", 1, 256, AT(job_threads),
     .help = "machines worked on at once", .man = NULL},
    {"cycle_workers", OPTION_NUMBER, "2", 1, 64, AT(cycle_workers),
     .help = "threads that hash, compress and encrypt in each cycle", .man = NULL},
    {"segment_size", OPTION_SIZE, "4M", 2 * MIB, 64 * MIB, AT(segment_bytes),
     .help = "size of one object in the log store",
     .man = "A gateway that dies sends at most the segments in flight again."},
    {"compression", OPTION_CHOICE, "fast", AT(compression),
     .choices = (const char *const[]){"fast", "compact", "none", NULL},
     .help = "fast (lz4), compact (zstd) or none",
     .man = "\"compact\" takes more processor time and sends less: choose it when the link is slower than about 100 MiB/s."},
    {"tracking_check", OPTION_NUMBER, "1000", 0, 1000000, AT(tracking_check_ppm),
     .help = "blocks per million of each disk whose \"unchanged\" is checked in each delta; 0: none",
     .man = "They are read and compared with what the replica holds, at most 64 MiB per disk and cycle. One that differs proves that the source's change tracking lies: the disk is then compared whole in the same cycle, and an alarm is raised."},
    {"throttle", OPTION_SIZE, "0", 0, 1 * TIB, AT(throttle_bps), .is_reloaded = true,
     .help = "bytes a second that may leave this host; 0 is no bound",
     .man = "It can be changed at any time with 'kedge throttle', until the next start or reload."},
    {"gateway_disks", OPTION_NUMBER, "52", 1, 100000, AT(gateway_disks),
     .help = "disks that one gateway replicates at once",
     .man = "A machine with more disks than a limit runs when nobody else is there, alone."},
    {"host_disks", OPTION_NUMBER, "8", 1, 100000, AT(host_disks),
     .help = "disks of one ESXi host that are read at once",
     .man = "The host's NFC buffer of 32 MB holds 8 disks of 4 MB each: raise it only together with the host's own setting."},
    {"datastore_snapshots", OPTION_NUMBER, "15", 1, 100000, AT(datastore_snapshots),
     .help = "disk snapshots on one datastore at once",
     .man = "One for each disk of a running cycle. A single machine with more disks there is the exception; it runs alone."},
    {"gateway_machines", OPTION_NUMBER, "300", 1, 1000000, AT(gateway_machines),
     .help = "machines that replicate through one gateway",
     .man = "One more is refused; add a scale-out gateway instead of raising this."},
    {"total_machines", OPTION_NUMBER, "500", 1, 1000000, AT(total_machines),
     .help = "machines that replicate in all", .man = NULL},
    {"delta_min", OPTION_DURATION, "1h", 1000, 366 * UINT64_C(86400000), AT(delta_min_ms),
     .help = "shortest time between two delta cycles",
     .man = "The next delta begins min(max(delta_min, duration of the last / 2), delta_max) after the last one."},
    {"delta_max", OPTION_DURATION, "12h", 1000, 366 * UINT64_C(86400000), AT(delta_max_ms),
     .help = "longest time between two delta cycles", .man = "Not shorter than delta_min."},
    {"auto_repair", OPTION_BOOL, "no", AT(auto_repair),
     .help = "resync by itself when change tracking was lost",
     .man = "Otherwise the machine waits in \"Repair pending\" for 'kedge resync'."},
    {"timezone", OPTION_ZONE, "local", AT(timezone),
     .help = "zone of blackout windows and the throttle's calendar",
     .man = "Like \"Europe/Berlin\"; \"local\" is the zone of the host. A time that the clock leaves out counts at the change, one that it shows twice the first time."},
    {"blackout_file", OPTION_FILE, "none", AT(blackout_file),
     .help = "file with blackout windows, as GatewayDataWorker.json",
     .man = "JSON with the key \"BlackoutWindows\", like \"Monday;7:00;7h | Tuesday;8:00;1d7h\"; read again when it changes, without a restart. While it is there 'kedge blackout set' is refused. A malformed file changes nothing and is told as an event."},
    {"proxy", OPTION_NETWORK, "none", AT(proxy), .is_reloaded = true,
     .help = "HTTP proxy for what no bypass rule names, http://[USER@]HOST:PORT",
     .man = "Everything goes through it by CONNECT. A proxy in a credential file or of a source comes before it. The environment's proxies are never used."},
    {"proxy_password_file", OPTION_FILE, "none", AT(proxy_password_file), .is_reloaded = true,
     .help = "file with the password of the proxy's user, mode 0600", .man = NULL},
    {"proxy_bypass", OPTION_NETWORK, "none", AT(proxy_bypass), .is_reloaded = true,
     .help = "hosts that are reached without the proxy",
     .man = "Separated by commas: a host, *.domain or .domain (every name below it), .*.blob.core.windows.net (the same, as Azure Migrate writes it), an address, a range like 10.0.0.0/8 (of addresses in URLs: no name is resolved for it), <local> (names without a dot), each with :PORT or without. Under private peering name the log store's account alone: a wildcard also catches the gateway state store, which has no private endpoint, and is warned of."},
    {"proxy_roles", OPTION_NETWORK, "none", AT(proxy_roles), .is_reloaded = true,
     .help = "roles that always or never use the proxy",
     .man = "Like \"log-store=direct, arm=proxy\"; rules is the third choice. vcenter and esxi are direct unless named here. Roles are log-store, state-store, replica-store, key-vault, bus, arm, entra, vcenter, esxi, local and other."},
    {"appliance_json", OPTION_FILE, "none", AT(appliance_json), .is_reloaded = true,
     .help = "an Azure Migrate appliance's appliance.json with bypass rules",
     .man = "Its \"ProxyBypassList\" (a text or a list) counts besides proxy_bypass when its \"EnableProxyBypassList\" is \"true\"."},
    {"require_private", OPTION_NETWORK, "none", AT(require_private), .is_reloaded = true,
     .help = "roles that are only reached at private addresses",
     .man = "Like \"log-store, state-store\". While such a name has a public address, or would go through the proxy, nothing is sent, and cycles wait with that reason. Private are RFC 1918, 100.64.0.0/10, link-local and fc00::/7; loopback is allowed."},
    {"dns_servers", OPTION_NETWORK, "none", AT(dns_servers), .is_reloaded = true,
     .help = "name servers instead of the system's, [ROLE=]ADDRESS[:PORT]",
     .man = "Like \"10.0.0.53, log-store=10.1.0.53\"; those of a role come in place of the common ones. /etc/hosts is asked only where the system's are."},
    {"hosts_file", OPTION_FILE, "none", AT(hosts_file), .is_reloaded = true,
     .help = "static names, in the form of /etc/hosts, for testing",
     .man = "Comes before name servers. Marked in status and checks: a private endpoint's address may change."},
    {"events_max", OPTION_NUMBER, "200000", 1000, 10000000, AT(events_max),
     .help = "newest events that are kept", .man = NULL},
    {"events_keep", OPTION_DURATION, "90d", 86400000, 3660 * UINT64_C(86400000), AT(events_keep_ms),
     .help = "how long events are kept", .man = "Whichever of the two bounds is reached first."},
    {"network_check_interval", OPTION_DURATION, "5m", 0, 366 * UINT64_C(86400000), AT(network_check_ms),
     .help = "how often the way to every endpoint is looked at; 0: never",
     .man = "In the background, without writing anything; an event tells when a step begins to fail and when all are well again. 'kedge network check' looks at once."},
    {"log_level", OPTION_CHOICE, "info", AT(log_level), .is_reloaded = true,
     .choices = (const char *const[]){"debug", "info", "warn", "error", NULL},
     .help = "least level of the log lines on standard error", .man = NULL},
};
/* clang-format on */
_Static_assert(ARRAY_COUNT(OPTIONS) <= MAX_OPTIONS, "raise MAX_OPTIONS");

const struct config_option *config_options(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(OPTIONS);
    return OPTIONS;
}

static bool option_is_text(const struct config_option *option)
{
    return option->type == OPTION_PATH || option->type == OPTION_STORE ||
           option->type == OPTION_CHOICE || option->type == OPTION_LISTEN ||
           option->type == OPTION_ZONE || option->type == OPTION_FILE ||
           option->type == OPTION_REFERENCE || option->type == OPTION_NAME ||
           option->type == OPTION_KEYS || option->type == OPTION_NETWORK;
}

void config_release(struct config *config)
{
    for (size_t i = 0; i < ARRAY_COUNT(OPTIONS); i++)
        if (option_is_text(&OPTIONS[i])) {
            free(*config_text_at(config, &OPTIONS[i]));
            *config_text_at(config, &OPTIONS[i]) = NULL;
        }
}

/* ---- one value ---- */

static bool check_choice(const struct config_option *option, const char *value,
                         struct err *err)
{
    for (size_t i = 0; option->choices[i]; i++)
        if (strcmp(option->choices[i], value) == 0)
            return true;
    if (strcmp(option->name, "roles") == 0)
        return err_set(err, FAIL_INPUT,
                       "role '%.40s' cannot run alone in this version; write roles = all "
                       "or roles = applier",
                       value);
    AUTO(buf_release) struct buf values = {0};
    config_option_values(option, &values);
    return err_set(err, FAIL_INPUT, "'%.60s' is not a value of %s; allowed: %s", value,
                   option->name, buf_text(&values));
}

static bool check_path(const char *name, const char *value, struct err *err)
{
    if (value[0] != '/')
        return err_set(err, FAIL_INPUT, "%s is '%.100s'; it must be an absolute path",
                       name, value);
    if (strlen(value) > 1024)
        return err_set(err, FAIL_INPUT, "%s is longer than 1024 bytes", name);
    return true;
}

static bool check_zone(const char *value, struct err *err)
{
    if (strcmp(value, "local") == 0)
        return true;
    AUTO(zone_close) struct zone *zone = zone_open(value, err);
    return zone != NULL;
}

/* A file has an option of its own. */
static bool check_keys(const char *value, struct err *err)
{
    if (value[0] == '/')
        return err_set(err, FAIL_INPUT,
                       "'%.100s' is a path; write it to key_file and leave keys = file",
                       value);
    return keys_check_address(value, err);
}

static bool check_text(const struct config_option *option, const char *value,
                       struct err *err)
{
    const char *host;
    uint16_t port;
    switch (option->type) {
    case OPTION_CHOICE:
        return check_choice(option, value, err);
    case OPTION_LISTEN:
        return strcmp(value, "none") == 0 || api_listen_parse(value, &host, &port, err);
    case OPTION_ZONE:
        return check_zone(value, err);
    case OPTION_FILE:
        return strcmp(value, "none") == 0 || check_path(option->name, value, err);
    case OPTION_NAME:
        return text_check_name(option->name, value, err); /* "none" is one */
    case OPTION_REFERENCE:
        return strcmp(value, "none") == 0 || secret_check_reference(value, err);
    case OPTION_NETWORK:
        return strcmp(value, "none") == 0 ||
               network_option_check(option->name, value, err);
    case OPTION_KEYS:
        return strcmp(value, "file") == 0 || check_keys(value, err);
    case OPTION_STORE:
        return store_check_address(value, err);
    default:
        return check_path(option->name, value, err);
    }
}

static bool set_value(const struct config_option *option, struct config *config,
                      const char *value, struct err *err)
{
    uint64_t *number = config_number_at(config, option);
    switch (option->type) {
    case OPTION_NUMBER:
        return text_parse_u64(value, option->min, option->max, number, err);
    case OPTION_SIZE:
        return text_parse_size(value, option->min, option->max, number, err);
    case OPTION_BOOL:
        return text_parse_bool(value, config_bool_at(config, option), err);
    case OPTION_DURATION: {
        uint64_t ms;
        if (!text_parse_duration_ms(value, &ms, err))
            return false;
        if (ms < option->min || ms > option->max) {
            AUTO(buf_release) struct buf values = {0};
            config_option_values(option, &values);
            return err_set(err, FAIL_INPUT, "'%s' is out of range; allowed is %s", value,
                           buf_text(&values));
        }
        *number = ms;
        return true;
    }
    default:
        if (!check_text(option, value, err))
            return false;
        free(*config_text_at(config, option));
        *config_text_at(config, option) = xstrdup(value);
        return true;
    }
}

/* ---- the file ---- */

struct reader {
    const char *name;
    size_t line;
    struct config *config;
    size_t set_at[MAX_OPTIONS]; /* line that set the option; 0: none */
};

static char *trim(char *text)
{
    while (isblank((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = 0;
    return text;
}

static const struct config_option *find_option(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(OPTIONS); i++)
        if (strcmp(OPTIONS[i].name, name) == 0)
            return &OPTIONS[i];
    return NULL;
}

static bool read_line(struct reader *reader, char *line, struct err *err)
{
    line = trim(line);
    if (*line == 0 || *line == '#')
        return true;
    if (*line == '[')
        return err_set(err, FAIL_INPUT,
                       "'%.40s': there are no sections; write key = value", line);
    char *value = strchr(line, '=');
    if (!value)
        return err_set(err, FAIL_INPUT, "'%.60s' has no '='; write key = value", line);
    *value++ = 0;
    char *key = trim(line);
    value = trim(value);
    const struct config_option *option = find_option(key);
    if (!option)
        return err_set(err, FAIL_INPUT,
                       "'%.60s' is not an option; 'kedged --help' lists them all", key);
    size_t i = (size_t)(option - OPTIONS);
    if (reader->set_at[i])
        return err_set(err, FAIL_INPUT, "'%s' is set already at line %zu; keep one", key,
                       reader->set_at[i]);
    reader->set_at[i] = reader->line;
    if (*value == 0)
        return err_set(err, FAIL_INPUT,
                       "'%s' has no value; remove the line for the default", key);
    if (!set_value(option, reader->config, value, err))
        return text_starts_with(err->text, option->name)
                   ? false
                   : err_wrap(err, "%s", option->name);
    return true;
}

static bool read_lines(struct reader *reader, const char *text, size_t text_bytes,
                       struct err *err)
{
    const char *at = text, *end = text + text_bytes;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        reader->line++;
        AUTO(buf_release) struct buf line = {0};
        buf_append(&line, at, length);
        bool ok = memchr(at, 0, length)
                      ? err_set(err, FAIL_INPUT, "the line holds a NUL character")
                      : read_line(reader, (char *)(uintptr_t)buf_text(&line), err);
        if (!ok)
            return err_wrap(err, "%s:%zu", reader->name, reader->line);
        at += length + 1;
    }
    return true;
}

/* Defaults of what the file does not set; data_dir comes before those that name it. */
static void fill_in(struct reader *reader)
{
    static const char VARIABLE[] = "$data_dir";
    struct err never = ERR_INIT;
    for (size_t i = 0; i < ARRAY_COUNT(OPTIONS); i++) {
        if (reader->set_at[i])
            continue;
        const char *fallback = OPTIONS[i].fallback;
        const char *variable = strstr(fallback, VARIABLE);
        AUTO(buf_release) struct buf value = {0};
        if (variable)
            buf_printf(&value, "%.*s%s%s", (int)(variable - fallback), fallback,
                       reader->config->data_dir, variable + sizeof VARIABLE - 1);
        else
            buf_append_text(&value, fallback);
        if (option_is_text(&OPTIONS[i]))
            *config_text_at(reader->config, &OPTIONS[i]) = buf_take_text(&value);
        else if (!set_value(&OPTIONS[i], reader->config, buf_text(&value), &never))
            abort(); /* a default of ours that its own option refuses */
    }
}

static bool check_credential(const struct reader *reader, const char *option,
                             const char *store, const char *credential, struct err *err)
{
    if (text_starts_with(store, "dir:") || strcmp(credential, "none") != 0)
        return true;
    return err_set(err, FAIL_INPUT, "%s: '%.200s' needs a credential; set %s_credential",
                   reader->name, store, option);
}

/* A folder is one process's: both sides could never have it open. */
static bool check_roles(const struct reader *reader, struct err *err)
{
    const struct config *c = reader->config;
    bool is_applier = strcmp(c->roles, "applier") == 0;
    if (is_applier && strcmp(c->applier_name, "none") == 0)
        return err_set(err, FAIL_INPUT, "%s: roles = applier needs an applier_name",
                       reader->name);
    if (is_applier && (text_starts_with(c->log_store, "dir:") ||
                       text_starts_with(c->state_store, "dir:")))
        return err_set(err, FAIL_INPUT,
                       "%s: roles = applier needs stores that the daemon with the vault "
                       "uses, too; set log_store and state_store to blob: addresses",
                       reader->name);
    return true;
}

static bool check_together(const struct reader *reader, struct err *err)
{
    const struct config *c = reader->config;
    if (!check_credential(reader, "log_store", c->log_store, c->log_store_credential,
                          err) ||
        !check_credential(reader, "state_store", c->state_store,
                          c->state_store_credential, err) ||
        !check_roles(reader, err))
        return false;
    if (strcmp(c->keys, "file") != 0 && strcmp(c->keys_credential, "none") == 0)
        return err_set(err, FAIL_INPUT,
                       "%s: '%.200s' needs a credential; set keys_credential",
                       reader->name, c->keys);
    if (c->delta_max_ms < c->delta_min_ms)
        return err_set(
            err, FAIL_INPUT,
            "%s: delta_max is shorter than delta_min; make it at least as long",
            reader->name);
    if (strlen(c->run_dir) + sizeof "/" CONFIG_SOCKET_NAME > 108)
        return err_set(
            err, FAIL_INPUT,
            "%s: run_dir '%.120s' is too long for a socket; use one of at most "
            "%zu bytes",
            reader->name, c->run_dir, 108 - sizeof "/" CONFIG_SOCKET_NAME);
    return true;
}

bool config_parse_text(const char *name, const char *text, size_t text_bytes,
                       struct config *ret, struct err *err)
{
    struct reader reader = {.name = name, .config = ret};
    *ret = (struct config){0};
    bool ok = read_lines(&reader, text, text_bytes, err);
    if (ok) {
        fill_in(&reader);
        ok = check_together(&reader, err);
    }
    if (!ok)
        config_release(ret);
    return ok;
}

bool config_read(const char *path, struct config *ret, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (!file_read(path, CONFIG_MAX_BYTES, &text, err)) {
        if (err->kind == FAIL_GONE)
            return err_set(
                err, FAIL_GONE,
                "there is no configuration '%s'; make one with 'kedge init' or "
                "name another with --config",
                path);
        return false;
    }
    return config_parse_text(path, buf_text(&text), text.bytes, ret, err);
}

void config_take_reloaded(struct config *config, struct config *fresh)
{
    for (size_t i = 0; i < ARRAY_COUNT(OPTIONS); i++)
        if (OPTIONS[i].is_reloaded && option_is_text(&OPTIONS[i])) {
            char **old = config_text_at(config, &OPTIONS[i]);
            free(*old);
            *old = TAKE(*config_text_at(fresh, &OPTIONS[i]));
        } else if (OPTIONS[i].is_reloaded) {
            *config_number_at(config, &OPTIONS[i]) =
                *config_number_at(fresh, &OPTIONS[i]);
        }
}

void config_differences(const struct config *a, const struct config *b, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_COUNT(OPTIONS); i++) {
        AUTO(buf_release) struct buf old = {0}, new = {0};
        if (OPTIONS[i].is_reloaded)
            continue;
        config_option_value(&OPTIONS[i], a, &old);
        config_option_value(&OPTIONS[i], b, &new);
        if (strcmp(buf_text(&old), buf_text(&new)) != 0)
            buf_printf(out, "%s%s", out->bytes ? "," : "", OPTIONS[i].name);
    }
}
