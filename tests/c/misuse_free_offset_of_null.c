/* Frees a member of a structure that is not there. */
#include <stdlib.h>

struct pair {
    char first[24], second[8];
};

int main(void) {
    struct pair *none = NULL;
    free(&none->second);
    return 0;
}
