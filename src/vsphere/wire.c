/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table-driven reader and writer of vim25 data objects.
 *
 *  W1  Nothing is read outside an arena, and an arena is bounded: a hostile answer ends
 * in FAIL_LIMIT, not in swap. W2  Recursion follows the document's depth, which the XML
 * reader bounds. W3  A struct is either read whole or the call fails; what may be absent
 * is zero.
 *
 * Arrays grow by doubling inside the arena; what is outgrown stays until the arena goes,
 * at most as much again as the array itself.
 */
#include "vsphere/wire.h"

#include <errno.h>

#include "base/text.h"

#define CHUNK_BYTES ((size_t)(32 * KIB))

struct wire_chunk {
    struct wire_chunk *next;
    size_t used_bytes;
    size_t cap_bytes;
    _Alignas(max_align_t) uint8_t data[];
};

void wire_arena_release(struct wire_arena *arena)
{
    while (arena->chunks) {
        struct wire_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
    arena->used_bytes = 0;
}

void *wire_alloc(struct wire_arena *arena, size_t count, size_t size_bytes,
                 struct err *err)
{
    size_t max = arena->max_bytes ? arena->max_bytes : WIRE_ARENA_MAX_BYTES;
    uint64_t need = 0;
    if (!mul_u64(count, size_bytes, &need) || need > max ||
        max - need < arena->used_bytes) {
        (void)err_set(err, FAIL_LIMIT, "the answer needs more than %zu bytes of memory",
                      max);
        return NULL;
    }
    need = round_up(need, _Alignof(max_align_t));
    struct wire_chunk *chunk = arena->chunks;
    if (!chunk || chunk->cap_bytes - chunk->used_bytes < need) {
        size_t cap = MAX_OF(need, CHUNK_BYTES);
        chunk = xcalloc(1, sizeof *chunk + cap);
        chunk->cap_bytes = cap;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *p = chunk->data + chunk->used_bytes;
    chunk->used_bytes += need;
    arena->used_bytes += need;
    return p;
}

const char *wire_strdup(struct wire_arena *arena, const char *text, struct err *err)
{
    size_t bytes = strlen(text) + 1;
    char *copy = wire_alloc(arena, bytes, 1, err);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

static bool read_scalar(struct xml_reader *reader, char *out, size_t out_bytes,
                        struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (!xml_text(reader, out_bytes - 1, &text, err))
        return false;
    const char *from = buf_text(&text);
    from += strspn(from, " \t\r\n");
    text_copy(out, out_bytes, from);
    size_t length = strlen(out);
    while (length > 0 && strchr(" \t\r\n", out[length - 1]))
        out[--length] = '\0';
    return true;
}

static bool fail_value(struct err *err, const char *name, const char *text,
                       const char *wanted)
{
    return err_set(err, FAIL_CORRUPT, "element '%s' holds '%.40s', not %s", name, text,
                   wanted);
}

static bool read_int(const struct wire_field *field, struct xml_reader *reader,
                     struct wire_int *ret, struct err *err)
{
    char text[48];
    if (!read_scalar(reader, text, sizeof text, err))
        return false;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return fail_value(err, field->name, text, "a number");
    if (field->kind == WIRE_KIND_INT32 && (value < INT32_MIN || value > INT32_MAX))
        return fail_value(err, field->name, text, "a 32-bit number");
    *ret = WIRE_INT(value);
    return true;
}

static bool read_bool(const struct wire_field *field, struct xml_reader *reader,
                      enum wire_bool *ret, struct err *err)
{
    char text[48];
    if (!read_scalar(reader, text, sizeof text, err))
        return false;
    if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
        *ret = WIRE_TRUE;
    else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        *ret = WIRE_FALSE;
    else
        return fail_value(err, field->name, text, "true or false");
    return true;
}

bool wire_read_text(struct xml_reader *reader, struct wire_arena *arena, const char **ret,
                    struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    if (!xml_text(reader, WIRE_TEXT_MAX_BYTES, &text, err))
        return false;
    *ret = wire_strdup(arena, buf_text(&text), err);
    return *ret != NULL;
}

/* A value without a type attribute is no reference: a task's result may be anything. */
bool wire_read_ref(struct xml_reader *reader, struct vim_ref *ret, struct err *err)
{
    struct vim_ref ref = {0};
    if (!xml_attribute(reader, NULL, "type", ref.type, sizeof ref.type)) {
        *ret = (struct vim_ref){0};
        return true;
    }
    if (!read_scalar(reader, ref.id, sizeof ref.id, err))
        return false;
    *ret = ref;
    return true;
}

/* Stays absent when the element has none. */
static bool read_xsi_type(struct xml_reader *reader, struct wire_arena *arena, void *to,
                          struct err *err)
{
    char type[128];
    if (!xml_attribute(reader, XML_XSI, "type", type, sizeof type))
        return true;
    const char *colon = strrchr(type, ':');
    const char *local = wire_strdup(arena, colon ? colon + 1 : type, err);
    memcpy(to, &local, sizeof local);
    return local != NULL;
}

static size_t item_bytes(const struct wire_field *field)
{
    switch ((enum wire_kind)field->kind) {
    case WIRE_KIND_TEXT:
    case WIRE_KIND_XSI_TYPE:
        return sizeof(const char *);
    case WIRE_KIND_BOOL:
        return sizeof(enum wire_bool);
    case WIRE_KIND_INT32:
    case WIRE_KIND_INT64:
        return sizeof(struct wire_int);
    case WIRE_KIND_REF:
        return sizeof(struct vim_ref);
    case WIRE_KIND_STRUCT:
        return field->type()->struct_bytes;
    }
    return 0;
}

/* One value into *to; a struct field that is no array gets a pointer to it. */
static bool read_value(const struct wire_field *field, struct xml_reader *reader,
                       struct wire_arena *arena, void *to, struct err *err)
{
    switch ((enum wire_kind)field->kind) {
    case WIRE_KIND_TEXT:
        return wire_read_text(reader, arena, to, err);
    case WIRE_KIND_BOOL:
        return read_bool(field, reader, to, err);
    case WIRE_KIND_INT32:
    case WIRE_KIND_INT64:
        return read_int(field, reader, to, err);
    case WIRE_KIND_REF:
        return wire_read_ref(reader, to, err);
    case WIRE_KIND_XSI_TYPE:
        return true;
    case WIRE_KIND_STRUCT:
        break;
    }
    if (field->is_array)
        return wire_read(field->type(), reader, arena, to, err);
    void *made = wire_alloc(arena, 1, field->type()->struct_bytes, err);
    if (!made || !wire_read(field->type(), reader, arena, made, err))
        return false;
    memcpy(to, &made, sizeof made);
    return true;
}

/* The members made by WIRE_ARRAY all look like this; moved with memcpy only. */
struct array_form {
    uint8_t *items;
    size_t count;
};

static bool read_item(const struct wire_field *field, struct xml_reader *reader,
                      struct wire_arena *arena, void *member, struct err *err)
{
    struct array_form array;
    memcpy(&array, member, sizeof array);
    size_t size = item_bytes(field);
    /* The capacity is the count rounded up to a power of two. */
    if ((array.count & (array.count - 1)) == 0) {
        size_t cap = array.count ? array.count * 2 : 1;
        uint8_t *grown = wire_alloc(arena, cap, size, err);
        if (!grown)
            return false;
        if (array.count)
            memcpy(grown, array.items, array.count * size);
        array.items = grown;
    }
    if (!read_value(field, reader, arena, array.items + array.count * size, err))
        return false;
    array.count++;
    memcpy(member, &array, sizeof array);
    return true;
}

/* Elements mostly come in the description's order: search from where we were. */
static const struct wire_field *find_field(const struct wire_type *type, const char *name,
                                           size_t *at)
{
    for (size_t tried = 0; tried < type->field_count; tried++) {
        size_t i = (*at + tried) % type->field_count;
        if (type->fields[i].kind != WIRE_KIND_XSI_TYPE &&
            strcmp(type->fields[i].name, name) == 0) {
            *at = i;
            return &type->fields[i];
        }
    }
    return NULL;
}

static bool is_absent(const struct wire_field *field, const void *member)
{
    if (field->is_array) {
        struct array_form array;
        memcpy(&array, member, sizeof array);
        return array.count == 0;
    }
    const void *pointer = NULL;
    switch ((enum wire_kind)field->kind) {
    case WIRE_KIND_TEXT:
    case WIRE_KIND_XSI_TYPE:
    case WIRE_KIND_STRUCT:
        memcpy(&pointer, member, sizeof pointer);
        return !pointer;
    case WIRE_KIND_BOOL:
        return *(const enum wire_bool *)member == WIRE_ABSENT;
    case WIRE_KIND_INT32:
    case WIRE_KIND_INT64:
        return !((const struct wire_int *)member)->is_set;
    case WIRE_KIND_REF:
        return !vim_ref_is_set(member);
    }
    return true;
}

static bool check_needed(const struct wire_type *type, const void *data,
                         enum err_kind kind, struct err *err)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct wire_field *field = &type->fields[i];
        if (field->is_needed && is_absent(field, (const uint8_t *)data + field->offset))
            return err_set(err, kind, "%s has no '%s'", type->name, field->name);
    }
    return true;
}

bool wire_read(const struct wire_type *type, struct xml_reader *reader,
               struct wire_arena *arena, void *ret, struct err *err)
{
    memset(ret, 0, type->struct_bytes);
    uint8_t *base = ret;
    for (size_t i = 0; i < type->field_count; i++)
        if (type->fields[i].kind == WIRE_KIND_XSI_TYPE &&
            !read_xsi_type(reader, arena, base + type->fields[i].offset, err))
            return false;
    size_t at = 0;
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);) {
        const struct wire_field *field = find_field(type, xml_name(reader), &at);
        if (!field)
            continue;
        void *member = base + field->offset;
        bool ok = field->is_array ? read_item(field, reader, arena, member, err)
                                  : read_value(field, reader, arena, member, err);
        if (!ok)
            return false;
    }
    return !xml_failed(reader) && check_needed(type, ret, FAIL_CORRUPT, err);
}

bool wire_read_property(const struct wire_type *type, const char *name,
                        struct xml_reader *reader, struct wire_arena *arena, void *ret,
                        struct err *err)
{
    size_t at = 0;
    const struct wire_field *field = find_field(type, name, &at);
    if (!field)
        return true;
    void *member = (uint8_t *)ret + field->offset;
    if (!field->is_array) {
        memset(member, 0,
               field->kind == WIRE_KIND_STRUCT ? sizeof(void *) : item_bytes(field));
        return read_value(field, reader, arena, member, err);
    }
    memset(member, 0, sizeof(struct array_form));
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        if (!read_item(field, reader, arena, member, err))
            return false;
    return !xml_failed(reader);
}

static bool write_value(const struct wire_field *field, const void *value,
                        struct xml_writer *writer, struct err *err)
{
    char digits[24];
    const struct vim_ref *ref = value;
    const char *text = NULL;
    switch ((enum wire_kind)field->kind) {
    case WIRE_KIND_XSI_TYPE:
        return true;
    case WIRE_KIND_TEXT:
        memcpy(&text, value, sizeof text);
        break;
    case WIRE_KIND_BOOL:
        text = *(const enum wire_bool *)value == WIRE_TRUE ? "true" : "false";
        break;
    case WIRE_KIND_INT32:
    case WIRE_KIND_INT64:
        (void)snprintf(digits, sizeof digits, "%lld",
                       (long long)((const struct wire_int *)value)->value);
        text = digits;
        break;
    case WIRE_KIND_REF:
        xml_start(writer, field->name);
        xml_put_attribute(writer, "type", ref->type);
        xml_end_start(writer);
        xml_put_text(writer, ref->id, strlen(ref->id));
        xml_end(writer, field->name);
        return true;
    case WIRE_KIND_STRUCT:
        return wire_write(field->type(), field->name, "", value, writer, err);
    }
    xml_put_element(writer, field->name, text);
    return true;
}

static bool write_field(const struct wire_field *field, const void *member,
                        struct xml_writer *writer, struct err *err)
{
    if (is_absent(field, member))
        return true;
    if (!field->is_array) {
        if (field->kind == WIRE_KIND_STRUCT)
            memcpy(&member, member, sizeof member);
        return write_value(field, member, writer, err);
    }
    struct array_form array;
    memcpy(&array, member, sizeof array);
    for (size_t i = 0; i < array.count; i++)
        if (!write_value(field, array.items + i * item_bytes(field), writer, err))
            return false;
    return true;
}

bool wire_write(const struct wire_type *type, const char *name, const char *attributes,
                const void *data, struct xml_writer *writer, struct err *err)
{
    if (!check_needed(type, data, FAIL_BUG, err))
        return false;
    const uint8_t *base = data;
    xml_start(writer, name);
    buf_append_text(writer->out, attributes);
    for (size_t i = 0; i < type->field_count; i++) {
        const void *member = base + type->fields[i].offset;
        if (type->fields[i].kind == WIRE_KIND_XSI_TYPE &&
            !is_absent(&type->fields[i], member)) {
            const char *xsi_type = NULL;
            memcpy(&xsi_type, member, sizeof xsi_type);
            xml_put_attribute(writer, "xsi:type", xsi_type);
        }
    }
    xml_end_start(writer);
    for (size_t i = 0; i < type->field_count; i++)
        if (!write_field(&type->fields[i], base + type->fields[i].offset, writer, err))
            return false;
    xml_end(writer, name);
    return true;
}

uint64_t wire_time_ms(const char *text)
{
    struct tm tm = {0};
    int year = 0;
    int month = 0;
    int used = 0;
    if (!text || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &tm.tm_mday,
                        &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 6)
        return 0;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    const char *rest = text + used;
    int64_t fraction_ms = 0;
    if (*rest == '.') {
        int64_t unit_ms = 100;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit_ms /= 10)
            fraction_ms += (*rest - '0') * unit_ms;
    }
    int hours = 0;
    int minutes = 0;
    int64_t offset_s = 0;
    if ((*rest == '+' || *rest == '-') &&
        sscanf(rest + 1, "%2d:%2d", &hours, &minutes) == 2)
        offset_s = (hours * 3600 + minutes * 60) * (*rest == '-' ? -1 : 1);
    int64_t seconds = timegm(&tm) - offset_s;
    return seconds > 0 ? (uint64_t)(seconds * 1000 + fraction_ms) : 0;
}
