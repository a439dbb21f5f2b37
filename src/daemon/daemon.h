/* SPDX-License-Identifier: Apache-2.0 */
/* The life of kedged: start, signals, stop; and its command line. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

/* All of main: returns the exit code. */
int daemon_main(int argc, char **argv);

#endif
