/* SPDX-License-Identifier: Apache-2.0 */
/* main of kedge: what the screen can do, parse, connect, run, exit code. */
#include "cli/cli.h"

#include "base/text.h"
#include "cli/runs.h"
#include "cli/table.h"
#include "cli/term.h"

#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <unistd.h>

/* ---- output ---- */

bool cli_write(struct buf *text, struct err *err)
{
    bool ok = fwrite(buf_text(text), 1, text->bytes, stdout) == text->bytes &&
              fflush(stdout) == 0;
    buf_release(text);
    return ok || err_errno(err, errno, "write to standard output");
}

bool cli_write_json(const struct cli *cli, const json_t *json, struct err *err)
{
    struct buf text = {0};
    (void)cli;
    json_print_pretty(json, &text);
    buf_put_u8(&text, '\n');
    return cli_write(&text, err);
}

/* ---- commands that need no daemon ---- */

void cli_find_daemon(char *out)
{
    static const char *const PLACES[] = {"kedged", "../sbin/kedged", "../daemon/kedged"};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; slash && i < ARRAY_COUNT(PLACES); i++) {
        int n = snprintf(out, PATH_MAX, "%s/%s", self, PLACES[i]);
        if (n > 0 && n < PATH_MAX && access(out, X_OK) == 0)
            return;
    }
    text_copy(out, PATH_MAX, "kedged");
}

/* The daemon makes its own files: what a key looks like is none of our business. */
bool run_init(struct cli *cli, struct err *err)
{
    char path[PATH_MAX];
    AUTO(buf_release) struct buf option = {0}, passphrase = {0};
    const char *reference = cli_text(cli, "passphrase");
    cli_find_daemon(path);
    buf_printf(&option, "--init%s%s", cli->arg_count ? "=" : "",
               cli->arg_count ? cli->args[0] : "");
    buf_printf(&passphrase, "--passphrase=%s", reference ? reference : "");
    char *const argv[] = {path, (char *)(uintptr_t)buf_text(&option),
                          reference ? (char *)(uintptr_t)buf_text(&passphrase) : NULL,
                          NULL};
    (void)execvp(path, argv);
    (void)err_errno(err, errno, "run '%s'", path);
    return err_hint(err, "install kedged beside kedge or in PATH");
}

bool run_version(struct cli *cli, struct err *err)
{
    struct buf out = {0};
    if (cli->is_json) {
        AUTO(json_free) json_t *json = json_object();
        json_put_text(json, "version", KEDGE_VERSION);
        return cli_write_json(cli, json, err);
    }
    buf_printf(&out, "kedge %s\n", KEDGE_VERSION);
    return cli_write(&out, err);
}

bool run_help(struct cli *cli, struct err *err)
{
    struct buf out = {0}, name = {0};
    bool is_found = cli->arg_count == 0;
    if (cli_flag(cli, "man")) {
        cli_print_man(&out);
        return cli_write(&out, err);
    }
    if (is_found)
        cli_print_help(&out);
    else
        buf_printf(&name, "%s%s%s", cli->args[0], cli->arg_count > 1 ? " " : "",
                   cli->arg_count > 1 ? cli->args[1] : "");
    for (const struct cli_command *c = cli_commands(); c->name && name.bytes; c++) {
        size_t length = name.bytes;
        bool is_group = strncmp(c->name, buf_text(&name), length) == 0 &&
                        (c->name[length] == ' ' || !c->name[length]);
        if (!is_group)
            continue;
        if (is_found)
            buf_put_u8(&out, '\n');
        cli_print_command_help(c, &out);
        is_found = true;
    }
    if (!is_found) {
        const char *near = cli_suggest(buf_text(&name));
        (void)err_set(err, FAIL_INPUT, "'%.60s' is not a command; %s%s%s",
                      buf_text(&name), near ? "did you mean '" : "see 'kedge help'",
                      near ? near : "", near ? "'?" : "");
    }
    buf_release(&name);
    return is_found ? cli_write(&out, err) : false;
}

bool run_completion(struct cli *cli, struct err *err)
{
    struct buf out = {0};
    if (cli_print_completion(cli->args[0], &out, err))
        return cli_write(&out, err);
    buf_release(&out);
    return false;
}

/* ---- main ---- */

static void look_at_screen(struct cli *cli)
{
    int height;
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool is_dumb = !term || !*term || strcmp(term, "dumb") == 0;
    (void)setlocale(LC_CTYPE, ""); /* an unknown locale is "C" */
    cli->is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* for the width of characters */
    cli->is_terminal = term_size(&cli->width, &height) && !is_dumb;
    if (!isatty(STDOUT_FILENO))
        cli->is_utf8 = true; /* files and pipes get the text as it is */
    cli->has_colour = cli->is_terminal && !(no_color && *no_color);
}

static bool run(struct cli *cli, int count, char **words, struct err *err)
{
    struct buf out = {0};
    if (!cli_parse(cli, count, words, err))
        return false;
    if (cli_flag(cli, "version"))
        return run_version(cli, err);
    if (!cli->command || cli_flag(cli, "help")) {
        if (cli->command)
            cli_print_command_help(cli->command, &out);
        else
            cli_print_help(&out);
        return cli_write(&out, err) &&
               (cli->command || cli_flag(cli, "help") ||
                err_set(err, FAIL_INPUT, "no command given; see above"));
    }
    return (cli->command->is_local || cli_connect(cli, err)) &&
           cli->command->run(cli, err);
}

int cli_main(int count, char **words)
{
    struct cli cli = {0};
    struct err err = ERR_INIT;
    look_at_screen(&cli);
    bool ok = run(&cli, count - 1, words + 1, &err);
    bool is_interrupted = !ok && text_starts_with(err.text, "not waiting any more");
    bool is_utf8 = cli.is_utf8;
    cli_release(&cli);
    if (ok)
        return 0;
    AUTO(buf_release) struct buf line = {0};
    text_fit(&line, err.text, ERR_TEXT_BYTES, is_utf8);
    (void)fprintf(stderr, "kedge: %s\n", buf_text(&line));
    return is_interrupted ? CLI_EXIT_INTERRUPT : err_kind_exit_code(err.kind);
}
