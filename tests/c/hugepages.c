/* A dense heap becomes hugepages where the system lets malloc ask for them, and
 * keeps none of what is given back. Arguments: MiB, and what is to be seen:
 * "dense" waits until half of the heap is hugepages, "sparse" that none is while
 * only one object in sixteen lives, "untouched" that none is while the program has
 * written to a page of each of its objects of 128 KiB and 2 MiB. Prints the last figures.
 * "marked" gives the last page of most spans back first. "forked" looks at a child that has
 * threads where its parent had none, "parent" at a parent whose child lives: neither
 * copies what they share. "possible" prints first how much of so many MiB of its own the
 * system makes hugepages. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static void *sleeper(void *unused) {
	pause();
	return unused;
}

static long rollup_kib(const char *name) {
	char line[256];
	long kib = -1;
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	if (!file) return -1;
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name))) kib = atol(line + strlen(name));
	fclose(file);
	return kib;
}

static int untouched(long mib) {
	long before = rollup_kib("Anonymous:"), huge = 0;
	for (long taken = 0; taken < 1024 * mib; taken += 4096) {
		*(volatile char *)malloc(2 << 20) = 1;
		for (int i = 0; i < 16; i++) *(volatile char *)malloc(128 << 10) = 1;
	}
	for (int tenths = 0; tenths < 300; tenths++) {
		huge = rollup_kib("AnonHugePages:");
		if (huge) break;
		usleep(100000);
	}
	printf("huge %ld before %ld after %ld left 0\n", huge, before, rollup_kib("Anonymous:"));
	return 0;
}

/* As the heap does it: page by page first, and each region once. */
static int possible(long mib) {
	size_t region = 2 << 20, bytes = (size_t)mib << 20;
	char *place = mmap(0, bytes + region, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (place == MAP_FAILED) return 1;
	place += -(uintptr_t)place % region;
	memset(place, 1, bytes);
	for (size_t at = 0; at < bytes; at += region) madvise(place + at, region, MADV_COLLAPSE);
	printf("huge %ld before 0 after 0 left 0\n", rollup_kib("AnonHugePages:"));
	return 0;
}

static unsigned char **objects;
static size_t count;

static void fill(long mib, size_t bytes) {
	count = ((size_t)mib << 20) / bytes;
	objects = malloc(count * sizeof *objects);
	for (size_t i = 0; i < count; i++) {
		objects[i] = malloc(bytes);
		memset(objects[i], (int)i, bytes);
	}
}

/* Hugepages, in KiB, as soon as there are any, or after ten seconds of traffic on slow paths. */
static long await_huge(void) {
	long huge = 0;
	for (int tenths = 0; tenths < 100 && huge <= 0; tenths++) {
		huge = rollup_kib("AnonHugePages:");
		free(memset(malloc(300000), 1, 300000));
		usleep(100000);
	}
	return huge;
}

/* Writes to a page of each region, and says what becomes of what is shared. */
static void wait_and_say(void) {
	for (size_t i = 0; i < count; i += 4096) objects[i][0] = (unsigned char)i;
	for (int i = 0; i < 200; i++) free(memset(malloc(300000), 1, 300000));
	long before = rollup_kib("Private_Dirty:"), huge = await_huge();
	printf("huge %ld before %ld after %ld left 0\n", huge, before, rollup_kib("Private_Dirty:"));
}

static int forked(long mib) {
	pthread_t thread;
	int status;
	fill(mib, 512);
	pid_t child = fork();
	if (child == 0) {
		pthread_create(&thread, 0, sleeper, 0);
		wait_and_say();
		fflush(stdout);
		_exit(0);
	}
	return waitpid(child, &status, 0) != child || status != 0;
}

static int parent(long mib) {
	pthread_t thread;
	fill(mib, 512);
	pid_t child = fork();
	if (child == 0) for (;;) pause();
	pthread_create(&thread, 0, sleeper, 0);
	wait_and_say();
	kill(child, SIGKILL);
	return waitpid(child, 0, 0) != child;
}

static int marked(long mib) {
	pthread_t thread;
	pthread_create(&thread, 0, sleeper, 0);
	fill(mib, 1024);
	long full = rollup_kib("Anonymous:"), given = full - full / 32;
	for (size_t i = 0; i < count; i++) {
		uintptr_t at = (uintptr_t)objects[i];
		if ((at & 0xffff) >= 0xf000 && (at >> 16 & 15)) free(objects[i]), objects[i] = 0;
	}
	for (int tenths = 0; tenths < 300 && rollup_kib("Anonymous:") > given; tenths++) usleep(100000);
	long before = rollup_kib("Anonymous:"), huge = await_huge();
	if (before > given) return 1;
	printf("huge %ld before %ld after %ld left 0\n", huge, before, rollup_kib("Anonymous:"));
	return 0;
}

int main(int argc, char **argv) {
	long mib = atol(argv[1]);
	int dense = !strcmp(argv[2], "dense");
	size_t bytes = 512;
	pthread_t thread;
	if (!strcmp(argv[2], "forked")) return forked(mib);
	if (!strcmp(argv[2], "parent")) return parent(mib);
	if (!strcmp(argv[2], "marked")) return marked(mib);
	if (!strcmp(argv[2], "possible")) return possible(mib);
	pthread_create(&thread, 0, sleeper, 0);
	if (!strcmp(argv[2], "untouched")) return untouched(mib);
	fill(mib, bytes);
	if (!dense)
		for (size_t i = 0; i < count; i++)
			if (i % 16) free(objects[i]), objects[i] = 0;
	long huge = 0, wanted = mib * 1024 / 2;
	/* Two looks, three seconds apart, then a region in each turn. */
	for (int tenths = 0; tenths < (dense ? 600 : 80); tenths++) {
		huge = rollup_kib("AnonHugePages:");
		if (huge < 0 || huge >= wanted) break;
		usleep(100000);
	}
	long before = rollup_kib("Anonymous:");
	for (size_t i = 0; i < count; i++)
		if (objects[i] && (objects[i][0] != (unsigned char)i || objects[i][bytes - 1] != (unsigned char)i)) {
			puts("an object changed");
			return 1;
		}
	/* All but one object in 256 goes: a page in 32 stays. */
	for (size_t i = 0; i < count; i++)
		if (i % 256) free(objects[i]);
	long after = 0, left = 0;
	for (int tenths = 0; tenths < 300; tenths++) {
		after = rollup_kib("Anonymous:");
		left = rollup_kib("AnonHugePages:");
		if (left == 0 && after < before / 4) break;
		usleep(100000);
	}
	printf("huge %ld before %ld after %ld left %ld\n", huge, before, after, left);
	return 0;
}
