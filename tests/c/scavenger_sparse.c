/* A table of which next to nothing is touched keeps nothing else from going back while
 * light traffic goes on: what may stay then is a share of what the heap has, and nobody
 * knows how much of a large object is touched.
 */
#include "scavenger_crew.h"

enum { UNABLE = 77, SPARSE_MIB = 4096, LOAD_MIB = 256, OBJECT = 4000, MOST_MIB = 140 };

static unsigned char *objects[LOAD_MIB * MIB / OBJECT];
enum { COUNT = sizeof objects / sizeof *objects };

static void take_all(void)
{
    for (int i = 0; i < COUNT; i++) {
        objects[i] = malloc(OBJECT);
        REQUIRE(objects[i]);
        memset(objects[i], 1, OBJECT);
    }
}

static void free_all(void)
{
    for (int i = 0; i < COUNT; i++) {
        REQUIRE(objects[i][0] == 1 && objects[i][OBJECT - 1] == 1);
        free(objects[i]);
    }
}

/* Light traffic: something is wanted all the time. */
static volatile int stop;

static void *traffic(void *unused)
{
    while (!stop) {
        struct stamped one = stamp(malloc(MIB), MIB, 1, 1);
        stamp_free(&one);
        usleep(20000);
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    setvbuf(stdout, NULL, _IONBF, 0);
    begin();
    unsigned char *table = calloc(SPARSE_MIB, MIB);
    if (!table) {
        printf("calloc of %d MiB: errno %d\n", SPARSE_MIB, errno);
        return UNABLE;
    }
    table[0] = table[SPARSE_MIB * MIB - 1] = 1;
    REQUIRE(pthread_create(&thread, NULL, traffic, NULL) == 0);
    take_all();
    REQUIRE(rss_anon() > begun + LOAD_MIB * MIB * 9 / 10);
    free_all();
    AWAIT(rss_anon() <= begun + MOST_MIB * MIB);
    stop = 1;
    REQUIRE(pthread_join(thread, NULL) == 0);
    REQUIRE(table[0] == 1 && table[MIB] == 0);
    free(table);
    check_heap();
    printf("cache %s\n", cache_mode());
    return 0;
}
