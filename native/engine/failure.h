/* SPDX-License-Identifier: Apache-2.0
 *
 * Why a request is refused: a status of the protocol, and words for the person who reads them.
 */
#ifndef FAILURE_H
#define FAILURE_H

#include <stdarg.h>
#include <stdint.h>

#include "protocol.h"

struct failure {
	enum status status;
	/* Of a transaction: the operation that was refused. */
	uint32_t index;
	char words[512];
};

/* Fills `f` and returns -1, so that callers can write `return fail(f, ...)`. */
__attribute__((format(printf, 3, 4))) int fail(struct failure *f, enum status status, const char *format, ...);

#endif
