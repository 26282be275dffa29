/* A small program for a debugger: a list on the heap, recursion, a thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
	int length;
	char *name;
	struct node *next;
};

static int sum(struct node *list, int factor) {
	int total = 0;
	for (; list; list = list->next) total += factor * list->length;
	return total;
}

static struct node *grow(struct node *list, int depth) {
	struct node *node = calloc(1, sizeof *node);
	node->name = malloc(100);
	snprintf(node->name, 100, "node %d", depth);
	node->next = list;
	node->length = depth;
	list = node;
	if (depth < 5) list = grow(list, depth + 1);
	node->length += 100;
	return list;
}

static void *churn(void *unused) {
	for (int i = 0; i < 100000; i++) free(malloc(i % 1000));
	return unused;
}

static void finish(struct node *list) {
	char *text = malloc(20);
	text = realloc(text, 20000);
	strcpy(text, "from the heap");
	printf("%s %d\n", text, sum(list, 1));
	free(text);
	while (list) {
		struct node *next = list->next;
		free(list->name);
		free(list);
		list = next;
	}
}

int main(void) {
	struct node *list = malloc(sizeof *list);
	*list = (struct node){7, strdup("first"), NULL};
	list = grow(list, 0);
	pthread_t thread;
	pthread_create(&thread, NULL, churn, NULL);
	pthread_join(thread, NULL);
	finish(list);
	return 0;
}
