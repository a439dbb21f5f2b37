/* SPDX-License-Identifier: Apache-2.0 */
/* See azure_sim.h. What still runs is stopped when the program ends. */
#include "support/azure_sim.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "http/client.h"

#include <stdlib.h>

#define START_DEADLINE_MS 60000

struct azure_sim {
    char dir[64];
    char credential[128];
    int pid;
    json_t *ready;
    struct http_client *control;
};

static struct azure_sim *running; /* one at a time */

static void must(bool ok, const char *what, const struct err *err)
{
    if (ok)
        return;
    (void)fprintf(stderr, "azure_sim: %s: %s\n", what, err->text);
    abort();
}

static const char *ready_text(const struct azure_sim *sim, const char *key)
{
    const char *text = NULL;
    struct err err = ERR_INIT;
    must(json_get_text(sim->ready, key, &text, &err), "ready.json", &err);
    return text;
}

static void read_ready(struct azure_sim *sim)
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
    /* ".../_control": the paths of http_call begin with it */
    const char *control = ready_text(sim, "control");
    AUTO(free) char *origin = xstrdup(control);
    char *path_at = strstr(origin, "/_control");
    if (path_at)
        *path_at = 0;
    struct http_client_options options = {.url = origin};
    sim->control = http_client_open(&options, &err);
    must(sim->control != NULL, "control", &err);
}

static void stop_running(void)
{
    azure_sim_stop(running);
}

struct azure_sim *azure_sim_start(const char *config)
{
    const char *const version[] = {"python3", "--version", NULL};
    struct err err = ERR_INIT;
    if (!process_run(version, 30000, NULL, NULL, &err)) {
        (void)fprintf(stderr, "SKIP: python3 is missing\n");
        exit(77);
    }
    struct azure_sim *sim = xcalloc(1, sizeof *sim);
    (void)snprintf(sim->dir, sizeof sim->dir, "/tmp/kedge-azure-sim-XXXXXX");
    must(mkdtemp(sim->dir) != NULL, "folder", &err);
    AUTO(free) char *config_path = file_join(sim->dir, "config.json");
    AUTO(free) char *log_path = file_join(sim->dir, "log");
    must(file_write_durable(config_path, config, strlen(config), 0600, &err), "config",
         &err);
    const char *record = getenv("KEDGE_AZURE_RECORD"); /* for tests/sim/check_azure.mjs */
    const char *const argv[] = {KEDGE_AZURE_SIM, "--config", config_path,
                                "--run-dir",     sim->dir,   record ? "--record" : NULL,
                                record,          NULL};
    must(process_start(argv, log_path, &sim->pid, &err), "start", &err);
    if (!running)
        (void)atexit(stop_running);
    running = sim;
    read_ready(sim);
    return sim;
}

void azure_sim_stop(struct azure_sim *sim)
{
    if (!sim)
        return;
    struct err err = ERR_INIT;
    running = NULL;
    http_client_close(sim->control);
    must(process_stop(sim->pid, 5000, &err), "stop", &err);
    must(file_remove_tree(sim->dir, &err), "remove", &err);
    json_free(sim->ready);
    free(sim);
}

const char *azure_sim_url(const struct azure_sim *sim)
{
    return ready_text(sim, "url");
}

const char *azure_sim_subscription(const struct azure_sim *sim)
{
    return ready_text(sim, "subscription");
}

const char *azure_sim_certificate(const struct azure_sim *sim)
{
    return ready_text(sim, "certificate");
}

const char *azure_sim_dir(const struct azure_sim *sim)
{
    return sim->dir;
}

const char *azure_sim_credential(struct azure_sim *sim, const char *client,
                                 const char *secret)
{
    struct err err = ERR_INIT;
    char secret_path[128];
    AUTO(buf_release) struct buf text = {0};
    AUTO(json_free) json_t *json = json_object();
    (void)snprintf(secret_path, sizeof secret_path, "%s/%.30s.secret", sim->dir, client);
    (void)snprintf(sim->credential, sizeof sim->credential, "%s/%.30s.json", sim->dir,
                   client);
    must(file_write_durable(secret_path, secret, strlen(secret), 0600, &err), "secret",
         &err);
    json_put_text(json, "kind", "client-secret");
    json_put_text(json, "tenant", ready_text(sim, "tenant"));
    json_put_text(json, "client", client);
    json_put_text(json, "secret_file", secret_path);
    json_put_text(json, "authority", azure_sim_url(sim));
    json_put_text(json, "ca_file", ready_text(sim, "certificate"));
    json_print(json, &text);
    must(file_write_durable(sim->credential, text.data, text.bytes, 0600, &err),
         "credential", &err);
    return sim->credential;
}

json_t *azure_sim_control(struct azure_sim *sim, const char *method, const char *path,
                          const char *body)
{
    struct err err = ERR_INIT;
    char full[512];
    AUTO(json_free) json_t *json = NULL;
    (void)snprintf(full, sizeof full, "/_control%s", path);
    if (body) {
        json = json_parse("control", body, strlen(body), &err);
        must(json != NULL, body, &err);
    }
    struct http_call call = {.method = method, .path = full, .body = json};
    json_t *answer = http_call(sim->control, &call, &err);
    must(answer != NULL, path, &err);
    return answer;
}

void azure_sim_do(struct azure_sim *sim, const char *path, const char *body)
{
    json_free(azure_sim_control(sim, "POST", path, body));
}

size_t azure_sim_made(struct azure_sim *sim)
{
    AUTO(json_free) json_t *inventory = azure_sim_control(sim, "GET", "/inventory", NULL);
    return json_array_size(json_object_get(inventory, "resources"));
}
