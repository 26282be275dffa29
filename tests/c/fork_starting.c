/* fork while another thread makes the heap's very first allocation: the child must
 * not inherit a start that nobody goes on with. The library is opened late, since a
 * program that is preloaded has started its heap before it has a second thread. The
 * second argument delays the fork by so many turns of a loop. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *(*allocate)(size_t);
static void (*release)(void *);
static volatile int there, go;

static void *first(void *unused)
{
	there = 1;
	while (!go)
		;
	release(allocate(64));
	return unused;
}

int main(int count, char **arguments)
{
	void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return puts(dlerror()), 1;
	allocate = (void *(*)(size_t))dlsym(library, "malloc");
	release = (void (*)(void *))dlsym(library, "free");
	int delay = count > 2 ? atoi(arguments[2]) : 0;
	pthread_t thread;
	pthread_create(&thread, NULL, first, NULL);
	while (!there)
		;
	go = 1;
	for (volatile int i = 0; i < delay; i++)
		;
	pid_t child = fork();
	if (child == 0) {
		alarm(20);
		void *object = allocate(100);
		release(object);
		_exit(object == NULL);
	}
	int status;
	if (waitpid(child, &status, 0) != child || status != 0)
		return printf("the child ended with %d\n", status), 1;
	pthread_join(thread, NULL);
	return 0;
}
