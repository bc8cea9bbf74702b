/* SPDX-License-Identifier: Apache-2.0
 *
 * The unix socket: frames in, frames out, one request after the other. The engine outlives its clients.
 */
#ifndef SERVER_H
#define SERVER_H

#include "requests.h"

/* Makes the socket, for its owner only. */
int server_listen(const char *path, struct failure *f);
/* Serves until OP_QUIT or a signal on `signals` (a signalfd). */
void server_run(struct engine *e, int listener, int signals);

#endif
