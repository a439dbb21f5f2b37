/* SPDX-License-Identifier: Apache-2.0 */
/* kedged. All of it is in daemon.c, so that tests can link it against another vault. */
#include "daemon/daemon.h"

int main(int argc, char **argv)
{
    return daemon_main(argc, argv);
}
