/* Takes one step for each line on its standard input, and says how many bytes
 * it holds, by what malloc says they have. All of them are written to, but by
 * `sparse`; `tell` says what thmalloc counts instead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "thmalloc.h"

enum { MOST = 60000 };

static void *held[MOST];
static pthread_barrier_t gate;

static size_t total(void)
{
	size_t sum = 0;
	for (int i = 0; i < MOST; i++)
		if (held[i])
			sum += malloc_usable_size(held[i]);
	return sum;
}

static void *filled(size_t bytes)
{
	char *object = malloc(bytes);
	memset(object, 1, malloc_usable_size(object));
	return object;
}

static void fill(void)
{
	for (int i = 0; i < MOST; i++)
		held[i] = filled(i % 500 == 0 ? 300000 + 4096 * (size_t)(i % 7)
					      : 1 + (size_t)(i * 37) % 3000);
}

static void drop(int first, int step)
{
	for (int i = first; i < MOST; i += step) {
		free(held[i]);
		held[i] = 0;
	}
}

/* Another thread's CPU cache gets what it frees, and may keep it. */
static void *other(void *unused)
{
	(void)unused;
	drop(1, 5);
	pthread_barrier_wait(&gate);
	pause();
	return 0;
}

int main(void)
{
	char line[100];
	static char in[4096], out[4096];
	setvbuf(stdin, in, _IOFBF, sizeof in);
	setvbuf(stdout, out, _IOFBF, sizeof out);
	pthread_barrier_init(&gate, 0, 2);
	/* The stack, and what libc sets up for a thread, is there from now on. */
	while (fgets(line, sizeof line, stdin)) {
		if (!strcmp(line, "fill\n"))
			fill();
		else if (!strcmp(line, "exactly\n"))
			for (int i = 0; i < 1000; i++)
				held[i] = filled(112);
		else if (!strcmp(line, "thin\n"))
			drop(0, 3);
		else if (!strcmp(line, "thread\n")) {
			pthread_t thread;
			pthread_create(&thread, 0, other, 0);
			pthread_barrier_wait(&gate);
		} else if (!strcmp(line, "sparse\n"))
			held[0] = calloc(64, 1 << 20);
		else if (!strcmp(line, "look\n"))
			for (size_t at = 0; at < 64 << 20; at += 4096)
				*(volatile char *)((char *)held[0] + at);
		else if (!strcmp(line, "shrink\n"))
			for (int i = 0; i < 100; i++)
				held[i] = realloc(filled(640 << 10), 328 << 10);
		else if (!strcmp(line, "huge\n")) {
			char *object = malloc(1 << 30);
			memset(object, 1, 1 << 20);
			free(object);
		} else if (!strcmp(line, "pageout\n"))
			for (int i = 0; i < MOST; i += 500)
				madvise(held[i], malloc_usable_size(held[i]), 21 /* MADV_PAGEOUT */);
		else if (!strcmp(line, "tell\n")) {
			struct thmalloc_stats stats;
			size_t (*tell)(struct thmalloc_stats *, size_t) =
				dlsym(RTLD_DEFAULT, "thmalloc_stats");
			tell(&stats, sizeof stats);
			printf("%zu %zu %zu %zu %zu %zu %zu\n", (size_t)stats.live,
			       (size_t)stats.cached, (size_t)stats.fragmented,
			       (size_t)stats.free, (size_t)stats.metadata,
			       (size_t)stats.released, (size_t)stats.untouched);
			fflush(stdout);
			continue;
		}
		else if (!strcmp(line, "drop\n"))
			drop(0, 1);
		printf("%zu\n", total());
		fflush(stdout);
	}
	return 0;
}
