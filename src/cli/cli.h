/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kedge, the command line: one table of commands drives dispatch, help, the manual page
 * and completion. It is a client of the REST API and sees nothing else of the system.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/buf.h"
#include "base/cancel.h"
#include "base/secret.h"
#include "http/client.h"

#define CLI_MAX_ARGS       4
#define CLI_EXIT_INTERRUPT 130

struct cli;

enum cli_option_type {
    CLI_FLAG,
    CLI_TEXT,
    CLI_PATH,     /* made absolute */
    CLI_PATHS,    /* the same, may be given again */
    CLI_WORDS,    /* "nfc,https": a list */
    CLI_NUMBER,   /* whole number */
    CLI_SIZE,     /* 64K, 8M */
    CLI_DURATION, /* 90s, 15m: milliseconds */
};

struct cli_option {
    const char *name; /* without the dashes; NULL ends the table */
    enum cli_option_type type;
    const char *value; /* "FILE" in help; NULL for flags */
    const char *key;   /* field of the request's options; NULL: for kedge itself */
    bool flag_value;   /* what a flag puts into its field */
    const char *help;
};

/* Returns false with *err set; the exit code follows from its kind. */
typedef bool (*cli_run)(struct cli *cli, struct err *err);

struct cli_command {
    const char *name;  /* "source add"; NULL ends the table */
    const char *group; /* heading in help */
    const char *args;  /* "SOURCE MACHINE [NAME]" */
    const char *summary;
    const char *details;              /* more sentences for help and manual; NULL: none */
    const struct cli_option *options; /* NULL: none */
    cli_run run;
    bool starts_job; /* takes --no-wait */
    bool is_local;   /* needs no daemon */
};

const struct cli_command *cli_commands(void);
const struct cli_option *cli_global_options(void);
const struct cli_option *cli_job_options(void);

/* What the words of a call mean, and the connection it uses. */
struct cli {
    const struct cli_command *command;
    const char *args[CLI_MAX_ARGS];
    size_t arg_count;
    json_t *request; /* options with a key */
    json_t *flags;   /* the others, by name */
    struct http_client *client;
    struct secret *token;
    char *peer; /* socket or URL, for errors */
    bool is_json, is_terminal, is_utf8, has_colour;
    int width; /* 0: no bound */
};

void cli_release(struct cli *cli);

/* Words to command, arguments and options. FAIL_INPUT with what, why and how. Pure but
 * for the current folder, which relative paths are joined to. */
MUST_CHECK bool cli_parse(struct cli *cli, int count, char *const words[],
                          struct err *err);

bool cli_flag(const struct cli *cli, const char *name);
const char *cli_text(const struct cli *cli, const char *name); /* NULL: not given */

/* The nearest of the command names, or NULL when none is near. Pure. */
const char *cli_suggest(const char *word);

/* ---- connect.c ---- */
/* Finds the daemon: --url, --socket, or run_dir of the configuration. */
MUST_CHECK bool cli_connect(struct cli *cli, struct err *err);
/* One call; path is encoded. An unreachable daemon gives where it was looked for and how
 * it is started. */
MUST_CHECK json_t *cli_call(struct cli *cli, const char *method, const char *path,
                            const json_t *body, struct err *err);
/* run_dir out of a configuration text; false: not in it. Pure. */
bool cli_config_run_dir(const char *text, struct buf *ret);

/* ---- help.c ---- */
void cli_print_help(struct buf *out);
void cli_print_command_help(const struct cli_command *command, struct buf *out);
void cli_print_man(struct buf *out);
MUST_CHECK bool cli_print_completion(const char *shell, struct buf *out, struct err *err);

/* The daemon's program: beside us, or where the build puts it; else from PATH. out has
 * PATH_MAX bytes. */
void cli_find_daemon(char *out);

/* ---- output ---- */
/* Writes and empties; FAIL_IO when standard output is closed. */
MUST_CHECK bool cli_write(struct buf *text, struct err *err);
MUST_CHECK bool cli_write_json(const struct cli *cli, const json_t *json,
                               struct err *err);

/* ---- jobs.c ---- */
/* Follows the job that an answer {job: id} names, unless --no-wait. */
MUST_CHECK bool cli_follow_job(struct cli *cli, const json_t *started, struct err *err);

/* All of main: returns the exit code. */
int cli_main(int count, char **words);

#endif
