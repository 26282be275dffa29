// A library that does nothing: what it costs to preload one.
void nothing(void) {}
