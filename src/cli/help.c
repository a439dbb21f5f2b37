/* SPDX-License-Identifier: Apache-2.0 */
/* Help, the manual page and completion, all from the table of commands. */
#include "base/text.h"
#include "cli/cli.h"

/* ---- help ---- */

static void print_option(const struct cli_option *option, struct buf *out)
{
    AUTO(buf_release) struct buf left = {0};
    buf_printf(&left, "--%s%s%s", option->name, option->value ? " " : "",
               option->value ? option->value : "");
    buf_printf(out, "  %-22s %s\n", buf_text(&left), option->help);
}

static void print_options(const char *title, const struct cli_option *options,
                          struct buf *out)
{
    buf_printf(out, "\n%s:\n", title);
    for (; options->name; options++)
        print_option(options, out);
}

void cli_print_help(struct buf *out)
{
    const char *group = "";
    buf_append_text(out, "usage: kedge [OPTIONS] COMMAND [ARGUMENTS]\n\n"
                         "Replicates running virtual machines and migrates them.\n");
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        AUTO(buf_release) struct buf left = {0};
        if (strcmp(group, c->group) != 0)
            buf_printf(out, "\n%s:\n", c->group);
        group = c->group;
        buf_printf(&left, "%s%s%s", c->name, *c->args ? " " : "", c->args);
        buf_printf(out, "  %-26s %s\n", buf_text(&left), c->summary);
    }
    print_options("Options of every command", cli_global_options(), out);
    buf_append_text(out, "\n'kedge help COMMAND' tells more about one; kedge(1) is the "
                         "manual.\n");
}

void cli_print_command_help(const struct cli_command *command, struct buf *out)
{
    buf_printf(out, "usage: kedge %s%s%s%s\n\n%c%s.", command->name,
               *command->args ? " " : "", command->args,
               command->options || command->starts_job ? " [OPTIONS]" : "",
               command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->details)
        buf_printf(out, " %s", command->details);
    buf_put_u8(out, '\n');
    if (command->options)
        print_options("Options", command->options, out);
    if (command->starts_job)
        print_options("Following the job", cli_job_options(), out);
    print_options("Options of every command", cli_global_options(), out);
}

/* ---- manual ---- */

static void man_text(const char *text, struct buf *out)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\\') {
            buf_append_text(out, "\\e");
            continue;
        }
        if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n'))
            buf_append_text(out, "\\&");
        if (*p == '-')
            buf_put_u8(out, '\\');
        buf_put_u8(out, (uint8_t)*p);
    }
}

static void man_options(const struct cli_option *options, struct buf *out)
{
    for (; options && options->name; options++) {
        buf_append_text(out, ".TP\n.B \\-\\-");
        man_text(options->name, out);
        if (options->value)
            buf_printf(out, " \\fI%s\\fR", options->value);
        buf_put_u8(out, '\n');
        man_text(options->help, out);
        buf_append_text(out, ".\n");
    }
}

static void man_command(const struct cli_command *c, struct buf *out)
{
    buf_append_text(out, ".SS kedge ");
    man_text(c->name, out);
    buf_printf(out, "%s%s\n", *c->args ? " " : "", c->args);
    buf_printf(out, "%c", c->summary[0] - 'a' + 'A');
    man_text(c->summary + 1, out);
    buf_append_text(out, ".\n");
    if (c->details) {
        man_text(c->details, out);
        buf_put_u8(out, '\n');
    }
    man_options(c->options, out);
}

static void man_exit_codes(struct buf *out)
{
    static const char *const MEANINGS[] = {
        [FAIL_NONE] = "Done.",
        [FAIL_TRANSIENT] = "The daemon or a peer did not answer: try again later.",
        [FAIL_AUTH] = "Credentials or permissions are missing.",
        [FAIL_GONE] = "There is no such thing (any more).",
        [FAIL_CONFLICT] = "It exists already, or its state does not allow this.",
        [FAIL_CORRUPT] = "Data does not match its checksum or format.",
        [FAIL_NO_SPACE] = "There is no room.",
        [FAIL_LIMIT] = "Beyond a stated bound.",
        [FAIL_INPUT] = "Wrong usage or a wrong value.",
        [FAIL_CANCELED] = "The job was canceled.",
        [FAIL_IO] = "A device, file or peer failed.",
        [FAIL_BUG] = "A mistake in kedge: please report it."};
    buf_append_text(out, ".SH EXIT STATUS\n");
    for (size_t k = 0; k < ARRAY_COUNT(MEANINGS); k++)
        buf_printf(out, ".TP\n.B %d\n%s\n", err_kind_exit_code((enum err_kind)k),
                   MEANINGS[k]);
    buf_printf(out, ".TP\n.B %d\nInterrupted while following a job, which goes on.\n",
               CLI_EXIT_INTERRUPT);
}

void cli_print_man(struct buf *out)
{
    const char *group = "";
    buf_append_text(
        out,
        ".\\\" SPDX-License-Identifier: Apache-2.0\n"
        ".\\\" Made by kedge help \\-\\-man; change src/cli/commands.c.\n"
        ".TH KEDGE 1 \"\" Kedge \"User commands\"\n"
        ".SH NAME\nkedge \\- replicate running virtual machines and migrate them\n"
        ".SH SYNOPSIS\n.B kedge\n.RI [ OPTIONS ]\n.I COMMAND\n.RI [ ARGUMENTS ]\n"
        ".SH DESCRIPTION\n"
        "Asks kedged(8) over its Unix socket, or over HTTP with a token. Commands that\n"
        "start a job follow it to its end unless \\-\\-no\\-wait is given; a job goes "
        "on\n"
        "whether it is followed or not.\n"
        ".SH OPTIONS\n");
    man_options(cli_global_options(), out);
    buf_append_text(out, ".PP\nCommands that start a job take besides:\n");
    man_options(cli_job_options(), out);
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        if (strcmp(group, c->group) != 0) {
            buf_append_text(out, ".SH ");
            for (const char *p = c->group; *p; p++)
                buf_put_u8(out, (uint8_t)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p));
            buf_put_u8(out, '\n');
        }
        group = c->group;
        man_command(c, out);
    }
    man_exit_codes(out);
    buf_append_text(out, ".SH ENVIRONMENT\n.TP\n.B KEDGE_CONFIG\nConfiguration of the "
                         "daemon.\n.TP\n.B NO_COLOR\nWhen set: no colours.\n"
                         ".SH SEE ALSO\n.BR kedged (8),\n.BR kedged.conf (5)\n");
}

/* ---- completion ---- */

/* Words of the table, each once, blank-separated. second_of: the words that follow it. */
static void words_of(const char *second_of, struct buf *out)
{
    AUTO(buf_release) struct buf seen = {0};
    buf_append_text(&seen, " ");
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        char word[64], key[66];
        size_t length = strcspn(c->name, " ");
        if (second_of) {
            if (strncmp(c->name, second_of, length) != 0 || second_of[length] ||
                !c->name[length])
                continue;
            text_copy(word, sizeof word, c->name + length + 1);
        } else {
            (void)snprintf(word, sizeof word, "%.*s", (int)length, c->name);
        }
        (void)snprintf(key, sizeof key, " %s ", word);
        if (strstr(buf_text(&seen), key))
            continue;
        buf_append_text(&seen, key + 1);
        buf_printf(out, "%s%s", out->bytes ? " " : "", word);
    }
}

static void option_words(const struct cli_option *options, struct buf *out)
{
    for (; options && options->name; options++)
        buf_printf(out, "%s--%s", out->bytes ? " " : "", options->name);
}

static void print_cases(struct buf *out)
{
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        AUTO(buf_release) struct buf options = {0};
        option_words(c->options, &options);
        if (c->starts_job)
            option_words(cli_job_options(), &options);
        option_words(cli_global_options(), &options);
        buf_printf(out, "    '%s') words='%s' ;;\n", c->name, buf_text(&options));
    }
}

static const char MACHINE_WORDS[] =
    "_kedge_names() {\n"
    "  kedge \"$1\" 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
    "}\n";

/* A first word that a second one may follow, at its first place in the table. */
static bool begins_group(const struct cli_command *command, char word[64])
{
    size_t length = strcspn(command->name, " ");
    if (!command->name[length])
        return false;
    (void)snprintf(word, 64, "%.*s", (int)length, command->name);
    for (const struct cli_command *c = cli_commands(); c != command; c++)
        if (strncmp(c->name, command->name, length + 1) == 0)
            return false;
    return true;
}

static void print_groups(struct buf *out)
{
    char word[64];
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        AUTO(buf_release) struct buf seconds = {0};
        if (!begins_group(c, word))
            continue;
        words_of(word, &seconds);
        buf_printf(out, "    %s) [ -z \"$3\" ] && { echo '%s'; return; } ;;\n", word,
                   buf_text(&seconds));
    }
}

static void print_pairs(struct buf *out)
{
    bool is_first = true;
    buf_append_text(out, "  case \"$2 $3\" in\n    ");
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        if (!strchr(c->name, ' '))
            continue;
        buf_printf(out, "%s'%s'", is_first ? "" : "|", c->name);
        is_first = false;
    }
    buf_append_text(out, ") set -- \"$1\" \"$2 $3\" ;;\n"
                         "    *) set -- \"$1\" \"$2\" ;;\n  esac\n");
}

static void print_function(struct buf *out)
{
    AUTO(buf_release) struct buf first = {0};
    words_of(NULL, &first);
    buf_append_text(out, MACHINE_WORDS);
    buf_append_text(out, "# $1: word before the last, $2: first word, $3: second word\n"
                         "_kedge_words() {\n  local words=\n"
                         "  case \"$2\" in\n");
    buf_printf(out, "    '') echo '%s'; return ;;\n", buf_text(&first));
    print_groups(out);
    buf_append_text(out, "    completion) echo 'bash zsh'; return ;;\n  esac\n");
    print_pairs(out);
    buf_append_text(out, "  case \"$2\" in\n");
    print_cases(out);
    buf_append_text(out, "  esac\n  case \"$2\" in\n    ");
    bool is_first = true;
    for (const struct cli_command *c = cli_commands(); c->name; c++)
        if (strcmp(c->args, "MACHINE") == 0 || strcmp(c->args, "[MACHINE]") == 0) {
            buf_printf(out, "%s%s", is_first ? "" : "|", c->name);
            is_first = false;
        }
    buf_append_text(out, ") words=\"$words $(_kedge_names list)\" ;;\n  esac\n"
                         "  echo \"$words\"\n}\n");
}

bool cli_print_completion(const char *shell, struct buf *out, struct err *err)
{
    bool is_bash = strcmp(shell, "bash") == 0;
    if (!is_bash && strcmp(shell, "zsh") != 0)
        return err_set(err, FAIL_INPUT,
                       "no completion for '%.40s'; there is bash and zsh", shell);
    buf_append_text(out, is_bash ? "" : "#compdef kedge\n");
    buf_append_text(out, "# SPDX-License-Identifier: Apache-2.0\n"
                         "# Made by 'kedge completion'; change src/cli/commands.c.\n");
    print_function(out);
    if (is_bash)
        buf_append_text(out,
                        "_kedge() {\n"
                        "  local cur=${COMP_WORDS[COMP_CWORD]} first= second= i\n"
                        "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                        "    case ${COMP_WORDS[i]} in -*) continue ;; esac\n"
                        "    if [ -z \"$first\" ]; then first=${COMP_WORDS[i]}\n"
                        "    elif [ -z \"$second\" ]; then second=${COMP_WORDS[i]}; fi\n"
                        "  done\n"
                        "  COMPREPLY=($(compgen -W \"$(_kedge_words \"\" \"$first\" "
                        "\"$second\")\" -- \"$cur\"))\n"
                        "  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "
                        "\"$cur\"))\n"
                        "}\ncomplete -F _kedge kedge\n");
    else
        buf_append_text(
            out, "_kedge() {\n"
                 "  local first= second= i\n"
                 "  for ((i = 2; i < CURRENT; i++)); do\n"
                 "    [[ ${words[i]} == -* ]] && continue\n"
                 "    if [ -z \"$first\" ]; then first=${words[i]}\n"
                 "    elif [ -z \"$second\" ]; then second=${words[i]}; fi\n"
                 "  done\n"
                 "  compadd -- ${=$(_kedge_words \"\" \"$first\" \"$second\")} || "
                 "_files\n"
                 "}\n"
                 "# Found in fpath this is the first Tab already; else it is read once.\n"
                 "if [ \"$funcstack[1]\" = _kedge ]; then _kedge \"$@\"\n"
                 "else compdef _kedge kedge; fi\n");
    return true;
}
