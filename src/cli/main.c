/* SPDX-License-Identifier: Apache-2.0 */
/* kedge. All of it is in cli.c, so that tests can link it. */
#include "cli/cli.h"

int main(int count, char **words)
{
    return cli_main(count, words);
}
