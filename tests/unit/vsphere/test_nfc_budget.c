/* SPDX-License-Identifier: Apache-2.0 */
/* Budget of one host: bounded, fair, given back. */
#include "vsphere/nfc_budget.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdatomic.h>

static bool is_called(const struct nfc_share *share)
{
    struct pollfd p = {nfc_share_fd(share), POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

static struct nfc_share *join(const char *host, uint64_t limit_bytes)
{
    struct err err = ERR_INIT;
    struct nfc_share *share = nfc_share_open(host, limit_bytes, &err);
    assert_non_null(share);
    return share;
}

static void line_is_first_come_first_served(void **state)
{
    (void)state;
    AUTO(nfc_share_close) struct nfc_share *a = join("esx", 4 * MIB);
    AUTO(nfc_share_close) struct nfc_share *b = join("ESX", 0); /* names know no case */
    AUTO(nfc_share_close) struct nfc_share *c = join("esx", 0);
    for (int i = 0; i < 4; i++)
        assert_true(nfc_share_ask(a, MIB));
    assert_false(nfc_share_ask(a, MIB));
    assert_false(nfc_share_ask(b, 2 * MIB));
    assert_false(nfc_share_ask(c, MIB));
    assert_int_equal(nfc_budget_used("esx"), 4 * MIB);
    nfc_share_give(a, MIB);
    assert_true(is_called(a)); /* it stood in line first, though it holds the most */
    assert_true(nfc_share_ask(a, MIB));
    assert_false(is_called(a));
    nfc_share_give(a, MIB);
    assert_false(is_called(b)); /* needs two */
    assert_false(is_called(c)); /* one would do, but b was first */
    assert_false(nfc_share_ask(a, MIB));
    nfc_share_give(a, MIB);
    assert_true(is_called(b));
    assert_false(is_called(c));
    assert_true(nfc_share_ask(b, 2 * MIB));
    nfc_share_give(b, 2 * MIB);
    assert_true(nfc_share_ask(c, MIB));
    assert_true(nfc_share_ask(a, MIB));
    assert_int_equal(nfc_budget_used("esx"), 4 * MIB);
}

static void another_host_is_another_budget(void **state)
{
    (void)state;
    AUTO(nfc_share_close) struct nfc_share *a = join("esx-1", MIB);
    AUTO(nfc_share_close) struct nfc_share *b = join("esx-2", MIB);
    assert_true(nfc_share_ask(a, MIB));
    assert_true(nfc_share_ask(b, MIB));
    assert_false(nfc_share_ask(a, MIB));
}

static void larger_than_the_limit_goes_alone(void **state)
{
    (void)state;
    AUTO(nfc_share_close) struct nfc_share *a = join("esx", 65536);
    AUTO(nfc_share_close) struct nfc_share *b = join("esx", 0);
    assert_true(nfc_share_ask(a, MIB));
    assert_false(nfc_share_ask(b, 512));
    nfc_share_give(a, MIB);
    assert_true(nfc_share_ask(b, 512));
    assert_false(nfc_share_ask(a, MIB));
}

static void leaving_lets_the_others_in(void **state)
{
    (void)state;
    struct nfc_share *a = join("esx", MIB);
    struct nfc_share *b = join("esx", 0);
    AUTO(nfc_share_close) struct nfc_share *c = join("esx", 0);
    assert_true(nfc_share_ask(a, MIB));
    assert_false(nfc_share_ask(b, MIB));
    assert_false(nfc_share_ask(c, MIB));
    nfc_share_close(a); /* holding */
    assert_true(is_called(b));
    nfc_share_forgo(b); /* granted, not taken */
    assert_true(is_called(c));
    nfc_share_close(b);
    assert_true(nfc_share_ask(c, MIB));
    assert_int_equal(nfc_budget_used("esx"), MIB);
    nfc_share_give(c, MIB);
    assert_int_equal(nfc_budget_used("esx"), 0);
}

/* In line with another wish than at first: what was granted is not lost. */
static void changed_wish(void **state)
{
    (void)state;
    AUTO(nfc_share_close) struct nfc_share *a = join("esx", MIB);
    AUTO(nfc_share_close) struct nfc_share *b = join("esx", 0);
    assert_true(nfc_share_ask(a, MIB));
    assert_false(nfc_share_ask(b, MIB));
    nfc_share_give(a, MIB);
    assert_true(nfc_share_ask(b, 4096));
    assert_int_equal(nfc_budget_used("esx"), 4096);
}

static void a_move_takes_what_is_held_along(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    AUTO(nfc_share_close) struct nfc_share *a = join("esx-1", 2 * MIB);
    AUTO(nfc_share_close) struct nfc_share *b = join("esx-1", 0);
    AUTO(nfc_share_close) struct nfc_share *c = join("esx-2", 2 * MIB);
    assert_true(nfc_share_ask(a, 2 * MIB));
    assert_true(nfc_share_ask(c, 2 * MIB));
    assert_false(nfc_share_ask(b, MIB));
    assert_true(nfc_share_move(a, "esx-2", &err));
    assert_true(is_called(b));
    assert_int_equal(nfc_budget_used("esx-2"), 4 * MIB);
    assert_false(nfc_share_ask(c, MIB));
    nfc_share_give(a, 2 * MIB);
    assert_false(is_called(c));
    nfc_share_give(c, 2 * MIB);
    assert_true(nfc_share_ask(c, MIB));
}

static void connections_are_bounded(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct nfc_share *all[NFC_HOST_LANES_MAX];
    for (size_t i = 0; i < NFC_HOST_LANES_MAX; i++)
        all[i] = join("esx", 0);
    assert_null(nfc_share_open("esx", 0, &err));
    assert_int_equal(err.kind, FAIL_LIMIT);
    for (size_t i = 0; i < NFC_HOST_LANES_MAX; i++)
        nfc_share_close(all[i]);
}

/* Many lanes at once: the limit holds at every instant, everybody finishes. */
struct crowd {
    pthread_t thread;
    uint64_t seed;
    uint32_t rounds;
};
#define CROWD_LIMIT (3 * MIB)
static _Atomic uint64_t crowd_used;

static void *one_of_the_crowd(void *context)
{
    struct crowd *me = context;
    struct nfc_share *share = join("crowd", CROWD_LIMIT);
    for (uint32_t i = 0; i < me->rounds; i++) {
        uint64_t bytes = 1 + (me->seed * 7919 + i * 104729) % MIB;
        while (!nfc_share_ask(share, bytes)) {
            struct pollfd p = {nfc_share_fd(share), POLLIN, 0};
            assert_int_equal(poll(&p, 1, 10000), 1);
        }
        uint64_t used = atomic_fetch_add(&crowd_used, bytes) + bytes;
        assert_true(used <= CROWD_LIMIT);
        atomic_fetch_sub(&crowd_used, bytes);
        nfc_share_give(share, bytes);
    }
    nfc_share_close(share);
    return NULL;
}

static void a_crowd_shares_it(void **state)
{
    (void)state;
    struct crowd crowd[12];
    for (size_t i = 0; i < ARRAY_COUNT(crowd); i++) {
        crowd[i] = (struct crowd){.seed = i, .rounds = 2000};
        assert_int_equal(
            pthread_create(&crowd[i].thread, NULL, one_of_the_crowd, &crowd[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(crowd); i++)
        assert_int_equal(pthread_join(crowd[i].thread, NULL), 0);
    assert_int_equal(nfc_budget_used("crowd"), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_is_first_come_first_served),
        cmocka_unit_test(another_host_is_another_budget),
        cmocka_unit_test(larger_than_the_limit_goes_alone),
        cmocka_unit_test(leaving_lets_the_others_in),
        cmocka_unit_test(changed_wish),
        cmocka_unit_test(a_move_takes_what_is_held_along),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(a_crowd_shares_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
