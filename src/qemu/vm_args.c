/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a machine definition to QEMU's command line. Disks are given as JSON, so no path
 * can be read as an option; paths in the other options have their commas doubled; models,
 * buses and types come from tables, never from the definition's text.
 */
#include "qemu/vm.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "http/json.h"

#include <inttypes.h>
#include <sys/stat.h>

#define FEW_PCI_DEVICES 20 /* beyond: several to a slot */
#define FIRST_SLOT      4
#define SLOT_FUNCTIONS  8
#define AHCI_PORTS      6
#define PC_IDE_UNITS    4
#define FIRMWARE_MAX    (16 * MIB)
#define NIC_MAC_CHARS   17

struct args_state {
    const struct vm_spec *spec;
    struct vm_args *args;
    bool is_q35;
    bool is_crowded;
    size_t pci_used;
    size_t sata_used;
    bool has_scsi;
};

static const struct {
    const char *code;
    const char *vars;
} FIRMWARES[] = {
    {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
    {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
    {"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
    {"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
    {"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
};

enum bus { BUS_IDE, BUS_VIRTIO, BUS_NVME, BUS_SCSI };

static const struct {
    const char *name;
    enum bus bus;
} BUSES[] = {
    {"", BUS_IDE}, /* unknown: every system has a driver for SATA */
    {"ide", BUS_IDE},
    {"sata", BUS_IDE},
    {"ahci", BUS_IDE},
    {"virtio", BUS_VIRTIO},
    {"virtio-blk", BUS_VIRTIO},
    {"nvme", BUS_NVME},
    {"scsi", BUS_SCSI},
    {"virtio-scsi", BUS_SCSI},
    /* VMware's controllers: their guests need not have a driver for virtio. */
    {"pvscsi", BUS_IDE},
    {"lsilogic", BUS_IDE},
    {"lsisas", BUS_IDE},
    {"buslogic", BUS_IDE},
};

static const char *const NIC_MODELS[] = {"virtio-net-pci", "e1000e", "e1000", "vmxnet3",
                                         "rtl8139"};

void vm_args_release(struct vm_args *args)
{
    for (size_t i = 0; i < args->count; i++)
        free(args->items[i]);
    free(args->items);
    *args = (struct vm_args){0};
}

static void add_take(struct vm_args *args, char *word)
{
    args->items = xrealloc(args->items, args->count + 2, sizeof *args->items);
    args->items[args->count++] = word;
    args->items[args->count] = NULL;
}

static void add(struct vm_args *args, const char *word)
{
    add_take(args, xstrdup(word));
}

static void add_two(struct vm_args *args, const char *option, struct buf *value)
{
    add(args, option);
    add_take(args, buf_take_text(value));
}

/* QEMU's option syntax: a comma in a value is written twice. */
static void put_value(struct buf *out, const char *value)
{
    for (; *value; value++) {
        buf_append(out, value, 1);
        if (*value == ',')
            buf_append(out, ",", 1);
    }
}

static bool find_firmware(size_t *ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(FIRMWARES); i++)
        if (file_exists(FIRMWARES[i].code) && file_exists(FIRMWARES[i].vars)) {
            *ret = i;
            return true;
        }
    return false;
}

bool vm_firmware_is_there(void)
{
    size_t ignored;
    return find_firmware(&ignored);
}

/* ",addr=…" where a slot per device would not be enough; order of devices is kept. */
static void put_pci_place(struct args_state *state, struct buf *out)
{
    if (!state->is_crowded)
        return;
    buf_printf(out, ",addr=0x%zx.%zu,multifunction=on",
               FIRST_SLOT + state->pci_used / SLOT_FUNCTIONS,
               state->pci_used % SLOT_FUNCTIONS);
    state->pci_used++;
}

static void add_blockdev(struct args_state *state, size_t at)
{
    const struct vm_disk *disk = &state->spec->disks[at];
    struct stat st;
    bool is_device = stat(disk->path, &st) == 0 && S_ISBLK(st.st_mode);
    AUTO(json_free) json_t *node = json_object();
    AUTO(buf_release) struct buf text = {0};
    json_t *file = json_object();
    char name[16];
    (void)snprintf(name, sizeof name, "disk%zu", at);
    json_put_text(file, "driver", is_device ? "host_device" : "file");
    json_put_text(file, "filename", disk->path);
    if (state->spec->is_throwaway) {
        json_put_take(node, "cache", json_pack("{s:b}", "no-flush", 1));
        json_put_take(file, "cache", json_pack("{s:b}", "no-flush", 1));
    }
    json_put_text(node, "driver", disk->is_qcow2 ? "qcow2" : "raw");
    json_put_text(node, "node-name", name);
    json_put_text(node, "discard", "unmap");
    json_put_take(node, "file", file);
    json_print(node, &text);
    add_two(state->args, "-blockdev", &text);
}

static void put_serial(struct buf *out, const struct machine_disk *disk)
{
    if (!disk->serial[0])
        return;
    buf_append_text(out, ",serial=");
    put_value(out, disk->serial);
}

/* Where the next SATA/IDE disk goes; adds a controller when the others are full. */
static void put_sata_place(struct args_state *state, struct buf *out)
{
    size_t builtin = state->is_q35 ? AHCI_PORTS : PC_IDE_UNITS;
    size_t at = state->sata_used++;
    if (at < builtin && state->is_q35)
        buf_printf(out, ",bus=ide.%zu", at);
    else if (at < builtin)
        buf_printf(out, ",bus=ide.%zu,unit=%zu", at / 2, at % 2);
    else {
        size_t extra = (at - builtin) / AHCI_PORTS, port = (at - builtin) % AHCI_PORTS;
        if (port == 0) {
            struct buf controller = {0};
            buf_printf(&controller, "ich9-ahci,id=ahci%zu", extra);
            put_pci_place(state, &controller);
            add_two(state->args, "-device", &controller);
        }
        buf_printf(out, ",bus=ahci%zu.%zu", extra, port);
    }
}

static bool find_bus(const char *name, enum bus *ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(BUSES); i++)
        if (strcmp(BUSES[i].name, name) == 0) {
            *ret = BUSES[i].bus;
            return true;
        }
    return false;
}

static bool add_disk(struct args_state *state, size_t at, struct err *err)
{
    const struct machine_disk *disk = &state->spec->machine->disks[at];
    struct buf device = {0};
    enum bus bus;
    if (!find_bus(disk->bus, &bus))
        return err_set(err, FAIL_INPUT,
                       "disk %zu is on bus '%s'; QEMU machines are given nvme, virtio, "
                       "scsi or ide",
                       at, disk->bus);
    add_blockdev(state, at);
    switch (bus) {
    case BUS_VIRTIO:
        buf_printf(&device, "virtio-blk-pci,drive=disk%zu", at);
        put_pci_place(state, &device);
        break;
    case BUS_NVME: /* has no default serial */
        buf_printf(&device, "nvme,drive=disk%zu", at);
        if (!disk->serial[0])
            buf_printf(&device, ",serial=kedge%zu", at);
        put_pci_place(state, &device);
        break;
    case BUS_SCSI:
        if (!state->has_scsi) {
            struct buf controller = {0};
            buf_append_text(&controller, "virtio-scsi-pci,id=scsi0");
            put_pci_place(state, &controller);
            add_two(state->args, "-device", &controller);
            state->has_scsi = true;
        }
        buf_printf(&device, "scsi-hd,bus=scsi0.0,scsi-id=%zu,drive=disk%zu", at, at);
        break;
    case BUS_IDE:
        buf_printf(&device, "ide-hd,drive=disk%zu", at);
        put_sata_place(state, &device);
        break;
    }
    put_serial(&device, disk);
    buf_printf(&device, ",bootindex=%zu", at + 1);
    add_two(state->args, "-device", &device);
    return true;
}

static bool check_mac(const char *mac, struct err *err)
{
    bool ok = strlen(mac) == NIC_MAC_CHARS &&
              strspn(mac, "0123456789abcdefABCDEF:") == NIC_MAC_CHARS;
    for (size_t i = 0; ok && i < NIC_MAC_CHARS; i++)
        ok = (mac[i] == ':') == (i % 3 == 2);
    return ok ||
           err_set(err, FAIL_INPUT,
                   "'%s' is no network address; it looks like 52:54:00:12:34:56", mac);
}

static bool put_network(const char *network, struct buf *out, struct err *err)
{
    if (strcmp(network, "") == 0 || strcmp(network, "isolated") == 0)
        buf_append_text(out, "user,restrict=on");
    else if (strcmp(network, "user") == 0)
        buf_append_text(out, "user");
    else if (text_starts_with(network, "bridge:")) {
        const char *bridge = network + strlen("bridge:");
        if (!text_check_name("bridge", bridge, err))
            return false;
        buf_printf(out, "bridge,br=%s", bridge);
    } else
        return err_set(err, FAIL_INPUT,
                       "network '%s' is not known; it is 'isolated', 'user' or "
                       "'bridge:<name>'",
                       network);
    return true;
}

static bool add_nic(struct args_state *state, size_t at, struct err *err)
{
    const struct machine_nic *nic = &state->spec->machine->nics[at];
    const char *model = "e1000e"; /* unknown: most systems have its driver */
    AUTO(buf_release) struct buf netdev = {0};
    struct buf device = {0};
    for (size_t i = 0; i < ARRAY_COUNT(NIC_MODELS); i++)
        if (strcmp(NIC_MODELS[i], nic->model) == 0 ||
            (i == 0 && strcmp(nic->model, "virtio") == 0))
            model = NIC_MODELS[i];
    if ((nic->mac[0] && !check_mac(nic->mac, err)) ||
        !put_network(state->spec->network, &netdev, err))
        return err_wrap(err, "network card %zu", at);
    buf_printf(&netdev, ",id=net%zu", at);
    add_two(state->args, "-netdev", &netdev);
    buf_printf(&device, "%s,netdev=net%zu", model, at);
    if (nic->mac[0])
        buf_printf(&device, ",mac=%s", nic->mac);
    put_pci_place(state, &device);
    add_two(state->args, "-device", &device);
    return true;
}

/* The variables are the machine's own: copied once, kept from then on. */
static bool copy_variables(const char *template_path, const char *path, struct err *err)
{
    AUTO(buf_release) struct buf content = {0};
    return file_exists(path) ||
           (file_read(template_path, FIRMWARE_MAX, &content, err) &&
            file_write_durable(path, content.data, content.bytes, 0600, err));
}

static void add_flash(struct vm_args *args, const char *node, const char *path,
                      bool read_only)
{
    AUTO(json_free) json_t *json = json_object();
    AUTO(buf_release) struct buf text = {0};
    json_put_text(json, "driver", "file");
    json_put_text(json, "node-name", node);
    json_put_text(json, "filename", path);
    json_put_bool(json, "read-only", read_only);
    json_print(json, &text);
    add_two(args, "-blockdev", &text);
}

static bool add_machine(struct args_state *state, struct err *err)
{
    const struct vm_spec *spec = state->spec;
    const char *type = spec->machine->machine_type;
    struct buf machine = {0};
    if (!type[0])
        type = "q35";
    state->is_q35 = strstr(type, "q35") != NULL;
    if (strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(type) ||
        !(state->is_q35 || strcmp(type, "pc") == 0 || text_starts_with(type, "pc-")))
        return err_set(err, FAIL_INPUT,
                       "machine type '%s' can't be started here; q35 and pc can", type);
    bool is_uefi = spec->machine->firmware == FIRMWARE_UEFI;
    if (is_uefi) {
        size_t at;
        AUTO(free) char *vars = file_join(spec->run_dir, "firmware-variables.fd");
        if (!find_firmware(&at))
            return err_set(err, FAIL_GONE,
                           "the machine boots by UEFI, but no UEFI firmware for QEMU is "
                           "installed; apt-get install ovmf");
        if (!copy_variables(FIRMWARES[at].vars, vars, err))
            return false;
        add_flash(state->args, "firmware-code", FIRMWARES[at].code, true);
        add_flash(state->args, "firmware-variables", vars, false);
    }
    buf_printf(&machine, "%s,accel=%s%s", type, spec->accel,
               is_uefi ? ",pflash0=firmware-code,pflash1=firmware-variables" : "");
    add_two(state->args, "-machine", &machine);
    add(state->args, "-cpu");
    add(state->args, strcmp(spec->accel, "kvm") == 0 ? "host" : "max,la57=off");
    return true;
}

static bool add_sockets(struct args_state *state, struct err *err)
{
    struct buf qmp = {0}, agent = {0}, serial = {0}, port = {0};
    char path[MACHINE_PATH_BYTES];
    if (!vm_socket_path(state->spec->run_dir, "qmp", path, err))
        return false;
    buf_append_text(&qmp, "socket,id=qmp0,server=on,wait=off,path=");
    put_value(&qmp, path);
    add_two(state->args, "-chardev", &qmp);
    add(state->args, "-mon");
    add(state->args, "chardev=qmp0,mode=control");
    if (!vm_socket_path(state->spec->run_dir, "agent", path, err))
        return false;
    buf_append_text(&agent, "socket,id=agent0,server=on,wait=off,path=");
    put_value(&agent, path);
    add_two(state->args, "-chardev", &agent);
    buf_append_text(&port, "virtio-serial-pci");
    put_pci_place(state, &port);
    add_two(state->args, "-device", &port);
    add(state->args, "-device");
    add(state->args, "virtserialport,chardev=agent0,name=org.qemu.guest_agent.0");
    buf_append_text(&serial, "file,id=serial0,path=");
    put_value(&serial, state->spec->serial_log);
    add_two(state->args, "-chardev", &serial);
    add(state->args, "-serial");
    add(state->args, "chardev:serial0");
    return true;
}

static bool add_basics(struct args_state *state, struct err *err)
{
    const struct vm_spec *spec = state->spec;
    struct buf name = {0}, smp = {0}, memory = {0}, pidfile = {0};
    if (spec->machine->cpus == 0 || spec->machine->memory_bytes < MIB)
        return err_set(err, FAIL_INPUT,
                       "machine '%s' has %" PRIu32 " processors and %" PRIu64
                       " bytes of memory; both are needed to start it",
                       spec->machine->name, spec->machine->cpus,
                       spec->machine->memory_bytes);
    add(state->args, spec->qemu_path);
    put_value(&name, spec->name);
    add_two(state->args, "-name", &name);
    add(state->args, "-nodefaults");
    add(state->args, "-no-user-config");
    add(state->args, "-display");
    add(state->args, "none");
    buf_printf(&smp, "%" PRIu32, spec->machine->cpus);
    add_two(state->args, "-smp", &smp);
    buf_printf(&memory, "size=%" PRIu64 "K", spec->machine->memory_bytes / KIB);
    add_two(state->args, "-m", &memory);
    buf_printf(&pidfile, "%s/vm.pid", spec->run_dir);
    add_two(state->args, "-pidfile", &pidfile);
    return true;
}

static void add_kernel(struct args_state *state)
{
    const struct vm_spec *spec = state->spec;
    if (!spec->kernel[0])
        return;
    add(state->args, "-kernel");
    add(state->args, spec->kernel);
    if (spec->initrd[0]) {
        add(state->args, "-initrd");
        add(state->args, spec->initrd);
    }
    if (spec->machine->kernel_args[0]) {
        add(state->args, "-append");
        add(state->args, spec->machine->kernel_args);
    }
}

bool vm_args_make(const struct vm_spec *spec, struct vm_args *ret, struct err *err)
{
    AUTO(vm_args_release) struct vm_args args = {0};
    struct args_state state = {.spec = spec, .args = &args};
    struct buf vga = {0};
    state.is_crowded = spec->disk_count + spec->machine->nic_count > FEW_PCI_DEVICES;
    if (!add_basics(&state, err) || !add_machine(&state, err))
        return false;
    buf_append_text(&vga, "VGA");
    add_two(&args, "-device", &vga);
    for (size_t i = 0; i < spec->disk_count; i++)
        if (!add_disk(&state, i, err))
            return err_wrap(err, "machine '%s'", spec->machine->name);
    for (size_t i = 0; i < spec->machine->nic_count; i++)
        if (!add_nic(&state, i, err))
            return err_wrap(err, "machine '%s'", spec->machine->name);
    if (!add_sockets(&state, err))
        return false;
    add_kernel(&state);
    *ret = args;
    args = (struct vm_args){0};
    return true;
}
