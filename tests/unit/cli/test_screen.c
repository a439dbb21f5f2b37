/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and frames at several widths: nothing wraps, nothing controls the terminal. */
#include "base/text.h"
#include "cli/table.h"
#include "cli/watch.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const int WIDTHS[] = {1, 2, 5, 12, 20, 40, 60, 79, 80, 81, 100, 120, 200, 400};

/* Removes colour sequences; fails on any other control character. */
static void strip(const char *text, struct buf *out)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\033') {
            assert_int_equal(p[1], '[');
            p = strchr(p, 'm');
            assert_non_null(p);
            continue;
        }
        assert_true((unsigned char)*p >= 0x20 || *p == '\n');
        buf_put_u8(out, (uint8_t)*p);
    }
}

/* Returns the number of lines. */
static int check_lines(const char *text, int width)
{
    AUTO(buf_release) struct buf plain = {0};
    int lines = 0;
    strip(text, &plain);
    for (const char *p = buf_text(&plain); *p; lines++) {
        size_t length = strcspn(p, "\n");
        AUTO(buf_release) struct buf line = {0};
        buf_append(&line, p, length);
        if (width && text_columns(buf_text(&line)) > width)
            fail_msg("%d columns at width %d: %s", text_columns(buf_text(&line)), width,
                     buf_text(&line));
        p += length + (p[length] == '\n');
    }
    return lines;
}

static json_t *load(const char *text)
{
    struct err err = ERR_INIT;
    json_t *json = json_parse("test", text, strlen(text), &err);
    assert_non_null(json);
    return json;
}

static const char MACHINES[] =
    "[{\"name\":\"db1\",\"state\":\"initial-replication\",\"status\":\"Initial "
    "replication "
    "(43%)\",\"migration_state\":\"none\",\"cycle\":{\"number\":1,\"kind\":\"initial\","
    "\"phase\":\"send\",\"resumed\":true,\"planned_bytes\":1000000000,\"done_bytes\":"
    "430000000,\"content_bytes\":400000000,\"stored_bytes\":100000000,\"rate_bps\":"
    "224395264.5,\"sent_bps\":1048576,\"eta_ms\":133000}},"
    "{\"name\":\"a-machine-with-a-name-that-is-much-longer-than-any-column-can-be\","
    "\"state\":\"delta-sync\",\"status\":\"Delta sync\",\"migration_state\":\"ready\","
    "\"migration_status\":\"Ready to migrate\",\"cycle\":null,\"recovery_point\":"
    "{\"cycle\":3,\"at_ms\":1000000},\"next_cycle_at_ms\":1100000,\"tests\":[{\"name\":"
    "\"t1\",\"boot_ms\":8200,\"how_booted\":\"serial\"}]},"
    "{\"name\":\"\\u001b[2Jevil\\u0007\\u202e\\u009b\",\"state\":\"repair-pending\","
    "\"status\":\"Repair\\npending\",\"migration_state\":\"none\",\"last_error\":{"
    "\"kind\":"
    "\"io\",\"text\":\"bad \\u001b]0;title\\u0007 disk\"}},"
    "{\"name\":\"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e-vm\",\"state\":\"migrated\","
    "\"status\":\"\xe2\x80\x93\",\"migration_state\":\"migrated\"},"
    "{},{\"name\":7,\"cycle\":[],\"job\":\"x\",\"disks\":3}]";

static const char EVENTS[] =
    "[{\"id\":1,\"ts_ms\":1000,\"machine\":null,\"level\":\"info\",\"text\":\"started\"},"
    "{\"id\":2,\"ts_ms\":2000,\"machine\":\"db1\",\"level\":\"error\",\"text\":\"a text "
    "that "
    "goes on and on and on and on and on and on and on and on and on and on and on and "
    "on "
    "and on and on and on and on and on and on and on and on and on and on\"}]";

static void frames_fit_every_screen(void **state)
{
    AUTO(json_free) json_t *machines = load(MACHINES), *events = load(EVENTS);
    AUTO(json_free) json_t *status = load("{\"version\":\"1\",\"uptime_ms\":5000}");
    AUTO(json_free) json_t *throttle = load("{\"bytes_per_second\":20971520}");
    struct watch_view view = {.status = status,
                              .machines = machines,
                              .events = events,
                              .throttle = throttle,
                              .now_ms = 1060000};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(WIDTHS); i++)
        for (int height = 1; height < 30; height++)
            for (int look_at = 0; look_at < 4; look_at++) {
                AUTO(buf_release) struct buf out = {0};
                const struct table_look look = {.width = WIDTHS[i],
                                                .has_colour = look_at & 1,
                                                .is_utf8 = look_at & 2};
                view.trouble = height % 2 ? "kedged does not answer" : NULL;
                watch_render(&view, &look, height, &out);
                assert_true(check_lines(buf_text(&out), WIDTHS[i]) <= height);
                if (!look.is_utf8)
                    for (size_t b = 0; b < out.bytes; b++)
                        assert_true(out.data[b] < 0x80);
            }
}

static void frame_without_anything(void **state)
{
    AUTO(buf_release) struct buf out = {0};
    const struct watch_view view = {.now_ms = 1};
    const struct table_look look = {.width = 80, .is_utf8 = true};
    (void)state;
    watch_render(&view, &look, 24, &out);
    assert_true(check_lines(buf_text(&out), 80) >= 1);
}

/* The columns that stay, widths 40, 80 and 200. */
static void columns_leave_in_order(void **state)
{
    static const struct {
        int width;
        const char *has, *has_not;
    } CASES[] = {
        {40, "PROGRESS", "ETA"}, {80, "ETA", "RATIO"}, {200, "RECOVERY POINT", "\033"}};
    AUTO(json_free) json_t *machines = load(MACHINES);
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        AUTO(buf_release) struct buf out = {0};
        const struct table_look look = {.width = CASES[i].width, .is_utf8 = true};
        watch_render_machines(machines, 1060000, 10, &look, &out);
        const char *text = buf_text(&out);
        assert_non_null(strstr(text, "MACHINE"));
        assert_non_null(strstr(text, "db1"));
        assert_non_null(strstr(text, "43%"));
        assert_non_null(strstr(text, CASES[i].has));
        assert_null(strstr(text, CASES[i].has_not));
    }
}

static void a_row_of_the_widest(void **state)
{
    AUTO(json_free) json_t *machines = load(MACHINES);
    AUTO(buf_release) struct buf out = {0};
    const struct table_look look = {.width = 200, .is_utf8 = true};
    (void)state;
    (void)json_array_remove(machines, 1); /* its name would set the column */
    watch_render_machines(machines, 1060000, 1, &look, &out);
    const char *row = strchr(buf_text(&out), '\n') + 1;
    assert_true(text_starts_with(row, "db1"));
    assert_non_null(strstr(row, "Initial replication (43%)"));
    assert_non_null(strstr(row, "send (resumed)"));
    assert_non_null(strstr(row, "━━━━━━━━━━━━━━━━━───────────────────────  43%"));
    assert_non_null(strstr(row, "214.0 MiB/s"));
    assert_non_null(strstr(row, "1.0 MiB/s"));
    assert_non_null(strstr(row, "4.0x"));
    assert_non_null(strstr(row, "2m 13s"));
}

static void without_a_bound_nothing_is_cut(void **state)
{
    static const struct table_column COLUMNS[] = {{"A", .min_width = 1},
                                                  {"B", .min_width = 0}};
    AUTO(table_free) struct table *table = table_new(COLUMNS, ARRAY_COUNT(COLUMNS));
    AUTO(buf_release) struct buf out = {0};
    const struct table_look look = {.is_utf8 = true};
    (void)state;
    for (int i = 0; i < 300; i++)
        table_cell(table, STYLE_PLAIN, "%d-%0100d", i, i);
    table_render(table, &look, &out);
    assert_int_equal(check_lines(buf_text(&out), 0), 151);
    assert_non_null(strstr(buf_text(&out), "299-"));
    assert_null(strstr(buf_text(&out), "…"));
}

static void cutting_text(void **state)
{
    static const struct {
        const char *text;
        int width;
        const char *cut;
    } CASES[] = {{"abc", 3, "abc"},      {"abcd", 3, "ab…"},      {"abc", 1, "…"},
                 {"abc", 0, ""},         {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"},
                 {"日本語", 4, "日 …"},  {"\xff\xfe", 2, "??"},   {"a\xe2\x82", 3, "a??"},
                 {"a\tb\033", 9, "a?b?"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        AUTO(buf_release) struct buf out = {0};
        text_fit(&out, CASES[i].text, CASES[i].width, true);
        assert_string_equal(buf_text(&out), CASES[i].cut);
    }
}

static void bars(void **state)
{
    const struct table_look look = {.is_utf8 = true};
    static const struct {
        unsigned permille;
        const char *bar;
    } CASES[] = {{0, "────"},   {125, "╸───"}, {249, "╸───"}, {250, "━───"},
                 {500, "━━──"}, {999, "━━━╸"}, {1000, "━━━━"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        AUTO(buf_release) struct buf out = {0};
        text_bar(&out, CASES[i].permille, 4, &look, STYLE_CYAN);
        assert_string_equal(buf_text(&out), CASES[i].bar);
    }
}

static int set_up(void **state)
{
    (void)state;
    return setlocale(LC_CTYPE, "C.UTF-8") ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_fit_every_screen),
        cmocka_unit_test(frame_without_anything),
        cmocka_unit_test(columns_leave_in_order),
        cmocka_unit_test(a_row_of_the_widest),
        cmocka_unit_test(without_a_bound_nothing_is_cut),
        cmocka_unit_test(cutting_text),
        cmocka_unit_test(bars),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
