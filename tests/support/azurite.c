/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator as a child; readiness by its own words. */
#include "support/azurite.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "http/sign.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#define READY_MS 30000

/* 64 bytes of 'k'. */
#define KEY                                                                              \
    "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tr"   \
    "a2traw=="

struct azurite {
    int pid;
    unsigned port;
};

static void require(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "azurite: %s\n", what);
    abort();
}

static void main_script(char out[512])
{
    const char *folder = getenv("KEDGE_AZURITE");
    (void)snprintf(out, 512, "%s/dist/src/blob/main.js", folder ? folder : "");
}

bool azurite_is_there(void)
{
    char path[512];
    main_script(path);
    return getenv("KEDGE_AZURITE") && file_exists(path);
}

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    AUTO(close_fd) int fd = socket(AF_INET, SOCK_STREAM, 0);
    require(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &length) == 0,
            "no free port");
    return ntohs(address.sin_port);
}

static bool is_ready(const char *log, const char *words)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0};
    return file_read(log, 16 * MIB, &text, &err) && strstr(buf_text(&text), words);
}

static void wait_until_ready(int pid, const char *log, const char *words)
{
    for (uint64_t waited_ms = 0; !is_ready(log, words); waited_ms += 50) {
        require(waited_ms < READY_MS && process_is_alive(pid), log);
        clock_sleep_ms(50);
    }
}

struct azurite *azurite_start(const char *dir)
{
    struct azurite *azurite = xcalloc(1, sizeof *azurite);
    struct err err = ERR_INIT;
    char script[512], port[16], cert[512], data[512], log[512];
    azurite->port = free_port();
    main_script(script);
    (void)snprintf(port, sizeof port, "%u", azurite->port);
    (void)snprintf(cert, sizeof cert, "%s/good.pem", dir);
    (void)snprintf(data, sizeof data, "%s/azurite", dir);
    (void)snprintf(log, sizeof log, "%s/azurite.log", dir);
    const char *const argv[] = {"env",        "AZURITE_ACCOUNTS=" AZURITE_ACCOUNT ":" KEY,
                                "node",       script,
                                "--blobHost", "127.0.0.1",
                                "--blobPort", port,
                                "--cert",     cert,
                                "--key",      cert,
                                "--oauth",    "basic",
                                "--location", data,
                                "--silent",   "--disableTelemetry",
                                NULL};
    require(process_start(argv, log, &azurite->pid, &err), err.text);
    wait_until_ready(azurite->pid, log, "successfully listens");
    return azurite;
}

void azurite_stop(struct azurite *azurite)
{
    struct err err = ERR_INIT;
    if (!azurite)
        return;
    require(process_stop(azurite->pid, 10000, &err), err.text);
    free(azurite);
}

unsigned azurite_port(const struct azurite *azurite)
{
    return azurite->port;
}

const char *azurite_key(void)
{
    return KEY;
}

const char *azurite_write(const char *dir, const char *name, const char *text)
{
    static char paths[8][512];
    static unsigned next;
    struct err err = ERR_INIT;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    require(file_write_durable(path, text, strlen(text), 0600, &err), err.text);
    return path;
}

const char *azurite_credential(const char *dir, const char *name, const char *kind,
                               const char *extra)
{
    char text[4096];
    (void)snprintf(text, sizeof text, "{\"kind\": \"%s\", \"ca_file\": \"%s/ca.pem\"%s}",
                   kind, dir, extra);
    return azurite_write(dir, name, text);
}

struct issuer issuer_start(const char *dir, const char *script)
{
    struct issuer issuer = {0};
    struct err err = ERR_INIT;
    char port[16], server[512], client[512], log[512];
    const char *folder = getenv("KEDGE_OIDC_PROVIDER");
    if (!folder)
        return issuer;
    issuer.port = free_port();
    (void)snprintf(port, sizeof port, "%u", issuer.port);
    (void)snprintf(server, sizeof server, "%s/good.pem", dir);
    (void)snprintf(client, sizeof client, "%s/client.pem", dir);
    (void)snprintf(log, sizeof log, "%s/issuer.log", dir);
    const char *const argv[] = {"node", script, folder, port, server, client, NULL};
    require(process_start(argv, log, &issuer.pid, &err), err.text);
    wait_until_ready(issuer.pid, log, "issuer listens");
    return issuer;
}

void issuer_stop(struct issuer issuer)
{
    struct err err = ERR_INIT;
    require(process_stop(issuer.pid, 10000, &err), err.text);
}

static void time_text(long from_now_s, char out[32])
{
    time_t t = time(NULL) + from_now_s;
    struct tm tm;
    (void)gmtime_r(&t, &tm);
    require(strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0, "time");
}

void azurite_sas(const char *permissions, long ends_in_s, char out[512])
{
    char end[32];
    uint8_t mac[SIGN_SHA256_BYTES];
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf text = {0}, signature = {0}, encoded = {0};
    AUTO(secret_free) struct secret *key = sign_unbase64(KEY, strlen(KEY), &err);
    time_text(ends_in_s, end);
    buf_printf(&text, "%s\n%s\nb\nco\n\n%s\n\nhttps\n2020-12-06\n\n", AZURITE_ACCOUNT,
               permissions, end);
    sign_hmac_sha256(key, text.data, text.bytes, mac);
    sign_base64(mac, sizeof mac, &signature);
    sign_percent(signature.data, signature.bytes, &encoded);
    (void)snprintf(out, 512, "sv=2020-12-06&ss=b&srt=co&sp=%s&se=%s&spr=https&sig=%s",
                   permissions, end, buf_text(&encoded));
}
