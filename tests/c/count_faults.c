// Runs a program several times and prints the page faults of each, as time(1)
// counts them: from the fork that begins it to its end. What is preloaded here is
// preloaded there.
//
//   count_faults PROGRAM
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 21

int main(int count, char **arguments) {
	if (count != 2) return 2;
	for (int n = 0; n < TIMES; n++) {
		pid_t child = fork();
		if (child == 0) {
			execv(arguments[1], arguments + 1);
			_exit(127);
		}
		struct rusage usage;
		int status;
		if (wait4(child, &status, 0, &usage) != child || status != 0) return 1;
		printf("%ld\n", usage.ru_minflt);
	}
	return 0;
}
