/* SPDX-License-Identifier: Apache-2.0 */
/* The throttle on the bodies of one role. Bounds are from below only: nothing may be
 * faster than the rate; a slow machine is slower. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "http/pace.h"
#include "rig.h"

static uint64_t send_ms(struct rig *rig, size_t bytes)
{
    struct err err = ERR_INIT;
    AUTO(http_answer_release) struct http_answer got = {0};
    AUTO(free) uint8_t *body = xcalloc(1, bytes);
    struct http_request request = {
        .method = "PUT", .path = "/echo", .body = body, .body_bytes = bytes};
    uint64_t began_ms = clock_mono_ms();
    if (!http_exchange(rig->endpoint, &request, &got, &err))
        fail_msg("%s", err.text);
    assert_int_equal(got.body.bytes, bytes); /* all of it came */
    return clock_mono_ms() - began_ms;
}

static void no_role_is_faster_than_its_rate(void **state)
{
    static const uint64_t RATES_BPS[] = {8 * MIB, 256 * KIB}; /* in pieces, and whole */
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(RATES_BPS); i++) {
        struct rig rig;
        struct http_endpoint_options way = trusting();
        struct throttle *throttle = throttle_new(RATES_BPS[i]);
        size_t bytes = (size_t)RATES_BPS[i]; /* a second, less the bucket's quarter */
        way.role = ROLE_LOG_STORE;
        rig_start(&rig, "good.pem", way);
        http_pace(ROLE_STATE_STORE, throttle); /* another role's */
        (void)send_ms(&rig, bytes);
        http_pace(ROLE_STATE_STORE, NULL);
        http_pace(ROLE_LOG_STORE, throttle);
        (void)send_ms(&rig, bytes / 4); /* empties the bucket */
        assert_true(send_ms(&rig, bytes) >= 700);
        http_pace(ROLE_LOG_STORE, NULL);
        (void)send_ms(&rig, bytes);
        rig_stop(&rig);
        throttle_free(throttle);
    }
}

static void *set_soon(void *cancel)
{
    clock_sleep_ms(100);
    cancel_set(cancel);
    return NULL;
}

static void a_wait_for_the_throttle_ends_when_canceled(void **state)
{
    static const uint64_t RATES_BPS[] = {1024, 512 * KIB};
    static uint8_t body[16 * MIB];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(RATES_BPS); i++) {
        struct rig rig;
        struct cancel cancel;
        pthread_t thread;
        struct err err = ERR_INIT;
        struct http_answer got;
        struct throttle *throttle = throttle_new(RATES_BPS[i]);
        struct http_endpoint_options way = trusting();
        way.role = ROLE_LOG_STORE;
        cancel_init(&cancel);
        rig_start(&rig, "good.pem", way);
        http_pace(ROLE_LOG_STORE, throttle);
        assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
        struct http_request request = {.method = "PUT",
                                       .path = "/echo",
                                       .body = body,
                                       .body_bytes = sizeof body,
                                       .cancel = &cancel};
        assert_false(http_exchange(rig.endpoint, &request, &got, &err));
        assert_int_equal(err.kind, FAIL_CANCELED);
        assert_int_equal(pthread_join(thread, NULL), 0);
        http_pace(ROLE_LOG_STORE, NULL);
        rig_stop(&rig);
        throttle_free(throttle);
        cancel_release(&cancel);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_role_is_faster_than_its_rate),
        cmocka_unit_test(a_wait_for_the_throttle_ends_when_canceled),
    };
    return cmocka_run_group_tests(tests, rig_make_dir, rig_remove_dir);
}
