/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the daemon and talking to it. */
#include "base/file.h"
#include "base/text.h"
#include "cli/cli.h"

#include <ctype.h>

#define CONFIG_MAX_BYTES (64 * KIB)
#define SYSTEM_CONFIG    "/etc/kedge/kedged.conf"
#define DEFAULT_RUN_DIR  "/run/kedge"
#define SOCKET_NAME      "kedged.sock"
#define SLOW_CALL_MS     120000 /* a check of a source may look at many machines */

bool cli_config_run_dir(const char *text, struct buf *ret)
{
    static const char KEY[] = "run_dir";
    while (*text) {
        size_t length = strcspn(text, "\n");
        const char *p = text, *end = text + length;
        while (p < end && isblank((unsigned char)*p))
            p++;
        if ((size_t)(end - p) > sizeof KEY - 1 && strncmp(p, KEY, sizeof KEY - 1) == 0) {
            p += sizeof KEY - 1;
            while (p < end && isblank((unsigned char)*p))
                p++;
            if (p < end && *p == '=') {
                p++;
                while (p < end && isblank((unsigned char)*p))
                    p++;
                while (end > p && isspace((unsigned char)end[-1]))
                    end--;
                buf_append(ret, p, (size_t)(end - p));
                return ret->bytes > 0;
            }
        }
        text += length + (text[length] == '\n');
    }
    return false;
}

/* NULL: none of the usual ones is there. */
static const char *find_config(const struct cli *cli)
{
    const char *given = cli_text(cli, "config");
    if (given)
        return given;
    const char *env = getenv("KEDGE_CONFIG");
    if (env && *env)
        return env;
    if (file_exists("kedge.conf"))
        return "kedge.conf";
    return file_exists(SYSTEM_CONFIG) ? SYSTEM_CONFIG : NULL;
}

static bool find_socket(const struct cli *cli, struct buf *ret, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    const char *given = cli_text(cli, "socket");
    if (given) {
        buf_append_text(ret, given);
        return true;
    }
    const char *config = find_config(cli);
    if (config && !file_read(config, CONFIG_MAX_BYTES, &text, err))
        return err_hint(err, "--config names the daemon's configuration");
    if (!config || !cli_config_run_dir(buf_text(&text), ret))
        buf_append_text(ret, DEFAULT_RUN_DIR);
    buf_append_text(ret, "/" SOCKET_NAME);
    return true;
}

bool cli_connect(struct cli *cli, struct err *err)
{
    struct http_client_options options = {.url = cli_text(cli, "url"),
                                          .ca_file = cli_text(cli, "ca-file")};
    const char *token_file = cli_text(cli, "token-file");
    AUTO(buf_release) struct buf socket = {0};
    if (options.url && cli_text(cli, "socket"))
        return err_set(err, FAIL_INPUT, "--url and --socket contradict; keep one");
    if (!options.url && token_file)
        return err_set(err, FAIL_INPUT,
                       "--token-file needs --url; the socket takes none");
    if (options.url && !token_file)
        return err_set(err, FAIL_INPUT,
                       "--url needs --token-file with the content of the daemon's "
                       "token_file");
    if (token_file && !(cli->token = secret_read_file(token_file, err)))
        return false;
    options.token = cli->token;
    if (!options.url) {
        if (!find_socket(cli, &socket, err))
            return false;
        options.socket_path = buf_text(&socket);
    }
    cli->peer = xstrdup(options.url ? options.url : options.socket_path);
    cli->client = http_client_open(&options, err);
    return cli->client != NULL;
}

json_t *cli_call(struct cli *cli, const char *method, const char *path,
                 const json_t *body, struct err *err)
{
    const struct http_call call = {
        .method = method, .path = path, .body = body, .deadline_ms = SLOW_CALL_MS};
    json_t *answer = http_call(cli->client, &call, err);
    if (!answer && text_starts_with(err->text, "nobody answers")) {
        const char *config = find_config(cli);
        (void)err_set(
            err, FAIL_TRANSIENT,
            "kedged does not answer at '%s'; start it with 'kedged%s%s', or name "
            "another with --socket or --config",
            cli->peer, config ? " --config " : "", config ? config : "");
    }
    return answer;
}
