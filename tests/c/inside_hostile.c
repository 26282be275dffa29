/* Shows a block of its own making, by a note of its own, and waits:
 *   version     a block of another version
 *   short       one that says to be shorter than any
 *   nowhere     a note that leads to where nothing is
 *   random N    a block of random words, by the number N
 *   scribble N  thmalloc's own block, and random words over all of the heap's
 *               variable; it never calls malloc again */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct block {
	char magic[8];
	uint32_t version, bytes;
	char release[16];
	uint64_t heap;
	uint32_t heap_bytes, started_at;
	uint32_t rest[1000];
};

struct block hostile_block;

/* The distance from the descriptor to the block. */
__asm__(".pushsection .note.hostile, \"a\", @note\n"
	".p2align 2\n"
	".long 9, 8, 1\n"
	".asciz \"thmalloc\"\n"
	".p2align 2\n"
	".quad hostile_block - .\n"
	".popsection\n");

static uint64_t state;

static uint64_t next(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	uint64_t mixed = state >> 33;
	switch (mixed % 5) {
	case 0:
		return mixed >> 3 & 7;
	case 1:
		return ~0ull;
	case 2:
		return (uint64_t)&hostile_block;
	case 3:
		return 1ull << (mixed >> 3 & 63);
	default:
		return mixed;
	}
}

int main(int count, char **arguments)
{
	const char *what = count > 1 ? arguments[1] : "";
	state = count > 2 ? strtoull(arguments[2], 0, 10) : 0;
	memcpy(hostile_block.magic, "thmalloc", 8);
	hostile_block.version = 1;
	hostile_block.bytes = 4000;
	if (!strcmp(what, "version"))
		hostile_block.version = 4711;
	else if (!strcmp(what, "short"))
		hostile_block.bytes = 20;
	else if (!strcmp(what, "nowhere")) {
		/* A heap that begins at the end of memory. */
		hostile_block.heap = ~0ull - 10;
	} else if (!strcmp(what, "random")) {
		uint32_t *words = (uint32_t *)&hostile_block.heap;
		while (words < (uint32_t *)(&hostile_block + 1))
			*words++ = (uint32_t)next();
	} else if (!strcmp(what, "scribble")) {
		struct block *real = dlsym(RTLD_DEFAULT, "thmalloc_block");
		char *heap = (char *)real->heap;
		/* Only one of the two may be found. */
		memset(&hostile_block, 0, sizeof hostile_block);
		for (uint32_t at = 0; at + 8 <= real->heap_bytes; at += 8)
			if (next() % 4 == 0) {
				uint64_t word = next();
				memcpy(heap + at, &word, 8);
			}
		memset(heap + real->started_at, 1, 4);
	}
	write(1, "ready\n", 6);
	pause();
	_exit(0);
}
