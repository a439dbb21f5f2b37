/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages are made here and not by the server: the references of all objects are fetched
 * first (some 100 bytes each), then their properties VIM_PAGE_OBJECTS at a time by naming
 * the objects. That bounds memory with every server, those that ignore maxObjects
 * included; a server that pages by itself on top of that (token) is followed.
 *
 * An object that vanished meanwhile fails the whole page (ManagedObjectNotFound): the
 * page is halved until only the vanished ones are left out. So is a page that is too
 * large.
 *
 *  P1  Each object is told at most once and only if it was asked for.
 *  P2  The number of calls is bounded whatever the server answers.
 *  P3  A property that the server does not know is left out, never the whole object.
 */
#include "vsphere/vim_property.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/text.h"

#define VIEW_MAX_REFS 400000

void vim_filter_init(struct vim_filter *filter, struct vim *vim,
                     const struct wire_type *properties, const struct vim_ref *refs,
                     size_t count)
{
    assert(properties->field_count <= VIM_PATHS_MAX && count > 0);
    *filter = (struct vim_filter){0};
    size_t path_count = 0;
    for (size_t i = 0; i < properties->field_count; i++)
        if (!vim_path_is_forgotten(vim, properties->fields[i].name))
            filter->paths[path_count++] = properties->fields[i].name;
    filter->objects = xcalloc(count, sizeof *filter->objects);
    for (size_t i = 0; i < count; i++)
        filter->objects[i].obj = refs[i];
    filter->properties = (struct wire_PropertySpec){
        .type = filter->objects[0].obj.type,
        .all = WIRE_FALSE,
        .pathSet = {filter->paths, path_count},
    };
    filter->spec = (struct wire_PropertyFilterSpec){
        .propSet = {&filter->properties, 1},
        .objectSet = {filter->objects, count},
    };
}

void vim_filter_release(struct vim_filter *filter)
{
    free(filter->objects);
    filter->objects = NULL;
}

bool vim_property_read(struct xml_reader *reader, const struct wire_type *properties,
                       struct wire_arena *arena, void *ret, struct err *err)
{
    AUTO(buf_release) struct buf name = {0};
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "name")) {
            buf_clear(&name);
            if (!xml_text(reader, 256, &name, err))
                return false;
        } else if (xml_is(reader, "val")) {
            if (!wire_read_property(properties, buf_text(&name), reader, arena, ret, err))
                return err_wrap(err, "property '%s'", buf_text(&name));
        }
    }
    return !xml_failed(reader);
}

/* One page under way. */
struct page {
    const struct vim_list *list;
    const struct vim_ref *refs;
    size_t count;
    bool *is_told; /* one for each ref */
    void *object;  /* a struct of list->properties */
    char token[128];
};

static bool tell(struct page *page, const struct vim_ref *ref, struct err *err)
{
    for (size_t i = 0; i < page->count; i++)
        if (!page->is_told[i] && vim_ref_equal(&page->refs[i], ref)) {
            page->is_told[i] = true;
            return page->list->on_object(page->list->arg, ref, page->object, err);
        }
    return true;
}

static bool read_object(struct page *page, struct xml_reader *reader, struct err *err)
{
    const struct wire_type *type = page->list->properties;
    AUTO(wire_arena_release) struct wire_arena arena = {0};
    struct vim_ref ref = {0};
    memset(page->object, 0, type->struct_bytes);
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "obj")) {
            if (!wire_read_ref(reader, &ref, err))
                return false;
        } else if (xml_is(reader, "propSet")) {
            if (!vim_property_read(reader, type, &arena, page->object, err))
                return err_wrap(err, "object '%s'", ref.id);
        }
    }
    return !xml_failed(reader) && tell(page, &ref, err);
}

static bool read_page(void *arg, struct xml_reader *reader, struct err *err)
{
    struct page *page = arg;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        if (xml_is(reader, "token")) {
            AUTO(buf_release) struct buf token = {0};
            if (!xml_text(reader, sizeof page->token - 1, &token, err))
                return false;
            text_copy(page->token, sizeof page->token, buf_text(&token));
        } else if (xml_is(reader, "objects") && !read_object(page, reader, err)) {
            return false;
        }
    }
    return !xml_failed(reader);
}

static bool follow_tokens(struct vim *vim, struct page *page, const struct cancel *cancel,
                          struct err *err)
{
    for (size_t calls = 0; *page->token; calls++) {
        if (calls > page->count)
            return err_set(err, FAIL_CORRUPT,
                           "RetrievePropertiesEx: the answer goes on after %zu pages for "
                           "%zu objects",
                           calls, page->count);
        char token[sizeof page->token];
        text_copy(token, sizeof token, page->token);
        page->token[0] = '\0';
        struct wire_ContinueRetrievePropertiesEx args = {
            ._this = vim_content(vim)->property_collector,
            .token = token,
        };
        struct vim_call call = {
            .type = wire_type_ContinueRetrievePropertiesEx(),
            .args = &args,
            .on_return = read_page,
            .arg = page,
            .cancel = cancel,
        };
        if (!vim_call_send(vim, &call, err))
            return false;
    }
    return true;
}

/* One RetrievePropertiesEx. */
struct question {
    const struct wire_type *properties;
    const struct vim_ref *refs;
    size_t count;
    vim_return_fn on_return;
    void *arg;
    const struct cancel *cancel;
};

static bool ask_once(struct vim *vim, const struct question *question,
                     struct vim_fault_seen *ret_fault, struct err *err)
{
    AUTO(vim_filter_release) struct vim_filter filter;
    vim_filter_init(&filter, vim, question->properties, question->refs, question->count);
    struct wire_RetrieveOptions options = {.maxObjects = WIRE_INT(VIM_PAGE_OBJECTS)};
    struct wire_RetrievePropertiesEx args = {
        ._this = vim_content(vim)->property_collector,
        .specSet = {&filter.spec, 1},
        .options = &options,
    };
    struct vim_call call = {
        .type = wire_type_RetrievePropertiesEx(),
        .args = &args,
        .on_return = question->on_return,
        .arg = question->arg,
        .cancel = question->cancel,
    };
    bool ok = vim_call_send(vim, &call, err);
    *ret_fault = call.fault;
    return ok;
}

/* "keyId" or "config.keyId" of an InvalidProperty: that path is not asked any more. */
static bool forget_path(struct vim *vim, const struct wire_type *properties,
                        const struct vim_fault_seen *fault)
{
    if (strcmp(fault->type, "InvalidProperty") != 0 || !*fault->name)
        return false;
    for (size_t i = 0; i < properties->field_count; i++) {
        const char *path = properties->fields[i].name;
        const char *rest = strlen(path) > strlen(fault->name)
                               ? path + strlen(path) - strlen(fault->name)
                               : path;
        if (strcmp(rest, fault->name) == 0 && (rest == path || rest[-1] == '.')) {
            log_debug("vim_property_unknown", "path=%s", path);
            vim_path_forget(vim, path);
            return true;
        }
    }
    return false;
}

/* An older server refuses the whole question for one property that it does not know. */
static bool ask(struct vim *vim, const struct question *question, struct err *err)
{
    struct err tried = ERR_INIT;
    for (size_t tries = 0; tries <= VIM_UNKNOWN_PATHS_MAX; tries++) {
        struct vim_fault_seen fault;
        err_clear(&tried);
        if (ask_once(vim, question, &fault, &tried))
            return true;
        if (!forget_path(vim, question->properties, &fault))
            break;
    }
    *err = tried;
    return false;
}

static bool retrieve(struct vim *vim, struct page *page, const struct cancel *cancel,
                     struct err *err)
{
    struct question question = {
        .properties = page->list->properties,
        .refs = page->refs,
        .count = page->count,
        .on_return = read_page,
        .arg = page,
        .cancel = cancel,
    };
    page->token[0] = '\0';
    return ask(vim, &question, err) && follow_tokens(vim, page, cancel, err);
}

/* Drops what was told; the number that is left. */
static size_t keep_untold(struct vim_ref *refs, bool *is_told, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_told[i])
            refs[left++] = refs[i];
    memset(is_told, 0, count * sizeof *is_told);
    return left;
}

/* Recursion is log2(VIM_PAGE_OBJECTS) deep. refs is changed. */
static bool read_range(struct vim *vim, struct page *page, struct vim_ref *refs,
                       size_t count, const struct cancel *cancel, struct err *err)
{
    if (count == 0)
        return true;
    page->refs = refs;
    page->count = count;
    memset(page->is_told, 0, count * sizeof *page->is_told);
    struct err tried = ERR_INIT;
    if (retrieve(vim, page, cancel, &tried))
        return true;
    bool is_alone = count == 1;
    if (is_alone && tried.kind == FAIL_GONE)
        return true;
    if (is_alone || (tried.kind != FAIL_GONE && tried.kind != FAIL_LIMIT)) {
        *err = tried;
        return false;
    }
    size_t left = keep_untold(refs, page->is_told, count);
    size_t half = left / 2;
    return read_range(vim, page, refs, half, cancel, err) &&
           read_range(vim, page, refs + half, left - half, cancel, err);
}

bool vim_property_list(struct vim *vim, const struct vim_list *list,
                       const struct cancel *cancel, struct err *err)
{
    struct vim_ref refs[VIM_PAGE_OBJECTS];
    bool is_told[VIM_PAGE_OBJECTS];
    AUTO(free) void *object = xcalloc(1, list->properties->struct_bytes);
    struct page page = {.list = list, .is_told = is_told, .object = object};
    for (size_t at = 0; at < list->count;) {
        size_t count = 0; /* a filter is for one type: a page ends where it changes */
        while (count < VIM_PAGE_OBJECTS && at + count < list->count &&
               strcmp(list->refs[at].type, list->refs[at + count].type) == 0) {
            refs[count] = list->refs[at + count];
            count++;
        }
        if (!read_range(vim, &page, refs, count, cancel, err))
            return false;
        at += count;
    }
    return true;
}

struct keep_one {
    const struct vim_one *one;
    bool is_seen;
};

static bool read_single_object(struct keep_one *keep, struct xml_reader *reader,
                               struct err *err)
{
    const struct vim_one *one = keep->one;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        if (xml_is(reader, "propSet") &&
            !vim_property_read(reader, one->properties, one->arena, one->ret, err))
            return false;
    keep->is_seen = true;
    return !xml_failed(reader);
}

static bool read_single(void *arg, struct xml_reader *reader, struct err *err)
{
    struct keep_one *keep = arg;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        if (xml_is(reader, "objects") && !keep->is_seen &&
            !read_single_object(keep, reader, err))
            return false;
    return !xml_failed(reader);
}

bool vim_property_get(struct vim *vim, const struct vim_one *one,
                      const struct cancel *cancel, struct err *err)
{
    struct keep_one keep = {.one = one};
    struct question question = {
        .properties = one->properties,
        .refs = one->ref,
        .count = 1,
        .on_return = read_single,
        .arg = &keep,
        .cancel = cancel,
    };
    memset(one->ret, 0, one->properties->struct_bytes);
    if (!ask(vim, &question, err))
        return err_wrap(err, "%s '%s'", one->ref->type, one->ref->id);
    return keep.is_seen ||
           err_set(err, FAIL_GONE, "%s '%s' is not there", one->ref->type, one->ref->id);
}

static bool open_view(struct vim *vim, const char *const types[],
                      const struct cancel *cancel, struct vim_ref *ret, struct err *err)
{
    size_t count = 0;
    while (types[count])
        count++;
    struct wire_CreateContainerView args = {
        ._this = vim_content(vim)->view_manager,
        .container = vim_content(vim)->root_folder,
        .type = {types, count},
        .recursive = WIRE_TRUE,
    };
    struct vim_call call = {
        .type = wire_type_CreateContainerView(),
        .args = &args,
        .cancel = cancel,
    };
    return vim_call_ref(vim, &call, ret, err);
}

static void close_view(struct vim *vim, const struct vim_ref *view)
{
    struct wire_DestroyView args = {._this = *view};
    struct vim_call call = {.type = wire_type_DestroyView(), .args = &args};
    struct err ignored = ERR_INIT;
    if (!vim_call_send(vim, &call, &ignored)) /* the session's end destroys it too */
        log_debug("vim_view_left", "view=%s", view->id);
}

static int compare_types(const void *a, const void *b)
{
    const struct vim_ref *x = a;
    const struct vim_ref *y = b;
    int order = strcmp(x->type, y->type);
    return order ? order : strcmp(x->id, y->id);
}

/* Subtypes come mixed: brought together, so that pages are full. */
static void group_by_type(struct vim_ref *refs, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(refs[i].type, refs[0].type) != 0) {
            qsort(refs, count, sizeof *refs, compare_types);
            return;
        }
}

static bool read_view(struct vim *vim, const char *const types[],
                      struct wire_arena *arena, const struct cancel *cancel,
                      struct vim_refs *ret, struct err *err)
{
    struct vim_ref view = {0};
    if (!open_view(vim, types, cancel, &view, err))
        return false;
    struct wire_ViewProperties properties;
    struct vim_one one = {
        .ref = &view,
        .properties = wire_type_ViewProperties(),
        .arena = arena,
        .ret = &properties,
    };
    bool ok = vim_property_get(vim, &one, cancel, err);
    if (ok || err->kind != FAIL_GONE)
        close_view(vim, &view);
    if (!ok)
        return false;
    if (properties.view.count > VIEW_MAX_REFS)
        return err_set(err, FAIL_LIMIT, "the server has more than %d %s objects",
                       VIEW_MAX_REFS, types[0]);
    group_by_type((struct vim_ref *)properties.view.items, properties.view.count);
    *ret = (struct vim_refs){properties.view.items, properties.view.count};
    return true;
}

bool vim_property_find_all(struct vim *vim, const char *const types[],
                           struct wire_arena *arena, const struct cancel *cancel,
                           struct vim_refs *ret, struct err *err)
{
    if (!vim_ref_is_set(&vim_content(vim)->view_manager))
        return err_set(err, FAIL_CONFLICT, "'%s' has no view manager",
                       vim_host_name(vim));
    uint64_t generation = vim_generation(vim);
    struct err tried = ERR_INIT;
    if (read_view(vim, types, arena, cancel, ret, &tried))
        return true;
    /* A view dies with the session that made it: once more in the new one. */
    if (tried.kind == FAIL_GONE && vim_generation(vim) != generation)
        return read_view(vim, types, arena, cancel, ret, err);
    *err = tried;
    return false;
}
