/* One thread whose sizes drift: blocks of a middle size are replaced at random, then
 * the middle doubles, up to 1024 bytes and back, as many bytes live. What one phase
 * leaves free does not serve the next, unless whole spans or pages become free. Prints
 * the most bytes that the program had at a time, and the most that were resident, in
 * KiB. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 200000, REPLACED = 300000 };

static void *blocks[BLOCKS];
static size_t sizes[BLOCKS], live, most;
static unsigned long long state = 3;

/* Knuth's constants for a linear congruential generator. */
static size_t below(size_t bound) {
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (size_t)(state >> 33) % bound;
}

static void drop(size_t slot) {
	free(blocks[slot]);
	live -= sizes[slot];
	blocks[slot] = 0, sizes[slot] = 0;
}

int main(void) {
	char line[256];
	FILE *file;
	for (int phase = 0; phase < 16; phase++) {
		int step = phase % 10;
		size_t middle = (size_t)32 << (step < 5 ? step : 10 - step);
		size_t count = ((size_t)48 << 20) / middle;
		if (count > BLOCKS) count = BLOCKS;
		for (size_t slot = count; slot < BLOCKS; slot++)
			if (blocks[slot]) drop(slot);
		for (int n = 0; n < REPLACED; n++) {
			size_t slot = below(count), size = middle / 2 + below(middle);
			drop(slot);
			if (!(blocks[slot] = malloc(size))) return 1;
			memset(blocks[slot], n, size);
			sizes[slot] = size, live += size;
			if (live > most) most = live;
		}
	}
	file = fopen("/proc/self/status", "r");
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, "VmHWM:", 6)) {
			printf("%zu %ld\n", most >> 10, atol(line + 6));
			return 0;
		}
	return 1;
}
