// Runs a program several times and prints the page faults of each: from the
// vfork that begins it to its end, as time(1) counts them.
//
//   count_faults LIBRARY PROGRAM
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 11

int main(int count, char **arguments) {
	if (count != 3) return 2;
	char preload[4096];
	snprintf(preload, sizeof preload, "LD_PRELOAD=%s", arguments[1]);
	char *const environment[] = {preload, NULL};
	for (int n = 0; n < TIMES; n++) {
		pid_t child = vfork();
		if (child == 0) {
			execve(arguments[2], arguments + 2, environment);
			_exit(127);
		}
		struct rusage usage;
		int status;
		if (wait4(child, &status, 0, &usage) != child || status != 0) return 1;
		printf("%ld\n", usage.ru_minflt);
	}
	return 0;
}
