/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine does for each operation of the protocol.
 */
#ifndef REQUESTS_H
#define REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "dataplane.h"
#include "failure.h"
#include "trial.h"

struct engine {
	uint64_t boot_id;
	struct trial_options trial;
	struct dataplane *dataplane;
	struct slots *slots;
	/* What packets go through; the data thread has it too. */
	struct program *running;
	/* Loaded, and waits for its activation. */
	struct program *staged;
	bool quit;
};

/* Reads the body of a request and writes that of its answer. -1, with `f`, when it is refused. */
int request_serve(struct engine *e, uint8_t operation, struct reader *r, struct writer *w, struct failure *f);

#endif
