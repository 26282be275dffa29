/* A library to preload that does nothing. */
int cli_library_loaded = 1;
