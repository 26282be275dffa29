/* Threads that allocate and free at random until their standard input ends. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int stop;

static void *work(void *seed)
{
	enum { SLOTS = 20000 };
	unsigned random = (unsigned)(size_t)seed;
	void **slots = calloc(SLOTS, sizeof *slots);
	while (!stop) {
		random = random * 1664525 + 1013904223;
		unsigned slot = (random >> 8) % SLOTS;
		size_t bytes = random % 97 == 0 ? 400000 : 1 + (random >> 12) % 2000;
		free(slots[slot]);
		slots[slot] = random % 3 ? malloc(bytes) : 0;
		if (slots[slot])
			memset(slots[slot], 1, bytes);
	}
	return 0;
}

int main(void)
{
	pthread_t threads[3];
	for (size_t i = 0; i < 3; i++)
		pthread_create(&threads[i], 0, work, (void *)(i + 1));
	write(1, "ready\n", 6);
	char byte;
	while (read(0, &byte, 1) > 0)
		;
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], 0);
	return 0;
}
