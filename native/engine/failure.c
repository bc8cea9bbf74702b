/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include <stdio.h>

int fail(struct failure *f, enum status status, const char *format, ...)
{
	va_list arguments;

	f->status = status;
	va_start(arguments, format);
	vsnprintf(f->words, sizeof(f->words), format, arguments);
	va_end(arguments);
	return -1;
}
