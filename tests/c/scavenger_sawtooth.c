/* A load that comes and goes: objects of all workers at once, all freed, a
 * pause. Says how many page faults that took, its first included.
 *
 * usage: scavenger_sawtooth PERIOD_MILLISECONDS BURSTS OBJECTS_OF_EACH_WORKER
 */
#include "scavenger_crew.h"
#include <sys/resource.h>

static int objects;

static void come(int number)
{
    fill_some(number, objects);
}

int main(int count, char **arguments)
{
    REQUIRE(count == 4);
    long period = atol(arguments[1]), bursts = atol(arguments[2]);
    objects = atoi(arguments[3]);
    struct rusage before, after;
    REQUIRE(objects <= HELD);
    start_crew();
    REQUIRE(getrusage(RUSAGE_SELF, &before) == 0);
    long next = milliseconds(), late = 0;
    for (long i = 0; i < bursts; i++) {
        send_all(come);
        send_all(empty);
        next += period;
        long rest = next - milliseconds();
        if (rest > 0) {
            usleep(rest * 1000);
        } else {
            late++;
            next = milliseconds();
        }
    }
    REQUIRE(getrusage(RUSAGE_SELF, &after) == 0);
    printf("faults %ld, %ld bursts late, scavengers %d\n", after.ru_minflt - before.ru_minflt,
           late, threads().scavengers);
    end_crew();
    return 0;
}
