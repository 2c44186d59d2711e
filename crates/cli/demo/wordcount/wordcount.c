#include <ctype.h>
#include <stdio.h>

/* A word is a run of characters that are not white space. */
static long count_words(FILE *in)
{
    long words = 0;
    int inside = 0;
    int c;

    while ((c = getc(in)) != EOF) {
        if (isspace(c)) {
            if (inside)
                words++;
            inside = 0;
        } else {
            inside = 1;
        }
    }
    return words;
}

int main(void)
{
    printf("%ld\n", count_words(stdin));
    return 0;
}
