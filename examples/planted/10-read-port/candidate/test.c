#include <assert.h>

int read_port(const char *path);

int main(void) {
    assert(read_port("good.conf") == 8080);
    assert(read_port("bad.conf") == -1);
    assert(read_port("missing.conf") == -1);
    return 0;
}
