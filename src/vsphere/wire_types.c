/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptions of wire_types.def as tables. */
#include "vsphere/wire_types.h"

#define WIRE_TYPE_TEXT(T)     NULL
#define WIRE_TYPE_BOOL(T)     NULL
#define WIRE_TYPE_INT32(T)    NULL
#define WIRE_TYPE_INT64(T)    NULL
#define WIRE_TYPE_REF(T)      NULL
#define WIRE_TYPE_XSI_TYPE(T) NULL
#define WIRE_TYPE_STRUCT(T)   wire_type_##T

#define BEGIN(T)                                                                         \
    const struct wire_type *wire_type_##T(void)                                          \
    {                                                                                    \
        typedef struct wire_##T self;                                                    \
        static const char self_name[] = #T;                                              \
        static const struct wire_field fields[] = {
#define FIELD(kind, T, member, name, is_needed)                                          \
    {name, WIRE_TYPE_##kind(T), offsetof(self, member), WIRE_KIND_##kind, is_needed,     \
     false},
#define ARRAY(kind, T, member, name)                                                     \
    {name, WIRE_TYPE_##kind(T), offsetof(self, member), WIRE_KIND_##kind, false, true},
#define END(T)                                                                           \
    }                                                                                    \
    ;                                                                                    \
    static const struct wire_type type = {self_name, sizeof(self), fields,               \
                                          ARRAY_COUNT(fields)};                          \
    return &type;                                                                        \
    }
#include "vsphere/wire_types.def"
