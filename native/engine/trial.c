/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"
#include "slots.h"

/* Building tables of a million entries takes a second or two on a busy machine. */
#define PATIENCE_MS 60000
/* The exit status tells the status of the failure. */
#define EXIT_BASE 100

extern char **environ;

static int memory_file(const char *name, const void *data, size_t length)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	if (length && (write(fd, data, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int start(const struct trial_options *options, int in, int out, pid_t *child)
{
	char slots[16], memory[16];
	char *arguments[] = { "calico-p4-engine", "--trial", "--slots", slots, "--memory", memory, NULL };
	posix_spawn_file_actions_t files;
	int status;

	snprintf(slots, sizeof(slots), "%u", options->slots);
	snprintf(memory, sizeof(memory), "%u", options->memory_mb);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	status = posix_spawn(child, "/proc/self/exe", &files, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&files);
	return status;
}

/* Waits for the child, and ends it when it takes too long. */
static int wait_for(pid_t child)
{
	int pidfd = (int)syscall(SYS_pidfd_open, child, 0), status = 0;
	struct pollfd wait = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0 || poll(&wait, 1, PATIENCE_MS) <= 0)
		kill(child, SIGKILL);
	if (pidfd >= 0)
		close(pidfd);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int judge(int status, int out, struct failure *f)
{
	char words[400];
	ssize_t length;

	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return fail(f, STATUS_SPEC, "DPDK does not come to an end with this spec, or needs too much memory for it");
	if (WIFSIGNALED(status))
		return fail(f, STATUS_SPEC, "DPDK crashes on this spec (%s)", strsignal(WTERMSIG(status)));
	length = pread(out, words, sizeof(words) - 1, 0);
	words[length > 0 ? length : 0] = 0;
	if (WEXITSTATUS(status) < EXIT_BASE)
		return fail(f, STATUS_SPEC, "DPDK ends the process on this spec (status %d)", WEXITSTATUS(status));
	return fail(f, (enum status)(WEXITSTATUS(status) - EXIT_BASE), "%s", words);
}

int trial_run(const struct trial_options *options, const char *spec, uint32_t length, struct failure *f)
{
	int in = memory_file("spec", spec, length), out = memory_file("words", NULL, 0), status;
	pid_t child;

	if (in < 0 || out < 0) {
		status = fail(f, STATUS_SYSTEM, "no memory to try the spec: %s", strerror(errno));
	} else {
		status = start(options, in, out, &child);
		status = status ? fail(f, STATUS_SYSTEM, "no process to try the spec: %s", strerror(status)) :
				  judge(wait_for(child), out, f);
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return status;
}

int trial_main(uint32_t slots)
{
	static char spec[SPEC_MAX + 1];
	struct failure f = { 0 };
	struct slots *s = slots_create(slots, &f);
	size_t length = fread(spec, 1, sizeof(spec), stdin);

	if (s && length <= SPEC_MAX && program_build(spec, (uint32_t)length, s, &f))
		return 0;
	fputs(f.words, stdout);
	fflush(stdout);
	return EXIT_BASE + (int)f.status;
}
