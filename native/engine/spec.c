/* SPDX-License-Identifier: Apache-2.0 */
#include "spec.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exact.h"

/* DPDK reads lines into a buffer of 2048 bytes, and joins an instruction's words in one of 256. */
#define LINE_MAX_BYTES 2000
#define INSTRUCTION_MAX_BYTES 250
#define WORD_MAX_BYTES 63
#define WORDS_MAX 64
#define LINES_MAX 60000
/* Offsets of operands are one byte in DPDK, truncated silently. */
#define STRUCT_MAX_BYTES 255
/* The validity of headers is a 64-bit mask; one of them is the engine's. */
#define HEADERS_MAX 63
#define PASSES_MAX 64
#define RESERVED "ENGINE_"

struct line {
	uint32_t number;
	/* The line as it was written. */
	const char *raw;
	size_t raw_length;
	uint32_t words;
	uint32_t first_word;
};

struct layout {
	const char *name;
	uint32_t line;
	uint32_t bytes;
	/* With a trailing varbit at its largest. */
	uint32_t max_bytes;
};

struct header {
	const char *name;
	const struct layout *layout;
};

struct instruction {
	uint32_t line;
	const char *label;
	const char *const *words;
	uint32_t count;
};

/* The first and last-but-one line of an action or of apply. */
struct block {
	uint32_t begin, end;
	bool is_apply;
};

struct spec {
	const char *text;
	size_t length;
	uint32_t slots;
	bool own_tables;
	char *words_text;
	const char **words;
	uint32_t word_count;
	struct line *lines;
	uint32_t line_count;
	struct layout *layouts;
	uint32_t layout_count;
	struct header *headers;
	uint32_t header_count;
	const struct layout *metadata;
	struct block *blocks;
	uint32_t block_count;
	bool recirculates;
	/* The four bytes go in front of the packet again where it is told to recirculate, so that other packets pay nothing for it. */
	bool slot_again;
	/* Somewhere a register is written with two constants. */
	bool writes_constants;
	uint32_t generated_labels;
	struct spec_text *out;
	size_t out_room;
	uint32_t origin_room;
	bool no_memory;
	struct failure *failure;
};

static const char *word(const struct spec *s, const struct line *l, uint32_t index)
{
	return index < l->words ? s->words[l->first_word + index] : "";
}

static bool is(const char *a, const char *b)
{
	return !strcmp(a, b);
}

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

#define FAIL_AT(s, number, ...) fail_at((s)->failure, (number), __VA_ARGS__)

__attribute__((format(printf, 3, 4))) static int fail_at(struct failure *f, uint32_t line, const char *format, ...)
{
	char words[400];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	return fail(f, STATUS_SPEC, "spec line %u: %s", line, words);
}

static int no_memory(struct spec *s)
{
	return fail(s->failure, STATUS_SYSTEM, "no memory to read the spec");
}

/* ---- words ---- */

static int split(struct spec *s)
{
	size_t newlines = 1;
	char *at;
	uint32_t number = 0;

	if (memchr(s->text, 0, s->length))
		return fail(s->failure, STATUS_SPEC, "the spec has a byte of zeros; it is no text");
	for (size_t i = 0; i < s->length; i++)
		newlines += s->text[i] == '\n';
	if (newlines > LINES_MAX)
		return fail(s->failure, STATUS_SPEC, "the spec has %zu lines, at most %d are taken", newlines, LINES_MAX);
	s->lines = calloc(newlines, sizeof(*s->lines));
	s->words = calloc(s->length / 2 + 1, sizeof(*s->words));
	s->words_text = malloc(s->length + 1);
	if (!s->lines || !s->words || !s->words_text)
		return no_memory(s);
	memcpy(s->words_text, s->text, s->length);
	s->words_text[s->length] = 0;
	for (at = s->words_text; at;) {
		struct line *l = &s->lines[s->line_count++];
		char *end = strchr(at, '\n'), *rest = at, *w;

		*l = (struct line){ .number = ++number, .raw = s->text + (at - s->words_text), .first_word = s->word_count };
		if (end)
			*end = 0;
		l->raw_length = strlen(at);
		if (l->raw_length > LINE_MAX_BYTES)
			return FAIL_AT(s, number, "longer than %d characters", LINE_MAX_BYTES);
		while ((w = strtok_r(rest, " \f\r\t\v", &rest))) {
			if (w[0] == '#' || w[0] == ';' || (w[0] == '/' && w[1] == '/'))
				break;
			if (strlen(w) > WORD_MAX_BYTES)
				return FAIL_AT(s, number, "'%.20s...' is longer than %d characters", w, WORD_MAX_BYTES);
			if (l->words == WORDS_MAX)
				return FAIL_AT(s, number, "more than %d words", WORDS_MAX);
			if (starts(w, RESERVED) || strstr(w, "." RESERVED))
				return FAIL_AT(s, number, "names that begin with " RESERVED " are the engine's own: %s", w);
			s->words[s->word_count++] = w;
			l->words++;
		}
		at = end ? end + 1 : NULL;
	}
	return 0;
}

/* ---- declarations ---- */

static const struct layout *find_layout(const struct spec *s, const char *name)
{
	for (uint32_t i = 0; i < s->layout_count; i++)
		if (is(s->layouts[i].name, name))
			return &s->layouts[i];
	return NULL;
}

static const struct header *find_header(const struct spec *s, const char *reference)
{
	if (!starts(reference, "h."))
		return NULL;
	for (uint32_t i = 0; i < s->header_count; i++)
		if (is(s->headers[i].name, reference + 2))
			return &s->headers[i];
	return NULL;
}

/* `bit<N>` or `varbit<N>` */
static int field_bytes(struct spec *s, const struct line *l, bool *variable, uint32_t *bytes)
{
	const char *type = word(s, l, 0);
	char *end;
	unsigned long bits;

	*variable = starts(type, "varbit<");
	if (l->words != 2 || !(*variable || starts(type, "bit<")))
		return FAIL_AT(s, l->number, "a field is 'bit<N> NAME'");
	bits = strtoul(strchr(type, '<') + 1, &end, 0);
	if (!is(end, ">") || !bits || bits % 8 || bits > 8 * 65536)
		return FAIL_AT(s, l->number, "a field has a multiple of 8 bits, not %s", type);
	*bytes = (uint32_t)bits / 8;
	return 0;
}

static int read_struct(struct spec *s, uint32_t *at)
{
	const struct line *l = &s->lines[*at];
	struct layout *layout = &s->layouts[s->layout_count];

	*layout = (struct layout){ .name = word(s, l, 1), .line = l->number };
	if (l->words != 3)
		return FAIL_AT(s, l->number, "a struct begins with 'struct NAME {'");
	for (++*at; *at < s->line_count; ++*at) {
		bool variable;
		uint32_t bytes = 0;

		l = &s->lines[*at];
		if (!l->words)
			continue;
		if (is(word(s, l, 0), "}")) {
			s->layout_count++;
			return 0;
		}
		if (field_bytes(s, l, &variable, &bytes))
			return -1;
		layout->max_bytes += bytes;
		if (!variable)
			layout->bytes += bytes;
		if (layout->max_bytes > 1 << 20)
			return FAIL_AT(s, l->number, "struct %s is too large", layout->name);
	}
	return FAIL_AT(s, layout->line, "struct %s is not closed", layout->name);
}

/* Skips what stands in braces; `*at` is the line of the opening one. */
static int skip_block(struct spec *s, uint32_t *at)
{
	uint32_t opened = s->lines[*at].number;
	int depth = 0;

	for (; *at < s->line_count; ++*at) {
		const struct line *l = &s->lines[*at];

		if (!l->words)
			continue;
		if (is(word(s, l, l->words - 1), "{"))
			depth++;
		else if (is(word(s, l, 0), "}") && --depth == 0)
			return 0;
	}
	return FAIL_AT(s, opened, "the block is not closed");
}

static int read_block(struct spec *s, uint32_t *at, bool is_apply)
{
	struct block *block = &s->blocks[s->block_count++];

	*block = (struct block){ .begin = *at + 1, .is_apply = is_apply };
	if (skip_block(s, at))
		return -1;
	block->end = *at;
	return 0;
}

/* Structs first: the others may refer to one that comes later. */
static int read_structs(struct spec *s)
{
	for (uint32_t at = 0; at < s->line_count; at++) {
		const struct line *l = &s->lines[at];

		if (!l->words)
			continue;
		if (is(word(s, l, 0), "struct")) {
			if (read_struct(s, &at))
				return -1;
		} else if (is(word(s, l, l->words - 1), "{") && skip_block(s, &at)) {
			return -1;
		}
	}
	return 0;
}

static int check_struct(struct spec *s, const struct layout *layout, const char *use)
{
	if (layout->bytes > STRUCT_MAX_BYTES)
		return FAIL_AT(s, layout->line, "struct %s (%s) has %u bytes, at most %d can be addressed", layout->name, use,
			       layout->bytes, STRUCT_MAX_BYTES);
	return 0;
}

static int read_header(struct spec *s, const struct line *l)
{
	struct header *header = &s->headers[s->header_count++];

	*header = (struct header){ word(s, l, 1), find_layout(s, word(s, l, 3)) };
	if (l->words != 4 || !header->layout)
		return FAIL_AT(s, l->number, "header %s: there is no struct %s", word(s, l, 1), word(s, l, 3));
	if (s->header_count > HEADERS_MAX)
		return FAIL_AT(s, l->number, "more than %d headers", HEADERS_MAX);
	return check_struct(s, header->layout, "header");
}

static int read_declarations(struct spec *s)
{
	uint32_t applies = 0;

	for (uint32_t at = 0; at < s->line_count; at++) {
		const struct line *l = &s->lines[at];
		const char *first = word(s, l, 0);
		int status = 0;

		if (!l->words)
			continue;
		if (is(first, "header")) {
			status = read_header(s, l);
		} else if (is(first, "metadata")) {
			s->metadata = find_layout(s, word(s, l, 2));
			if (!s->metadata)
				return FAIL_AT(s, l->number, "metadata: there is no struct %s", word(s, l, 2));
			status = check_struct(s, s->metadata, "metadata");
		} else if (is(first, "action")) {
			const struct layout *arguments = find_layout(s, word(s, l, 4));

			if (arguments && check_struct(s, arguments, "arguments of an action"))
				return -1;
			status = read_block(s, &at, false);
		} else if (is(first, "apply")) {
			applies++;
			status = read_block(s, &at, true);
		} else if (is(word(s, l, l->words - 1), "{")) {
			status = skip_block(s, &at);
		}
		if (status)
			return -1;
	}
	if (!s->metadata)
		return fail(s->failure, STATUS_SPEC, "the spec declares no metadata");
	if (applies != 1)
		return fail(s->failure, STATUS_SPEC, "the spec has %u apply blocks, one is wanted", applies);
	return 0;
}

/* ---- instructions ---- */

static const char *operand(const struct instruction *i, uint32_t index)
{
	return index < i->count ? i->words[index] : "";
}

static bool is_number(const char *text)
{
	char *end;

	strtoull(text, &end, 0);
	return end != text && !*end;
}

/* DPDK 22.11 does these on the first register array, whichever is named. */
static bool is_constant_write(const struct instruction *i)
{
	return (is(operand(i, 0), "regadd") || is(operand(i, 0), "regwr")) && i->count == 4 && is_number(operand(i, 2)) &&
	       is_number(operand(i, 3));
}

static int read_instructions(struct spec *s, const struct block *block, struct instruction **list, uint32_t *count)
{
	uint32_t room = block->end - block->begin;

	*count = 0;
	*list = calloc(room + 1, sizeof(**list));
	if (!*list)
		return no_memory(s);
	for (uint32_t at = block->begin; at < block->end; at++) {
		const struct line *l = &s->lines[at];
		struct instruction *i = &(*list)[*count];
		bool labelled = l->words > 2 && is(word(s, l, 1), ":");
		size_t length = 0;

		if (!l->words)
			continue;
		for (uint32_t w = 0; w < l->words; w++)
			length += strlen(word(s, l, w)) + 1;
		if (length > INSTRUCTION_MAX_BYTES)
			return FAIL_AT(s, l->number, "an instruction has at most %d characters", INSTRUCTION_MAX_BYTES);
		*i = (struct instruction){
			.line = at,
			.label = labelled ? word(s, l, 0) : NULL,
			.words = &s->words[l->first_word + (labelled ? 2 : 0)],
			.count = l->words - (labelled ? 2 : 0),
		};
		s->recirculates |= is(operand(i, 0), "recirculate");
		s->writes_constants |= is_constant_write(i);
		++*count;
	}
	return 0;
}

static int by_label(const void *a, const void *b)
{
	const struct instruction *const *x = a, *const *y = b;

	return strcmp((*x)->label, (*y)->label);
}

/* What a path through a block does to the packet, at most. */
struct cost {
	uint32_t extracted;
	uint32_t emitted;
	uint32_t emits;
};

static int cost_of(struct spec *s, const struct instruction *i, struct cost *cost)
{
	const char *name = operand(i, 0);
	const struct header *header;
	bool extracts = is(name, "extract") || is(name, "lookahead"), emits = is(name, "emit");

	*cost = (struct cost){ 0 };
	if (!extracts && !emits)
		return 0;
	header = find_header(s, operand(i, 1));
	if (!header)
		return FAIL_AT(s, s->lines[i->line].number, "there is no header %s", operand(i, 1));
	if (extracts)
		cost->extracted = header->layout->max_bytes;
	else
		*cost = (struct cost){ .emitted = header->layout->max_bytes, .emits = 1 };
	return 0;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

struct graph {
	uint32_t (*next)[2];
	uint32_t *pending;
	uint32_t *queue;
	struct cost *cost;
	const struct instruction **labels;
};

static bool ends(const char *name)
{
	return is(name, "jmp") || is(name, "return") || is(name, "drop") || is(name, "tx");
}

/* Fills the two successors of each instruction; `count` stands for none. */
static int connect(struct spec *s, const struct instruction *list, uint32_t count, struct graph *g)
{
	uint32_t labels = 0;

	for (uint32_t i = 0; i < count; i++)
		if (list[i].label)
			g->labels[labels++] = &list[i];
	qsort(g->labels, labels, sizeof(*g->labels), by_label);
	for (uint32_t i = 0; i < count; i++) {
		const char *name = operand(&list[i], 0);

		g->next[i][0] = ends(name) ? count : i + 1;
		g->next[i][1] = count;
		if (starts(name, "jmp")) {
			struct instruction wanted = { .label = operand(&list[i], 1) };
			const struct instruction *key = &wanted, **found;

			found = bsearch(&key, g->labels, labels, sizeof(*g->labels), by_label);
			if (!found)
				return FAIL_AT(s, s->lines[list[i].line].number, "there is no label %s", wanted.label);
			g->next[i][1] = (uint32_t)(*found - list);
		}
		for (int n = 0; n < 2; n++)
			if (g->next[i][n] < count)
				g->pending[g->next[i][n]]++;
	}
	return 0;
}

/* Walks the instructions in the order in which they can run, and adds up along the dearest path. */
static int walk(struct spec *s, const struct instruction *list, uint32_t count, struct graph *g, struct cost *most)
{
	uint32_t ready = 0, done = 0;

	for (uint32_t i = 0; i < count; i++)
		if (!g->pending[i])
			g->queue[ready++] = i;
	while (done < ready) {
		uint32_t i = g->queue[done++];
		struct cost c;

		if (cost_of(s, &list[i], &c))
			return -1;
		c.extracted += g->cost[i].extracted;
		c.emitted += g->cost[i].emitted;
		c.emits += g->cost[i].emits;
		most->extracted = larger(most->extracted, c.extracted);
		most->emitted = larger(most->emitted, c.emitted);
		most->emits = larger(most->emits, c.emits);
		for (int n = 0; n < 2; n++) {
			uint32_t to = g->next[i][n];

			if (to >= count)
				continue;
			g->cost[to].extracted = larger(g->cost[to].extracted, c.extracted);
			g->cost[to].emitted = larger(g->cost[to].emitted, c.emitted);
			g->cost[to].emits = larger(g->cost[to].emits, c.emits);
			if (!--g->pending[to])
				g->queue[ready++] = to;
		}
	}
	if (done == count)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		if (g->pending[i])
			return FAIL_AT(s, s->lines[list[i].line].number,
				       "the instructions from here on can run in a loop; a packet must come to its end");
	return 0;
}

static int check_flow(struct spec *s, const struct block *block, const struct instruction *list, uint32_t count,
		      struct cost *most)
{
	struct graph g = {
		.next = calloc(count + 1, sizeof(*g.next)),
		.pending = calloc(count + 1, sizeof(*g.pending)),
		.queue = calloc(count + 1, sizeof(*g.queue)),
		.cost = calloc(count + 1, sizeof(*g.cost)),
		.labels = calloc(count + 1, sizeof(*g.labels)),
	};
	uint32_t number = s->lines[block->begin ? block->begin - 1 : 0].number;
	int status;

	*most = (struct cost){ 0 };
	if (!g.next || !g.pending || !g.queue || !g.cost || !g.labels)
		status = no_memory(s);
	else
		status = connect(s, list, count, &g) || walk(s, list, count, &g, most) ? -1 : 0;
	free(g.next);
	free(g.pending);
	free(g.queue);
	free(g.cost);
	free(g.labels);
	if (status)
		return status;
	if (most->extracted > PACKET_TAILROOM)
		return FAIL_AT(s, number, "a packet's way extracts %u bytes, at most %d are allowed", most->extracted,
			       PACKET_TAILROOM);
	if (most->emitted > PACKET_HEADROOM)
		return FAIL_AT(s, number, "a packet's way emits %u bytes, at most %d are allowed", most->emitted,
			       PACKET_HEADROOM);
	if (most->emits > s->header_count)
		return FAIL_AT(s, number, "a packet's way emits more headers than there are");
	return 0;
}

/* ---- writing ---- */

__attribute__((format(printf, 3, 4))) static void put(struct spec *s, uint32_t origin, const char *format, ...)
{
	struct spec_text *out = s->out;
	va_list arguments;
	char line[LINE_MAX_BYTES + 200];
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (s->no_memory || length < 0 || (size_t)length >= sizeof(line)) {
		s->no_memory = true;
		return;
	}
	if (out->length + (size_t)length + 2 > s->out_room) {
		size_t room = 2 * s->out_room + 4096;
		char *text = realloc(out->text, room);

		if (!text) {
			s->no_memory = true;
			return;
		}
		out->text = text;
		s->out_room = room;
	}
	if (out->lines + 2 > s->origin_room) {
		uint32_t room = 2 * s->origin_room + 1024;
		uint32_t *numbers = realloc(out->origin, room * sizeof(*numbers));

		if (!numbers) {
			s->no_memory = true;
			return;
		}
		out->origin = numbers;
		s->origin_room = room;
	}
	memcpy(out->text + out->length, line, (size_t)length);
	out->length += (size_t)length;
	out->text[out->length++] = '\n';
	out->text[out->length] = 0;
	out->origin[++out->lines] = origin;
}

static void put_line(struct spec *s, uint32_t at)
{
	const struct line *l = &s->lines[at];

	put(s, l->number, "%.*s", (int)l->raw_length, l->raw);
}

/* An instruction with a label of ours in the place of its own. */
static void put_labelled(struct spec *s, const struct instruction *i, const char *label)
{
	char text[INSTRUCTION_MAX_BYTES + 64];
	size_t length = 0;

	text[0] = 0;
	for (uint32_t w = 0; w < i->count; w++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, " %s", i->words[w]);
	put(s, s->lines[i->line].number, "\t%s%s%s", label ? label : "", label ? " :" : "", text);
}

static void put_reception(struct spec *s, const struct instruction *rx)
{
	uint32_t number = s->lines[rx->line].number;
	const char *port = operand(rx, 1);

	put_line(s, rx->line);
	if (s->recirculates && !s->slot_again) {
		/* The four bytes stand before the packet on its first pass only. */
		put(s, number, "\trecircid m." RESERVED "pass");
		put(s, number, "\tjmpeq " RESERVED "FIRST m." RESERVED "pass 0x0");
		put(s, number, "\tjmplt " RESERVED "AGAIN m." RESERVED "pass 0x%x", PASSES_MAX + 1);
		put(s, number, "\tdrop");
		put(s, number, "\t" RESERVED "FIRST : extract h." RESERVED "SLOT");
	} else {
		put(s, number, "\textract h." RESERVED "SLOT");
	}
	put(s, number, "\tmov %s h." RESERVED "SLOT.port", port);
	if (s->recirculates && !s->slot_again)
		put(s, number, "\t" RESERVED "AGAIN : mov m." RESERVED "pass 0x0");
}

/* The emits right before a tx stay with it: DPDK runs them as one instruction. */
static uint32_t first_of_transmission(const struct spec *s, const struct instruction *list, uint32_t tx)
{
	uint32_t first = tx;

	while ((!s->recirculates || s->slot_again) && first > 0 && !list[first].label && is(operand(&list[first - 1], 0), "emit"))
		first--;
	return first;
}

static int put_port_check(struct spec *s, const struct instruction *first, const struct instruction *tx, char *label,
			  size_t size)
{
	uint32_t number = s->lines[tx->line].number;
	const char *port = operand(tx, 1);
	char *end;
	unsigned long constant = strtoul(port, &end, 0);

	label[0] = 0;
	if (!*end) {
		if (constant >= s->slots)
			return FAIL_AT(s, number, "port %s: the engine has ports 0 to %u", port, s->slots - 1);
		return 0;
	}
	snprintf(label, size, RESERVED "TX_%u", s->generated_labels++);
	put(s, number, "\t%s%sjmplt %s %s 0x%x", first->label ? first->label : "", first->label ? " : " : "", label, port,
	    s->slots);
	/* Whether or not it has a port: one that recirculates is put together here, too. */
	for (const struct instruction *i = first; s->slot_again && i < tx; i++)
		put_labelled(s, i, NULL);
	put(s, number, "\ttx 0x%x", s->slots);
	return 0;
}

static void put_recirculation(struct spec *s, const struct instruction *i)
{
	uint32_t number = s->lines[i->line].number;
	char label[32];

	snprintf(label, sizeof(label), RESERVED "PASS_%u", s->generated_labels++);
	put(s, number, "\t%s%srecircid m." RESERVED "pass", i->label ? i->label : "", i->label ? " : " : "");
	put(s, number, "\tjmplt %s m." RESERVED "pass 0x%x", label, PASSES_MAX);
	put(s, number, "\tdrop");
	put_labelled(s, i, label);
	put(s, number, "\temit h." RESERVED "SLOT");
}

static int put_variable_extract(struct spec *s, const struct instruction *i)
{
	const struct layout *layout = find_header(s, operand(i, 1))->layout;
	uint32_t number = s->lines[i->line].number, most = layout->max_bytes - layout->bytes;
	char label[32];

	snprintf(label, sizeof(label), RESERVED "LENGTH_%u", s->generated_labels++);
	put(s, number, "\t%s%sjmplt %s %s 0x%x", i->label ? i->label : "", i->label ? " : " : "", label, operand(i, 2),
	    most + 1);
	put(s, number, "\tmov %s 0x%x", operand(i, 2), most);
	put_labelled(s, i, label);
	return 0;
}

static void put_constant_write(struct spec *s, const struct instruction *i)
{
	uint32_t number = s->lines[i->line].number;

	put(s, number, "\t%s%smov m." RESERVED "value %s", i->label ? i->label : "", i->label ? " : " : "",
	    operand(i, 3));
	put(s, number, "\t%s %s %s m." RESERVED "value", operand(i, 0), operand(i, 1), operand(i, 2));
}

static int put_apply(struct spec *s, const struct instruction *list, uint32_t count)
{
	char label[32] = "";

	if (!count || !is(operand(&list[0], 0), "rx") || !starts(operand(&list[0], 1), "m."))
		return fail(s->failure, STATUS_SPEC, "apply must begin with 'rx m.FIELD'");
	put_reception(s, &list[0]);
	for (uint32_t i = 1; i < count; i++) {
		const char *name = operand(&list[i], 0);
		uint32_t tx = i;

		if (is(name, "rx"))
			return FAIL_AT(s, s->lines[list[i].line].number, "a second rx");
		while (tx + 1 < count && is(operand(&list[tx], 0), "emit") && !list[tx + 1].label)
			tx++;
		if (is(operand(&list[tx], 0), "tx") && first_of_transmission(s, list, tx) == i) {
			if (put_port_check(s, &list[i], &list[tx], label, sizeof(label)))
				return -1;
			if (label[0]) {
				put_labelled(s, &list[i], label);
				continue;
			}
		}
		if (is(name, "extract") && list[i].count == 3) {
			if (put_variable_extract(s, &list[i]))
				return -1;
			continue;
		}
		if (is_constant_write(&list[i])) {
			put_constant_write(s, &list[i]);
			continue;
		}
		if (s->slot_again && is(name, "recirculate")) {
			put_recirculation(s, &list[i]);
			continue;
		}
		put_line(s, list[i].line);
	}
	return 0;
}

static int put_block(struct spec *s, const struct block *block, const struct instruction *list, uint32_t count)
{
	if (block->is_apply)
		return put_apply(s, list, count);
	for (uint32_t i = 0; i < count; i++) {
		const char *name = operand(&list[i], 0);

		if (is(name, "rx") || is(name, "tx") || is(name, "extract") || is(name, "emit"))
			return FAIL_AT(s, s->lines[list[i].line].number, "%s in an action", name);
		if (is_constant_write(&list[i]))
			put_constant_write(s, &list[i]);
		else
			put_line(s, list[i].line);
	}
	return 0;
}

/* The line begins a table, all keys of which are exact, and that asks for no type itself. */
static bool is_exact_table(const struct spec *s, uint32_t at)
{
	bool keys = false, exact = false;

	if (!is(word(s, &s->lines[at], 0), "table") || !is(word(s, &s->lines[at], 2), "{"))
		return false;
	for (uint32_t depth = 1; depth && ++at < s->line_count;) {
		const struct line *l = &s->lines[at];

		if (!l->words)
			continue;
		if (is(word(s, l, 0), "}")) {
			depth--;
			keys = false;
		} else if (is(word(s, l, l->words - 1), "{")) {
			depth++;
			keys = is(word(s, l, 0), "key");
		} else if (is(word(s, l, 0), "instanceof") || (keys && !is(word(s, l, 1), "exact"))) {
			return false;
		} else {
			exact |= keys;
		}
	}
	return exact;
}

static int put_all(struct spec *s, struct instruction **lists, const uint32_t *counts)
{
	uint32_t block = 0;
	bool in_metadata = false;

	for (uint32_t at = 0; at < s->line_count; at++) {
		const struct line *l = &s->lines[at];

		in_metadata |= l->number == s->metadata->line;
		/* At its end: the program's own fields stay where they are, as machine code expects them. */
		if (in_metadata && is(word(s, l, 0), "}")) {
			in_metadata = false;
			if (s->recirculates)
				put(s, l->number, "\tbit<32> " RESERVED "pass");
			if (s->writes_constants)
				put(s, l->number, "\tbit<64> " RESERVED "value");
		}
		put_line(s, at);
		if (s->own_tables && is_exact_table(s, at))
			put(s, l->number, "\tinstanceof " EXACT_TYPE);
		if (block < s->block_count && at + 1 == s->blocks[block].begin) {
			if (put_block(s, &s->blocks[block], lists[block], counts[block]))
				return -1;
			at = s->blocks[block].end - 1;
			block++;
		}
	}
	put(s, s->line_count, "struct " RESERVED "slot_t {");
	put(s, s->line_count, "\tbit<32> port");
	put(s, s->line_count, "}");
	put(s, s->line_count, "header " RESERVED "SLOT instanceof " RESERVED "slot_t");
	return s->no_memory ? no_memory(s) : 0;
}

static bool jumps_back(const struct instruction *list, uint32_t at)
{
	for (uint32_t i = 0; i <= at; i++)
		if (list[i].label && is(list[i].label, operand(&list[at], 1)))
			return true;
	return false;
}

/*
 * One recirculate, which no packet passes twice or behind an emit: what stands there is done once and first. Else the program asks
 * for the number of the pass at every reception.
 */
static bool can_put_slot_again(const struct spec *s, struct instruction **lists, const uint32_t *counts)
{
	uint32_t found = 0;

	for (uint32_t b = 0; b < s->block_count; b++) {
		bool emitted = false;

		for (uint32_t i = 0; i < counts[b]; i++) {
			const char *name = operand(&lists[b][i], 0);

			emitted |= is(name, "emit");
			if (is(name, "recirculate") && (!s->blocks[b].is_apply || emitted || found++))
				return false;
			if (s->blocks[b].is_apply && starts(name, "jmp") && jumps_back(lists[b], i))
				return false;
		}
	}
	return found == 1;
}

static int check_and_put(struct spec *s, struct instruction **lists, uint32_t *counts)
{
	for (uint32_t b = 0; b < s->block_count; b++) {
		struct cost most;

		if (read_instructions(s, &s->blocks[b], &lists[b], &counts[b]) ||
		    check_flow(s, &s->blocks[b], lists[b], counts[b], &most))
			return -1;
		s->out->reach = larger(s->out->reach, most.extracted);
	}
	s->slot_again = can_put_slot_again(s, lists, counts);
	if (s->metadata->bytes + (s->recirculates ? 4 : 0) + (s->writes_constants ? 8 : 0) > STRUCT_MAX_BYTES)
		return FAIL_AT(s, s->metadata->line,
			       "no room in the metadata for what the engine adds (4 bytes to recirculate, 8 to write constants to registers)");
	return put_all(s, lists, counts);
}

static int prepare(struct spec *s)
{
	struct instruction **lists;
	uint32_t *counts;
	int status;

	if (split(s))
		return -1;
	s->layouts = calloc(s->line_count + 1, sizeof(*s->layouts));
	s->headers = calloc(s->line_count + 1, sizeof(*s->headers));
	s->blocks = calloc(s->line_count + 1, sizeof(*s->blocks));
	if (!s->layouts || !s->headers || !s->blocks)
		return no_memory(s);
	if (read_structs(s) || read_declarations(s))
		return -1;
	lists = calloc(s->block_count + 1, sizeof(*lists));
	counts = calloc(s->block_count + 1, sizeof(*counts));
	status = lists && counts ? check_and_put(s, lists, counts) : no_memory(s);
	for (uint32_t b = 0; lists && b < s->block_count; b++)
		free(lists[b]);
	free(lists);
	free(counts);
	return status;
}

int spec_prepare(const char *text, size_t length, uint32_t slots, bool own_tables, struct spec_text *out, struct failure *f)
{
	struct spec s = {
		.text = text, .length = length, .slots = slots, .own_tables = own_tables, .out = out, .failure = f
	};
	int status;

	*out = (struct spec_text){ 0 };
	status = prepare(&s);
	free(s.words_text);
	free(s.words);
	free(s.lines);
	free(s.layouts);
	free(s.headers);
	free(s.blocks);
	if (status)
		spec_text_free(out);
	return status;
}

void spec_text_free(struct spec_text *t)
{
	free(t->text);
	free(t->origin);
	*t = (struct spec_text){ 0 };
}
