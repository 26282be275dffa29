/* A signal handler leaves malloc and free in the middle: sooner or later with a lock of
 * theirs. */
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

static sigjmp_buf place;

static void leave(int number)
{
	siglongjmp(place, number);
}

int main(void)
{
	struct itimerval often = {{0, 200}, {0, 200}};
	void *volatile object;
	signal(SIGALRM, leave);
	sigsetjmp(place, 1);
	setitimer(ITIMER_REAL, &often, NULL);
	for (;;) {
		object = malloc(1 << 20);
		free(object);
	}
}
