#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int low, high;
    if (argc != 3)
        return 2;
    low = atoi(argv[1]);
    high = atoi(argv[2]);
    printf("%d\n", (low + high) / 2);
    return 0;
}
