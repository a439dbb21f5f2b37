/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a call. Options may stand anywhere, as --name value or --name=value; "--"
 * ends them. Errors name the word, the reason and the way on, on one line.
 */
#include "base/text.h"
#include "cli/cli.h"

#include <unistd.h>

#define MAX_SUGGEST_DISTANCE 3
#define MAX_WORD_BYTES       64

void cli_release(struct cli *cli)
{
    json_decref(cli->request);
    json_decref(cli->flags);
    http_client_close(cli->client);
    secret_free(cli->token);
    free(cli->peer);
    *cli = (struct cli){0};
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return json_is_true(json_object_get(cli->flags, name));
}

const char *cli_text(const struct cli *cli, const char *name)
{
    return json_string_value(json_object_get(cli->flags, name));
}

/* ---- suggestions ---- */

static size_t edit_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    size_t row[MAX_WORD_BYTES + 1];
    if (a_length > MAX_WORD_BYTES || b_length > MAX_WORD_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = MIN_OF(MIN_OF(above, row[j - 1]) + 1, change);
            diagonal = above;
        }
    }
    return row[b_length];
}

const char *cli_suggest(const char *word)
{
    const char *best = NULL;
    size_t best_distance = MIN_OF((size_t)MAX_SUGGEST_DISTANCE, strlen(word) / 2) + 1;
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        size_t distance = edit_distance(word, c->name);
        if (distance < best_distance) {
            best_distance = distance;
            best = c->name;
        }
    }
    return best;
}

/* ---- the command ---- */

static bool unknown_command(const char *word, struct err *err)
{
    AUTO(buf_release) struct buf choices = {0};
    size_t length = strlen(word);
    for (const struct cli_command *c = cli_commands(); c->name; c++)
        if (strncmp(c->name, word, length) == 0 && c->name[length] == ' ')
            buf_printf(&choices, "%s'%s'", choices.bytes ? ", " : "", c->name);
    if (choices.bytes)
        return err_set(err, FAIL_INPUT, "'%s' needs one more word; there are %s", word,
                       buf_text(&choices));
    const char *near = cli_suggest(word);
    if (near)
        return err_set(err, FAIL_INPUT, "'%.60s' is not a command; did you mean '%s'?",
                       word, near);
    return err_set(err, FAIL_INPUT, "'%.60s' is not a command; see 'kedge help'", word);
}

/* Takes one or two words; *ret_used says how many. */
static bool find_command(struct cli *cli, const char *const words[], size_t count,
                         size_t *ret_used, struct err *err)
{
    AUTO(buf_release) struct buf two = {0};
    if (count > 1)
        buf_printf(&two, "%s %s", words[0], words[1]);
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        bool is_two = two.bytes && strcmp(c->name, buf_text(&two)) == 0;
        if (!is_two && strcmp(c->name, words[0]) != 0)
            continue;
        cli->command = c;
        *ret_used = is_two ? 2 : 1;
        return true;
    }
    const char *near = two.bytes ? cli_suggest(buf_text(&two)) : NULL;
    if (near && strchr(near, ' '))
        return err_set(err, FAIL_INPUT, "'%.60s' is not a command; did you mean '%s'?",
                       buf_text(&two), near);
    return unknown_command(words[0], err);
}

static bool take_args(struct cli *cli, const char *const words[], size_t count,
                      struct err *err)
{
    size_t required = 0, possible = 0;
    bool is_optional = false;
    for (const char *p = cli->command->args; *p;) {
        is_optional = is_optional || *p == '[';
        possible++;
        required += is_optional ? 0 : 1;
        p += strcspn(p, " ");
        p += strspn(p, " ");
    }
    if (count < required)
        return err_set(err, FAIL_INPUT,
                       "'%s' needs %s; usage: kedge %s %s (see 'kedge help %s')",
                       cli->command->name, cli->command->args, cli->command->name,
                       cli->command->args, cli->command->name);
    if (count > possible)
        return err_set(err, FAIL_INPUT,
                       "'%.60s' is one word too many; usage: kedge %s %s",
                       words[possible], cli->command->name, cli->command->args);
    for (size_t i = 0; i < count; i++) {
        if (words[i][0] == 0)
            return err_set(err, FAIL_INPUT,
                           "an argument of '%s' is empty; usage: kedge %s %s",
                           cli->command->name, cli->command->name, cli->command->args);
        cli->args[i] = words[i];
    }
    cli->arg_count = count;
    return true;
}

/* ---- options ---- */

static const struct cli_option *find_in(const struct cli_option *table, const char *name,
                                        size_t length)
{
    for (; table && table->name; table++)
        if (strlen(table->name) == length && strncmp(table->name, name, length) == 0)
            return table;
    return NULL;
}

static const struct cli_option *find_option(const struct cli *cli, const char *name,
                                            size_t length)
{
    const struct cli_option *found = NULL;
    if (cli->command)
        found = find_in(cli->command->options, name, length);
    if (!found && cli->command && cli->command->starts_job)
        found = find_in(cli_job_options(), name, length);
    return found ? found : find_in(cli_global_options(), name, length);
}

static json_t *path_value(const char *text)
{
    if (text[0] == '/')
        return json_string(text);
    AUTO(buf_release) struct buf path = {0};
    AUTO(free) char *here = getcwd(NULL, 0);
    buf_printf(&path, "%s/%s", here ? here : "", text);
    return json_string(buf_text(&path));
}

/* "a,b" -> ["a", "b"]; NULL: nothing between two commas. */
static json_t *words_value(const char *text)
{
    AUTO(json_free) json_t *list = json_array();
    for (;;) {
        size_t length = strcspn(text, ",");
        if (length == 0 || json_array_append_new(list, json_stringn(text, length)) != 0)
            return NULL;
        if (!text[length])
            return TAKE(list);
        text += length + 1;
    }
}

static json_t *make_value(const struct cli_option *option, const char *text,
                          struct err *err)
{
    uint64_t number = 0;
    bool ok = true;
    json_t *value = NULL;
    switch (option->type) {
    case CLI_FLAG:
        return json_boolean(option->key ? option->flag_value : true);
    case CLI_PATH:
    case CLI_PATHS:
        value = *text ? path_value(text) : NULL;
        break;
    case CLI_TEXT:
        value = *text ? json_string(text) : NULL;
        break;
    case CLI_WORDS:
        value = words_value(text);
        break;
    case CLI_NUMBER:
        ok = text_parse_u64(text, 0, INT64_MAX, &number, err);
        value = ok ? json_integer((json_int_t)number) : NULL;
        break;
    case CLI_SIZE:
        ok = text_parse_size(text, 0, INT64_MAX, &number, err);
        value = ok ? json_integer((json_int_t)number) : NULL;
        break;
    case CLI_DURATION:
        ok = text_parse_duration_ms(text, &number, err);
        value = ok ? json_integer((json_int_t)number) : NULL;
        break;
    }
    if (!ok)
        (void)err_wrap(err, "--%s", option->name);
    else if (!value)
        (void)err_set(err, FAIL_INPUT, "--%s %s; write --%s %s", option->name,
                      *text ? "is not valid UTF-8" : "is empty", option->name,
                      option->value);
    return value;
}

static bool put_value(struct cli *cli, const struct cli_option *option, const char *text,
                      struct err *err)
{
    json_t *object = option->key ? cli->request : cli->flags;
    const char *key = option->key ? option->key : option->name;
    json_t *old = json_object_get(object, key);
    if (old && option->type != CLI_PATHS && option->type != CLI_FLAG)
        return err_set(err, FAIL_INPUT, "--%s is given twice; keep one", option->name);
    if (old && option->type == CLI_FLAG && json_is_true(old) != option->flag_value &&
        option->key)
        return err_set(err, FAIL_INPUT, "--%s contradicts an option before it; keep one",
                       option->name);
    json_t *value = make_value(option, text, err);
    if (!value)
        return false;
    if (option->type != CLI_PATHS) {
        json_put_take(object, key, value);
        return true;
    }
    if (!old) {
        old = json_array();
        json_put_take(object, key, old);
    }
    return json_array_append_new(old, value) == 0;
}

static bool take_option(struct cli *cli, char *const words[], int count, int *at,
                        struct err *err)
{
    const char *word = words[*at] + 2;
    size_t length = strcspn(word, "=");
    const struct cli_option *option = find_option(cli, word, length);
    if (!option && !cli->command)
        return err_set(err, FAIL_INPUT,
                       "'--%.*s' is not a general option; write it after the command",
                       (int)MIN_OF(length, (size_t)60), word);
    if (!option)
        return err_set(err, FAIL_INPUT,
                       "'--%.*s' is not an option of '%s'; see 'kedge "
                       "help %s'",
                       (int)MIN_OF(length, (size_t)60), word, cli->command->name,
                       cli->command->name);
    if (option->type == CLI_FLAG && word[length])
        return err_set(err, FAIL_INPUT, "--%s takes no value", option->name);
    const char *value = word[length] ? word + length + 1 : "";
    if (option->type != CLI_FLAG && !word[length]) {
        if (*at + 1 >= count)
            return err_set(err, FAIL_INPUT, "--%s needs a value; write --%s %s",
                           option->name, option->name, option->value);
        value = words[++*at];
    }
    return put_value(cli, option, value, err);
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1];
}

/* The words that are not options, before the options of the command are known: a value
 * given as "--name value" to an unknown option could be taken for one, so the command is
 * what comes first after general options. */
static bool find_first(struct cli *cli, int count, char *const words[], int *ret_next,
                       struct err *err)
{
    const char *names[2];
    size_t used = 0;
    int at = 0;
    for (; at < count && is_option(words[at]); at++) {
        if (strcmp(words[at], "-h") == 0)
            json_put_bool(cli->flags, "help", true);
        else if (strcmp(words[at], "--version") == 0 || strcmp(words[at], "-V") == 0)
            json_put_bool(cli->flags, "version", true);
        else if (!text_starts_with(words[at], "--") || !words[at][2])
            return err_set(err, FAIL_INPUT, "'%.60s' is not an option; see 'kedge help'",
                           words[at]);
        else if (!take_option(cli, words, count, &at, err))
            return false;
    }
    *ret_next = at;
    if (at == count)
        return true;
    names[0] = words[at];
    names[1] = at + 1 < count && !is_option(words[at + 1]) ? words[at + 1] : NULL;
    if (!find_command(cli, names, names[1] ? 2 : 1, &used, err))
        return false;
    *ret_next = at + (int)used;
    return true;
}

bool cli_parse(struct cli *cli, int count, char *const words[], struct err *err)
{
    const char *rest[CLI_MAX_ARGS + 1];
    size_t rest_count = 0;
    bool is_ended = false;
    int at = count;
    cli->request = json_object();
    cli->flags = json_object();
    if (!find_first(cli, count, words, &at, err))
        return false;
    for (; at < count; at++) {
        const char *word = words[at];
        if (!is_ended && strcmp(word, "--") == 0) {
            is_ended = true;
        } else if (!is_ended && strcmp(word, "-h") == 0) {
            json_put_bool(cli->flags, "help", true);
        } else if (!is_ended && is_option(word)) {
            if (!text_starts_with(word, "--"))
                return err_set(err, FAIL_INPUT,
                               "'%.60s' is not an option of '%s'; see "
                               "'kedge help %s'",
                               word, cli->command->name, cli->command->name);
            if (!take_option(cli, words, count, &at, err))
                return false;
        } else if (rest_count < ARRAY_COUNT(rest)) {
            rest[rest_count++] = word;
        }
    }
    cli->is_json = cli_flag(cli, "json");
    if (cli_flag(cli, "help") || !cli->command)
        return true;
    if (cli_flag(cli, "wait") && cli_flag(cli, "no-wait"))
        return err_set(err, FAIL_INPUT, "--wait and --no-wait contradict; keep one");
    return take_args(cli, rest, rest_count, err);
}
