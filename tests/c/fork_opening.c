/* fork while other threads allocate for the first time on their CPUs: a cache
 * that is being set up then must be usable in the child, and in its child. The
 * argument delays the fork by so many turns of a loop. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int go;

static void *allocate(void *unused)
{
	void *objects[300];
	while (!go)
		;
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 300; i++)
			objects[i] = malloc(16 + i * 53 % 2000);
		for (int i = 0; i < 300; i++)
			free(objects[i]);
	}
	return unused;
}

int main(int count, char **arguments)
{
	pthread_t threads[7];
	int delay = count > 1 ? atoi(arguments[1]) : 0;
	for (int i = 0; i < 7; i++)
		pthread_create(&threads[i], NULL, allocate, NULL);
	go = 1;
	for (volatile int i = 0; i < delay; i++)
		;
	for (int i = 0; i < 3; i++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			malloc_trim(0);
			free(malloc(100));
			pid_t grandchild = fork();
			if (grandchild == 0)
				_exit(0);
			waitpid(grandchild, NULL, 0);
			_exit(0);
		}
		int status;
		if (waitpid(child, &status, 0) != child || status != 0)
			return 1;
	}
	for (int i = 0; i < 7; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
