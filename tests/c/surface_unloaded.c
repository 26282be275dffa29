/* A plugin that is linked with the library is closed again: the kernel and libc
 * still know addresses of it, so it must stay. */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	(void)count;
	void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return puts(dlerror()), 1;
	void *(*allocate)(unsigned long) = (void *(*)(unsigned long))dlsym(library, "malloc");
	void (*release)(void *) = (void (*)(void *))dlsym(library, "free");
	for (int i = 0; i < 10; i++)
		release(allocate(64));
	dlclose(library);
	if (!dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD))
		return puts("unloaded"), 1;
	/* Long enough to be preempted. */
	for (volatile long i = 0; i < 100000000; i++)
		;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	int status;
	waitpid(child, &status, 0);
	return status;
}
