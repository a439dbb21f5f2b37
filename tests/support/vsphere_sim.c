/* SPDX-License-Identifier: Apache-2.0 */
/* See vsphere_sim.h. KEDGE_SIM is the simulator's path, given by the build. */
#include "support/vsphere_sim.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "http/client.h"

#include <stdlib.h>
#include <unistd.h>

#define START_DEADLINE_MS 60000

struct vsphere_sim {
    struct vsphere_sim *next;
    char dir[64];
    int pid;
    json_t *ready;
    struct secret *password;
    uint8_t pin[HTTP_PIN_BYTES];
    struct http_client *control;
};

static void must(bool ok, const char *what, const struct err *err)
{
    if (ok)
        return;
    (void)fprintf(stderr, "vsphere_sim: %s: %s\n", what, err->text);
    abort();
}

static void skip(const char *reason)
{
    (void)fprintf(stderr, "SKIP: %s\n", reason);
    exit(77);
}

static bool has_program(const char *name)
{
    const char *const argv[] = {name, "--version", NULL};
    const char *const go[] = {name, "version", NULL};
    struct err err = ERR_INIT;
    return process_run(strcmp(name, "go") == 0 ? go : argv, 30000, NULL, NULL, &err);
}

static const char *ready_text(const struct vsphere_sim *sim, const char *key)
{
    const char *text = NULL;
    struct err err = ERR_INIT;
    must(json_get_text(sim->ready, key, &text, &err), "ready.json", &err);
    return text;
}

static void read_ready(struct vsphere_sim *sim)
{
    AUTO(free) char *path = file_join(sim->dir, "ready.json");
    AUTO(buf_release) struct buf text = {0};
    struct err err = ERR_INIT;
    for (uint64_t end_ms = clock_mono_ms() + START_DEADLINE_MS; !sim->ready;) {
        buf_clear(&text);
        err_clear(&err);
        if (file_read(path, MIB, &text, &err))
            sim->ready = json_parse("ready.json", buf_text(&text), text.bytes, &err);
        if (!sim->ready && (clock_mono_ms() > end_ms || !process_is_alive(sim->pid)))
            must(false, "it does not start (see its 'log')", &err);
        if (!sim->ready)
            clock_sleep_ms(20);
    }
    const char *password = ready_text(sim, "password");
    sim->password = secret_new(password, strlen(password));
    must(http_pin_parse(ready_text(sim, "sha256"), sim->pin, &err), "pin", &err);
    struct http_client_options options = {.url = ready_text(sim, "control")};
    sim->control = http_client_open(&options, &err);
    must(sim->control != NULL, "control", &err);
}

/* A failed test leaves by longjmp: what still runs is stopped when the program ends. */
static struct vsphere_sim *running;

static void stop_running(void)
{
    while (running)
        vsphere_sim_stop(running);
}

static void remember(struct vsphere_sim *sim)
{
    static bool is_registered;
    if (!is_registered)
        (void)atexit(stop_running);
    is_registered = true;
    sim->next = running;
    running = sim;
}

static void forget(const struct vsphere_sim *sim)
{
    struct vsphere_sim **at = &running;
    while (*at && *at != sim)
        at = &(*at)->next;
    if (*at)
        *at = sim->next;
}

struct vsphere_sim *vsphere_sim_start(const char *config)
{
    if (!has_program("python3"))
        skip("python3 is missing");
    struct vsphere_sim *sim = xcalloc(1, sizeof *sim);
    (void)snprintf(sim->dir, sizeof sim->dir, "/tmp/kedge-sim-XXXXXX");
    struct err err = ERR_INIT;
    must(mkdtemp(sim->dir) != NULL, "folder", &err);
    AUTO(free) char *config_path = file_join(sim->dir, "config.json");
    AUTO(free) char *log_path = file_join(sim->dir, "log");
    must(file_write_durable(config_path, config, strlen(config), 0600, &err), "config",
         &err);
    const char *const argv[] = {KEDGE_SIM,   "--config", config_path,
                                "--run-dir", sim->dir,   NULL};
    must(process_start(argv, log_path, &sim->pid, &err), "start", &err);
    remember(sim);
    read_ready(sim);
    return sim;
}

void vsphere_sim_stop(struct vsphere_sim *sim)
{
    if (!sim)
        return;
    forget(sim);
    struct err err = ERR_INIT;
    http_client_close(sim->control);
    must(process_stop(sim->pid, 5000, &err), "stop", &err);
    must(file_remove_tree(sim->dir, &err), "remove", &err);
    json_free(sim->ready);
    secret_free(sim->password);
    free(sim);
}

const char *vsphere_sim_url(const struct vsphere_sim *sim)
{
    return ready_text(sim, "url");
}

const char *vsphere_sim_user(const struct vsphere_sim *sim)
{
    return ready_text(sim, "username");
}

const struct secret *vsphere_sim_password(const struct vsphere_sim *sim)
{
    return sim->password;
}

const uint8_t *vsphere_sim_pin(const struct vsphere_sim *sim)
{
    return sim->pin;
}

const char *vsphere_sim_dir(const struct vsphere_sim *sim)
{
    return sim->dir;
}

struct vim *vsphere_sim_login(const struct vsphere_sim *sim)
{
    struct vim_options options = {
        .url = vsphere_sim_url(sim),
        .user = vsphere_sim_user(sim),
        .password = sim->password,
        .pin = sim->pin,
    };
    struct err err = ERR_INIT;
    struct vim *vim = vim_open(&options, NULL, &err);
    must(vim != NULL, "login", &err);
    return vim;
}

json_t *vsphere_sim_control(struct vsphere_sim *sim, const char *method, const char *path,
                            const char *body)
{
    struct err err = ERR_INIT;
    AUTO(json_free) json_t *json = NULL;
    if (body) {
        json = json_parse("body", body, strlen(body), &err);
        must(json != NULL, path, &err);
    }
    struct http_call call = {.method = method, .path = path, .body = json};
    json_t *answer = http_call(sim->control, &call, &err);
    must(answer != NULL, path, &err);
    return answer;
}

void vsphere_sim_do(struct vsphere_sim *sim, const char *path, const char *body)
{
    json_free(vsphere_sim_control(sim, "POST", path, body));
}

struct vcsim {
    int pid;
    bool has_tracking;
    char url[64];
};

static void build_vcsim(const char *main_path, const char *build_dir, const char *binary)
{
    if (!has_program("go"))
        skip("go is missing (golang-go, golang-github-vmware-govmomi-dev)");
    AUTO(buf_release) struct buf cache = {0};
    buf_printf(&cache, "GOCACHE=%s/gocache", build_dir);
    const char *const argv[] = {"env",
                                "GO111MODULE=off",
                                "GOPATH=/usr/share/gocode",
                                "CGO_ENABLED=0",
                                buf_text(&cache),
                                "go",
                                "build",
                                "-o",
                                binary,
                                main_path,
                                NULL};
    struct err err = ERR_INIT;
    must(process_run(argv, 600000, NULL, NULL, &err), "build vcsim", &err);
}

/* Its address is given, so a free one is looked for by trying. */
static bool try_port(struct vcsim *vcsim, const char *binary, const char *log_path,
                     unsigned port)
{
    char listen[32];
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%u", port);
    (void)snprintf(vcsim->url, sizeof vcsim->url, "https://%s", listen);
    const char *const argv[] = {binary, "-l",        listen, "-username",
                                "user", "-password", "pass", NULL};
    struct err err = ERR_INIT;
    must(process_start(argv, log_path, &vcsim->pid, &err), "start vcsim", &err);
    struct http_endpoint_options options = {.url = vcsim->url};
    uint8_t pin[HTTP_PIN_BYTES];
    AUTO(http_endpoint_close)
    struct http_endpoint *endpoint = http_endpoint_open(&options, &err);
    for (int tries = 0; tries < 200 && process_is_alive(vcsim->pid); tries++) {
        err_clear(&err);
        if (http_endpoint_fingerprint(endpoint, pin, &err))
            return true;
        clock_sleep_ms(50);
    }
    must(process_stop(vcsim->pid, 1000, &err), "stop vcsim", &err);
    return false;
}

struct vcsim *vcsim_start(const char *build_dir)
{
    const char *tracking_dir = getenv("KEDGE_VCSIM_DIR");
    AUTO(free)
    char *main_path = tracking_dir ? file_join(tracking_dir, "vcsim-cbt/main.go")
                                   : xstrdup(KEDGE_VCSIM_MAIN);
    AUTO(free)
    char *binary = file_join(build_dir, tracking_dir ? "vcsim-cbt" : "vcsim");
    AUTO(free) char *log_path = file_join(build_dir, "vcsim.log");
    if (!file_exists(binary))
        build_vcsim(main_path, build_dir, binary);
    struct vcsim *vcsim = xcalloc(1, sizeof *vcsim);
    vcsim->has_tracking = tracking_dir != NULL;
    for (unsigned tries = 0; tries < 20; tries++) {
        uint16_t random = 0;
        secret_random(&random, sizeof random);
        if (try_port(vcsim, binary, log_path, 20000 + random % 20000))
            return vcsim;
    }
    skip("no free port for vcsim");
    return NULL;
}

void vcsim_stop(struct vcsim *vcsim)
{
    if (!vcsim)
        return;
    struct err err = ERR_INIT;
    must(process_stop(vcsim->pid, 2000, &err), "stop vcsim", &err);
    free(vcsim);
}

const char *vcsim_url(const struct vcsim *vcsim)
{
    return vcsim->url;
}

bool vcsim_has_tracking(const struct vcsim *vcsim)
{
    return vcsim->has_tracking;
}
