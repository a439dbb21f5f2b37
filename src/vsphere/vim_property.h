/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading properties of objects: of one, of a list in pages, of all of a type. The
 * properties asked for and the struct they land in are one description (wire_types.def:
 * the field names are the paths). Internal to src/vsphere. Any thread.
 */
#ifndef VSPHERE_VIM_PROPERTY_H
#define VSPHERE_VIM_PROPERTY_H

#include "vsphere/vim_call.h"

#define VIM_PAGE_OBJECTS 100

/* The properties of one object; what the server does not tell is absent. ret is a struct
 * of that type. FAIL_GONE: no such object. */
struct vim_one {
    const struct vim_ref *ref;
    const struct wire_type *properties;
    struct wire_arena *arena;
    void *ret;
};
MUST_CHECK bool vim_property_get(struct vim *vim, const struct vim_one *one,
                                 const struct cancel *cancel, struct err *err);

/* Called for each object in the order of the answers; properties live during the call. */
typedef bool (*vim_object_fn)(void *arg, const struct vim_ref *ref,
                              const void *properties, struct err *err);

/* Of many objects of one type, VIM_PAGE_OBJECTS in a call; those that are gone are left
 * out. Each is told at most once. */
struct vim_list {
    const struct vim_ref *refs;
    size_t count;
    const struct wire_type *properties;
    vim_object_fn on_object;
    void *arg;
};
MUST_CHECK bool vim_property_list(struct vim *vim, const struct vim_list *list,
                                  const struct cancel *cancel, struct err *err);

/* All objects of these types below the root folder that the account may see. The
 * references live in the arena. */
struct vim_refs {
    const struct vim_ref *items;
    size_t count;
};
MUST_CHECK bool vim_property_find_all(struct vim *vim, const char *const types[],
                                      struct wire_arena *arena,
                                      const struct cancel *cancel, struct vim_refs *ret,
                                      struct err *err);

/* A filter over one object: what RetrievePropertiesEx and CreateFilter take. Borrows from
 * its arguments; `path_room` holds the paths. */
#define VIM_PATHS_MAX 48
struct vim_filter {
    struct wire_PropertyFilterSpec spec;
    struct wire_PropertySpec properties;
    struct wire_ObjectSpec *objects; /* owned: vim_filter_release */
    const char *paths[VIM_PATHS_MAX];
};
void vim_filter_init(struct vim_filter *filter, struct vim *vim,
                     const struct wire_type *properties, const struct vim_ref *refs,
                     size_t count);
void vim_filter_release(struct vim_filter *filter);
static inline void auto_vim_filter_release(struct vim_filter *filter)
{
    vim_filter_release(filter);
}

/* Reads a <propSet> or <changeSet> element: name, then value. */
MUST_CHECK bool vim_property_read(struct xml_reader *reader,
                                  const struct wire_type *properties,
                                  struct wire_arena *arena, void *ret, struct err *err);

#endif
