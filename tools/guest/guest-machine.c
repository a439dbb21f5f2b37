/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts, kernel modules, network card, power button. Modules lie in /lib/kedge, copied
 * there by make-guest.sh; a missing one only costs what it would have served.
 */
#include "guest-machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DATA_LABEL        "kedge-data"
#define EXT4_MAGIC_OFFSET 0x438
#define EXT4_LABEL_OFFSET 0x478
#define EXT4_LABEL_BYTES  16u

#define PATH_BYTES 320u

bool text_file_read(const char *path, char *ret_text, size_t text_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, ret_text, text_bytes - 1);
    (void)close(fd);
    if (n < 0)
        return false;
    ret_text[n] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
    return true;
}

static const char *cmdline_find(const char *name)
{
    static char line[2048];
    size_t name_bytes = strlen(name);

    if (line[0] == '\0' && !text_file_read("/proc/cmdline", line, sizeof(line)))
        return NULL;
    for (const char *word = line; word != NULL; word = strchr(word, ' ')) {
        word += strspn(word, " ");
        if (strncmp(word, name, name_bytes) == 0 && word[name_bytes] == '=')
            return word + name_bytes + 1;
    }
    return NULL;
}

uint64_t cmdline_u64(const char *name, uint64_t value_default)
{
    const char *text = cmdline_find(name);
    char *end = NULL;
    if (text == NULL)
        return value_default;
    uint64_t value = strtoull(text, &end, 10);
    return end == text ? value_default : value;
}

static void module_load(const char *name)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "/lib/kedge/%s.ko", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)
        (void)dprintf(1, "kedge-guest: module %s: %s\n", name, strerror(errno));
    (void)close(fd);
}

static void modules_load_for_card(const char *vendor, const char *device)
{
    static const char *const virtio[] = {
        "virtio_ring", "virtio",   "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
        "virtio_pci",  "failover", "net_failover",          "virtio_net"};

    if (strcmp(vendor, "0x15ad") == 0 && strcmp(device, "0x07b0") == 0)
        module_load("vmxnet3");
    if (strcmp(vendor, "0x1af4") != 0)
        return;
    for (size_t i = 0; i < sizeof(virtio) / sizeof(virtio[0]); i++)
        module_load(virtio[i]);
}

static void network_start(void)
{
    DIR *dir = opendir("/sys/bus/pci/devices");
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[PATH_BYTES], class[16], vendor[16], device[16];
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class",
                       entry->d_name);
        if (!text_file_read(path, class, sizeof(class)) ||
            strncmp(class, "0x0200", 6) != 0)
            continue;
        (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor",
                       entry->d_name);
        bool has_vendor = text_file_read(path, vendor, sizeof(vendor));
        (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device",
                       entry->d_name);
        if (has_vendor && text_file_read(path, device, sizeof(device)))
            modules_load_for_card(vendor, device);
    }
    (void)closedir(dir);
}

void machine_start(void)
{
    /* Any of these may be mounted by the kernel already. */
    (void)mount("dev", "/dev", "devtmpfs", 0, NULL);
    (void)mount("proc", "/proc", "proc", 0, NULL);
    (void)mount("sys", "/sys", "sysfs", 0, NULL);
    module_load("evdev");
    module_load("button");
    network_start();
}

static void mac_find(char *ret_mac, size_t mac_bytes)
{
    (void)snprintf(ret_mac, mac_bytes, "none");
    DIR *dir = opendir("/sys/class/net");
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[PATH_BYTES];
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lo") == 0)
            continue;
        (void)snprintf(path, sizeof(path), "/sys/class/net/%s/address", entry->d_name);
        if (text_file_read(path, ret_mac, mac_bytes))
            break;
    }
    (void)closedir(dir);
}

/* Memory as the firmware reports it: what the kernel calls total lacks its own image. */
static unsigned mem_mb_find(void)
{
    char line[256];
    uint64_t sum_bytes = 0;
    FILE *file = fopen("/proc/iomem", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end = NULL;
        if (line[0] == ' ' || strstr(line, ": System RAM") == NULL)
            continue;
        uint64_t first = strtoull(line, &end, 16);
        if (*end == '-')
            sum_bytes += strtoull(end + 1, &end, 16) - first + 1;
    }
    (void)fclose(file);
    return (unsigned)((sum_bytes + (1u << 20) - 1) >> 20);
}

void machine_describe(struct machine *ret_machine)
{
    struct utsname uts = {0};
    const char *name = cmdline_find("kedge.name");

    *ret_machine = (struct machine){.name = "kedge-guest"};
    if (name != NULL)
        (void)snprintf(ret_machine->name, sizeof(ret_machine->name), "%.*s",
                       (int)strcspn(name, " "), name);
    else
        (void)text_file_read("/etc/hostname", ret_machine->name,
                             sizeof(ret_machine->name));
    (void)sethostname(ret_machine->name, strlen(ret_machine->name));
    (void)uname(&uts);
    (void)snprintf(ret_machine->kernel, sizeof(ret_machine->kernel), "%.8s %.64s",
                   uts.sysname, uts.release);
    mac_find(ret_machine->mac, sizeof(ret_machine->mac));
    ret_machine->cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    ret_machine->mem_mb = mem_mb_find();
}

static bool device_has_label(const char *path, const char *label)
{
    char name[EXT4_LABEL_BYTES + 1] = "";
    uint8_t magic[2] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_read =
        pread(fd, magic, sizeof(magic), EXT4_MAGIC_OFFSET) == (ssize_t)sizeof(magic) &&
        pread(fd, name, EXT4_LABEL_BYTES, EXT4_LABEL_OFFSET) == (ssize_t)EXT4_LABEL_BYTES;
    (void)close(fd);
    return is_read && magic[0] == 0x53 && magic[1] == 0xef && strcmp(name, label) == 0;
}

static bool data_device_find(char *ret_path, size_t path_bytes)
{
    bool is_found = false;
    DIR *dir = opendir("/sys/class/block");
    if (dir == NULL)
        return false;
    for (struct dirent *entry; !is_found && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(ret_path, path_bytes, "/dev/%s", entry->d_name);
        is_found = device_has_label(ret_path, DATA_LABEL);
    }
    (void)closedir(dir);
    return is_found;
}

bool machine_mount_disks(bool is_read_only, char *why, size_t why_bytes)
{
    char path[PATH_BYTES];
    unsigned long flags = is_read_only ? MS_RDONLY : 0;

    if (!is_read_only && mount(NULL, "/", NULL, MS_REMOUNT | MS_NOATIME, NULL) != 0) {
        (void)snprintf(why, why_bytes, "remount the root disk: %s", strerror(errno));
        return false;
    }
    /* Controllers are probed in parallel: the second disk may come a little later. */
    for (unsigned tries = 0; !data_device_find(path, sizeof(path)); tries++) {
        if (tries == 100) {
            (void)snprintf(why, why_bytes, "no disk has a file system '%s'", DATA_LABEL);
            return false;
        }
        (void)usleep(50 * 1000);
    }
    if (mount(path, "/data", "ext4", flags | MS_NOATIME, NULL) != 0) {
        (void)snprintf(why, why_bytes, "mount %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

static bool device_has_power_key(int fd)
{
    uint8_t keys[KEY_MAX / 8 + 1] = {0};
    return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
           (keys[KEY_POWER / 8] & 1u << (KEY_POWER % 8)) != 0;
}

int power_button_open(void)
{
    for (unsigned i = 0; i < 16; i++) {
        char path[PATH_BYTES];
        (void)snprintf(path, sizeof(path), "/dev/input/event%u", i);
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && device_has_power_key(fd))
            return fd;
        if (fd >= 0)
            (void)close(fd);
    }
    return -1;
}

bool power_button_is_pressed(int fd)
{
    struct input_event event;
    bool is_pressed = false;
    while (fd >= 0 && read(fd, &event, sizeof(event)) == (ssize_t)sizeof(event))
        is_pressed |= event.type == EV_KEY && event.code == KEY_POWER && event.value == 1;
    return is_pressed;
}

bool machine_unmount_disks(char *why, size_t why_bytes)
{
    sync();
    if (umount("/data") == 0 && mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
        return true;
    (void)snprintf(why, why_bytes, "the disks are still in use: %s", strerror(errno));
    return false;
}

void machine_power_off(void)
{
    for (;;) {
        (void)reboot(RB_POWER_OFF);
        (void)sleep(1);
    }
}
