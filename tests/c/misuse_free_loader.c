/* Frees what the loader allocated before there was a malloc. */
#include <dlfcn.h>
#include <stdlib.h>

int main(void) {
    free(dlopen(NULL, RTLD_NOW));
    return 0;
}
