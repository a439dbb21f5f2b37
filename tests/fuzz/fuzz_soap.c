/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of a vim25 server. Byte 0 picks what is expected: a machine, a page of changes,
 * a task, a ticket, privileges, the service's content, or any XML. None may crash, hang,
 * fail without an error, or give out a number that was to be refused.
 */
#include "fuzz.h"

#include "base/text.h"
#include "vsphere/vim_build.h"
#include "vsphere/vim_fault.h"
#include "vsphere/vim_property.h"
#include "vsphere/vim_soap.h"

#define DEPTH_MAX 300

static void check_machine(const struct vim_machine *m)
{
    for (size_t i = 0; i < m->disk_count; i++) {
        if (!m->disks[i].file_name || !m->disks[i].change_id || !m->disks[i].mode)
            abort();
        for (size_t c = 0; c < m->disks[i].chain_count; c++)
            if (!m->disks[i].chain[c])
                abort();
    }
    for (size_t i = 0; i < m->nic_count; i++)
        if (!m->nics[i].network || !m->nics[i].mac)
            abort();
    for (size_t i = 0; i < m->snapshot_count; i++)
        if (!m->snapshots[i].name || m->snapshots[i].parent_index >= (int32_t)i)
            abort();
}

static bool read_machine(void *arg, struct xml_reader *reader, struct err *err)
{
    (void)arg;
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = MIB};
    struct wire_MachineProperties told = {0};
    for (struct xml_mark page = xml_mark(reader); xml_next(reader, &page, err);)
        for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
            if (xml_is(reader, "propSet") &&
                !vim_property_read(reader, wire_type_MachineProperties(), &arena, &told,
                                   err))
                return false;
    struct vim_machine machine = {0};
    if (xml_failed(reader) || !vim_build_machine(&told, NULL, &arena, &machine, err))
        return false;
    check_machine(&machine);
    return true;
}

static const struct wire_type *picked;

/* What was read can be written, and reads the same length again. */
static bool read_picked(void *arg, struct xml_reader *reader, struct err *err)
{
    (void)arg;
    AUTO(wire_arena_release) struct wire_arena arena = {.max_bytes = MIB};
    AUTO(free) void *value = xcalloc(1, picked->struct_bytes);
    if (!wire_read(picked, reader, &arena, value, err))
        return false;
    AUTO(buf_release) struct buf out = {0};
    struct xml_writer writer = {.out = &out};
    struct err again = ERR_INIT;
    if (!wire_write(picked, "x", " xmlns:xsi=\"" XML_XSI "\"", value, &writer, &again) ||
        !xml_writer_check(&writer, "fuzz", &again))
        abort();
    AUTO(xml_reader_close)
    struct xml_reader *second = xml_reader_open("fuzz", out.data, out.bytes, &again);
    if (!second)
        abort();
    if (!wire_read(picked, second, &arena, value, &again) && again.kind != FAIL_LIMIT)
        abort();
    return true;
}

static void walk(struct xml_reader *reader, struct err *err, int depth)
{
    if (depth > DEPTH_MAX)
        abort();
    for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
        walk(reader, err, depth + 1);
}

static void try_xml(const uint8_t *data, size_t data_bytes)
{
    struct err err = ERR_INIT;
    AUTO(xml_reader_close)
    struct xml_reader *reader = xml_reader_open("fuzz", data, data_bytes, &err);
    if (reader)
        walk(reader, &err, 0);
    if ((!reader || xml_failed(reader)) != (err.kind != FAIL_NONE))
        abort();
}

static void try_answer(const uint8_t *data, size_t data_bytes, vim_return_fn on_return)
{
    struct vim_soap_answer answer = {
        .method = "M",
        .body = data,
        .body_bytes = data_bytes,
        .on_return = on_return,
    };
    struct vim_fault_seen fault;
    struct err err = ERR_INIT;
    bool ok = vim_soap_read(&answer, &fault, &err);
    if (ok != (err.kind == FAIL_NONE) || (!ok && err.text[0] == '\0'))
        abort();
    for (const char *c = err.text; *c; c++)
        if ((*c > 0 && *c < ' ') && *fault.type)
            abort(); /* a fault's text goes to logs and terminals */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_bytes)
{
    if (data_bytes == 0)
        return 0;
    const struct wire_type *const types[] = {
        wire_type_DiskChangeInfo(),
        wire_type_TaskInfo(),
        wire_type_HostServiceTicket(),
        wire_type_EntityPrivilege(),
        wire_type_ServiceContent(),
        wire_type_DatastoreSummary(),
        wire_type_VirtualDevice(),
        wire_type_LocalizedMethodFault(),
        wire_type_VirtualMachineSnapshotInfo(),
    };
    unsigned pick = data[0] % (ARRAY_COUNT(types) + 2);
    if (pick == 0) {
        try_xml(data + 1, data_bytes - 1);
    } else if (pick == 1) {
        try_answer(data + 1, data_bytes - 1, read_machine);
    } else {
        picked = types[pick - 2];
        try_answer(data + 1, data_bytes - 1, read_picked);
    }
    return 0;
}
