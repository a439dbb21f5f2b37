/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a call: every command with good and bad ones. */
#include "base/text.h"
#include "cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MAX_WORDS 16

/* Splits at blanks; '' is an empty word. */
static bool parse(struct cli *cli, const char *line, struct err *err)
{
    char text[512], *words[MAX_WORDS];
    int count = 0;
    text_copy(text, sizeof text, line);
    for (char *p = text; *p && count < MAX_WORDS;) {
        size_t length = strcspn(p, " ");
        words[count++] = p;
        char *next = p + length + (p[length] == ' ');
        p[length] = 0;
        if (strcmp(p, "''") == 0)
            *p = 0;
        p = next;
    }
    *cli = (struct cli){0};
    bool ok = cli_parse(cli, count, words, err);
    for (size_t i = 0; i < cli->arg_count; i++) /* they live in our buffer */
        cli->args[i] = NULL;
    return ok;
}

static void every_command_takes_its_arguments(void **state)
{
    (void)state;
    for (const struct cli_command *c = cli_commands(); c->name; c++) {
        AUTO(buf_release) struct buf line = {0};
        struct cli cli;
        struct err err = ERR_INIT;
        buf_append_text(&line, c->name);
        for (const char *p = c->args; *p && *p != '[';) { /* the required ones */
            buf_append_text(&line, " x");
            p += strcspn(p, " ");
            p += strspn(p, " ");
        }
        if (!parse(&cli, buf_text(&line), &err))
            fail_msg("%s: %s", buf_text(&line), err.text);
        assert_ptr_equal(cli.command, c);
        cli_release(&cli);
        buf_append_text(&line, " y y y y y");
        assert_false(parse(&cli, buf_text(&line), &err));
        assert_int_equal(err.kind, FAIL_INPUT);
        assert_non_null(strstr(err.text, "one word too many"));
        cli_release(&cli);
        if (c->args[0] && c->args[0] != '[') {
            assert_false(parse(&cli, c->name, &err));
            assert_non_null(strstr(err.text, "usage: kedge"));
            cli_release(&cli);
        }
        buf_clear(&line);
        buf_printf(&line, "%s --nonsense", c->name);
        assert_false(parse(&cli, buf_text(&line), &err));
        assert_non_null(strstr(err.text, "'--nonsense' is not an option of"));
        cli_release(&cli);
        buf_clear(&line);
        buf_printf(&line, "%s --help", c->name);
        assert_true(parse(&cli, buf_text(&line), &err)); /* without arguments too */
        cli_release(&cli);
    }
}

static void bad_words(void **state)
{
    static const struct {
        const char *line, *part;
    } CASES[] = {
        {"stauts", "did you mean 'status'?"},
        {"replciate a b", "did you mean 'replicate'?"},
        {"source ad a b", "did you mean 'source add'?"},
        {"source", "needs one more word"},
        {"xyzzy", "see 'kedge help'"},
        {"q", "see 'kedge help'"},
        {"-x", "not an option"},
        {"--frob list", "not a general option"},
        {"list -x", "not an option of 'list'"},
        {"sync ''", "is empty"},
        {"list --json=1", "takes no value"},
        {"list --socket", "needs a value; write --socket PATH"},
        {"list --socket=", "is empty"},
        {"list --socket /a --socket /b", "given twice"},
        {"sync a --wait --no-wait", "contradict"},
        {"migrate a --shutdown --no-shutdown", "contradicts"},
        {"test-migrate a --boot-deadline 5", "not a duration"},
        {"source add a image --path /a --cpus -1", "not a whole number"},
        {"source add a image --path /a --memory 1.5G", "not a size"},
        {"source add a image --path \xff", "UTF-8"},
        {"source add a vsphere --transport nfc,,https", "--transport"},
        {"source add a vsphere --transport ,", "--transport"},
        {"jobs --limit x", "not a whole number"},
        {"events --since 99999999999999999999", "not a whole number"},
        {"list --no-wait", "not an option of 'list'"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct cli cli;
        struct err err = ERR_INIT;
        if (parse(&cli, CASES[i].line, &err))
            fail_msg("'%s' was taken", CASES[i].line);
        assert_int_equal(err.kind, FAIL_INPUT);
        if (!strstr(err.text, CASES[i].part))
            fail_msg("'%s': %s", CASES[i].line, err.text);
        cli_release(&cli);
    }
}

static void options_become_the_request(void **state)
{
    static const struct {
        const char *line, *request;
    } CASES[] = {
        {"source add a qemu --qmp /q --granularity=64K",
         "{\"qmp\":\"/q\",\"granularity\":65536}"},
        {"source add a image --path /a --path=/b --memory 2G",
         "{\"paths\":[\"/a\",\"/b\"],\"memory_bytes\":2147483648}"},
        {"source add vc vsphere --url https://vc --transport nfc,https --quiesce",
         "{\"url\":\"https://vc\",\"transports\":[\"nfc\",\"https\"],\"quiesce\":true}"},
        {"--json migrate a --no-shutdown --boot-deadline 90s",
         "{\"shutdown\":false,\"boot_deadline_ms\":90000}"},
        {"replicate s m --auto-repair --target t", "{\"auto_repair\":true}"},
        {"test-migrate a --marker x=y", "{\"marker\":\"x=y\"}"},
        {"sync -- a", "{}"},
        {"--socket /s sync a --no-wait", "{}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        struct cli cli;
        struct err err = ERR_INIT;
        AUTO(buf_release) struct buf request = {0};
        if (!parse(&cli, CASES[i].line, &err))
            fail_msg("'%s': %s", CASES[i].line, err.text);
        json_print(cli.request, &request);
        assert_string_equal(buf_text(&request), CASES[i].request);
        cli_release(&cli);
    }
}

static void run_dir_of_a_configuration(void **state)
{
    static const struct {
        const char *text, *run_dir;
    } CASES[] = {
        {"run_dir = /r\n", "/r"},
        {"# run_dir = /no\n  run_dir=/r w  ", "/r w"},
        {"data_dir = /d\nrun_dir\t=\t/r\r\nx = 1", "/r"},
        {"run_directory = /x", NULL},
        {"run_dir", NULL},
        {"run_dir =", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        AUTO(buf_release) struct buf found = {0};
        bool ok = cli_config_run_dir(CASES[i].text, &found);
        assert_int_equal(ok, CASES[i].run_dir != NULL);
        if (ok)
            assert_string_equal(buf_text(&found), CASES[i].run_dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_takes_its_arguments),
        cmocka_unit_test(bad_words),
        cmocka_unit_test(options_become_the_request),
        cmocka_unit_test(run_dir_of_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
