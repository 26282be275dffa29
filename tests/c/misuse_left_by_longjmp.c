/* A signal handler leaves malloc and free in the middle: sooner or later with a lock of
 * theirs, which the next call finds. */
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

static sigjmp_buf place;
static void *volatile object;

static void leave(int number)
{
	siglongjmp(place, number);
}

static void once(void)
{
	object = malloc(1 << 20);
	free(object);
}

int main(void)
{
	signal(SIGALRM, leave);
	sigsetjmp(place, 1);
	once();
	/* One signal for each turn: none comes while the process says what it found. */
	setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 200}}, NULL);
	for (;;)
		once();
}
