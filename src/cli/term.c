/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live screen.
 *
 * V1  whatever ends us (q, Ctrl-C, SIGTERM, SIGHUP, Ctrl-Z, exit) the terminal's modes,
 *     cursor and screen come back;
 * V2  a frame is one write between "begin" and "end synchronised update", with each line
 *     cleared to its end rather than the screen as a whole: no flicker, no tearing.
 */
#include "cli/term.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static bool is_entered, is_full_screen, has_saved, has_keys;
static _Atomic bool seen_end, seen_resize, seen_stop; /* set by handlers: lock-free */

static void on_end(int number)
{
    (void)number;
    seen_end = true;
}

static void on_resize(int number)
{
    (void)number;
    seen_resize = true;
}

static void on_stop(int number)
{
    (void)number;
    seen_stop = true;
}

static void catch (int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(number, &action, NULL); /* constant arguments */
}

bool term_size(int *ret_width, int *ret_height)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return false;
    *ret_width = size.ws_col ? size.ws_col : 80;
    *ret_height = size.ws_row ? size.ws_row : 24;
    return true;
}

static void write_all(const char *data, size_t data_bytes)
{
    while (data_bytes) {
        ssize_t n = write(STDOUT_FILENO, data, data_bytes);
        if (n < 0 && errno != EINTR)
            return; /* the terminal has gone: SIGHUP ends us */
        if (n > 0) {
            data += n;
            data_bytes -= (size_t)n;
        }
    }
}

static void write_text(const char *text)
{
    write_all(text, strlen(text));
}

static void set_modes(void)
{
    has_keys = has_saved = tcgetattr(STDIN_FILENO, &saved) == 0;
    if (has_saved) {
        struct termios live = saved;
        live.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        live.c_cc[VMIN] = 0;
        live.c_cc[VTIME] = 0;
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &live); /* keys only wait for Enter */
    }
    write_text(is_full_screen ? "\033[?1049h\033[?25l\033[H\033[2J" : "\033[?25l");
}

static void restore_modes(void)
{
    write_text(is_full_screen ? "\033[?25h\033[?1049l" : "\033[?25h");
    if (has_saved)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
}

void term_enter(bool is_full)
{
    static bool is_registered;
    if (is_entered)
        return;
    if (!is_registered)
        (void)atexit(term_leave); /* a full table only costs the restoring at exit */
    is_registered = true;
    is_full_screen = is_full;
    catch (SIGINT, on_end);
    catch (SIGTERM, on_end);
    catch (SIGHUP, on_end);
    catch (SIGWINCH, on_resize);
    catch (SIGTSTP, on_stop);
    is_entered = true;
    set_modes();
}

void term_leave(void)
{
    if (!is_entered)
        return;
    is_entered = false;
    restore_modes();
    static const int CAUGHT[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
    for (size_t i = 0; i < ARRAY_COUNT(CAUGHT); i++)
        catch (CAUGHT[i], SIG_DFL);
}

static void stop_here(void)
{
    seen_stop = false;
    restore_modes();
    (void)raise(SIGSTOP);
    set_modes();
    seen_resize = true;
}

enum term_event term_wait(uint64_t ms, char *ret_key)
{
    uint64_t until = clock_mono_ms() + ms;
    for (;;) {
        if (seen_stop)
            stop_here();
        if (seen_end)
            return TERM_END;
        if (seen_resize) {
            seen_resize = false;
            return TERM_RESIZED;
        }
        uint64_t now = clock_mono_ms();
        if (now >= until)
            return TERM_TIME;
        struct pollfd in = {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN};
        if (poll(&in, 1, (int)(until - now)) != 1)
            continue;
        if (read(STDIN_FILENO, ret_key, 1) == 1)
            return TERM_KEY;
        has_keys = false; /* standard input ended: look at it no more */
    }
}

void term_draw(const struct buf *frame, int lines_before)
{
    AUTO(buf_release) struct buf out = {0};
    buf_append_text(&out, "\033[?2026h");
    if (is_full_screen)
        buf_append_text(&out, "\033[H");
    else if (lines_before > 0)
        buf_printf(&out, "\r\033[%dA", lines_before);
    else
        buf_append_text(&out, "\r");
    const char *text = buf_text(frame);
    size_t left = frame->bytes;
    /* The last line of a full screen has no newline, or the screen would scroll. */
    if (is_full_screen && left && text[left - 1] == '\n')
        left--;
    while (left) {
        const char *end = memchr(text, '\n', left);
        size_t length = end ? (size_t)(end - text) : left;
        buf_append(&out, text, length);
        buf_append_text(&out, end ? "\033[K\r\n" : "\033[K");
        length += end ? 1 : 0;
        text += length;
        left -= length;
    }
    buf_append_text(&out, "\033[J\033[?2026l");
    write_all(buf_text(&out), out.bytes);
}
