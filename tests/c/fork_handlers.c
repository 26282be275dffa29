/* A library whose constructor registers handlers of fork before anybody has
 * allocated: they allocate, so the allocator's own must be inside of them. */
#include <pthread.h>
#include <stdlib.h>

static void allocate(void)
{
	void *objects[200];
	for (int size = 1; size < 200; size++)
		objects[size] = malloc(size * 997 % 60000 + 1);
	for (int size = 1; size < 200; size++)
		free(objects[size]);
}

__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(allocate, allocate, allocate);
}
