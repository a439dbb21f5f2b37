/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI 3.1 document and doc/api.md, both made from the route and field tables. */
#include "api/handlers.h"
#include "api/route.h"
#include "base/text.h"

static json_t *ref_to(const char *schema)
{
    AUTO(buf_release) struct buf path = {0};
    buf_printf(&path, "#/components/schemas/%s", schema);
    json_t *out = json_object();
    json_put_text(out, "$ref", buf_text(&path));
    return out;
}

static json_t *json_content(json_t *schema)
{
    json_t *content = json_object(), *type = json_object();
    json_put_take(type, "schema", schema);
    json_put_take(content, "application/json", type);
    return content;
}

/* "OperationTestMigrate" */
static void operation_schema_name(const char *operation, struct buf *out)
{
    bool is_upper = true;
    buf_append_text(out, "Operation");
    for (const char *p = operation; *p; p++) {
        if (*p != '-')
            buf_put_u8(out, (uint8_t)(is_upper ? *p - 'a' + 'A' : *p));
        is_upper = *p == '-';
    }
}

static json_t *answer_of(const char *text, const char *schema)
{
    json_t *answer = json_object();
    json_put_text(answer, "description", text);
    json_put_take(answer, "content", json_content(ref_to(schema)));
    return answer;
}

static json_t *make_answers(const struct api_route *route)
{
    static const char COMMON[] = "input auth limit bug";
    json_t *answers = json_object();
    char status[8];
    (void)snprintf(status, sizeof status, "%d", route->status);
    const struct api_schema *view = api_view_schema(route->answer);
    json_put_take(answers, status, answer_of(view->help, view->name));
    json_put_take(answers, "401", answer_of("Token missing or wrong.", "Error"));
    AUTO(buf_release) struct buf kinds = {0};
    buf_printf(&kinds, "%s %s", COMMON, route->errors);
    for (const char *p = buf_text(&kinds); *p;) {
        char kind[24];
        size_t length = strcspn(p, " ");
        (void)snprintf(kind, sizeof kind, "%.*s", (int)length, p);
        int http = err_kind_http_status(err_kind_from_name(kind));
        (void)snprintf(status, sizeof status, "%d", http);
        AUTO(buf_release) struct buf text = {0};
        const json_t *other = json_object_get(answers, status);
        if (other)
            buf_printf(&text, "%s ",
                       json_string_value(json_object_get(other, "description")));
        buf_printf(&text, "Error of kind '%s'.", kind);
        json_put_take(answers, status, answer_of(buf_text(&text), "Error"));
        p += length + strspn(p + length, " ");
    }
    return answers;
}

static json_t *make_parameter(const char *name, const char *in, bool is_required,
                              const struct api_field *field)
{
    json_t *out = json_object(), *schema;
    json_put_text(out, "name", name);
    json_put_text(out, "in", in);
    json_put_bool(out, "required", is_required);
    if (field) {
        const struct api_field one[2] = {*field, {0}};
        AUTO(json_free) json_t *object = api_schema_json(one);
        schema =
            json_incref(json_object_get(json_object_get(object, "properties"), name));
        json_put_text(out, "description", field->help);
    } else {
        schema = json_object();
        json_put_text(schema, "type", strcmp(name, "job") == 0 ? "integer" : "string");
    }
    json_put_take(out, "schema", schema);
    return out;
}

static void put_operation_choices(json_t *parameter)
{
    json_t *names = json_array();
    for (const struct api_kind *k = api_operations(); k->name; k++)
        (void)json_array_append_new(names, json_string(k->name));
    json_put_take(json_object_get(parameter, "schema"), "enum", names);
}

static json_t *make_parameters(const struct api_route *route)
{
    json_t *list = json_array();
    for (const char *p = strchr(route->pattern, '{'); p; p = strchr(p + 1, '{')) {
        char name[32];
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(p + 1, "}"), p + 1);
        json_t *parameter = make_parameter(name, "path", true, NULL);
        if (strcmp(name, "operation") == 0)
            put_operation_choices(parameter);
        (void)json_array_append_new(list, parameter);
    }
    for (const struct api_field *f = route->query; f && f->name; f++)
        (void)json_array_append_new(list, make_parameter(f->name, "query", false, f));
    if (route->is_idempotent_by_key) {
        static const struct api_field KEY = {
            "Idempotency-Key", API_TEXT, .min = 1, .max = API_KEY_MAX_BYTES,
            .help = "asking again with the same key gives the same job"};
        (void)json_array_append_new(list,
                                    make_parameter(KEY.name, "header", false, &KEY));
    }
    return list;
}

static json_t *make_body(const struct api_route *route)
{
    json_t *body = json_object(), *schema;
    if (route->body == BODY_OPERATION) {
        json_t *any = json_array();
        for (const struct api_kind *k = api_operations(); k->name; k++) {
            AUTO(buf_release) struct buf name = {0};
            operation_schema_name(k->name, &name);
            (void)json_array_append_new(any, ref_to(buf_text(&name)));
        }
        schema = json_object();
        json_put_take(schema, "anyOf", any);
    } else {
        schema = ref_to(api_body_schema(route->body)->name);
    }
    json_put_bool(body, "required", route->body != BODY_OPERATION);
    json_put_take(body, "content", json_content(schema));
    return body;
}

static json_t *make_operation(const struct api_route *route)
{
    json_t *out = json_object(), *parameters = make_parameters(route);
    json_put_text(out, "operationId", route->id);
    json_put_text(out, "summary", route->summary);
    if (json_array_size(parameters))
        json_put_take(out, "parameters", parameters);
    else
        json_decref(parameters);
    if (route->body != BODY_NONE)
        json_put_take(out, "requestBody", make_body(route));
    json_put_take(out, "responses", make_answers(route));
    return out;
}

static void put_schema(json_t *schemas, const char *name, const char *help,
                       const struct api_field *fields)
{
    json_t *schema = api_schema_json(fields);
    json_put_text(schema, "description", help);
    json_put_take(schemas, name, schema);
}

static void put_kind_schemas(json_t *schemas, const char *prefix,
                             const struct api_kind *kinds)
{
    for (; kinds->name; kinds++) {
        AUTO(buf_release) struct buf name = {0};
        buf_printf(&name, "%s%c%s", prefix, kinds->name[0] - 'a' + 'A', kinds->name + 1);
        put_schema(schemas, buf_text(&name), kinds->help, kinds->options);
    }
}

static json_t *make_schemas(void)
{
    json_t *schemas = json_object();
    for (unsigned v = 0; v < VIEW_COUNT; v++) {
        const struct api_schema *view = api_view_schema((enum api_view)v);
        put_schema(schemas, view->name, view->help, view->fields);
    }
    for (unsigned b = 0; b < BODY_COUNT; b++) {
        const struct api_schema *body = api_body_schema((enum api_body)b);
        if (body)
            put_schema(schemas, body->name, body->help, body->fields);
    }
    put_kind_schemas(schemas, "SourceOptions", api_source_kinds());
    put_kind_schemas(schemas, "TargetOptions", api_target_kinds());
    for (const struct api_kind *k = api_operations(); k->name; k++) {
        AUTO(buf_release) struct buf name = {0};
        operation_schema_name(k->name, &name);
        put_schema(schemas, buf_text(&name), k->help, k->options);
    }
    return schemas;
}

json_t *api_openapi(void)
{
    json_t *paths = json_object();
    for (const struct api_route *route = api_routes(); route->method; route++) {
        json_t *path = json_object_get(paths, route->pattern);
        if (!path) {
            path = json_object();
            json_put_take(paths, route->pattern, path);
        }
        char method[8];
        size_t i = 0;
        for (; route->method[i] && i + 1 < sizeof method; i++)
            method[i] = (char)(route->method[i] - 'A' + 'a');
        method[i] = 0;
        json_put_take(path, method, make_operation(route));
    }
    json_t *out = json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:{s:s, s:s}}, s:[{s:s}], s:[{s:[]}]}", "openapi",
        "3.1.0", "info", "title", "Kedge", "version", KEDGE_VERSION, "description",
        "Replicates running virtual machines and migrates them. On the Unix socket no "
        "token is needed: the peer must be root or the daemon's user.",
        "license", "name", "Apache-2.0", "identifier", "Apache-2.0", "servers", "url",
        "http://127.0.0.1", "security", "token");
    if (!out)
        abort(); /* out of memory, or the format above is wrong: every test would see */
    json_put_take(out, "paths", paths);
    json_t *components = json_pack("{s:{s:{s:s, s:s}}}", "securitySchemes", "token",
                                   "type", "http", "scheme", "bearer");
    json_put_take(components, "schemas", make_schemas());
    json_put_take(out, "components", components);
    return out;
}

/* ---- doc/api.md ---- */

static void print_fields(const char *title, const char *help,
                         const struct api_field *fields, struct buf *out)
{
    buf_printf(out, "\n### %s\n\n%s\n", title, help);
    if (!fields || !fields->name)
        return;
    buf_append_text(out, "\n| field | type | required | meaning |\n|---|---|---|---|\n");
    api_schema_print_rows(fields, "", out);
}

static void print_routes(struct buf *out)
{
    buf_append_text(out, "| method | path | does | body | answer | errors |\n"
                         "|---|---|---|---|---|---|\n");
    for (const struct api_route *r = api_routes(); r->method; r++) {
        const struct api_schema *body = api_body_schema(r->body);
        buf_printf(out, "| %s | `%s` | %s | %s | %d %s | %s |\n", r->method, r->pattern,
                   r->summary,
                   body                        ? body->name
                   : r->body == BODY_OPERATION ? "options"
                                               : "",
                   r->status, api_view_schema(r->answer)->name, r->errors);
    }
    buf_append_text(out, "\n## Query parameters\n\n| path | parameter | meaning |\n"
                         "|---|---|---|\n");
    for (const struct api_route *r = api_routes(); r->method; r++)
        for (const struct api_field *f = r->query; f && f->name; f++)
            buf_printf(out, "| `%s` | `%s` | %s |\n", r->pattern, f->name, f->help);
}

static void print_kinds(const char *what, const struct api_kind *kinds, struct buf *out)
{
    for (; kinds->name; kinds++) {
        AUTO(buf_release) struct buf title = {0};
        buf_printf(&title, "%s `%s`", what, kinds->name);
        print_fields(buf_text(&title), kinds->help, kinds->options, out);
    }
}

void api_print_docs(struct buf *out)
{
    buf_append_text(
        out,
        "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
        "<!-- Made by `kedged --print-man=api.md`; change the tables in src/api/. -->\n"
        "# The REST API\n\n"
        "JSON over HTTP on the Unix socket `kedged.sock` in `run_dir` (no token; the "
        "peer must be root or\nthe daemon's user) and, with the option `listen`, on a "
        "loopback address (`Authorization: Bearer`\nwith the content of `token_file`). "
        "The daemon serves this interface as an OpenAPI 3.1 document at\n"
        "`/v1/openapi.json`. Bodies are at most 1 MiB, `application/json`, without "
        "unknown fields. Missing\nvalues are null; sizes are bytes; times are "
        "milliseconds since 1970-01-01 UTC.\n\n"
        "An answer that is not 2xx has the body `{\"error\": {\"kind\", \"text\"}}`.\n\n"
        "| kind | HTTP status | exit code of kedge |\n|---|---|---|\n");
    for (int k = FAIL_TRANSIENT; k <= FAIL_BUG; k++)
        buf_printf(out, "| %s | %d | %d |\n", err_kind_name((enum err_kind)k),
                   err_kind_http_status((enum err_kind)k),
                   err_kind_exit_code((enum err_kind)k));
    buf_append_text(out, "\nBesides: 401 (kind auth) token missing or wrong, 405 (input) "
                         "wrong method, 415 (input) body is not\n`application/json`.\n"
                         "\n## Routes\n\n");
    print_routes(out);
    buf_append_text(out, "\n## What clients send\n");
    for (unsigned b = 0; b < BODY_COUNT; b++) {
        const struct api_schema *body = api_body_schema((enum api_body)b);
        if (body)
            print_fields(body->name, body->help, body->fields, out);
    }
    print_kinds("Source", api_source_kinds(), out);
    print_kinds("Target", api_target_kinds(), out);
    print_kinds("Operation", api_operations(), out);
    buf_append_text(out, "\n## What the daemon answers\n");
    for (unsigned v = 0; v < VIEW_COUNT; v++)
        if (v != VIEW_OPENAPI) {
            const struct api_schema *view = api_view_schema((enum api_view)v);
            print_fields(view->name, view->help, view->fields, out);
        }
}
