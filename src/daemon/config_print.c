/* SPDX-License-Identifier: Apache-2.0 */
/* The option table as a file, as help and as the manual page kedged.conf(5). */
#include "daemon/config_options.h"

#include <inttypes.h>

static void print_size(uint64_t bytes, struct buf *out)
{
    static const char UNITS[] = "\0KMGT";
    size_t unit = 0;
    while (unit < 4 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    buf_printf(out, "%" PRIu64, bytes);
    if (UNITS[unit])
        buf_put_u8(out, (uint8_t)UNITS[unit]);
}

static void print_duration(uint64_t ms, struct buf *out)
{
    static const struct {
        uint64_t ms;
        const char *name;
    } UNITS[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    if (ms == 0)
        buf_append_text(out, "0");
    for (size_t i = 0; i < ARRAY_COUNT(UNITS); i++)
        if (ms >= UNITS[i].ms) {
            buf_printf(out, "%" PRIu64 "%s", ms / UNITS[i].ms, UNITS[i].name);
            ms %= UNITS[i].ms;
        }
}

void config_option_values(const struct config_option *option, struct buf *out)
{
    switch (option->type) {
    case OPTION_PATH:
        buf_append_text(out, "an absolute path");
        break;
    case OPTION_STORE:
        buf_append_text(out, "dir:/absolute/path or blob:https://ACCOUNT.blob.core."
                             "windows.net/CONTAINER[/PREFIX]");
        break;
    case OPTION_CHOICE:
        for (size_t i = 0; option->choices[i]; i++)
            buf_printf(out, "%s%s", i ? ", " : "", option->choices[i]);
        break;
    case OPTION_LISTEN:
        buf_append_text(out, "none, 127.0.0.1:PORT or [::1]:PORT");
        break;
    case OPTION_ZONE:
        buf_append_text(out, "local, or a zone like Europe/Berlin");
        break;
    case OPTION_FILE:
        buf_append_text(out, "none or an absolute path");
        break;
    case OPTION_NAME:
        buf_append_text(out, "none or a name of letters, digits, '.', '_' and '-'");
        break;
    case OPTION_REFERENCE:
        buf_append_text(out, "none, an absolute path or cred:NAME");
        break;
    case OPTION_NETWORK:
        buf_append_text(out, strcmp(option->name, "proxy") == 0
                                 ? "none or http://[USER@]HOST:PORT"
                                 : "none or a list");
        break;
    case OPTION_KEYS:
        buf_append_text(out, "file, vault:https://VAULT.vault.azure.net/keys/NAME or "
                             "vault:https://VAULT.vault.azure.net/secrets/NAME");
        break;
    case OPTION_NUMBER:
        buf_printf(out, "%" PRIu64 " to %" PRIu64, option->min, option->max);
        break;
    case OPTION_SIZE:
        print_size(option->min, out);
        buf_append_text(out, " to ");
        print_size(option->max, out);
        buf_append_text(out, " bytes, written like 64K or 8M");
        break;
    case OPTION_DURATION:
        print_duration(option->min, out);
        buf_append_text(out, " to ");
        print_duration(option->max, out);
        buf_append_text(out, ", written like 90s, 15m or 1d7h");
        break;
    case OPTION_BOOL:
        buf_append_text(out, "yes or no");
        break;
    }
}

void config_option_value(const struct config_option *option, const struct config *config,
                         struct buf *out)
{
    switch (option->type) {
    case OPTION_NUMBER:
        buf_printf(out, "%" PRIu64, *config_number_at(config, option));
        break;
    case OPTION_SIZE:
        print_size(*config_number_at(config, option), out);
        break;
    case OPTION_DURATION:
        print_duration(*config_number_at(config, option), out);
        break;
    case OPTION_BOOL:
        buf_append_text(out, *config_bool_at(config, option) ? "yes" : "no");
        break;
    default:
        buf_append_text(out, *config_text_at(config, option));
    }
}

void config_print(const struct config *config, struct buf *out)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    buf_append_text(out, "# Configuration of kedged; see kedged.conf(5).\n");
    for (size_t i = 0; i < count; i++) {
        AUTO(buf_release) struct buf values = {0};
        config_option_values(&options[i], &values);
        buf_printf(out, "\n# %s\n# %s; default %s\n%s = ", options[i].help,
                   buf_text(&values), options[i].fallback, options[i].name);
        config_option_value(&options[i], config, out);
        buf_put_u8(out, '\n');
    }
}

void config_print_help(struct buf *out)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        AUTO(buf_release) struct buf values = {0};
        config_option_values(&options[i], &values);
        buf_printf(out, "  %-14s %s\n                 %s; default %s\n", options[i].name,
                   options[i].help, buf_text(&values), options[i].fallback);
    }
}

/* '-' as it is typed, and no line that begins with a control character of man(7). */
static void man_text(const char *text, struct buf *out)
{
    for (const char *p = text; *p; p++) {
        if (*p == '-' || *p == '\\')
            buf_put_u8(out, '\\');
        if (*p == '\\')
            buf_put_u8(out, 'e');
        else
            buf_put_u8(out, (uint8_t)*p);
    }
}

static void man_option(const struct config_option *option, struct buf *out)
{
    AUTO(buf_release) struct buf values = {0};
    config_option_values(option, &values);
    buf_append_text(out, ".TP\n.B ");
    man_text(option->name, out);
    buf_append_text(out, "\n");
    man_text(option->help, out);
    buf_append_text(out, ".\n");
    if (option->man) {
        man_text(option->man, out);
        buf_append_text(out, "\n");
    }
    buf_append_text(out, "Allowed: ");
    man_text(buf_text(&values), out);
    buf_append_text(out, ". Default: ");
    man_text(option->fallback, out);
    buf_append_text(out, option->is_reloaded ? ".\nTaken again on SIGHUP.\n" : ".\n");
}

void config_print_man(struct buf *out)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    buf_append_text(
        out,
        ".\\\" SPDX-License-Identifier: Apache-2.0\n"
        ".\\\" Made by kedged \\-\\-print\\-man=kedged.conf; change "
        "src/daemon/config.c.\n"
        ".TH KEDGED.CONF 5 \"\" Kedge \"File formats\"\n"
        ".SH NAME\nkedged.conf \\- configuration of kedged\n"
        ".SH DESCRIPTION\n"
        "Lines of the form \\(lqkey = value\\(rq; empty lines and lines that begin with\n"
        "\\(lq#\\(rq are left out. There are no sections, no quotes and no "
        "continuations.\n"
        "A key that is unknown or set twice is an error, which names file and line.\n"
        "\\(lqkedged \\-\\-check\\-config\\(rq checks a file without starting, and\n"
        "\\(lqkedged \\-\\-print\\-config\\(rq prints what is in force.\n"
        ".SH OPTIONS\n");
    for (size_t i = 0; i < count; i++)
        man_option(&options[i], out);
    buf_append_text(out, ".SH FILES\n.I /etc/kedge/kedged.conf\n"
                         ".SH SEE ALSO\n.BR kedged (8),\n.BR kedge (1)\n");
}
