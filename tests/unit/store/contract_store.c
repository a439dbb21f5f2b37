/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of store/store.h, sentence by sentence, over every implementation: dir,
 * memory, and fault with nothing going wrong; with the argument "blob" over blobs of the
 * emulator. A new implementation adds one line to BACKENDS. What only a folder can show
 * (crash leftovers, lock, full disk) is in test_store_dir.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/pool.h"
#include "store/store.h"
#include "support/azurite.h"

#include <stdatomic.h>
#include <unistd.h>

#define RACERS  8
#define ROUNDS  20
#define TMP_DIR "/tmp/kedge-store-XXXXXX"

struct fixture {
    struct store *store;
    char dir[sizeof TMP_DIR];
};

static struct store *make_dir(struct fixture *f)
{
    struct err err = ERR_INIT;
    memcpy(f->dir, TMP_DIR, sizeof TMP_DIR);
    assert_non_null(mkdtemp(f->dir));
    struct store *store = store_dir_open(f->dir, &err);
    if (!store)
        fail_msg("%s", err.text);
    return store;
}

static struct store *make_memory(struct fixture *f)
{
    (void)f;
    return store_memory_new();
}

static struct store *make_fault(struct fixture *f)
{
    struct store_fault_options options = {.seed = 1, .kind = FAIL_IO};
    return store_fault_new(make_dir(f), &options);
}

static char blob_dir[] = TMP_DIR;
static struct azurite *azurite;

static struct store *make_blob(struct fixture *f)
{
    static unsigned next;
    char url[128];
    struct err err = ERR_INIT;
    (void)f;
    (void)snprintf(url, sizeof url,
                   "https://127.0.0.1:%u/" AZURITE_ACCOUNT "/contract/%u",
                   azurite_port(azurite), next++);
    struct store_blob_options options = {.url = url};
    AUTO(free) char *key_file = file_join(blob_dir, "account.key");
    AUTO(buf_release) struct buf extra = {0};
    buf_printf(&extra, ", \"key_file\": \"%s\"", key_file);
    options.credential_file =
        azurite_credential(blob_dir, "key.json", "shared-key", buf_text(&extra));
    struct store *store = store_blob_open(&options, &err);
    if (!store)
        fail_msg("%s", err.text);
    return store;
}

static int start_azurite(void **state)
{
    (void)state;
    if (!mkdtemp(blob_dir))
        return -1;
    test_certs_make(blob_dir);
    (void)azurite_write(blob_dir, "account.key", azurite_key());
    azurite = azurite_start(blob_dir);
    return 0;
}

static int stop_azurite(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    azurite_stop(azurite);
    return file_remove_tree(blob_dir, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    store_close(f->store);
    bool ok = !f->dir[0] || file_remove_tree(f->dir, &err);
    free(f);
    return ok ? 0 : -1;
}

static int setup_with(void **state, struct store *(*make)(struct fixture *))
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->store = make(f);
    *state = f;
    return 0;
}

static int setup_dir(void **state)
{
    return setup_with(state, make_dir);
}

static int setup_memory(void **state)
{
    return setup_with(state, make_memory);
}

static int setup_fault(void **state)
{
    return setup_with(state, make_fault);
}

static int setup_blob(void **state)
{
    return setup_with(state, make_blob);
}

static struct store *store_of(void **state)
{
    return ((struct fixture *)*state)->store;
}

static void put_text(struct store *store, const char *name, const char *text)
{
    struct err err = ERR_INIT;
    if (!store_put(store, name, (const uint8_t *)text, strlen(text), STORE_REPLACE, &err))
        fail_msg("put %s: %s", name, err.text);
}

static void assert_holds(struct store *store, const char *name, const void *data,
                         size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf got = {0};
    if (!store_get_all(store, name, 64 * MIB, &got, &err))
        fail_msg("get %s: %s", name, err.text);
    assert_int_equal(got.bytes, data_bytes);
    if (data_bytes)
        assert_memory_equal(got.data, data, data_bytes);
}

static void assert_fails(bool result, const struct err *err, enum err_kind kind)
{
    assert_false(result);
    if (err->kind != kind)
        fail_msg("kind %s, not %s: %s", err_kind_name(err->kind), err_kind_name(kind),
                 err->text);
    assert_true(err->text[0] != 0);
}

#define ASSERT_FAILS(kind, call)                                                         \
    do {                                                                                 \
        struct err err = ERR_INIT;                                                       \
        assert_fails(call, &err, kind);                                                  \
    } while (0)
#define ASSERT_WORKS(call)                                                               \
    do {                                                                                 \
        struct err err = ERR_INIT;                                                       \
        if (!(call))                                                                     \
            fail_msg("%s: %s", #call, err.text);                                         \
        assert_int_equal(err.kind, FAIL_NONE);                                           \
    } while (0)

/* ---- single calls ---- */

static void what_was_put_is_got(void **state)
{
    struct store *store = store_of(state);
    put_text(store, "a/b/c.x", "hello");
    assert_holds(store, "a/b/c.x", "hello", 5);
    put_text(store, "a/b/c.x", "longer than before");
    assert_holds(store, "a/b/c.x", "longer than before", 18);
    put_text(store, "a/b/c.x", "");
    assert_holds(store, "a/b/c.x", "", 0);
    uint64_t bytes = 1;
    ASSERT_WORKS(store_size(store, "a/b/c.x", &bytes, &err));
    assert_int_equal(bytes, 0);
}

static void get_all_appends_and_keeps_what_was_there(void **state)
{
    struct store *store = store_of(state);
    AUTO(buf_release) struct buf got = {0};
    put_text(store, "x", "tail");
    buf_append_text(&got, "head-");
    ASSERT_WORKS(store_get_all(store, "x", 4, &got, &err));
    assert_string_equal(buf_text(&got), "head-tail");
    ASSERT_FAILS(FAIL_LIMIT, store_get_all(store, "x", 3, &got, &err));
    ASSERT_FAILS(FAIL_GONE, store_get_all(store, "y", 3, &got, &err));
    assert_string_equal(buf_text(&got), "head-tail");
}

static void absent_is_gone(void **state)
{
    struct store *store = store_of(state);
    uint8_t byte = 7;
    size_t got = 77;
    uint64_t bytes = 77;
    put_text(store, "a/b", "x");
    static const char *const NAMES[] = {"nope", "a", "a/b/c", "a/bb", "z/z/z"};
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++) {
        ASSERT_FAILS(FAIL_GONE, store_get(store, NAMES[i], 0, &byte, 1, &got, &err));
        ASSERT_FAILS(FAIL_GONE, store_size(store, NAMES[i], &bytes, &err));
        ASSERT_WORKS(store_remove(store, NAMES[i], &err));
    }
    assert_int_equal(got, 77); /* set on success only */
    assert_int_equal(bytes, 77);
    assert_holds(store, "a/b", "x", 1);
}

static void if_absent_keeps_the_first(void **state)
{
    struct store *store = store_of(state);
    const uint8_t one[] = "one", two[] = "two";
    ASSERT_WORKS(store_put(store, "k/lease", one, 3, STORE_IF_ABSENT, &err));
    ASSERT_FAILS(FAIL_CONFLICT,
                 store_put(store, "k/lease", two, 3, STORE_IF_ABSENT, &err));
    assert_holds(store, "k/lease", "one", 3);
    ASSERT_WORKS(store_remove(store, "k/lease", &err));
    ASSERT_WORKS(store_put(store, "k/lease", two, 3, STORE_IF_ABSENT, &err));
    assert_holds(store, "k/lease", "two", 3);
}

static void ranges(void **state)
{
    struct store *store = store_of(state);
    put_text(store, "r", "0123456789");
    static const struct {
        uint64_t offset;
        size_t want, got;
        const char *text;
    } CASES[] = {
        {0, 10, 10, "0123456789"},
        {0, 3, 3, "012"},
        {7, 3, 3, "789"},
        {7, 100, 3, "789"},
        {9, 1, 1, "9"},
        {10, 5, 0, ""},
        {11, 5, 0, ""},
        {4, 0, 0, ""},
        {UINT64_MAX, 5, 0, ""},
        {UINT64_MAX - 4, 10, 0, ""},
        {(uint64_t)1 << 63, 5, 0, ""},
    };
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        uint8_t data[128];
        memset(data, '#', sizeof data);
        size_t got = 999;
        ASSERT_WORKS(
            store_get(store, "r", CASES[i].offset, data, CASES[i].want, &got, &err));
        assert_int_equal(got, CASES[i].got);
        assert_memory_equal(data, CASES[i].text, got);
        assert_int_equal(data[got], '#'); /* nothing behind it is touched */
    }
}

static void names(void **state)
{
    struct store *store = store_of(state);
    char part_255[256], part_256[257], longest[513], too_long[514];
    memset(part_255, 'p', 255);
    memset(part_256, 'p', 256);
    part_255[255] = part_256[256] = 0;
    for (size_t i = 0; i < 513; i++)
        too_long[i] = i % 100 == 50 ? '/' : 'n';
    memcpy(longest, too_long, 512);
    longest[512] = too_long[513] = 0;
    const char *const bad[] = {"",       "/",        "/a",
                               "a/",     "a//b",     ".",
                               "..",     "./a",      "../a",
                               "a/..",   "a/../b",   "a/./b",
                               "a b",    "a\nb",     "a\\b",
                               "a:b",    "#1",       "#lock",
                               "a/#1",   "\xc3\xa4", "a*",
                               "~",      "a%2fb",    "a\x7f",
                               part_256, too_long,   "a/b/../../../../etc/passwd"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        uint8_t byte = 0;
        size_t got;
        uint64_t bytes;
        ASSERT_FAILS(FAIL_INPUT, store_put(store, bad[i], &byte, 1, STORE_REPLACE, &err));
        ASSERT_FAILS(FAIL_INPUT, store_get(store, bad[i], 0, &byte, 1, &got, &err));
        ASSERT_FAILS(FAIL_INPUT, store_size(store, bad[i], &bytes, &err));
        ASSERT_FAILS(FAIL_INPUT, store_remove(store, bad[i], &err));
    }
    const char *const good[] = {"...",  "..a/.b", "-",     "_/-/.x",  "a.tmp",
                                "lock", part_255, longest, "A-Z0-9._"};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        put_text(store, good[i], good[i]);
        assert_holds(store, good[i], good[i], strlen(good[i]));
    }
}

static void an_object_is_no_folder(void **state)
{
    struct store *store = store_of(state);
    const uint8_t x[] = "x";
    put_text(store, "a/b/c", "1");
    put_text(store, "o", "2");
    static const enum store_put_mode MODES[] = {STORE_REPLACE, STORE_IF_ABSENT};
    for (size_t i = 0; i < 2; i++) {
        ASSERT_FAILS(FAIL_CONFLICT, store_put(store, "a", x, 1, MODES[i], &err));
        ASSERT_FAILS(FAIL_CONFLICT, store_put(store, "a/b", x, 1, MODES[i], &err));
        ASSERT_FAILS(FAIL_CONFLICT, store_put(store, "o/p", x, 1, MODES[i], &err));
        ASSERT_FAILS(FAIL_CONFLICT, store_put(store, "o/p/q", x, 1, MODES[i], &err));
    }
    ASSERT_WORKS(store_remove(store, "a/b", &err)); /* no such object: nothing happens */
    assert_holds(store, "a/b/c", "1", 1);
    ASSERT_WORKS(store_remove(store, "a/b/c", &err));
    ASSERT_WORKS(store_remove(store, "o", &err));
    put_text(store, "a", "free again");
    put_text(store, "o/p/q", "free again");
    assert_holds(store, "a", "free again", 10);
}

/* ---- sizes and alignment ---- */

static void fill(uint8_t *data, size_t bytes, uint32_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
}

static void every_size_and_alignment(void **state)
{
    struct store *store = store_of(state);
    static const size_t SIZES[] = {
        0,     1,     511,          512,    4095,        4096,    4097,       65535,
        65536, 65537, 65536 + 4095, 131072, 1048576 - 1, 8 * MIB, 8 * MIB + 1};
    static const size_t SHIFTS[] = {0, 1, 16, 512};
    AUTO(pool_free) struct pool *pool = pool_new(1, 9 * MIB);
    struct err take_err = ERR_INIT;
    uint8_t *data = pool_take(pool, NULL, &take_err);
    fill(data, 9 * MIB, 5);
    for (size_t i = 0; i < ARRAY_COUNT(SIZES); i++)
        for (size_t j = 0; j < (SIZES[i] > MIB ? 2 : ARRAY_COUNT(SHIFTS)); j++) {
            ASSERT_WORKS(store_put(store, "big/one", data + SHIFTS[j], SIZES[i],
                                   STORE_REPLACE, &err));
            assert_holds(store, "big/one", data + SHIFTS[j], SIZES[i]);
            uint64_t bytes = 0;
            ASSERT_WORKS(store_size(store, "big/one", &bytes, &err));
            assert_int_equal(bytes, SIZES[i]);
        }
    pool_give(pool, data);
}

/* ---- listing ---- */

struct listing {
    struct buf text; /* "name=bytes " */
    struct store *store;
    const char *remove_one;
    size_t stop_after, count;
};

static bool add_listed(void *ctx, const char *name, uint64_t bytes, struct err *err)
{
    struct listing *listing = ctx;
    if (listing->stop_after && listing->count == listing->stop_after)
        return err_set(err, FAIL_LIMIT, "enough of that");
    listing->count++;
    buf_printf(&listing->text, "%s=%llu ", name, (unsigned long long)bytes);
    if (listing->remove_one)
        return store_remove(listing->store, listing->remove_one, err);
    return true;
}

static void assert_lists(struct store *store, const char *prefix, const char *expected)
{
    struct listing listing = {0};
    ASSERT_WORKS(store_list(store, prefix, add_listed, &listing, &err));
    assert_string_equal(buf_text(&listing.text), expected);
    buf_release(&listing.text);
}

static void lists_by_prefix_in_byte_order(void **state)
{
    struct store *store = store_of(state);
    assert_lists(store, "", "");
    static const char *const NAMES[] = {"b/2",  "a/c", "a-b", "a.b",   "ab/x/y", "a0",
                                        "b/10", "b/1", "Z",   "a/b/d", "a/b-",   "_"};
    for (size_t i = 0; i < ARRAY_COUNT(NAMES); i++)
        put_text(store, NAMES[i], NAMES[i]);
    assert_lists(store, "",
                 "Z=1 _=1 a-b=3 a.b=3 a/b-=4 a/b/d=5 a/c=3 a0=2 ab/x/y=6 b/1=3 b/10=4 "
                 "b/2=3 ");
    assert_lists(store, "a", "a-b=3 a.b=3 a/b-=4 a/b/d=5 a/c=3 a0=2 ab/x/y=6 ");
    assert_lists(store, "a/", "a/b-=4 a/b/d=5 a/c=3 ");
    assert_lists(store, "a/b", "a/b-=4 a/b/d=5 ");
    assert_lists(store, "a/b/", "a/b/d=5 ");
    assert_lists(store, "a/b/d", "a/b/d=5 ");
    assert_lists(store, "a/b/d/", "");
    assert_lists(store, "a/b/dd", "");
    assert_lists(store, "ab/x", "ab/x/y=6 ");
    assert_lists(store, "b/1", "b/1=3 b/10=4 ");
    assert_lists(store, "nope/", "");
    assert_lists(store, ".", "");
    static const char *const BAD[] = {"/", "a//", "../", "a/../", "./", "a b", "#"};
    for (size_t i = 0; i < ARRAY_COUNT(BAD); i++)
        ASSERT_FAILS(FAIL_INPUT, store_list(store, BAD[i], add_listed, NULL, &err));
}

static void each_ends_the_listing_and_may_call_back(void **state)
{
    struct store *store = store_of(state);
    put_text(store, "l/1", "");
    put_text(store, "l/2", "");
    put_text(store, "l/3", "");
    struct listing listing = {.stop_after = 2};
    struct err list_err = ERR_INIT;
    assert_false(store_list(store, "l/", add_listed, &listing, &list_err));
    assert_string_equal(list_err.text, "enough of that");
    assert_string_equal(buf_text(&listing.text), "l/1=0 l/2=0 ");
    buf_clear(&listing.text);
    listing = (struct listing){.text = listing.text, .store = store, .remove_one = "l/1"};
    ASSERT_WORKS(store_list(store, "l/", add_listed, &listing, &err));
    assert_int_equal(listing.count, 3);
    buf_release(&listing.text);
    assert_lists(store, "l", "l/2=0 l/3=0 ");
}

static void remove_prefix_takes_all_and_only_them(void **state)
{
    struct store *store = store_of(state);
    char name[STORE_NAME_MAX + 1], pad[231];
    memset(pad, 'p', sizeof pad - 1);
    pad[sizeof pad - 1] = 0;
    for (int i = 0; i < 170; i++) { /* 150 long names: more than one batch */
        (void)snprintf(name, sizeof name, "c/%d/s-%s/%s-%d", i < 150 ? 2 : i % 2, pad,
                       pad, i);
        put_text(store, name, "x");
    }
    put_text(store, "c/10", "stays");
    put_text(store, "d", "stays");
    ASSERT_FAILS(FAIL_INPUT, store_remove_prefix(store, "", &err));
    ASSERT_FAILS(FAIL_INPUT, store_remove_prefix(store, "../", &err));
    ASSERT_WORKS(store_remove_prefix(store, "c/1/", &err));
    ASSERT_WORKS(store_remove_prefix(store, "c/0/s-", &err));
    ASSERT_WORKS(store_remove_prefix(store, "c/2/s", &err));
    assert_lists(store, "", "c/10=5 d=5 ");
    ASSERT_WORKS(store_remove_prefix(store, "c/2/s", &err)); /* nothing is fine */
    put_text(store, "c/1", "a name that was a folder");
    assert_lists(store, "c/", "c/1=24 c/10=5 ");
}

/* ---- threads ---- */

struct race {
    struct store *store;
    pthread_barrier_t barrier;
    _Atomic unsigned winners, conflicts, others, torn;
    _Atomic bool is_over;
};

struct racer {
    pthread_t thread;
    struct race *race;
    uint8_t number;
};

static void *race_to_put(void *ctx)
{
    struct racer *racer = ctx;
    struct race *race = racer->race;
    for (int round = 0; round < ROUNDS; round++) {
        char name[32];
        struct err err = ERR_INIT;
        (void)snprintf(name, sizeof name, "race/%d/lease", round);
        (void)pthread_barrier_wait(&race->barrier);
        if (store_put(race->store, name, &racer->number, 1, STORE_IF_ABSENT, &err))
            atomic_fetch_add(&race->winners, 1);
        else if (err.kind == FAIL_CONFLICT)
            atomic_fetch_add(&race->conflicts, 1);
        else
            atomic_fetch_add(&race->others, 1);
    }
    return NULL;
}

static void run_racers(struct race *race, void *(*run)(void *))
{
    struct racer racers[RACERS];
    assert_int_equal(pthread_barrier_init(&race->barrier, NULL, RACERS), 0);
    for (uint8_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.race = race, .number = i};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, run, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++)
        assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
    (void)pthread_barrier_destroy(&race->barrier);
}

static void of_racing_puts_exactly_one_wins(void **state)
{
    struct race race = {.store = store_of(state)};
    run_racers(&race, race_to_put);
    assert_int_equal(race.others, 0);
    assert_int_equal(race.winners, ROUNDS);
    assert_int_equal(race.conflicts, ROUNDS * (RACERS - 1));
}

#define REPLACED_BYTES (200 * 1024)

/* Racer 0 and 1 replace, the others read: only whole objects of one byte value. */
static void *replace_or_read(void *ctx)
{
    struct racer *racer = ctx;
    struct race *race = racer->race;
    uint8_t *data = xcalloc(1, REPLACED_BYTES + 4096);
    struct err err = ERR_INIT;
    (void)pthread_barrier_wait(&race->barrier);
    for (uint8_t i = 0; racer->number < 2 && i < 60; i++) {
        size_t bytes = REPLACED_BYTES - 4096u * (i % 3);
        memset(data, i, bytes);
        if (!store_put(race->store, "hot/one", data, bytes, STORE_REPLACE, &err))
            atomic_fetch_add(&race->others, 1);
    }
    if (racer->number == 0)
        atomic_store(&race->is_over, true);
    while (racer->number >= 2 && !atomic_load(&race->is_over)) {
        struct buf got = {0};
        if (!store_get_all(race->store, "hot/one", REPLACED_BYTES, &got, &err))
            atomic_fetch_add(&race->others, 1);
        for (size_t i = 1; i < got.bytes; i++)
            if (got.data[i] != got.data[0]) {
                atomic_fetch_add(&race->torn, 1);
                break;
            }
        if (got.bytes && got.bytes != REPLACED_BYTES - 4096u * (got.data[0] % 3))
            atomic_fetch_add(&race->torn, 1);
        buf_release(&got);
    }
    free(data);
    return NULL;
}

static void readers_see_old_or_new_never_a_mix(void **state)
{
    struct race race = {.store = store_of(state)};
    uint8_t *data = xcalloc(1, REPLACED_BYTES);
    ASSERT_WORKS(
        store_put(race.store, "hot/one", data, REPLACED_BYTES, STORE_REPLACE, &err));
    free(data);
    run_racers(&race, replace_or_read);
    assert_int_equal(race.others, 0);
    assert_int_equal(race.torn, 0);
}

/* Everybody makes and empties the same folders: none may lose an object of its own. */
static void *put_and_remove(void *ctx)
{
    struct racer *racer = ctx;
    struct race *race = racer->race;
    (void)pthread_barrier_wait(&race->barrier);
    for (int round = 0; round < ROUNDS; round++) {
        char name[64];
        struct err err = ERR_INIT;
        size_t got = 0;
        uint8_t byte = 0;
        (void)snprintf(name, sizeof name, "f/%d/g/%d", round % 2, racer->number);
        if (!store_put(race->store, name, &racer->number, 1, STORE_REPLACE, &err) ||
            !store_get(race->store, name, 0, &byte, 1, &got, &err) || got != 1 ||
            byte != racer->number || !store_remove(race->store, name, &err)) {
            atomic_fetch_add(&race->others, 1);
            print_error("%s\n", err.text);
        }
    }
    return NULL;
}

static void folders_come_and_go_under_puts(void **state)
{
    struct race race = {.store = store_of(state)};
    run_racers(&race, put_and_remove);
    assert_int_equal(race.others, 0);
    assert_lists(race.store, "", "");
}

#define CASE(test, backend)                                                              \
    {                                                                                    \
#test " [" #backend "]", test, setup_##backend, teardown, NULL                   \
    }
#define BACKENDS(test) CASE(test, dir), CASE(test, memory), CASE(test, fault)
#define BLOB(test)     CASE(test, blob)
#define ALL(OVER)                                                                        \
    OVER(what_was_put_is_got), OVER(get_all_appends_and_keeps_what_was_there),           \
        OVER(absent_is_gone), OVER(if_absent_keeps_the_first), OVER(ranges),             \
        OVER(names), OVER(an_object_is_no_folder), OVER(every_size_and_alignment),       \
        OVER(lists_by_prefix_in_byte_order),                                             \
        OVER(each_ends_the_listing_and_may_call_back),                                   \
        OVER(remove_prefix_takes_all_and_only_them),                                     \
        OVER(of_racing_puts_exactly_one_wins), OVER(readers_see_old_or_new_never_a_mix), \
        OVER(folders_come_and_go_under_puts)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {ALL(BACKENDS)};
    const struct CMUnitTest blob_tests[] = {ALL(BLOB)};
    if (argc < 2 || strcmp(argv[1], "blob") != 0)
        return cmocka_run_group_tests_name("contract_store", tests, NULL, NULL);
    if (!azurite_is_there()) {
        (void)fprintf(stderr, "skipped: KEDGE_AZURITE names no azurite package\n");
        return 77;
    }
    return cmocka_run_group_tests_name("contract_store_blob", blob_tests, start_azurite,
                                       stop_azurite);
}
