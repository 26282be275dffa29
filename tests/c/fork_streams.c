/* fork while other threads are in libc's streams: one has the lock on the list
 * of streams (fflush(NULL)) and waits for one that has a stream and allocates
 * (getline). The allocator's locks must come behind libc's. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop;
static const char *path;

static void *flush_all(void *unused)
{
	while (!stop) {
		fflush(NULL);
		usleep(20); /* or fork would wait for the list's lock for minutes */
	}
	return unused;
}

static void *read_lines(void *unused)
{
	FILE *file = fopen(path, "r");
	while (!stop) {
		char *line = NULL;
		size_t room = 0;
		rewind(file);
		while (getline(&line, &room, file) > 0) {
			free(line);
			line = NULL;
			room = 0;
		}
		free(line);
	}
	fclose(file);
	return unused;
}

int main(int count, char **arguments)
{
	pthread_t threads[4];
	int forks = atoi(arguments[2]);
	(void)count;
	path = arguments[1];
	FILE *file = fopen(path, "w");
	for (int line = 0; line < 200; line++) {
		for (int i = 0; i < line * 7919 % 20000; i++)
			fputc('x', file);
		fputc('\n', file);
	}
	fclose(file);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i < 2 ? flush_all : read_lines, NULL);
	for (int i = 0; i < forks; i++) {
		pid_t child = fork();
		if (child == 0) {
			/* The child has streams and memory of its own. */
			char *text = NULL;
			size_t length = 0;
			FILE *memory = open_memstream(&text, &length);
			fprintf(memory, "%d", i);
			fclose(memory);
			free(text);
			fflush(NULL);
			_exit(0);
		}
		int status;
		if (waitpid(child, &status, 0) != child || status != 0)
			return 1;
	}
	stop = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	remove(path);
	puts("done");
	return 0;
}
