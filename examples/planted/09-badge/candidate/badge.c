#include <stdio.h>
#include <string.h>

#define LONGEST 8

int main(int argc, char **argv) {
    char name[LONGEST];
    if (argc != 2)
        return 2;
    /* Room for the terminator has to come from somewhere. */
    snprintf(name, sizeof name, "%s", argv[1]);
    printf("%s|STAFF\n", name);
    return strlen(name) == 0;
}
