#include <stdio.h>

int main(int argc, char **argv) {
    long long number, sum = 0;
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (file == NULL) {
        perror("sum");
        return 1;
    }
    while (fscanf(file, "%lld", &number) == 1)
        sum += number;
    fclose(file);
    printf("%lld\n", sum);
    return 0;
}
