/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page is a grid of VGA text cells. A kernel entered through its PVH door has no
 * screen information and so no VGA console of its own; the screen is still in the
 * firmware's text mode 3, and the cells go straight to 0xb8000. Where the kernel does
 * have a console (bzImage, EFI), they go through /dev/vcsa1, which takes the same cells.
 */
#include "guest-screen.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

#define COLUMNS          80u
#define ROWS             25u
#define VGA_TEXT_ADDRESS 0xb8000
#define VGA_CURSOR_PORT  0x3d4
#define LABEL_COLUMN     8u
#define VALUE_COLUMN     26u
#define FIRST_ROW        8u

static uint16_t page[ROWS * COLUMNS];
static void *vga = MAP_FAILED;
static int vcsa_fd = -1;

static void cell_set(unsigned row, unsigned column, uint8_t glyph, unsigned color)
{
    if (row < ROWS && column < COLUMNS)
        page[row * COLUMNS + column] = (uint16_t)(glyph | color << 8);
}

static void text_set(unsigned row, unsigned column, unsigned color, const char *text)
{
    for (unsigned i = 0; text[i] != '\0'; i++)
        cell_set(row, column + i, (uint8_t)text[i], color);
}

static bool kernel_has_console(void)
{
    char name[64] = "";
    int fd = open("/sys/class/vtconsole/vtcon0/name", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, name, sizeof(name) - 1);
    (void)close(fd);
    return n > 0 && strstr(name, "dummy") == NULL;
}

static void cursor_hide(void)
{
    if (ioperm(VGA_CURSOR_PORT, 2, 1) != 0)
        return;
    outb(0x0a, VGA_CURSOR_PORT);
    outb(0x20, VGA_CURSOR_PORT + 1);
}

void screen_open(void)
{
    if (kernel_has_console()) {
        vcsa_fd = open("/dev/vcsa1", O_WRONLY | O_CLOEXEC);
        return;
    }
    int fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
    if (fd < 0)
        return;
    vga = mmap(NULL, sizeof(page), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
               VGA_TEXT_ADDRESS);
    (void)close(fd);
    cursor_hide();
}

void screen_clear(const char *title)
{
    static const char *const ship[] = {"    |\\", "    | \\", "    |__\\", " \\--+----/",
                                       "~~\\_____/~~~"};

    for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        page[i] = (uint16_t)(' ' | SCREEN_PLAIN << 8);
    for (unsigned column = 3; column < COLUMNS - 3; column++) {
        cell_set(1, column, 0xcd, SCREEN_DIM);
        cell_set(ROWS - 2, column, 0xcd, SCREEN_DIM);
    }
    for (unsigned row = 2; row < ROWS - 2; row++) {
        cell_set(row, 2, 0xba, SCREEN_DIM);
        cell_set(row, COLUMNS - 3, 0xba, SCREEN_DIM);
    }
    cell_set(1, 2, 0xc9, SCREEN_DIM);
    cell_set(1, COLUMNS - 3, 0xbb, SCREEN_DIM);
    cell_set(ROWS - 2, 2, 0xc8, SCREEN_DIM);
    cell_set(ROWS - 2, COLUMNS - 3, 0xbc, SCREEN_DIM);
    for (unsigned i = 0; i < sizeof(ship) / sizeof(ship[0]); i++)
        text_set(2 + i, 60, SCREEN_PLAIN, ship[i]);
    text_set(4, LABEL_COLUMN, SCREEN_TITLE, title);
    text_set(5, LABEL_COLUMN, SCREEN_DIM, "a machine that replicates without knowing it");
}

void screen_line(unsigned row, const char *label, enum screen_color color,
                 const char *text)
{
    for (unsigned column = LABEL_COLUMN; column < COLUMNS - 3; column++)
        cell_set(FIRST_ROW + row, column, ' ', SCREEN_PLAIN);
    text_set(FIRST_ROW + row, LABEL_COLUMN, SCREEN_DIM, label);
    text_set(FIRST_ROW + row, VALUE_COLUMN, color, text);
}

void screen_show(void)
{
    if (vga != MAP_FAILED)
        memcpy(vga, page, sizeof(page));
    if (vcsa_fd >= 0)
        (void)!pwrite(vcsa_fd, page, sizeof(page),
                      4); /* a missing screen is no failure */
}
