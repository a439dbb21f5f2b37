/* SPDX-License-Identifier: Apache-2.0 */
/* Additive increase, multiplicative decrease: by requests, without any time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "target/lane_window.h"

static void one(struct lane_window *window, bool is_busy)
{
    lane_window_end(window, lane_window_begin(window), is_busy);
}

static void it_climbs_by_one_a_window(void **state)
{
    struct lane_window window;
    (void)state;
    lane_window_init(&window, 8);
    assert_int_equal(window.size, 4);
    for (int i = 0; i < 3; i++)
        one(&window, false);
    assert_int_equal(window.size, 4);
    one(&window, false);
    assert_int_equal(window.size, 5);
    for (int i = 0; i < 5 + 6 + 7; i++)
        one(&window, false);
    assert_int_equal(window.size, 8);
    for (int i = 0; i < 100; i++)
        one(&window, false);
    assert_int_equal(window.size, 8);
}

static void it_halves_and_never_ends_at_none(void **state)
{
    struct lane_window window;
    (void)state;
    lane_window_init(&window, 8);
    window.size = 8;
    one(&window, true);
    assert_int_equal(window.size, 4);
    one(&window, true);
    one(&window, true);
    one(&window, true);
    assert_int_equal(window.size, 1);
    one(&window, false);
    assert_int_equal(window.size, 2);
}

/* Eight requests that ran into the same wall say it once. */
static void one_wall_halves_once(void **state)
{
    struct lane_window window;
    uint64_t begun[8];
    (void)state;
    lane_window_init(&window, 8);
    window.size = 8;
    for (int i = 0; i < 8; i++)
        begun[i] = lane_window_begin(&window);
    for (int i = 0; i < 8; i++)
        lane_window_end(&window, begun[i], i % 2 == 0);
    assert_int_equal(window.size, 4);
    assert_int_equal(window.clean, 0); /* the clean ones began before, too */
    for (int i = 0; i < 4; i++)
        one(&window, false);
    assert_int_equal(window.size, 5);
}

static void a_busy_one_takes_back_what_was_clean(void **state)
{
    struct lane_window window;
    (void)state;
    lane_window_init(&window, 4);
    assert_int_equal(window.size, 2);
    one(&window, false);
    one(&window, true);
    assert_int_equal(window.size, 1);
    one(&window, false);
    assert_int_equal(window.size, 2);
    one(&window, false);
    assert_int_equal(window.size, 2);
    one(&window, false);
    assert_int_equal(window.size, 3);
}

static void one_lane_stays_one_lane(void **state)
{
    struct lane_window window;
    (void)state;
    lane_window_init(&window, 1);
    for (int i = 0; i < 10; i++) {
        one(&window, i % 3 == 0);
        assert_int_equal(window.size, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_climbs_by_one_a_window),
        cmocka_unit_test(it_halves_and_never_ends_at_none),
        cmocka_unit_test(one_wall_halves_once),
        cmocka_unit_test(a_busy_one_takes_back_what_was_clean),
        cmocka_unit_test(one_lane_stays_one_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
