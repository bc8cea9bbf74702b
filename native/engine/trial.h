/* SPDX-License-Identifier: Apache-2.0
 *
 * A .spec is first built in a process of its own: DPDK's parser trusts its input, and one that crashes it must not take
 * the packets of running pods with it.
 */
#ifndef TRIAL_H
#define TRIAL_H

#include <stdint.h>

#include "failure.h"

struct trial_options {
	uint32_t slots;
	uint32_t memory_mb;
};

int trial_run(const struct trial_options *options, const char *spec, uint32_t length, struct failure *f);

/* The other process: reads the spec from standard input, writes why it fails to standard output. The exit status. */
int trial_main(uint32_t slots);

#endif
