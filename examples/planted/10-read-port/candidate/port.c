#include <stdio.h>

int read_port(const char *path) {
    FILE *file = fopen(path, "r");
    int port;
    if (file == NULL)
        return -1;
    if (fscanf(file, "port=%d", &port) != 1)
        return -1;
    fclose(file);
    return port;
}
