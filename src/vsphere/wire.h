/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data objects of vim25 between XML and C structs, driven by descriptions that
 * wire_types.def holds once: a struct's C form, its reader and its writer all come from
 * the same lines. Internal to src/vsphere.
 *
 * Reading: elements are found by local name in any order, what the description does not
 * name is skipped, so a newer server's answer is understood. A subtype is read into one
 * struct that has the fields of all subtypes we care for; its xsi:type is kept.
 * Writing: elements in the description's order, which is the schema's.
 *
 * What is read lives in an arena and is freed with it.
 */
#ifndef VSPHERE_WIRE_H
#define VSPHERE_WIRE_H

#include "http/xml.h"
#include "vsphere/vim.h"

/* Memory of one answer: grows up to a bound, freed at once. One thread at a time. */
struct wire_arena {
    struct wire_chunk *chunks;
    size_t used_bytes;
    size_t max_bytes; /* 0: WIRE_ARENA_MAX_BYTES */
};
#define WIRE_ARENA_MAX_BYTES ((size_t)(64 * MIB))
#define WIRE_TEXT_MAX_BYTES  ((size_t)(64 * KIB))

void wire_arena_release(struct wire_arena *arena);
static inline void auto_wire_arena_release(struct wire_arena *arena)
{
    wire_arena_release(arena);
}
/* Zeroed, aligned for anything. NULL with FAIL_LIMIT beyond the bound. */
MUST_CHECK void *wire_alloc(struct wire_arena *arena, size_t count, size_t size_bytes,
                            struct err *err);
/* A copy; NULL with FAIL_LIMIT. */
MUST_CHECK const char *wire_strdup(struct wire_arena *arena, const char *text,
                                   struct err *err);

enum wire_bool { WIRE_ABSENT, WIRE_TRUE, WIRE_FALSE };
struct wire_int {
    int64_t value;
    bool is_set;
};
#define WIRE_INT(v)  ((struct wire_int){.value = (v), .is_set = true})
#define WIRE_BOOL(v) ((v) ? WIRE_TRUE : WIRE_FALSE)

enum wire_kind {
    WIRE_KIND_TEXT,     /* const char *, NULL absent */
    WIRE_KIND_BOOL,     /* enum wire_bool */
    WIRE_KIND_INT32,    /* struct wire_int */
    WIRE_KIND_INT64,    /* struct wire_int */
    WIRE_KIND_REF,      /* struct vim_ref, id "" absent */
    WIRE_KIND_XSI_TYPE, /* const char *: the attribute, local part */
    WIRE_KIND_STRUCT,   /* const struct wire_X *, NULL absent */
};

struct wire_type;
struct wire_field {
    const char *name;                      /* element, or path of a property */
    const struct wire_type *(*type)(void); /* WIRE_KIND_STRUCT */
    uint16_t offset;
    uint8_t kind;
    bool is_needed;
    bool is_array; /* the member is WIRE_ARRAY(item) */
};
struct wire_type {
    const char *name; /* of the schema; a method's is the request element */
    size_t struct_bytes;
    const struct wire_field *fields;
    size_t field_count;
};

#define WIRE_ARRAY(item_type)                                                            \
    struct {                                                                             \
        item_type const *items;                                                          \
        size_t count;                                                                    \
    }

/* Reads the element where the reader stands into *ret (zeroed first). FAIL_CORRUPT names
 * what is missing or of a wrong kind. */
MUST_CHECK bool wire_read(const struct wire_type *type, struct xml_reader *reader,
                          struct wire_arena *arena, void *ret, struct err *err);

/* Reads the element where the reader stands as the value of the property called name; an
 * array's elements are its children. A name not described is success. */
MUST_CHECK bool wire_read_property(const struct wire_type *type, const char *name,
                                   struct xml_reader *reader, struct wire_arena *arena,
                                   void *ret, struct err *err);

/* Text or reference of the element where the reader stands. */
MUST_CHECK bool wire_read_text(struct xml_reader *reader, struct wire_arena *arena,
                               const char **ret, struct err *err);
MUST_CHECK bool wire_read_ref(struct xml_reader *reader, struct vim_ref *ret,
                              struct err *err);

/* <name attributes>...</name>; attributes: literal text that begins with a blank, or "".
 * FAIL_BUG: a needed field is absent. */
MUST_CHECK bool wire_write(const struct wire_type *type, const char *name,
                           const char *attributes, const void *data,
                           struct xml_writer *writer, struct err *err);

/* "2026-11-22T07:00:00.5+01:00" to milliseconds since 1970; 0 when it is not a time. */
uint64_t wire_time_ms(const char *text);

#endif
