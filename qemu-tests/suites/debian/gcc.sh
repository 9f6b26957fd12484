# A compiler, an assembler and a linker.
set -e
cat > program.c << 'END'
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *left, const void *right) {
    return *(const int *)left - *(const int *)right;
}

int main(void) {
    static int numbers[1000];
    for (int n = 0; n < 1000; n++)
        numbers[n] = n * 7919 % 1000;
    qsort(numbers, 1000, sizeof *numbers, compare);
    printf("%d %d\n", numbers[0], numbers[999]);
    return 0;
}
END
gcc -O2 -Wall -o program program.c
test "$(./program)" = "0 999"
gcc -O0 -g -static -o static program.c
test "$(./static)" = "0 999"
echo all is well
