/* Frees what mmap gave. */
#include <stdlib.h>
#include <sys/mman.h>

int main(void) {
    void *pages = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(pages);
    return 0;
}
