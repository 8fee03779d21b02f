/* Answers as text, so that a thread's can be compared with another's, and with those of the engine. Floats are written
 * as their bits: nothing may differ. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES (1 << 16)

typedef struct {
    char text[ANSWER_BYTES];
    size_t length;
} answer;

static void say(answer *to, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(to->text + to->length, ANSWER_BYTES - to->length, format, arguments);
    va_end(arguments);
    if (written < 0 || (size_t)written >= ANSWER_BYTES - to->length) {
        fprintf(stderr, "an answer is too long\n");
        exit(2);
    }
    to->length += written;
}

static void say_float(answer *to, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    say(to, " %08x", bits);
}

static void say_floats(answer *to, const float *values, int count) {
    for (int i = 0; i < count; i++) say_float(to, values[i]);
}

static void fail(const char *what) {
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

/* Whatever is not written by a call is seen: nothing of ours is 0xaa. */
#define POISONED(type, name) \
    type name;               \
    memset(&name, 0xaa, sizeof name)

/* Runs `count` calls on every text in 32 threads, and compares each answer with the one that a single thread got. */
#include <pthread.h>

#define THREADS 32

typedef void (*call)(const char *text, answer *to);
typedef struct {
    const char *name;
    call run;
} named_call;

static const named_call *calls;
static int call_count, text_count;
static char **texts;
static answer *expected;

/* Long texts cost the most time, so a few calls are enough for them: with these orders of calls one per kind of model. */
static bool skipped(int index, int text) { return strlen(texts[text]) > 1000 && index % 8 != 0; }

static void *caller(void *number) {
    answer *got = malloc(sizeof *got);
    int total = call_count * text_count;
    for (int i = 0; i < total; i++) {
        int at = (i + (int)(intptr_t)number * 7) % total;
        int index = at / text_count, text = at % text_count;
        if (skipped(index, text)) continue;
        got->length = 0;
        calls[index].run(texts[text], got);
        if (strcmp(got->text, expected[at].text) != 0) {
            fprintf(stderr, "%s of text %d:\n%s\nexpected:\n%s\n", calls[index].name, text, got->text, expected[at].text);
            exit(1);
        }
    }
    free(got);
    return NULL;
}

static void run_all(void) {
    expected = calloc((size_t)call_count * text_count, sizeof *expected);
    for (int index = 0; index < call_count; index++) {
        for (int text = 0; text < text_count; text++) {
            if (skipped(index, text)) continue;
            answer *to = &expected[index * text_count + text];
            calls[index].run(texts[text], to);
            printf("%s\t%d\t%s\n", calls[index].name, text, to->text);
        }
    }
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, caller, (void *)i) != 0) fail("pthread_create");
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    free(expected);
    expected = NULL;
}
