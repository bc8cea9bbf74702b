/* SPDX-License-Identifier: Apache-2.0
 *
 * The operations about ports and packets.
 */
#ifndef REQUESTS_PORTS_H
#define REQUESTS_PORTS_H

#include "requests.h"

int request_engine_stats(struct engine *e, struct reader *r, struct writer *w, struct failure *f);
int request_attach(struct engine *e, struct reader *r, struct failure *f);
int request_detach(struct engine *e, struct reader *r, struct failure *f);
int request_ports(struct engine *e, struct reader *r, struct writer *w, struct failure *f);
int request_inject(struct engine *e, struct reader *r, struct writer *w, struct failure *f);
int request_idle(struct engine *e, struct reader *r, struct writer *w, struct failure *f);
int request_bench(struct engine *e, struct reader *r, struct writer *w, struct failure *f);

#endif
