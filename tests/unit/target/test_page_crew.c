/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lanes of a disk at a service that looks at how many come at once: it keeps requests
 * until so many are there, so nothing here goes by time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "support/http_server.h"
#include "target/page_crew.h"

#define JOBS 64

struct service {
    struct http_server *server;
    struct page_blob *blob;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Guarded by lock. */
    unsigned here, most_here; /* requests being served: now, ever */
    unsigned wants_here; /* answers only once so many were here at once; 0: at once */
    unsigned busy_left;  /* answers 503 so often */
    unsigned requests;
    unsigned long long first_pages[4 * JOBS]; /* in the order in which they came */
};

static void serve(void *ctx, const struct served_request *request,
                  struct served_reply *reply)
{
    struct service *service = ctx;
    char range[64];
    LOCK_GUARD(&service->lock);
    if (!served_header(request, "x-ms-range", range, sizeof range) ||
        service->requests >= ARRAY_COUNT(service->first_pages) ||
        sscanf(range, "bytes=%llu-", &service->first_pages[service->requests++]) != 1)
        abort();
    service->here++;
    service->most_here = MAX_OF(service->most_here, service->here);
    (void)pthread_cond_broadcast(&service->changed);
    while (service->most_here < service->wants_here)
        (void)pthread_cond_wait(&service->changed, &service->lock);
    reply->status = 201;
    if (service->busy_left) {
        service->busy_left--;
        reply->status = 503;
    }
    service->here--;
}

static void begin(struct service *service)
{
    struct err err = ERR_INIT;
    AUTO(buf_release) struct buf address = {0};
    (void)pthread_mutex_init(&service->lock, NULL);
    (void)pthread_cond_init(&service->changed, NULL);
    struct http_server_options server = {.handler = serve, .ctx = service};
    service->server = http_server_start(&server);
    buf_printf(&address, "http://127.0.0.1:%u/acc/con/disk?sig=x",
               http_server_port(service->server));
    AUTO(secret_free) struct secret *secret = secret_new(address.data, address.bytes);
    struct page_sas_options options = {.retry_for_ms = 600000, .retry_base_ms = 1};
    service->blob = page_blob_open_sas(secret, &options, &err);
    if (!service->blob)
        fail_msg("%s", err.text);
}

static void end(struct service *service)
{
    page_blob_close(service->blob);
    http_server_stop(service->server);
    (void)pthread_cond_destroy(&service->changed);
    (void)pthread_mutex_destroy(&service->lock);
}

static struct page_crew *new_crew(struct service *service, uint32_t max_lanes)
{
    struct page_crew_options options = {
        .blob = service->blob, .max_lanes = max_lanes, .no_rate_limit = true};
    return page_crew_new(&options);
}

static uint8_t page[512] = {1};

static void submit(struct page_crew *crew, struct page_done *done, struct page_job *job,
                   uint64_t at, const struct cancel *cancel)
{
    struct err err = ERR_INIT;
    *job = (struct page_job){
        .write = {.offset_bytes = at, .data = {page, sizeof page}, .cancel = cancel},
        .done = done};
    if (!page_crew_submit(crew, job, &err))
        fail_msg("%s", err.text);
}

static void submit_and_wait(struct page_crew *crew, size_t count)
{
    struct page_done done;
    struct page_job jobs[JOBS];
    page_done_init(&done);
    for (size_t i = 0; i < count; i++)
        submit(crew, &done, &jobs[i], i * 512, NULL);
    for (size_t i = 0; i < count; i++) {
        struct page_job *job = page_crew_wait(crew, &done);
        if (!job->ok)
            fail_msg("%s", job->err.text);
    }
    page_done_release(&done);
}

/* Were there fewer lanes than the window allows, nothing would ever be answered. */
static void as_many_as_allowed_work_at_once(void **state)
{
    struct service service = {.wants_here = 4};
    (void)state;
    begin(&service);
    struct page_crew *crew = new_crew(&service, 8);
    assert_int_equal(page_crew_window(crew), 4);
    submit_and_wait(crew, 4);
    assert_int_equal(service.most_here, 4);
    assert_int_equal(page_crew_window(crew), 5);
    submit_and_wait(crew, 5 + 6 + 7);
    assert_int_equal(page_crew_window(crew), 8);
    service.wants_here = 8;
    submit_and_wait(crew, 2 * JOBS / 4);
    assert_int_equal(service.most_here, 8);
    page_crew_free(crew);
    end(&service);
}

static void a_lane_alone_is_never_two(void **state)
{
    struct service service = {0};
    (void)state;
    begin(&service);
    struct page_crew *crew = new_crew(&service, 1);
    submit_and_wait(crew, JOBS);
    assert_int_equal(service.most_here, 1);
    for (size_t i = 0; i < JOBS; i++) /* and in order */
        assert_int_equal(service.first_pages[i], i * 512);
    page_crew_free(crew);
    end(&service);
}

/* Nothing is answered until two are there; were there more lanes than that allowed, more
 * would come meanwhile. */
static void only_two_come(struct service *service, struct page_crew *crew)
{
    enum { COUNT = 2 + 3 };
    struct page_done done;
    struct page_job jobs[COUNT];
    service->most_here = 0;
    service->wants_here = 1000;
    page_done_init(&done);
    for (size_t i = 0; i < COUNT; i++)
        submit(crew, &done, &jobs[i], i * 512, NULL);
    {
        LOCK_GUARD(&service->lock);
        while (service->here < 2)
            (void)pthread_cond_wait(&service->changed, &service->lock);
    }
    clock_sleep_ms(50);
    {
        LOCK_GUARD(&service->lock);
        assert_int_equal(service->here, 2);
        service->wants_here = 0;
        (void)pthread_cond_broadcast(&service->changed);
    }
    for (size_t i = 0; i < COUNT; i++)
        assert_true(page_crew_wait(crew, &done)->ok);
    page_done_release(&done);
}

static void it_slows_down_when_told(void **state)
{
    struct service service = {.wants_here = 4, .busy_left = 4};
    (void)state;
    begin(&service);
    struct page_crew *crew = new_crew(&service, 8);
    submit_and_wait(crew, 4); /* all four ran into it */
    assert_int_equal(page_crew_window(crew), 2);
    only_two_come(&service, crew);
    assert_int_equal(page_crew_window(crew), 4);
    submit_and_wait(crew, 4 + 5 + 6 + 7);
    assert_int_equal(page_crew_window(crew), 8);
    page_crew_free(crew);
    end(&service);
}

/* What no lane has begun comes back at once, what one has ends by its cancel; the other
 * submitter's jobs are done. */
static void one_submitter_drops_its_own(void **state)
{
    enum { MINE = 6 };
    struct service service = {.wants_here = 1000};
    struct page_done mine, theirs;
    struct page_job my_jobs[MINE], their_job;
    struct cancel cancel;
    (void)state;
    begin(&service);
    cancel_init(&cancel);
    page_done_init(&mine);
    page_done_init(&theirs);
    struct page_crew *crew = new_crew(&service, 1);
    for (size_t i = 0; i < MINE; i++) {
        submit(crew, &mine, &my_jobs[i], i * 512, &cancel);
        if (i == 2)
            submit(crew, &theirs, &their_job, MIB, NULL);
    }
    cancel_set(&cancel);
    page_crew_drop(crew, &mine);
    for (size_t i = 0; i < MINE; i++) {
        struct page_job *job = page_crew_wait(crew, &mine);
        assert_false(job->ok);
        assert_int_equal(job->err.kind, FAIL_CANCELED);
    }
    {
        LOCK_GUARD(&service.lock);
        service.wants_here = 0;
        (void)pthread_cond_broadcast(&service.changed);
    }
    struct page_job *job = page_crew_wait(crew, &theirs);
    assert_true(job == &their_job);
    if (!job->ok)
        fail_msg("%s", job->err.text);
    page_crew_free(crew);
    page_done_release(&mine);
    page_done_release(&theirs);
    cancel_release(&cancel);
    end(&service);
}

static void a_crew_without_work_has_no_thread(void **state)
{
    struct service service = {0};
    (void)state;
    begin(&service);
    page_crew_free(new_crew(&service, 0));
    page_crew_free(NULL);
    assert_int_equal(http_server_connections(service.server), 0);
    end(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_allowed_work_at_once),
        cmocka_unit_test(a_lane_alone_is_never_two),
        cmocka_unit_test(it_slows_down_when_told),
        cmocka_unit_test(one_submitter_drops_its_own),
        cmocka_unit_test(a_crew_without_work_has_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
