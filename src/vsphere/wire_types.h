/* SPDX-License-Identifier: Apache-2.0 */
/* The C form of wire_types.def: struct wire_X and its description wire_type_X(). */
#ifndef VSPHERE_WIRE_TYPES_H
#define VSPHERE_WIRE_TYPES_H

#include "vsphere/wire.h"

#define WIRE_C_TEXT(T)     const char *
#define WIRE_C_BOOL(T)     enum wire_bool
#define WIRE_C_INT32(T)    struct wire_int
#define WIRE_C_INT64(T)    struct wire_int
#define WIRE_C_REF(T)      struct vim_ref
#define WIRE_C_XSI_TYPE(T) const char *
#define WIRE_C_STRUCT(T)   const struct wire_##T *
#define WIRE_I_TEXT(T)     const char *
#define WIRE_I_INT32(T)    struct wire_int
#define WIRE_I_REF(T)      struct vim_ref
#define WIRE_I_STRUCT(T)   struct wire_##T

#define BEGIN(T)                                struct wire_##T {
#define FIELD(kind, T, member, name, is_needed) WIRE_C_##kind(T) member;
#define ARRAY(kind, T, member, name)            WIRE_ARRAY(WIRE_I_##kind(T)) member;
#define END(T)                                                                           \
    }                                                                                    \
    ;                                                                                    \
    const struct wire_type *wire_type_##T(void);
#include "vsphere/wire_types.def"
#undef BEGIN
#undef FIELD
#undef ARRAY
#undef END

#endif
